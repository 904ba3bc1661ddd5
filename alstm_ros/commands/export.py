"""`alstm export`: a third-party detector as a file that describes itself, with features that tell objects apart."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from alstm_ros import detection
from alstm_ros.commands.common import add_config, config_from, print_json
from alstm_ros.detection.decoders import DECODERS
from alstm_ros.detection.exporting import FEATURES, TOP_K, Exported, export_detector, letterbox_in_graph
from alstm_ros.engines import tensorrt_graph
from alstm_ros.errors import ConfigError
from alstm_ros.options import replace


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's options."""
    parser.add_argument("model", metavar="MODEL.onnx", help="a third-party detector")
    parser.add_argument("--output", type=Path, required=True, metavar="OUT.onnx", help="the file to write")
    parser.add_argument("--decoder", help=f"layout of its outputs, where it is not recognised: {', '.join(DECODERS)}")
    parser.add_argument("--classes", nargs="+", metavar="NAME", help="its class names, or a .txt with one on each line")
    parser.add_argument("--size", metavar="HxW", help="height and width at which it runs unless asked otherwise")
    parser.add_argument(
        "--top-k", type=int, default=TOP_K, help="boxes that leave the graph for each image (%(default)s)"
    )
    parser.add_argument(
        "--features",
        choices=FEATURES,
        default=FEATURES[0],
        help="what features are made of: the image in each box (%(default)s), the cells that proposed it, or none",
    )
    parser.add_argument(
        "--preprocess",
        choices=("letterbox", "inside"),
        default="letterbox",
        help="where images are fitted into the input: before the model (%(default)s), or inside it, for GPUs",
    )
    parser.add_argument("--licence", default="", help="of the weights, for the file's metadata")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    add_config(parser, model=False)


def run(args: argparse.Namespace) -> int:
    """Exports.

    Raises:
        ConfigError: an option does not fit the model.
        ModelError: the model cannot be exported.
    """
    changes: dict[str, object] = {}
    if args.decoder:
        changes["detector.decoder"] = args.decoder
    if args.classes:
        changes["detector.class_names"] = tuple(args.classes)
    if args.size:
        match = re.fullmatch(r"(\d+)x(\d+)", args.size)
        if match is None:
            raise ConfigError(f"--size is {args.size!r}; it must look like 480x640, height first.")
        changes |= {"detector.height": int(match[1]), "detector.width": int(match[2])}
    config = replace(config_from(args), changes)
    path = detection.model_file(args.model)
    source = tensorrt_graph.read(path)
    if args.preprocess == "inside" and "kind" in tensorrt_graph.metadata(source):
        model, report = source, {"output": str(args.output)}
    else:
        made = export_detector(path, config.detector, top_k=args.top_k, wanted=args.features, licence=args.licence)
        model, report = made.model, _report(made, args.output)
    if args.preprocess == "inside":
        model = letterbox_in_graph(model, path.name)
    try:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_bytes(model.SerializeToString(deterministic=True))
    except OSError as error:
        raise ConfigError(f"The file {args.output} cannot be written: {error}") from error
    report |= {"preprocess": args.preprocess, "bytes": args.output.stat().st_size}
    sys.stderr.write("".join(f"{key:<14} {value}\n" for key, value in report.items()))
    if args.json:
        print_json(report)
    return 0


def _report(made: Exported, output: Path) -> dict[str, Any]:
    return {
        "output": str(output),
        "decoder": made.layout,
        "classes": ", ".join(made.classes[:10]) + (f" and {len(made.classes) - 10} more" if made.classes[10:] else ""),
        "size": f"{made.size[0]}x{made.size[1]}" + (" or another" if made.free_size else " and no other"),
        "batch": "any" if made.free_batch else "1",
        "boxes": made.boxes,
        "features": made.features,
        "feature_width": made.feature_width,
        "compared": f"{made.compared} detections in drawn pictures, as the given file finds them"
        if made.compared
        else "nothing: the given file finds nothing in drawn pictures; compare on your own",
    }

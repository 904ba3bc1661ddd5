"""`alstm check`: what a detector's file is taken for, and what it finds in a picture, drawn."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from alstm_ros.commands.common import add_config, config_from, print_json
from alstm_ros.config import Config
from alstm_ros.detection import AmbiguousLayoutError, load_detector
from alstm_ros.drawing import Mark, Overlay
from alstm_ros.errors import DataError
from alstm_ros.images import decode_compressed
from alstm_ros.options import replace
from alstm_ros.types import Detections, Image


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's options."""
    parser.add_argument("model", metavar="MODEL", help="an ONNX file, or the name of a detector of the package")
    parser.add_argument("--image", type=Path, required=True, metavar="PICTURE", help="a picture with known objects")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("checked.png"),
        metavar="OUT.png",
        help="the picture with what was found; where several layouts fit, one for each (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print what was found as one JSON object")
    add_config(parser, model=False)


def run(args: argparse.Namespace) -> int:
    """Looks at the picture, and draws what was found.

    Returns:
        0; 1 where several layouts fit, of which `detector.decoder` must name one.

    Raises:
        DataError: the picture cannot be read, or the output cannot be written.
        ModelError: the file is no detector.
    """
    try:
        image = decode_compressed(np.frombuffer(args.image.read_bytes(), np.uint8), args.image.suffix.lstrip("."))
    except OSError as error:
        raise DataError(f"The picture {args.image} cannot be read: {error.strerror}.") from error
    config = replace(config_from(args), {"detector.model": args.model})
    try:
        reports = [_look(config, image, args.output)]
    except AmbiguousLayoutError as error:
        sys.stderr.write(f"{error}\n")
        reports = []
        for decoder in error.decoders:
            output = args.output.with_name(f"{args.output.stem}-{decoder}{args.output.suffix}")
            reports.append(_look(replace(config, {"detector.decoder": decoder}), image, output))
    for report in reports:
        sys.stderr.write(_text(report))
    if args.json:
        print_json({"image": str(args.image), "readings": reports})
    return 0 if len(reports) == 1 else 1


def _look(config: Config, image: Image, output: Path) -> dict[str, Any]:
    detector = load_detector(config)
    try:
        [found] = detector([image])
    finally:
        detector.close()
    drawn = Overlay().draw(image, 0, _marks(found, detector.classes))
    try:
        written = cv2.imwrite(str(output), drawn)
    except cv2.error as error:
        raise DataError(f"The picture {output} cannot be written; its name must end in .png or .jpg.") from error
    if not written:
        raise DataError(f"The picture {output} cannot be written.")
    return {
        "layout": detector.layout,
        "classes": len(detector.classes),
        "picture": str(output),
        "objects": [
            {"class": detector.classes[kind], "score": round(score, 4), "box": [round(side, 1) for side in box]}
            for box, score, kind in zip(
                found.boxes.tolist(), found.scores.tolist(), found.classes.tolist(), strict=True
            )
        ],
    }


def _marks(found: Detections, classes: tuple[str, ...]) -> list[Mark]:
    """The best on top."""
    order = np.argsort(found.scores, kind="stable")
    return [
        Mark(str(rank), tuple(found.boxes[row].tolist()), classes[int(found.classes[row])], float(found.scores[row]))
        for rank, row in zip(range(len(order), 0, -1), order, strict=True)
    ]


def _text(report: dict[str, Any]) -> str:
    objects = report["objects"]
    lines = [f"  {one['class']} {one['score']:.2f} at {one['box']}\n" for one in objects[:10]]
    more = f"  and {len(objects) - 10} more\n" if len(objects) > 10 else ""
    read = f"read as {report['layout']}, {report['classes']} classes: {len(objects)} objects"
    head = f"{read}, drawn in {report['picture']}\n"
    return head + "".join(lines) + more

"""AP50 of each class on still images whose labels are complete, of several detectors side by side.

    python -m bench.detector_classes --images ../shared/images --models default a.onnx@416x416 --json

`--images` is a folder with pictures and `annotations.jsonl`, one object a line: `file`, `split`, `complete`, and
`boxes` of `box` (xyxy in pixels) and `cls`. Images of the split `test` that are complete count. Each class that the
default detector offers is measured; the number of objects stands beside it, for few objects make an uncertain number.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from alstm_ros import detection
from alstm_ros.config import Config
from alstm_ros.evaluation.average_precision import average_precision
from alstm_ros.options import replace
from alstm_ros.types import Image

SCORED_FROM = 0.01


def read_labelled(folder: Path) -> tuple[list[Image], list[dict[str, Any]]]:
    """The complete images of the split `test`, and what is said of each."""
    lines = [json.loads(line) for line in (folder / "annotations.jsonl").read_text().splitlines()]
    chosen = [line for line in lines if line["complete"] and line["split"] == "test"]
    pictures = (cv2.imread(str(folder / line["file"])) for line in chosen)
    images = [np.asarray(image, np.uint8) for image in pictures if image is not None]
    if not images or len(images) < len(chosen):
        raise SystemExit(f"{folder} holds no complete test images, or one cannot be read.")
    return images, chosen


def configured(model: str) -> Config:
    """The parameters for `PATH` or `PATH@HEIGHTxWIDTH`."""
    path, _, size = model.partition("@")
    changes: dict[str, object] = {"detector.model": path, "detector.score_threshold": SCORED_FROM}
    if size:
        height, width = map(int, size.split("x"))
        changes |= {"detector.height": height, "detector.width": width}
    return replace(Config(), changes)


def measure(model: str, classes: list[str], images: list[Image], labels: list[dict[str, Any]]) -> dict[str, Any]:
    """One detector's line: input size and AP50 by class; None for a class that it does not know."""
    detector = detection.load_detector(configured(model))
    found = [detector([image])[0] for image in images]
    line: dict[str, Any] = {"size": f"{detector.canvas.height}x{detector.canvas.width}"}
    for name in classes:
        if name not in detector.classes:
            line[name] = None
            continue
        kind = detector.classes.index(name)
        of_kind = [one[one.classes == kind] for one in found]
        truths = [
            np.array([box["box"] for box in label["boxes"] if box["cls"] == name], np.float32).reshape(-1, 4)
            for label in labels
        ]
        curve = average_precision([one.boxes for one in of_kind], [one.scores for one in of_kind], truths)
        line[name] = round(curve.average_precision, 3)
    detector.close()
    return line


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder with annotations.jsonl")
    parser.add_argument("--models", nargs="+", default=["default"], help="what detector.model takes, or PATH@HxW")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    images, labels = read_labelled(args.images)
    detector = detection.load_detector(Config())
    classes = list(detector.classes)
    detector.close()
    objects = {name: sum(box["cls"] == name for label in labels for box in label["boxes"]) for name in classes}
    lines = {Path(model).name: measure(model, classes, images, labels) for model in args.models}
    if args.json:
        print(json.dumps({"images": len(images), "objects": objects, "ap50": lines}, indent=1))
        return
    print(f"{'AP50':32} " + " ".join(f"{name} ({objects[name]})" for name in classes))
    for name, line in lines.items():
        print(f"{name:24} {line['size']:>7} " + " ".join(f"{line[kind]}" for kind in classes))


if __name__ == "__main__":
    main()

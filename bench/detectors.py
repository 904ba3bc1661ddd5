"""Detectors side by side on a street video: precision, where the time goes, whether features tell people apart.

    python -m bench.detectors --ground-truth ../shared/data/pets09-s2l1/gt.txt --models default a.onnx b.onnx --json

AP50 and times are measured as `bench/detector.py` does. The features of every third frame's detections are given the
identity of the ground truth that they overlap, and every pair so many frames apart is compared by its cosine: ROC AUC,
where 0.5 is chance and 1 is that every pair of one person beats every pair of two. A third-party file without features
is exported (`alstm export`), once with each kind of feature, and measured too.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from scipy.stats import mannwhitneyu

from alstm_ros import detection
from alstm_ros.boxes import iou
from alstm_ros.config import Config
from alstm_ros.detection import OnnxDetector
from alstm_ros.detection.exporting import export_detector
from alstm_ros.options import replace
from alstm_ros.types import Float32, Image, Int64
from bench.detector import SCORED_FROM, machine, person_precision, read_frames, read_truth, stage_times

EVERY = 3
GAPS = (3, 30, 90)
SURE = 0.25


def identities(
    detector: OnnxDetector, video: Path, truth: Path, last: int | None = None
) -> tuple[Int64, Int64, Float32]:
    """Frame numbers `(N,)`, identities `(N,)` and features `(N, C)` of the detections that are somebody.

    Args:
        detector: with features.
        video: every third frame is looked at.
        truth: MOTChallenge gt.txt of the video.
        last: number of the last frame to look at; all when None.
    """
    table = np.loadtxt(truth, delimiter=",", ndmin=2)
    capture = cv2.VideoCapture(str(video))
    frames: list[int] = []
    ids: list[int] = []
    features: list[Float32] = []
    number = 0
    while (last is None or number < last) and capture.grab():
        number += 1
        if number % EVERY:
            continue
        found = detector([capture.retrieve()[1]])[0]
        rows = table[table[:, 0] == number]
        boxes = np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1).astype(np.float32)
        if found.features is None or not len(found) or not len(boxes):
            continue
        overlaps = iou(found.boxes, boxes)
        for row in np.flatnonzero(overlaps.max(axis=1) > 0.4):
            frames.append(number)
            ids.append(int(rows[overlaps[row].argmax(), 1]))
            features.append(found.features[row])
    return np.array(frames), np.array(ids), np.stack(features)


def appearance_auc(frames: Int64, ids: Int64, features: Float32, gap: int) -> dict[str, float]:
    """The AUC of pairs this many frames apart, and how many pairs that are."""
    first, second = np.nonzero(frames[None, :] - frames[:, None] == gap)
    alike = np.einsum("nc,nc->n", features[first], features[second])
    same = ids[first] == ids[second]
    one, other = alike[same], alike[~same]
    area = mannwhitneyu(one, other).statistic / (len(one) * len(other))
    return {"frames_apart": gap, "auc": round(float(area), 4), "same": len(one), "different": len(other)}


@dataclass(frozen=True, slots=True)
class Scene:
    """What every model is measured on.

    Attributes:
        images: frames of the video.
        truths: the people in each, `(n, 4)` xyxy in pixels.
        video: all of it.
        truth: MOTChallenge gt.txt of the video.
        rounds: how often each frame is timed.
    """

    images: list[Image]
    truths: list[Float32]
    video: Path
    truth: Path
    rounds: int


def measure(config: Config, scene: Scene) -> Any:
    """One model's line."""
    detector = detection.load_detector(config)
    line: dict[str, Any] = {"decoder": detector.layout, "size": f"{detector.canvas.height}x{detector.canvas.width}"}
    detector.configure(replace(config, {"detector.score_threshold": SCORED_FROM}))
    line |= person_precision(detector, scene.images, scene.truths)
    detector.configure(config)
    line |= stage_times(detector, scene.images, scene.rounds)
    [first] = detector(scene.images[:1])
    line["feature_width"] = 0 if first.features is None else first.features.shape[1]
    if line["feature_width"]:
        detector.configure(replace(config, {"detector.classes": ("person",), "detector.score_threshold": SURE}))
        seen = identities(detector, scene.video, scene.truth)
        line["features"] = [appearance_auc(*seen, gap=gap) for gap in GAPS]
    detector.close()
    return line


def versions(model: str, config: Config, folder: Path) -> Mapping[str, str]:
    """What is measured of a model: itself, and what is exported of it where it has no features. Name to path."""
    detector = detection.load_detector(config)
    layout, size = detector.layout, (detector.canvas.height, detector.canvas.width)
    detector.close()
    name = Path(model).name
    if layout == "candidates":
        return {name: model}
    made = {name: model}
    for kind in ("appearance", "cells"):
        sized = replace(config, {"detector.height": size[0], "detector.width": size[1]})
        path = folder / f"{kind}_{name}"
        onnx.save(export_detector(Path(model).expanduser(), sized.detector, wanted=kind).model, path)
        made[f"{name}, exported, {kind}"] = str(path)
    return made


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, default=Path(".cache/vtest.avi"))
    parser.add_argument("--ground-truth", type=Path, required=True, help="MOTChallenge gt.txt of the video")
    parser.add_argument("--models", nargs="*", default=["default"], help="PATH or name, with @HEIGHTxWIDTH where free")
    parser.add_argument("--every", type=int, default=10, help="score and time every n-th frame")
    parser.add_argument("--rounds", type=int, default=3, help="how often each frame is timed")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    base = replace(Config(), {"engine.threads": args.threads, "engine.runtime": "onnxruntime"})
    numbers, images = read_frames(args.video, args.every)
    scene = Scene(images, read_truth(args.ground_truth, numbers), args.video, args.ground_truth, args.rounds)
    result: dict[str, Any] = {"machine": machine(base), "frames": len(images), "rounds": args.rounds, "models": {}}
    with tempfile.TemporaryDirectory() as folder:
        for entry in args.models:
            model, _, size = entry.partition("@")
            height, width = map(int, (size or "0x0").split("x"))
            config = replace(base, {"detector.model": model, "detector.height": height, "detector.width": width})
            for name, path in versions(model, config, Path(folder)).items():
                one = replace(config, {"detector.model": path})
                line = measure(one, scene)
                result["models"][name] = line | {"load": round(os.getloadavg()[0], 2)}
                if not args.json:
                    print(name, *(f"  {key} {value}" for key, value in result["models"][name].items()), sep="\n")
    if args.json:
        print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()

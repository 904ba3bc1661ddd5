"""Whether the detector's features tell people apart: ROC AUC of same against different people, by the time between.

    python bench/detector_features.py --video .cache/vtest.avi --ground-truth ../shared/data/pets09-s2l1/gt.txt --json

Every third frame's detections are given the identity of the ground truth that they overlap; every pair of detections so
many frames apart is compared by its cosine. An AUC of 0.5 is chance, 1 is that every same pair beats every other.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
from scipy.stats import mannwhitneyu

from alstm_ros import detection
from alstm_ros.boxes import iou
from alstm_ros.config import Config
from alstm_ros.options import replace
from alstm_ros.types import Float32, Int64

EVERY = 3


def collect(video: Path, truth: Path, config: Config) -> tuple[Int64, Int64, Float32]:
    """Frame numbers `(N,)`, identities `(N,)` and features `(N, C)` of the detections that are somebody."""
    table = np.loadtxt(truth, delimiter=",", ndmin=2)
    detector = detection.load(config)
    capture = cv2.VideoCapture(str(video))
    frames: list[int] = []
    ids: list[int] = []
    features: list[Float32] = []
    number = 0
    while capture.grab():
        number += 1
        if number % EVERY:
            continue
        found = detector([capture.retrieve()[1]])[0]
        rows = table[table[:, 0] == number]
        boxes = np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1).astype(np.float32)
        if found.features is None:
            raise SystemExit("This detector offers no features.")
        if not len(found) or not len(boxes):
            continue
        overlaps = iou(found.boxes, boxes)
        for row in np.flatnonzero(overlaps.max(axis=1) > 0.4):
            frames.append(number)
            ids.append(int(rows[overlaps[row].argmax(), 1]))
            features.append(found.features[row])
    return np.array(frames), np.array(ids), np.stack(features)


def auc(frames: Int64, ids: Int64, features: Float32, gap: int) -> dict[str, float]:
    """The AUC of pairs this many frames apart, and how many pairs that are."""
    first, second = np.nonzero(frames[None, :] - frames[:, None] == gap)
    alike = np.einsum("nc,nc->n", features[first], features[second])
    same = ids[first] == ids[second]
    one, other = alike[same], alike[~same]
    area = mannwhitneyu(one, other).statistic / (len(one) * len(other))
    return {"frames_apart": gap, "auc": round(float(area), 4), "same": len(one), "different": len(other)}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, default=Path(".cache/vtest.avi"))
    parser.add_argument("--ground-truth", type=Path, required=True, help="MOTChallenge gt.txt of the video")
    parser.add_argument("--model", default="default", help="what detector.model takes")
    parser.add_argument("--gaps", type=int, nargs="*", default=[3, 30, 90], help=f"in frames, multiples of {EVERY}")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    config = replace(Config(), {"detector.model": args.model, "detector.score_threshold": 0.25})
    frames, ids, features = collect(args.video, args.ground_truth, config)
    result = {"model": args.model, "width": features.shape[1]}
    lines = [auc(frames, ids, features, gap) for gap in args.gaps]
    if args.json:
        print(json.dumps(result | {"gaps": lines}))
        return
    print(result, *lines, sep="\n")


if __name__ == "__main__":
    main()

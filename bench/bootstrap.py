"""How right are the pairs that `alstm bootstrap` labels by itself? `bench/bootstrap.py --json`.

MOT17 with its detections, all frames; DanceTrack with detections simulated from its ground truth; vtest.avi from
pixels. The ground truth is hidden until the counting.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from alstm_ros.config import Config
from alstm_ros.detection import load
from alstm_ros.evaluation.detection_cache import detect_all
from alstm_ros.evaluation.mot import MotDetections, read_labels
from alstm_ros.evaluation.sources import DetectionFrame
from alstm_ros.evaluation.video import Video
from alstm_ros.learning.bootstrap import bootstrap
from alstm_ros.learning.noise import Detector, Noise
from alstm_ros.learning.purity import Purity, purity
from alstm_ros.learning.scenes import read_scene

ROOT = Path(__file__).resolve().parents[1]


def mot17(data: Path) -> Purity:
    """Its own detections."""
    total = Purity(*[0] * 7)
    for folder in sorted((data / "mot17").iterdir()):
        source = MotDetections(folder / "det.txt", folder / "seqinfo.ini", folder / "gmc.txt")
        truth = read_labels(folder / "gt.txt", truth=True, length=source.length)
        total += purity(bootstrap(list(source), Config()), truth)
    return total


def dancetrack(data: Path, count: int) -> Purity:
    """Simulated detections, seeded by the sequence's place."""
    total = Purity(*[0] * 7)
    for seed, folder in enumerate(sorted((data / "dancetrack").iterdir())[:count]):
        scene = read_scene(folder)
        detector = Detector(scene, Noise(), np.random.default_rng(seed))
        affines = [None] * len(scene) if scene.affines is None else list(scene.affines)
        frames = [
            (i + 1, DetectionFrame(detector(i)[0], int(stamp), affine))
            for i, (stamp, affine) in enumerate(zip(scene.stamps_ns, affines, strict=True))
        ]
        total += purity(bootstrap(frames, Config()), read_labels(folder / "gt.txt", truth=True, length=len(scene)))
    return total


def vtest(data: Path, video: Path) -> Purity:
    """The default detector's detections."""
    with tempfile.TemporaryDirectory() as folder:
        cached = detect_all(Video(video, 10), Config(), load, video, Path(folder), quiet=True)
    truth = read_labels(data / "pets09-s2l1" / "gt.txt", truth=True)
    return purity(bootstrap(cached.frames, Config()), truth)


def main() -> None:
    """Runs the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=("mot17", "dancetrack", "vtest"), help="default: all")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="the data folder")
    parser.add_argument("--video", type=Path, default=ROOT / ".cache" / "vtest.avi", help="vtest.avi")
    parser.add_argument("--sequences", type=int, default=40, help="how many of DanceTrack's")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    parts = args.part or ["mot17", "dancetrack", "vtest"]
    found: dict[str, Any] = {}
    if "mot17" in parts:
        found["mot17"] = mot17(args.data)
    if "dancetrack" in parts:
        found["dancetrack"] = dancetrack(args.data, args.sequences)
    if "vtest" in parts:
        found["vtest"] = vtest(args.data, args.video)
    numbers = {name: pure.percent() | {"links": pure.same, "pairs": pure.pairs} for name, pure in found.items()}
    if args.json:
        print(json.dumps(numbers, indent=2))
        return
    for name, one in numbers.items():
        print(name, *(f"{key}={value:.5g}" for key, value in one.items()))


if __name__ == "__main__":
    main()

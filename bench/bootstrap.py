"""How right are the pairs that `alstm bootstrap` labels by itself? `bench/bootstrap.py --json`.

MOT17 with its detections, all frames; DanceTrack with detections simulated from its ground truth; vtest.avi from
pixels. The ground truth is hidden until the counting.
memory: peak of a process that bootstraps --hours at 30 frames a second, 11 people with features of 64, and then draws
clips of it as training does. The frames are made up as they go, so that nothing but the work itself is counted.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from alstm_ros.config import Config
from alstm_ros.detection import load_detector
from alstm_ros.learning.pseudo_labels.augment import draw_augmented_clip
from alstm_ros.learning.pseudo_labels.footage import PseudoLabels
from alstm_ros.learning.pseudo_labels.purity import Purity, purity
from alstm_ros.learning.pseudo_labels.recordings import LabelledRecording, in_parts, write_recording
from alstm_ros.learning.pseudo_labels.stitch import stitch
from alstm_ros.learning.pseudo_labels.strict_links import bootstrap
from alstm_ros.learning.simulation.detector_noise import DetectorNoise, SimulatedDetector
from alstm_ros.learning.simulation.scenes import read_scene
from alstm_ros.recordings.detection_cache import DetectedSource, detect_all
from alstm_ros.recordings.frames import DetectionFrame
from alstm_ros.recordings.mot import MotDetections, read_labels
from alstm_ros.recordings.video import Video
from alstm_ros.types import Detections

ROOT = Path(__file__).resolve().parents[1]


Labelled = Callable[[Sequence[tuple[int, DetectionFrame]]], PseudoLabels]


def strict(frames: Sequence[tuple[int, DetectionFrame]]) -> PseudoLabels:
    """What `alstm bootstrap` labels."""
    return bootstrap(frames, Config())


def stitched(frames: Sequence[tuple[int, DetectionFrame]]) -> PseudoLabels:
    """What `--stitch` adds to it, alone."""
    pairs = bootstrap(frames, Config())
    joined, count = stitch(pairs), len(pairs.labels)
    return replace(joined, first=joined.first[count:], second=joined.second[count:], labels=joined.labels[count:])


def mot17(data: Path, label: Labelled) -> Purity:
    """Its own detections."""
    total = Purity(*[0] * 7)
    for folder in sorted((data / "mot17").iterdir()):
        source = MotDetections(folder / "det.txt", folder / "seqinfo.ini", folder / "gmc.txt")
        truth = read_labels(folder / "gt.txt", truth=True, length=source.length)
        total += purity(label(list(source)), truth)
    return total


def dancetrack(data: Path, count: int, label: Labelled) -> Purity:
    """Simulated detections, seeded by the sequence's place."""
    total = Purity(*[0] * 7)
    for seed, folder in enumerate(sorted((data / "dancetrack").iterdir())[:count]):
        scene = read_scene(folder)
        detector = SimulatedDetector(scene, DetectorNoise(), np.random.default_rng(seed))
        affines = [None] * len(scene) if scene.affines is None else list(scene.affines)
        frames = [
            (i + 1, DetectionFrame(detector(i)[0], int(stamp), affine))
            for i, (stamp, affine) in enumerate(zip(scene.stamps_ns, affines, strict=True))
        ]
        total += purity(label(frames), read_labels(folder / "gt.txt", truth=True, length=len(scene)))
    return total


def vtest(data: Path, video: Path, label: Labelled) -> Purity:
    """The default detector's detections."""
    with tempfile.TemporaryDirectory() as folder:
        cached = detect_all(DetectedSource(Video(video, 10), Config(), load_detector, video, Path(folder), quiet=True))
    truth = read_labels(data / "pets09-s2l1" / "gt.txt", truth=True)
    return purity(label(cached.frames), truth)


def street(hours: float) -> Iterator[tuple[int, DetectionFrame]]:
    """Eleven people who walk to and fro."""
    rng = np.random.default_rng(0)
    scores, classes = np.full(11, 0.9, np.float32), np.zeros(11, np.int64)
    for number in range(1, round(hours * 3600 * 30) + 1):
        features = rng.standard_normal((11, 64)).astype(np.float32)
        left = 100.0 * np.arange(11) + 2.0 * abs(number % 300 - 150)
        boxes = np.stack([left, 50 + 0 * left, left + 40, 150 + 0 * left], axis=1).astype(np.float32)
        yield number, DetectionFrame(Detections(boxes, scores, classes, features), number * 33_333_333)


def bootstrap_long(hours: float, path: str) -> dict[str, Any]:
    """Bootstraps so many hours and draws from them; in a process of its own."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    write_recording(Path(path), (bootstrap(part, Config()) for part in in_parts(street(hours))))
    recording = LabelledRecording.open(Path(path))
    rng = np.random.default_rng(0)
    for _ in range(20):
        draw_augmented_clip(rng, [recording], 200)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size = Path(path).stat().st_size
    return {
        "hours": hours,
        "frames": len(recording),
        "file_megabytes": size / 1e6,
        "start_megabytes": before * 1.024e-3,
        "peak_megabytes": peak * 1.024e-3,
    }


def memory(hours: float) -> dict[str, Any]:
    """See the top."""
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(bootstrap_long, hours, str(Path(folder) / "street.npz")).result()


def main() -> None:
    """Runs the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--part", action="append", choices=("mot17", "dancetrack", "vtest", "memory"), help="default: all"
    )
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="the data folder")
    parser.add_argument("--video", type=Path, default=ROOT / ".cache" / "vtest.avi", help="vtest.avi")
    parser.add_argument("--sequences", type=int, default=40, help="how many of DanceTrack's")
    parser.add_argument("--hours", type=float, default=1.0, help="length of the recording of the part memory")
    parser.add_argument("--stitch", action="store_true", help="judge the links that 'alstm bootstrap --stitch' adds")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    label = stitched if args.stitch else strict
    parts = args.part or ["mot17", "dancetrack", "vtest", "memory"]
    found: dict[str, Any] = {}
    if "mot17" in parts:
        found["mot17"] = mot17(args.data, label)
    if "dancetrack" in parts:
        found["dancetrack"] = dancetrack(args.data, args.sequences, label)
    if "vtest" in parts:
        found["vtest"] = vtest(args.data, args.video, label)
    numbers: dict[str, dict[str, Any]] = {
        name: pure.percent() | {"links": pure.same, "pairs": pure.pairs} for name, pure in found.items()
    }
    if "memory" in parts:
        numbers["memory"] = memory(args.hours)
    if args.json:
        print(json.dumps(numbers, indent=2))
        return
    for name, one in numbers.items():
        print(name, *(f"{key}={value:.5g}" for key, value in one.items()))


if __name__ == "__main__":
    main()

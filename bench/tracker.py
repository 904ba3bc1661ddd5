"""How long the tracker takes for a frame, by rules and with a learned association: `python -m bench.tracker --json`.

People walk over a plane in view of a camera at 30 frames a second; each is detected with jitter, one in twenty is
missed, one in ten is seen with a low score. Times are those of `TrackManager.update`, all bookkeeping included, on one
core; the peers of PyPI's `trackers` stand beside them where it is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

os.environ.setdefault("OMP_NUM_THREADS", "1")

from alstm_ros.association.learned.associator import configured
from alstm_ros.association.tracker import IdCounter, TrackManager
from alstm_ros.config import Config
from alstm_ros.options import replace
from alstm_ros.types import Detections

COUNTS = (10, 23, 100, 300)
FRAMES = 200
WARM = 30
REPEATS = 3
Step = Callable[[int, Detections], object]


def crowd(count: int, seed: int = 0) -> list[Detections]:
    """FRAMES frames of this many people."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(0, 1, (count, 2)) * (1920, 1080)
    speed = rng.normal(0, 60, (count, 2))
    height = rng.uniform(60, 200, count)
    frames = []
    for _ in range(FRAMES):
        place += speed / 30
        speed[(place < 0) | (place > (1920, 1080))] *= -1
        centre = place + rng.normal(0, 0.02, (count, 2)) * height[:, None]
        size = np.stack([0.4 * height, height], axis=1) * np.exp(rng.normal(0, 0.03, (count, 2)))
        scores = np.where(rng.random(count) < 0.1, rng.uniform(0.1, 0.6, count), rng.uniform(0.7, 0.95, count))
        seen = rng.random(count) > 0.05
        boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1)[seen].astype(np.float32)
        frames.append(Detections(boxes, scores[seen].astype(np.float32), np.zeros(len(boxes), np.int64)))
    return frames


def ours(model: str = "", *, common_motion: bool = True) -> Callable[[], Step]:
    """Our tracker, by its rules alone where `model` names no learned association."""
    config = replace(Config(), {"association.model": model, "association.common_motion": common_motion})

    def start() -> Step:
        manager = TrackManager(config, IdCounter(), configured(config)())
        return lambda number, found: manager.update(found, round(number * 1e9 / 30))

    return start


def peers() -> dict[str, Callable[[], Step]]:
    """Name to peer; none where they are not installed."""
    try:
        import supervision  # noqa: PLC0415  # optional
        import trackers  # noqa: PLC0415
    except ModuleNotFoundError:
        return {}

    def peer(make: Callable[[], object]) -> Callable[[], Step]:
        def start() -> Step:
            tracker = make()

            def step(_number: int, found: Detections) -> object:
                given = supervision.Detections(xyxy=found.boxes, confidence=found.scores, class_id=found.classes)
                return tracker.update(given)  # type: ignore[attr-defined]  # every tracker of the package has it

            return step

        return start

    return {
        "SORT": peer(trackers.SORTTracker),
        "ByteTrack": peer(trackers.ByteTrackTracker),
        "OC-SORT": peer(trackers.OCSORTTracker),
        "BoT-SORT": peer(lambda: trackers.BoTSORTTracker(enable_cmc=False)),
    }


def measure(start: Callable[[], Step], frames: Sequence[Detections]) -> dict[str, float]:
    """Milliseconds a frame: each frame's shortest time over the repeats, since others' work only ever adds time."""
    runs = []
    for _ in range(REPEATS):
        step, times = start(), []
        for number, found in enumerate(frames):
            begin = time.perf_counter()
            step(number, found)
            times.append(time.perf_counter() - begin)
        runs.append(times)
    best = 1000 * np.min(runs, axis=0)[WARM:]
    return {"p50_ms": float(np.median(best)), "p99_ms": float(np.percentile(best, 99))}


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--no-peers", action="store_true", help="measure ours alone")
    parser.add_argument("--model", default="default", help="the learned association")
    args = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    contestants = {
        "alstm_ros, rules": ours(),
        "alstm_ros, no common motion": ours(common_motion=False),
        "alstm_ros, learned": ours(args.model),
    }
    answer: dict[str, dict[str, dict[str, float]]] = {}
    for count in COUNTS:
        frames = crowd(count)
        everyone = contestants | ({} if args.no_peers else peers())
        rows = {name: measure(start, frames) for name, start in everyone.items()}
        for row in rows.values():
            row["ratio_p50"] = row["p50_ms"] / rows["alstm_ros, rules"]["p50_ms"]
        answer[str(count)] = rows
    if args.json:
        print(json.dumps(answer, indent=1))
        return 0
    for objects, rows in answer.items():
        for name, row in rows.items():
            cells = f"{row['p50_ms']:8.3f} ms p50 {row['p99_ms']:8.3f} ms p99 {row['ratio_p50']:6.2f}"
            print(f"{objects:>4} {name:28}{cells}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

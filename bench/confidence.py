"""Fits the association confidence that the rules publish: `python -m bench.confidence --data FOLDER`.

A match is right where the detection's true object is the one that the track held before. A logistic regression over the
match's margins and the time lost is fitted on simulated detections of DanceTrack's training sequences, every frame kept
and every third, and judged on the sequences set aside: expected calibration error, 15 bins. FOLDER holds `dancetrack`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from alstm_ros.association.assignment import confidence, match_margins
from alstm_ros.association.associator import Candidates, Decision, Refinement
from alstm_ros.association.tracker import IdCounter, TrackManager
from alstm_ros.boxes import iou
from alstm_ros.config import Config
from alstm_ros.learning.clips import split_sequences
from alstm_ros.learning.simulation.detector_noise import DetectorNoise
from alstm_ros.learning.simulation.scenes import read_scene
from alstm_ros.types import Float32, Float64
from bench.association_data import Case, dancetrack, simulated, thin, without_motion
from bench.association_scores import calibration

SEED = 11
"""Of the simulated detections; another than that of the sequences set aside."""


class Margins:
    """An associator that changes nothing and keeps each match's margins, as `assignment` computes them."""

    width = 0

    def __init__(self) -> None:
        """Has seen nothing yet."""
        self.seen: dict[int, tuple[float, float, float]] = {}

    def correct(self, candidates: Candidates) -> Float32:
        """No correction."""
        return np.zeros(len(candidates.rows), np.float32)

    def advance(self, decision: Decision) -> Refinement:
        """Remembers the margins and seconds lost of each match, by detection."""
        candidates, rows, columns = decision.candidates, decision.rows, decision.columns
        away = (candidates.tracks.unseen_ns[rows] - candidates.dt_ns) / 1e9
        wide = len(candidates.detections)  # candidates are in the order of rows and columns
        place = np.searchsorted(candidates.rows * wide + candidates.columns, rows * wide + columns)
        costs = candidates.costs.astype(np.float64)
        margins = match_margins(candidates.rows, candidates.columns, costs, place)
        self.seen = dict(zip(columns.tolist(), zip(*margins.T.tolist(), away.tolist(), strict=True), strict=True))
        return decision.plain

    def forget(self, slots: NDArray[np.int64]) -> None:
        """Keeps nothing of tracks."""


def matches(cases: Iterable[Case]) -> tuple[Float64, NDArray[np.bool_]]:
    """Margins and seconds lost `(K, 3)` of all matches to a real object, and whether they were right."""
    seen, right = [], []
    for case in cases:
        margins = Margins()
        manager, last = TrackManager(Config(), IdCounter(), margins), dict[int, int]()
        truth = case.truth.rows()
        for number, frame in enumerate(case.frames):
            tracks = manager.update(frame.detections, frame.stamp_ns, frame.motion).tracks
            part = slice(truth[number], truth[number + 1])
            overlap = iou(frame.detections.boxes.astype(np.float64), case.truth.boxes[part])
            for key, column in zip(tracks.ids.tolist(), tracks.detection.tolist(), strict=True):
                if column < 0 or not overlap.shape[1] or overlap[column].max() < 0.5:
                    continue
                who = int(case.truth.ids[part][overlap[column].argmax()])
                if key in last and column in margins.seen:
                    seen.append(margins.seen[column])
                    right.append(last[key] == who)
                last[key] = who
    return np.array(seen), np.array(right)


def fit(seen: Float64, right: NDArray[np.bool_], steps: int = 50) -> Float64:
    """Logistic regression by Newton's method: `(4,)`."""
    x = np.concatenate([np.ones((len(seen), 1)), seen[:, :2], np.log1p(10 * np.maximum(seen[:, 2:], 0))], axis=1)
    weights = np.zeros(x.shape[1])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-x @ weights))
        curvature = (x * (p * (1 - p))[:, None]).T @ x + 1e-3 * np.eye(len(weights))
        weights += np.linalg.solve(curvature, x.T @ (right - p))
    return np.asarray(weights)


def main() -> int:
    """Fits, judges and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with dancetrack")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    places = split_sequences(args.data / "dancetrack", 5)[0]
    scenes = [simulated(read_scene(place), DetectorNoise(), SEED + k) for k, place in enumerate(tqdm(places))]
    scenes = without_motion(scenes)
    weights = fit(*matches(scenes + [thin(case, np.arange(0, len(case.frames), 3)) for case in scenes[::2]]))
    held = without_motion(dancetrack(args.data / "dancetrack"))
    errors = {}
    for name, cases in (
        ("every frame", held),
        ("every 3rd", [thin(case, np.arange(0, len(case.frames), 3)) for case in held]),
    ):
        seen, right = matches(cases)
        found = confidence(seen[:, :2], seen[:, 2])
        errors[name] = {
            "matches": len(right),
            "right": float(right.mean()),
            "ECE of the shipped": calibration(list(zip(found.tolist(), right.tolist(), strict=True))),
        }
    answer = {"fitted": weights.round(2).tolist(), "set aside": errors}
    print(json.dumps(answer, indent=None if args.json else 1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

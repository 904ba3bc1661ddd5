"""Published numbers come out the same: five trackers on MOT17 half-val, and motmetrics' example."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alstm_ros.commands.evaluate import ScoringTask, judge_task
from alstm_ros.evaluation.pairing import Pair, find_truths
from alstm_ros.evaluation.scoring import Judged, total
from alstm_ros.recordings.mot import MotDetections

# The table in ../shared/data/README.md: HOTA, DetA, AssA, MOTA, IDF1, IDSW of `trackers` 2.6.1 with its defaults.
PEERS = {
    "SORT": (62.81, 62.51, 63.83, 69.18, 71.44, 570),
    "ByteTrack": (65.22, 65.08, 65.96, 74.70, 75.24, 350),
    "OC-SORT": (66.34, 64.21, 68.98, 74.52, 77.95, 207),
    "C-BIoU": (66.99, 66.73, 67.77, 77.80, 78.03, 188),
    "BoT-SORT": (67.71, 66.69, 69.27, 77.66, 79.32, 211),
}
NUMBERS = ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW")


def makers() -> dict[str, Callable[[], Any]]:
    import trackers

    return {
        "SORT": trackers.SORTTracker,
        "ByteTrack": trackers.ByteTrackTracker,
        "OC-SORT": trackers.OCSORTTracker,
        "C-BIoU": trackers.CBIoUTracker,
        "BoT-SORT": lambda: trackers.BoTSORTTracker(enable_cmc=False),
    }


def run_peer(make: Callable[[], Any], sequence: Path, output: Path) -> None:
    """Runs a peer over the second half of a sequence and writes its tracks."""
    import supervision

    source = MotDetections(sequence / "det.txt", sequence / "seqinfo.ini")
    tracker = make()
    with output.open("w", encoding="utf-8") as file:
        for number, frame in source:
            if number <= source.length // 2:
                continue
            found = frame.detections[frame.detections.scores >= 0.1]
            published = tracker.update(
                supervision.Detections(xyxy=found.boxes, confidence=found.scores, class_id=found.classes.astype(int))
            )
            for box, key, score in zip(published.xyxy, published.tracker_id, published.confidence, strict=True):
                if key >= 0:  # not yet confirmed otherwise
                    (left, top), (width, height) = box[:2], box[2:] - box[:2]
                    file.write(f"{number},{key},{left:.3f},{top:.3f},{width:.3f},{height:.3f},{score:.3f},-1,-1,-1\n")


@pytest.mark.slow
@pytest.mark.parametrize("peer", PEERS)
def test_peers_on_mot17(shared: Path, tmp_path: Path, peer: str) -> None:
    if find_spec("trackers") is None:
        pytest.skip("the peers' package 'trackers' is not installed")
    truths = find_truths([shared / "data" / "mot17"])
    assert len(truths) == 7
    judged: list[Judged] = []
    for name, truth in truths.items():
        output = tmp_path / f"{name}.txt"
        run_peer(makers()[peer], truth.parent, output)
        judged.append(judge_task(ScoringTask(Pair(name, truth, output), "auto", "second-half", "", "")))
    numbers = total(judged).numbers
    assert [numbers[name] for name in NUMBERS] == pytest.approx(PEERS[peer], abs=0.05)
    for item in judged:  # our own walk through the matches finds the very switches that TrackEval counts
        assert sum(len(line.switches) for line in item.timelines.values()) == item.score.numbers["IDSW"]


def test_motmetrics_example() -> None:
    spec = find_spec("motmetrics")
    if spec is None or spec.origin is None:
        pytest.skip("the package 'motmetrics', which carries the example, is not installed")
    folder = Path(spec.origin).parent / "data" / "TUD-Campus"
    pair = Pair("TUD-Campus", folder / "gt.txt", folder / "test.txt")
    judged = judge_task(ScoringTask(pair, "auto", "", "", ""))
    numbers = judged.score.numbers
    # From motmetrics' README, section on MOTChallenge metrics.
    published = {"IDF1": 55.8, "IDP": 73.0, "IDR": 45.1, "MOTA": 52.6, "MOTP": 100 - 27.7}
    assert {name: round(numbers[name], 1) for name in published} == published
    counts = {"MT": 1, "PT": 6, "ML": 1, "FP": 13, "FN": 150, "IDSW": 7, "Frag": 7}
    assert {name: numbers[name] for name in counts} == counts
    assert len(judged.timelines["pedestrian"].switches) == 7
    assert np.mean(judged.score.curve) == pytest.approx(numbers["HOTA"])

"""The trackers that people use, from PyPI's `trackers`, with their defaults, behind the shape of `association.py`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import supervision
import trackers

from alstm_ros.recordings.labels import Labels, make_labels
from bench.association_data import Case


@dataclass(slots=True)
class PeerOutput:
    """See association.Output; peers tell no confidence."""

    labels: Labels
    times: list[float]
    confidences: list[tuple[float, bool]] = field(default_factory=list)


def peer(start: Callable[[], Any]) -> Callable[[Case], Any]:
    """Runs a peer over a case."""

    def run(case: Case) -> PeerOutput:
        tracker, rows, times = start(), [], []
        for number, frame in enumerate(case.frames, 1):
            found = supervision.Detections(
                xyxy=frame.detections.boxes,
                confidence=frame.detections.scores,
                class_id=np.zeros(len(frame.detections), int),
            )
            begin = time.perf_counter()
            out = tracker.update(found)
            times.append((time.perf_counter() - begin) * 1e3)
            ids = np.zeros(0, int) if out.tracker_id is None else np.asarray(out.tracker_id)
            good = ids >= 0
            if len(ids):
                rows.append((np.full(good.sum(), number), ids[good], out.xyxy[good], out.confidence[good]))
        blank = (np.zeros(0, int), np.zeros(0, int), np.zeros((0, 4)), np.zeros(0))
        columns = [np.concatenate(column) for column in zip(blank, *rows, strict=True)]
        numbers, ids, boxes, scores = columns
        labels = make_labels(numbers, ids, boxes, scores, np.ones(len(ids), np.int64), length=len(case.frames))
        return PeerOutput(labels, times)

    return run


PEERS: dict[str, Callable[[Case], Any]] = {
    "SORT": peer(trackers.SORTTracker),
    "ByteTrack": peer(trackers.ByteTrackTracker),
    "OC-SORT": peer(trackers.OCSORTTracker),
    "BoT-SORT": peer(lambda: trackers.BoTSORTTracker(enable_cmc=False)),
}
"""Name to contestant; BoT-SORT without camera motion from images, for there are none, and without ReID."""

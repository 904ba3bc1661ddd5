"""What `bench/association.py` measures beside TrackEval's scores: precision of boxes, and truth of confidences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from alstm_ros.boxes import iou
from alstm_ros.evaluation.average_precision import average_precision
from alstm_ros.recordings.labels import Labels, make_labels
from alstm_ros.types import Detections
from bench.association_data import Case


class Judge:
    """Whether each association was right: the detection's true object is the one that the track last held."""

    def __init__(self, case: Case) -> None:
        """Has seen nothing yet."""
        self._truth, self._rows = case.truth, case.truth.rows()
        self._last: dict[int, int] = {}
        self.found: list[tuple[float, bool]] = []

    def __call__(
        self, number: int, detections: Detections, ids: np.ndarray, found: np.ndarray, confidences: np.ndarray
    ) -> None:
        """Takes in a frame: its number, detections, and each track's id, detection and confidence."""
        part = slice(self._rows[number - 1], self._rows[number])
        overlap = iou(detections.boxes.astype(np.float64), self._truth.boxes[part])
        if not overlap.size:
            return
        who = np.where(overlap.max(axis=1) >= 0.5, self._truth.ids[part][overlap.argmax(axis=1)], -1)
        for key, column, confidence in zip(ids.tolist(), found.tolist(), confidences.tolist(), strict=True):
            if column < 0 or who[column] < 0:
                continue
            if key in self._last and np.isfinite(confidence):
                self.found.append((confidence, self._last[key] == who[column]))
            self._last[key] = int(who[column])


def calibration(found: Sequence[tuple[float, bool]], bins: int = 15) -> float:
    """Expected calibration error, bins of equal width (Guo et al. 2017)."""
    if not found:
        return float("nan")
    confidence, right = (np.array(column, np.float64) for column in zip(*found, strict=True))
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(confidence[which == b].mean() - right[which == b].mean()) * (which == b).mean() for b in np.unique(which)
    ]
    return float(sum(gaps))


def published_ap(cases: Iterable[Case], outputs: Iterable[Labels]) -> float:
    """AP50 in percent over all frames of all cases; ground truth that is not counted is left out."""
    boxes, scores, truths = [], [], []
    for case, labels in zip(cases, outputs, strict=True):
        truth = case.truth.select(case.truth.counted)
        mine, theirs = labels.rows(), truth.rows()
        for k in range(len(case.frames)):
            part = slice(mine[k], mine[k + 1])
            boxes.append(labels.boxes[part].astype(np.float32))
            scores.append(labels.scores[part].astype(np.float32))
            truths.append(truth.boxes[theirs[k] : theirs[k + 1]].astype(np.float32))
    return 100 * average_precision(boxes, scores, truths).average_precision


def raw_labels(case: Case) -> Labels:
    """The detections themselves, ids meaningless."""
    counts = [len(frame.detections) for frame in case.frames]
    numbers = np.repeat(np.arange(1, len(counts) + 1), counts)
    boxes = np.concatenate([frame.detections.boxes for frame in case.frames])
    scores = np.concatenate([frame.detections.scores for frame in case.frames])
    return make_labels(
        numbers, np.arange(sum(counts)), boxes, scores, np.ones(sum(counts), np.int64), length=len(counts)
    )


def drawn(rows: Sequence[dict[str, float]], base: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of several draws, with the mean gain over the base tracker on the same draws and its standard error."""
    found = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    for key in ("HOTA", "AssA", "MOTA", "IDF1", "IDSW", "AP50"):
        gains = [row[key] - other[key] for row, other in zip(rows, base, strict=True)]
        found[f"{key}_gain"] = float(np.mean(gains))
        found[f"{key}_error"] = float(np.std(gains, ddof=1) / len(gains) ** 0.5) if len(gains) > 1 else float("nan")
    return found

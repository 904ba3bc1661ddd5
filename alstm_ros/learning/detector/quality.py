"""How good a detector's boxes are, class by class, and what its scores mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alstm_ros.boxes import iou
from alstm_ros.errors import DataError
from alstm_ros.evaluation.average_precision import PrecisionRecall, average_precision
from alstm_ros.learning.detector.export import Calibration
from alstm_ros.types import Float32, Float64

SURE = 0.45
"""Labels of a lower score are doubtful: what is found there is neither right nor wrong."""
FEWEST = 50
"""Detections below which no calibration is tried."""


@dataclass(frozen=True, slots=True)
class ClassQuality:
    """One class on some images.

    Attributes:
        name: the class.
        objects: how many of it there are.
        curve: precision and recall at IoU 0.5.
    """

    name: str
    objects: int
    curve: PrecisionRecall


def judge(found: Sequence[Float32], truths: Sequence[Float32], classes: Sequence[str]) -> list[ClassQuality]:
    """Each class of which there is an object.

    Args:
        found: for each image `(N, 6)`: xyxy, score, class index.
        truths: for each image `(M, 6)`, likewise.
        classes: their names.
    """
    answer = []
    for kind, name in enumerate(classes):
        there = [rows[(rows[:, 5] == kind) & (rows[:, 4] >= SURE), :4] for rows in truths]
        doubts = [rows[(rows[:, 5] == kind) & (rows[:, 4] < SURE), :4] for rows in truths]
        mine = [rows[rows[:, 5] == kind] for rows in found]
        mine = [_clear(*parts) for parts in zip(mine, there, doubts, strict=True)]
        if objects := sum(map(len, there)):
            curve = average_precision([rows[:, :4] for rows in mine], [rows[:, 4] for rows in mine], there)
            answer.append(ClassQuality(name, objects, curve))
    return answer


def _clear(rows: Float32, there: Float32, doubts: Float32) -> Float32:
    """Detections without those that lie on a doubtful label and on no sure one."""
    doubtful = (iou(rows[:, :4], doubts) > 0.5).any(axis=1) & ~(iou(rows[:, :4], there) > 0.5).any(axis=1)
    return np.asarray(rows[~doubtful])


def hits(curve: PrecisionRecall) -> Float64:
    """1 for each detection of a curve that is right, else 0, best score first: `(N,)`."""
    right = np.rint(curve.precision * np.arange(1, len(curve.precision) + 1))
    return np.diff(right, prepend=0.0)


def calibrate(qualities: Sequence[ClassQuality]) -> Calibration:
    """Scale and shift of the logit that make a score the chance to be right.

    Platt, "Probabilistic outputs for support vector machines" (1999): the likeliest pair, found by Newton's method.

    Raises:
        DataError: there are too few detections to tell, or all are alike.
    """
    scores = np.concatenate([np.zeros(0), *(quality.curve.scores for quality in qualities)]).clip(1e-4, 1 - 1e-4)
    right = np.concatenate([np.zeros(0), *(hits(quality.curve) for quality in qualities)])
    if len(scores) < FEWEST or right.min() == right.max():
        raise DataError(
            f"Scores are calibrated on at least {FEWEST} detections, right and wrong ones; the held images give "
            f"{len(scores)}, {int(right.sum())} of them right."
        )
    inputs = np.column_stack([np.log(scores / (1 - scores)), np.ones(len(scores))])
    guess = np.array([1.0, 0.0])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-inputs @ guess))
        slope = inputs.T @ (right - chance)
        bend = (inputs * (chance * (1 - chance))[:, None]).T @ inputs + 1e-6 * np.eye(2)
        step = np.linalg.solve(bend, slope)
        guess = guess + step
        if np.abs(step).max() < 1e-9:
            break
    return Calibration(float(guess[0]), float(guess[1]))

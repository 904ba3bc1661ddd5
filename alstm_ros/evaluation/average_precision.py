"""Average precision of detections against ground truth, for one class at one IoU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alstm_ros.boxes import iou
from alstm_ros.errors import DataError
from alstm_ros.types import Float32, Float64


@dataclass(frozen=True, slots=True)
class PrecisionRecall:
    """The curve that a falling score threshold draws, and its summary.

    Attributes:
        scores: `(N,)` float64, all detections' scores, falling.
        precision: `(N,)` float64, of the detections down to this score.
        recall: `(N,)` float64, likewise.
        average_precision: area under the curve in 0..1; NaN where there is no ground truth.
    """

    scores: Float64
    precision: Float64
    recall: Float64
    average_precision: float

    def best_f1(self) -> tuple[float, float]:
        """The highest F1 and the score threshold that reaches it; (0, 1) where nothing was detected."""
        if not len(self.scores):
            return 0.0, 1.0
        total = self.precision + self.recall
        f1 = np.divide(2 * self.precision * self.recall, total, out=np.zeros_like(total), where=total > 0)
        best = int(np.argmax(f1))
        return float(f1[best]), float(self.scores[best])


def average_precision(
    boxes: Sequence[Float32], scores: Sequence[Float32], truths: Sequence[Float32], threshold: float = 0.5
) -> PrecisionRecall:
    """Matches detections to ground truth, image by image, and draws the precision-recall curve.

    Matching is COCO's: detections are taken by falling score, each takes the box of highest IoU that no better
    one took. The area is PASCAL VOC's since 2010: all points, with precision made non-increasing (COCO samples the
    same curve at 101 recalls).

    Args:
        boxes: for each image, `(N, 4)` float32 xyxy of what was detected.
        scores: for each image, `(N,)` float32.
        truths: for each image, `(M, 4)` float32 xyxy of what is there.
        threshold: the smallest IoU of a match.

    Returns:
        The curve over all images together.

    Raises:
        DataError: the three do not speak of the same number of images.
    """
    if not len(boxes) == len(scores) == len(truths):
        raise DataError(
            f"There are boxes of {len(boxes)}, scores of {len(scores)} and truths of {len(truths)} images; "
            "average precision needs all three for every image."
        )
    hits = [_match(b, s, t, threshold) for b, s, t in zip(boxes, scores, truths, strict=True)]
    merged = np.concatenate([np.zeros(0), *scores]).astype(np.float64)
    hit = np.concatenate([np.zeros(0, bool), *hits])
    order = np.argsort(-merged, kind="stable")
    found = np.cumsum(hit[order])
    count = sum(len(t) for t in truths)
    precision = found / np.arange(1, len(order) + 1)
    recall = found / max(count, 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    area = float(np.sum(np.diff(recall, prepend=0.0) * envelope)) if count else float("nan")
    return PrecisionRecall(merged[order], precision, recall, area)


def _match(boxes: Float32, scores: Float32, truths: Float32, threshold: float) -> np.typing.NDArray[np.bool_]:
    """`(N,)` bool: which detections of one image hit a box of their own."""
    overlaps = iou(boxes, truths)  # (N, M)
    hit = np.zeros(len(boxes), bool)
    if not overlaps.size:
        return hit
    near = overlaps >= threshold
    if near.sum(axis=0).max() <= 1 and near.sum(axis=1).max() <= 1:  # nothing to choose, as in most images
        return np.asarray(near.any(axis=1))
    for row in np.argsort(-scores, kind="stable"):
        best = int(np.argmax(overlaps[row]))
        if overlaps[row, best] >= threshold:
            hit[row] = True
            overlaps[:, best] = -1.0
    return hit

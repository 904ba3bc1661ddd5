"""What it costs to say that a detection is a track, by rules: overlap, height overlap, scores, classes.

The form follows TrackTrack (CVPR 2025): 1 - height IoU * IoU, plus small additive terms, so that one assignment over
all detections does what others do in stages.
"""

from __future__ import annotations

import numpy as np

from alstm_ros.types import Float64, Int64


def overlap(predicted: Float64, detected: Float64, margin: Float64) -> Float64:
    """IoU times height IoU of every pair, both boxes grown by a margin.

    The height IoU (HM-IoU, Hybrid-SORT, AAAI 2024) tells people apart who stand at different distances. The margin lets
    fast objects overlap at low frame rates (after C-BIoU, WACV 2023).

    Args:
        predicted: `(T, 4)` xyxy.
        detected: `(N, 4)` xyxy, of positive size.
        margin: `(T,)` pixels on each side, of the pair's two boxes.

    Returns:
        `(T, N)` in 0..1.
    """
    left, top, right, bottom = predicted.T[:, :, None]  # (T, 1) each
    twice = 2 * margin[:, None]
    width = np.minimum(right, detected[:, 2])  # (T, N)
    width -= np.maximum(left, detected[:, 0])
    width += twice
    np.maximum(width, 0, out=width)
    height = np.minimum(bottom, detected[:, 3])
    height -= np.maximum(top, detected[:, 1])
    height += twice
    np.maximum(height, 0, out=height)
    size = detected[:, 2:] - detected[:, :2]  # (N, 2)
    tall, wide = bottom - top + twice, right - left + twice  # (T, 1)
    grown = size[:, 1] + twice  # (T, N)
    outer = grown + tall
    outer -= height
    width *= height  # the intersection
    grown *= size[:, 0] + twice
    grown += wide * tall
    grown -= width  # the union
    outer *= grown
    width *= height
    width /= outer
    return np.asarray(width)


def base_cost(
    similarity: Float64, track_scores: Float64, scores: Float64, penalties: tuple[Float64, Float64], weight: float
) -> Float64:
    """The cost of every pair.

    Args:
        similarity: `(T, N)` from `overlap`.
        track_scores: `(T,)` of each track's last detection.
        scores: `(N,)` of the detections.
        penalties: `(T,)` and `(N,)`, added to a track's row and to a detection's column.
        weight: of the difference between a track's score and a detection's: objects half hidden stay half hidden.

    Returns:
        `(T, N)`, 0 at best.
    """
    cost = track_scores[:, None] - scores
    np.abs(cost, out=cost)
    cost *= weight
    cost -= similarity
    cost += penalties[0][:, None] + 1
    cost += penalties[1]
    return cost


def class_mismatch(track_classes: Int64, classes: Int64) -> Float64 | None:
    """`(T, N)` 1 where track and detection differ in class, None where none do."""
    if not len(classes) or not len(track_classes):
        return None
    first = classes[0]
    if (classes == first).all() and (track_classes == first).all():
        return None
    return np.asarray(track_classes[:, None] != classes, np.float64)

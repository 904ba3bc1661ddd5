"""What it costs to say that a detection is a track, by rules: overlap, height overlap, scores, classes.

The form follows TrackTrack (CVPR 2025): 1 - height IoU * IoU, plus small additive terms, so that one assignment over
all detections does what others do in stages.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alstm_ros.association.workspace import Workspace
from alstm_ros.types import Float64, Int64

_ROUNDING = 1e-6
"""Relative to pixels this is more than rounding; what it lets in too much is left out by the exact test."""


def overlap(predicted: Float64, detected: Float64, margin: Float64) -> tuple[Int64, Int64, Float64]:
    """IoU times height IoU of the pairs that overlap, both boxes grown by a margin.

    The height IoU (HM-IoU, Hybrid-SORT, AAAI 2024) tells people apart who stand at different distances. The margin lets
    fast objects overlap at low frame rates (after C-BIoU, WACV 2023).

    Args:
        predicted: `(T, 4)` xyxy.
        detected: `(N, 4)` xyxy, of positive size.
        margin: `(T,)` pixels on each side, of the pair's two boxes.

    Returns:
        Rows `(P,)`, columns `(P,)` and values `(P,)` in 0..1.
    """
    twice = 2 * margin
    # most pairs are far apart, so of all pairs only comparisons are made, and the rest is on lists of pairs
    near = np.ones((len(predicted), len(detected)), bool)
    for axis in (0, 1):
        near &= (predicted[:, axis + 2] + twice + _ROUNDING)[:, None] > detected[:, axis]
        near &= (predicted[:, axis] - twice - _ROUNDING)[:, None] < detected[:, axis + 2]
    rows, columns = np.nonzero(near)
    mine, yours, grown = predicted[rows], detected[columns], twice[rows, None]
    shared = np.minimum(mine[:, 2:], yours[:, 2:]) - np.maximum(mine[:, :2], yours[:, :2]) + grown
    meet = (shared > 0).all(axis=1)
    rows, columns, (wide, tall) = rows[meet], columns[meet], shared[meet].T
    size, others = predicted[:, 2:] - predicted[:, :2] + twice[:, None], detected[:, 2:] - detected[:, :2]
    mine, yours = size[rows], others[columns] + twice[rows, None]  # (P, 2) each
    both = wide * tall
    union = mine[:, 0] * mine[:, 1] + yours[:, 0] * yours[:, 1] - both
    return rows, columns, both * tall / (union * (mine[:, 1] + yours[:, 1] - tall))


def base_cost(
    similar: tuple[Int64, Int64, Float64],
    track_scores: Float64,
    scores: Float64,
    penalties: tuple[Float64, Float64],
    weight: float,
    room: Workspace,
) -> Float64:
    """The cost of every pair.

    Args:
        similar: from `overlap`.
        track_scores: `(T,)` of each track's last detection.
        scores: `(N,)` of the detections.
        penalties: `(T,)` and `(N,)`, added to a track's row and to a detection's column.
        weight: of the difference between a track's score and a detection's: objects half hidden stay half hidden.
        room: memory to work in.

    Returns:
        `(T, N)`, 0 at best; a part of `room`.
    """
    rows, columns, values = similar
    cost = np.subtract(track_scores[:, None], scores, out=room.matrix("cost", len(track_scores), len(scores)))
    np.abs(cost, out=cost)
    cost *= weight
    cost[rows, columns] -= values
    cost += penalties[0][:, None] + 1
    cost += penalties[1]
    return np.asarray(cost)


def class_mismatch(track_classes: Int64, classes: Int64) -> NDArray[np.bool_] | None:
    """`(T, N)` whether track and detection differ in class, None where none do."""
    if not len(classes) or not len(track_classes):
        return None
    first = classes[0]
    if (classes == first).all() and (track_classes == first).all():
        return None
    return np.asarray(track_classes[:, None] != classes)

"""What it costs to say that a detection is a track, by rules: overlap, height overlap, scores, classes.

The form follows TrackTrack (CVPR 2025): 1 - height IoU * IoU, plus small additive terms, so that one assignment over
all detections does what others do in stages.
"""

from __future__ import annotations

import numpy as np

from alstm_ros.types import Float64, Int64

APART = 1.0
"""What a pair without overlap costs at least."""


def overlap(predicted: Float64, detected: Float64, margin: Float64, rows: Int64, columns: Int64) -> Float64:
    """IoU times height IoU of some pairs, both boxes grown by a margin.

    The height IoU (HM-IoU, Hybrid-SORT, AAAI 2024) tells people apart who stand at different distances. The margin lets
    fast objects overlap at low frame rates (after C-BIoU, WACV 2023).

    Args:
        predicted: `(T, 4)` xyxy.
        detected: `(N, 4)` xyxy, of positive size.
        margin: `(T,)` pixels on each side, of the pair's two boxes.
        rows: `(P,)` each pair's track.
        columns: `(P,)` its detection.

    Returns:
        `(P,)` in 0..1; 0 where the boxes do not overlap.
    """
    twice = 2 * margin
    mine, yours, grown = predicted[rows], detected[columns], twice[rows, None]
    shared = np.minimum(mine[:, 2:], yours[:, 2:]) - np.maximum(mine[:, :2], yours[:, :2]) + grown
    meet = np.flatnonzero((shared[:, 0] > 0) & (shared[:, 1] > 0))
    rows, columns, (wide, tall) = rows[meet], columns[meet], shared[meet].T
    size, others = predicted[:, 2:] - predicted[:, :2] + twice[:, None], detected[:, 2:] - detected[:, :2]
    mine, yours = size[rows], others[columns] + twice[rows, None]  # (P, 2) each
    both = wide * tall
    union = mine[:, 0] * mine[:, 1] + yours[:, 0] * yours[:, 1] - both
    out = np.zeros(len(shared))
    out[meet] = both * tall / (union * (mine[:, 1] + yours[:, 1] - tall))
    return out


def base_cost(
    similar: Float64,
    track_scores: Float64,
    scores: Float64,
    penalties: tuple[Float64, Float64],
    weight: float,
) -> Float64:
    """The cost of some pairs.

    Args:
        similar: `(P,)` from `overlap`.
        track_scores: `(P,)` of each track's last detection.
        scores: `(P,)` of the detections.
        penalties: `(P,)` and `(P,)`, added for the track and for the detection.
        weight: of the difference between a track's score and a detection's: objects half hidden stay half hidden.

    Returns:
        `(P,)`, 0 at best, and at least 1 without overlap.
    """
    cost = np.abs(track_scores - scores) * weight - similar
    cost += penalties[0] + APART
    cost += penalties[1]
    return np.asarray(cost)

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
    left, top, right, bottom = np.ascontiguousarray(predicted.T)
    others = np.ascontiguousarray(detected.T)
    grown = twice.take(rows)
    wide = np.minimum(right.take(rows), others[2].take(columns)) - np.maximum(left.take(rows), others[0].take(columns))
    tall = np.minimum(bottom.take(rows), others[3].take(columns)) - np.maximum(top.take(rows), others[1].take(columns))
    wide += grown
    tall += grown
    meet = ((wide > 0) & (tall > 0)).nonzero()[0]
    out = np.zeros(len(rows))
    rows, columns = rows.take(meet), columns.take(meet)
    wide, tall, grown = wide.take(meet), tall.take(meet), grown.take(meet)
    both, heights = wide * tall, bottom - top + twice
    sizes = (right - left + twice) * heights
    breadth, height = (others[2] - others[0]).take(columns) + grown, (others[3] - others[1]).take(columns) + grown
    union = sizes.take(rows) + breadth * height - both
    out[meet] = both * tall / (union * (heights.take(rows) + height - tall))
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

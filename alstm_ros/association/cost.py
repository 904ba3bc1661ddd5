"""What it costs, by rules, to say that a detection is a track; every term stands here.

The form follows TrackTrack (CVPR 2025): 1 - height IoU * IoU, plus small additive terms, so that one assignment over
all detections does what others do in stages.
"""

from __future__ import annotations

import numpy as np

from alstm_ros.association.frame import FrameContext, GatedPairs
from alstm_ros.types import Float64, Int64

APART = 1.0
"""A pair of boxes without overlap costs at least this."""
_LONG = 3.0
"""Seconds after which a lost track costs no more for being lost longer."""


def pair_costs(frame: FrameContext, pairs: GatedPairs) -> Float64:
    """The cost of some pairs.

    - without overlap 1, less with it;
    - scores that differ, since objects half hidden stay half hidden (`association.score_weight`);
    - a track that was not seen in the last frame, more with each second (`lost_penalty`, `lost_growth`);
    - a detection of low score (`low_score_penalty`), which below `tracks.low_score` no track may take;
    - another class (`class_penalty`).

    Args:
        frame: the frame.
        pairs: P of its pairs.

    Returns:
        `(P,)`, 0 at best, at least 1 without overlap, infinite for detections that no track may take.
    """
    association, tracks, table = frame.config.association, frame.config.tracks, frame.table
    rows, columns = pairs.rows, pairs.columns
    scores = frame.detections.scores.astype(np.float64)
    costs = np.abs(table.scores.take(rows) - scores.take(columns)) * association.score_weight - pairs.overlap
    lost_seconds = frame.lost_seconds.clip(0, _LONG)
    lost = association.lost_penalty * table.lost + association.lost_growth * lost_seconds
    weak = np.where(scores < tracks.high_score, association.low_score_penalty, 0.0)
    weak[scores < tracks.low_score] = np.inf
    costs += lost.take(rows) + APART
    costs += weak.take(columns)
    costs += association.class_penalty * (table.classes.take(rows) != frame.detections.classes.take(columns))
    return np.asarray(costs)


def height_modulated_iou(
    predicted: Float64, detected: Float64, margin: Float64, rows: Int64, columns: Int64
) -> Float64:
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

"""Which pairs the learned association is asked about."""

from __future__ import annotations

import numpy as np

from alstm_ros.association.associator import Candidates, TrackView
from alstm_ros.association.cost import APART
from alstm_ros.association.near import within
from alstm_ros.association.table import TrackTable
from alstm_ros.types import Detections, Float64, Int64, TrackState

SECOND = 1_000_000_000
_SECOND_THOUGHT = 0.6
"""A learned correction is asked for pairs that overlap and cost up to this much more than the limit,"""
_REACH = 0.5
"""and for pairs whose centres are at most so many heights apart, and one more for each second unseen,"""
_ALIKE = 0.5
"""and whose heights differ by at most this in their logarithm,"""
_MOST = 8
"""and for so many pairs of a detection at most, the cheapest and nearest."""


def second_thoughts(table: TrackTable, predicted: Float64, boxes: Float64, stamp_ns: int) -> Int64:
    """The pairs that are near one another and alike.

    Args:
        table: the living tracks.
        predicted: `(T, 4)` xyxy, where they are expected.
        boxes: `(N, 4)` xyxy, of the detections.
        stamp_ns: of this frame.

    Returns:
        `(P,)` keys in any order, row times N plus column.
    """
    rows, columns = within(_centres(predicted), _centres(boxes), _reach(table, predicted, stamp_ns))
    tall = np.log(_heights(predicted))[rows] - np.log(boxes[:, 3] - boxes[:, 1])[columns]
    alike = np.abs(tall) < _ALIKE
    return np.asarray(rows[alike] * len(boxes) + columns[alike])


def find_candidates(
    table: TrackTable,
    predicted: Float64,
    detections: Detections,
    pairs: tuple[Int64, Int64, Float64],
    limit: float,
    stamp_ns: int,
    dt_ns: int,
) -> tuple[Candidates, Int64]:
    """The pairs worth a second thought: near the limit, or near one another and alike; the best few of a detection.

    Args:
        table: the living tracks.
        predicted: `(T, 4)` xyxy, where they are expected.
        detections: of this frame.
        pairs: rows, columns and costs, `(P,)` each, of those that touch and those of `second_thoughts`, in the order of
            rows and columns.
        limit: a pair that costs this or more is not matched.
        stamp_ns: of this frame.
        dt_ns: since the previous frame.

    Returns:
        The candidates, and their places among the pairs.
    """
    rows, columns, costs = pairs
    boxes, heights = detections.boxes.astype(np.float64), _heights(predicted)
    # what reaches the limit even with the largest correction needs none
    place = np.flatnonzero(costs < limit + _SECOND_THOUGHT)
    rows, columns, costs = rows[place], columns[place], costs[place]
    off = np.square(_centres(predicted)[rows] - _centres(boxes)[columns])
    away = (off[:, 0] + off[:, 1]) / np.square(_reach(table, predicted, stamp_ns))[rows]
    tall = np.log(heights)[rows] - np.log(boxes[:, 3] - boxes[:, 1])[columns]
    good = np.flatnonzero(((away < 1) & (np.abs(tall) < _ALIKE)) | (costs < min(limit + _SECOND_THOUGHT, APART)))
    few = good[best_of_each(columns[good], costs[good] + np.minimum(away[good], 1), len(boxes), _MOST)]
    view = TrackView(
        slots=table.slots,
        predicted=predicted.astype(np.float32),
        observed=table.observed.astype(np.float32),
        speeds=table.motion.speed.astype(np.float32),
        scores=table.scores.astype(np.float32),
        ages_ns=stamp_ns - table.born_ns,
        unseen_ns=stamp_ns - table.seen_ns,
        confirmed=table.states != TrackState.TENTATIVE,
    )
    chosen = rows[few], columns[few], costs[few].astype(np.float32)
    return Candidates(view, detections, *chosen, limit, dt_ns), place[few]


def best_of_each(groups: Int64, values: Float64, count: int, most: int) -> Int64:
    """Where the smallest values of each group are, at most so many of it.

    Args:
        groups: `(P,)` each value's group, 0..count - 1.
        values: `(P,)`.
        count: of groups.
        most: so many are kept of each.

    Returns:
        `(Q,)` ascending places.
    """
    sizes = np.bincount(groups, minlength=count)
    if sizes.max(initial=0) <= most:
        return np.arange(len(groups))
    order = np.lexsort((values, groups))
    rank = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(order[rank < most])


def _reach(table: TrackTable, predicted: Float64, stamp_ns: int) -> Float64:
    """How far off each track may be, `(T,)` pixels."""
    return np.asarray((_REACH + (stamp_ns - table.seen_ns) / SECOND) * _heights(predicted))


def _centres(boxes: Float64) -> Float64:
    return np.asarray((boxes[:, :2] + boxes[:, 2:]) / 2)


def _heights(boxes: Float64) -> Float64:
    return np.maximum(boxes[:, 3] - boxes[:, 1], 1)

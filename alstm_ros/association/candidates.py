"""Which pairs the learned association is asked about."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alstm_ros.association.associator import Candidates, TrackView
from alstm_ros.association.cost import APART
from alstm_ros.association.near import listed, meeting
from alstm_ros.association.track_table import TrackTable
from alstm_ros.types import Detections, Float64, Int64

SECOND = 1_000_000_000
_SECOND_THOUGHT = 0.6
"""A learned correction is asked for pairs that overlap and cost up to this much more than the limit,"""
_REACH = 0.5
"""and for pairs whose centres are at most so many heights apart, and one more for each second unseen,"""
_ALIKE = 0.5
"""and whose heights differ by at most this in their logarithm,"""
_LESS = math.exp(-_ALIKE)
"""that is, by this factor,"""
_MOST = 8
"""and for so many pairs of a detection at most, the cheapest and nearest."""
_LARGE = 50_000
"""Size of a table of tracks and detections from which on a second look at all of it is faster than a longer list."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs that may have to do with one another, in the order of rows and then of columns.

    Attributes:
        rows: `(P,)` each pair's track.
        columns: `(P,)` its detection.
        costs: `(P,)` float64, what the rules say that it costs.
        away: `(P,)` float64, how far the centres are apart, squared, 1 at the end of the track's reach.
        close: `(P,)` bool, within reach and alike in height.
    """

    rows: Int64
    columns: Int64
    costs: Float64
    away: Float64
    close: NDArray[np.bool_]


def reach(table: TrackTable, predicted: Float64, stamp_ns: int) -> Float64:
    """How far off each track's centre may be, `(T,)` pixels."""
    return np.asarray((_REACH + (stamp_ns - table.seen_ns) / SECOND) * _heights(predicted))


def neighbours(grown: Float64, predicted: Float64, boxes: Float64, far: Float64) -> tuple[Int64, Int64]:
    """Rows and columns of the pairs that touch or are `close`, see Pairs, and of some others.

    Args:
        grown: `(T, 4)` xyxy, the tracks' windows, which detections may touch.
        predicted: `(T, 4)` xyxy, where the tracks are expected.
        boxes: `(N, 4)` xyxy, of the detections.
        far: `(T,)` from `reach`.
    """
    centres, far = _centres(predicted), far[:, None]
    low, high = np.minimum(grown[:, :2], centres - far), np.maximum(grown[:, 2:], centres + far)
    table = meeting(np.concatenate([low, high], axis=1), boxes)
    if table.size > _LARGE:  # then it pays to leave out most of the others here
        height = _heights(predicted)[:, None]
        alike = np.concatenate([height * _LESS, height / _LESS], axis=1)
        table &= meeting(grown, boxes) | meeting(alike, np.repeat(boxes[:, 3:] - boxes[:, 1:2], 2, axis=1))
    return listed(table)


def second_thoughts(
    predicted: Float64, boxes: Float64, rows: Int64, columns: Int64, far: Float64
) -> tuple[Float64, NDArray[np.bool_]]:
    """Pairs' `away` and `close`, see Pairs.

    Args:
        predicted: `(T, 4)` xyxy, where the tracks are expected.
        boxes: `(N, 4)` xyxy, of the detections.
        rows: `(P,)` each pair's track.
        columns: `(P,)` its detection.
        far: `(T,)` from `reach`.
    """
    off = np.square(_centres(predicted).take(rows, 0) - _centres(boxes).take(columns, 0))
    away = (off[:, 0] + off[:, 1]) / np.square(far).take(rows)
    tall = np.log(_heights(predicted)).take(rows) - np.log(boxes[:, 3] - boxes[:, 1]).take(columns)
    return away, (away < 1) & (np.abs(tall) < _ALIKE)


def find_candidates(
    table: TrackTable,
    predicted: Float64,
    detections: Detections,
    pairs: Pairs,
    limit: float,
    stamp_ns: int,
    dt_ns: int,
) -> tuple[Candidates, Int64]:
    """The pairs worth a second thought: near the limit, or near one another and alike; the best few of a detection.

    Args:
        table: the living tracks.
        predicted: `(T, 4)` xyxy, where they are expected.
        detections: of this frame.
        pairs: those that overlap and those that are close.
        limit: a pair that costs this or more is not matched.
        stamp_ns: of this frame.
        dt_ns: since the previous frame.

    Returns:
        The candidates, and their places among the pairs.
    """
    # what reaches the limit even with the largest correction needs none
    most = limit + _SECOND_THOUGHT
    good = (pairs.costs < np.where(pairs.close, most, min(most, APART))).nonzero()[0]
    columns, costs = pairs.columns.take(good), pairs.costs.take(good)
    few = best_of_each(columns, costs + np.minimum(pairs.away.take(good), 1), len(detections), _MOST)
    place = good.take(few)
    view = TrackView(
        slots=table.slots,
        predicted=predicted.astype(np.float32),
        observed=table.observed.astype(np.float32),
        speeds=table.motion.speed.astype(np.float32),
        scores=table.scores.astype(np.float32),
        ages_ns=stamp_ns - table.born_ns,
        unseen_ns=stamp_ns - table.seen_ns,
        confirmed=~table.tentative,
    )
    chosen = pairs.rows.take(place), columns.take(few), costs.take(few).astype(np.float32)
    return Candidates(view, detections, *chosen, limit, dt_ns), place


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
    order = values.argsort()
    best = values.take(order)
    if (best[1:] == best[:-1]).any():  # among equal ones the first counts, which takes five times as long to find out
        order = np.argsort(values, kind="stable")
    few = groups.take(order).astype(np.min_scalar_type(count))  # integers of few bits are sorted by counting
    order = order.take(few.argsort(kind="stable"))
    rank = np.arange(len(groups)) - np.repeat(sizes.cumsum() - sizes, sizes)
    return np.sort(order[rank < most])


def _centres(boxes: Float64) -> Float64:
    return np.asarray((boxes[:, :2] + boxes[:, 2:]) / 2)


def _heights(boxes: Float64) -> Float64:
    return np.maximum(boxes[:, 3] - boxes[:, 1], 1)

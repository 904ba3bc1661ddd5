"""Which pairs of a track and a detection are looked at at all: at 300 objects nearly all are far apart.

A pair that is gated out costs at least `cost.APART` and is never matched. Where an association has been learned, pairs
that do not overlap are let in too, if the detection is within the track's reach and of a like height; of those, the
ones that are open are asked about.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from alstm_ros.association.associator import Candidates, TrackView
from alstm_ros.association.cost import APART, height_modulated_iou
from alstm_ros.association.frame import FrameContext, GatedPairs, ReachablePairs
from alstm_ros.boxes import F
from alstm_ros.types import SECOND, Float64, Int64

_LIMIT = 32_000
"""Pixels beyond which all is one place, so that 16 bits hold a coordinate."""
_OUTWARDS = np.array([-1.0, -1.0, 1.0, 1.0])
"""The direction in which each side of an xyxy box moves when the box grows."""
_CORRECTION = 0.6
"""A learned correction is asked for where a pair overlaps and costs at most this much more than the limit."""
_REACH = 0.5
"""A track reaches this many of its heights around its predicted centre, and one more for each second unseen."""
_ALIKE = 0.5
"""Heights are alike where their logarithms differ by at most this."""
_LESS = math.exp(-_ALIKE)
"""The factor between two heights that are only just alike."""
_MOST = 8
"""A correction is asked for at most this many pairs of one detection, the cheapest and nearest."""
_LARGE = 50_000
"""Entries of a table of tracks and detections from which on a second look at it is faster than a longer list."""


def overlapping_pairs(frame: FrameContext) -> GatedPairs:
    """The pairs that overlap, both boxes grown by the frame's margin, and some that miss by a few pixels."""
    margin = frame.margin
    rows, columns = boxes_that_meet(frame.predicted + 2 * margin[:, None] * _OUTWARDS, frame.boxes)
    overlap = height_modulated_iou(frame.predicted, frame.boxes, margin, rows, columns)
    return GatedPairs(rows, columns, overlap)


def reachable_pairs(frame: FrameContext) -> ReachablePairs:
    """The pairs that overlap or are close."""
    margin, reach = frame.margin, _reach(frame)
    grown = frame.predicted + 2 * margin[:, None] * _OUTWARDS
    rows, columns = neighbours(grown, frame.predicted, frame.boxes, reach)
    overlap = height_modulated_iou(frame.predicted, frame.boxes, margin, rows, columns)
    distance, close = closeness(frame.predicted, frame.boxes, (rows, columns), reach)
    keep = ((overlap > 0) | close).nonzero()[0]
    rows, columns, overlap = rows.take(keep), columns.take(keep), overlap.take(keep)
    return ReachablePairs(rows, columns, overlap, distance.take(keep), close.take(keep))


def open_pairs(frame: FrameContext, pairs: ReachablePairs, costs: Float64) -> tuple[Candidates, Int64]:
    """The pairs of which a correction could change the decision: near the limit, or close; the best few of a detection.

    Args:
        frame: the frame.
        pairs: its pairs.
        costs: `(P,)` what the rules say that they cost.

    Returns:
        What the learned association is asked, and `(Q,)` the candidates' places among the pairs.
    """
    limit, table = frame.config.association.max_cost, frame.table
    most = limit + _CORRECTION  # what reaches the limit even with the largest correction needs none
    good = (costs < np.where(pairs.close, most, min(most, APART))).nonzero()[0]
    columns, few_costs = pairs.columns.take(good), costs.take(good)
    rank = few_costs + np.minimum(pairs.distance.take(good), 1)
    few = best_of_each(columns, rank, len(frame.detections), _MOST)
    place = good.take(few)
    view = TrackView(
        slots=table.slots,
        predicted=frame.predicted.astype(np.float32),
        observed=table.observed.astype(np.float32),
        speeds=table.motion.speed.astype(np.float32),
        scores=table.scores.astype(np.float32),
        ages_ns=frame.stamp_ns - table.born_ns,
        unseen_ns=frame.stamp_ns - table.seen_ns,
        confirmed=~table.tentative,
    )
    chosen = pairs.rows.take(place), columns.take(few), few_costs.take(few).astype(np.float32)
    return Candidates(view, frame.detections, *chosen, limit, frame.dt_ns), place


def boxes_that_meet(windows: NDArray[F], detected: NDArray[F]) -> tuple[Int64, Int64]:
    """The pairs of boxes that touch, and some that miss by less than three pixels.

    Args:
        windows: `(T, 4)` xyxy, of tracks, grown as far as they are to be.
        detected: `(N, 4)` xyxy.

    Returns:
        Rows `(P,)` and columns `(P,)`, in the order of rows and then of columns.
    """
    return _listed(_meeting(windows, detected))


def neighbours(grown: Float64, predicted: Float64, boxes: Float64, reach: Float64) -> tuple[Int64, Int64]:
    """Rows and columns of the pairs that touch or are close, and of some others.

    Args:
        grown: `(T, 4)` xyxy, the tracks' windows, which detections may touch.
        predicted: `(T, 4)` xyxy, where the tracks are expected.
        boxes: `(N, 4)` xyxy, of the detections.
        reach: `(T,)` pixels.
    """
    centres, reach = _centres(predicted), reach[:, None]
    low, high = np.minimum(grown[:, :2], centres - reach), np.maximum(grown[:, 2:], centres + reach)
    table = _meeting(np.concatenate([low, high], axis=1), boxes)
    if table.size > _LARGE:  # then it pays to leave out most of the others here
        height = _heights(predicted)[:, None]
        alike = np.concatenate([height * _LESS, height / _LESS], axis=1)
        table &= _meeting(grown, boxes) | _meeting(alike, np.repeat(boxes[:, 3:] - boxes[:, 1:2], 2, axis=1))
    return _listed(table)


def closeness(
    predicted: Float64, boxes: Float64, pairs: tuple[Int64, Int64], reach: Float64
) -> tuple[Float64, NDArray[np.bool_]]:
    """The pairs' `distance` and `close`, see ReachablePairs.

    Args:
        predicted: `(T, 4)` xyxy, where the tracks are expected.
        boxes: `(N, 4)` xyxy, of the detections.
        pairs: `(P,)` tracks and `(P,)` detections.
        reach: `(T,)` pixels.
    """
    rows, columns = pairs
    off = np.square(_centres(predicted).take(rows, 0) - _centres(boxes).take(columns, 0))
    distance = (off[:, 0] + off[:, 1]) / np.square(reach).take(rows)
    tall = np.log(_heights(predicted)).take(rows) - np.log(boxes[:, 3] - boxes[:, 1]).take(columns)
    return distance, (distance < 1) & (np.abs(tall) < _ALIKE)


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


def _reach(frame: FrameContext) -> Float64:
    """How far off each track's centre may be, `(T,)` pixels."""
    seconds = (frame.stamp_ns - frame.table.seen_ns) / SECOND
    return np.asarray((_REACH + seconds) * _heights(frame.predicted))


def _meeting(windows: NDArray[F], detected: NDArray[F]) -> NDArray[np.bool_]:
    """Which boxes of D axes meet, and some that miss by less than 3: `(T, 2 D)` and `(N, 2 D)` to `(T, N)`.

    Boxes are given by their lower ends and then their upper ends. A table of comparisons is faster than any search, and
    fastest in whole numbers of 16 bits: 700 tracks times 300 detections take 0.1 ms. What it lets in too much is left
    out by exact tests.
    """
    axes, count = windows.shape[1] // 2, len(windows)
    ends = np.concatenate([windows, detected]).clip(-_LIMIT, _LIMIT).T.astype(np.int16, order="C")  # (2 D, T + N)
    low, high = ends[:axes, :count, None] - 1, ends[axes:, :count, None] + 1
    least, most = ends[:axes, count:], ends[axes:, count:]
    meet: NDArray[np.bool_] = most[0] >= low[0]
    meet &= least[0] <= high[0]
    for axis in range(1, axes):
        meet &= most[axis] >= low[axis]
        meet &= least[axis] <= high[axis]
    return meet


def _listed(table: NDArray[np.bool_]) -> tuple[Int64, Int64]:
    """Rows `(P,)` and columns `(P,)` of what is true, in the order of rows and then of columns."""
    places = np.flatnonzero(table)
    rows = places // max(table.shape[1], 1)
    return rows, places - rows * table.shape[1]


def _centres(boxes: Float64) -> Float64:
    return np.asarray((boxes[:, :2] + boxes[:, 2:]) / 2)


def _heights(boxes: Float64) -> Float64:
    return np.maximum(boxes[:, 3] - boxes[:, 1], 1)

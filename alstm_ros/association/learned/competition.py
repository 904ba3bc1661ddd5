"""Who competes: boxes that cover one another, pairs that want the same track or detection.

Everything works on lists of those that touch, never on tables of all with all: at 300 objects nearly all do not.
"""

from __future__ import annotations

import numpy as np

from alstm_ros.association.associator import Candidates
from alstm_ros.types import Float32, Float64, Int64

_TEMPERATURE = 0.2
"""Costs that differ by this much are e times as likely, by the rules."""
_FEW = 48
"""Boxes up to which a table of all with all is faster than a list of those that touch."""
FAR = 1.0
"""The margin where there is no rival."""


def candidate_margins(candidates: Candidates, costs: Float32) -> Float32:
    """How much cheaper each pair is than its best rival in its row and in its column.

    Args:
        candidates: P pairs.
        costs: `(P,)` what each costs.

    Returns:
        `(P, 2)`, capped at one either way; one where there is no rival.
    """
    sides, twice = _sides(candidates), np.concatenate([costs, costs])
    count = len(candidates.tracks) + len(candidates.detections)
    best, second = np.full((2, count), np.inf, np.float32)
    np.minimum.at(best, sides, twice)
    least = best[sides]
    first = twice <= least
    np.minimum.at(second, sides, np.where(first, np.float32(np.inf), twice))
    equal = np.bincount(sides[first], minlength=count) > 1  # several are cheapest: each is the other's rival
    np.copyto(second, best, where=equal)
    rival = np.where(first, second[sides], least)
    return np.asarray((rival - twice).clip(-FAR, FAR).reshape(2, -1).T)


def ambiguity(candidates: Candidates) -> Float32:
    """How far the rules leave a pair open, `(P,)` in 0..1.

    Two times the chance, at a softmax over the pair's row or column and "none", that the rules' own favourite there is
    wrong, at most 1. What the rules are sure of is not touched: nearly all of it is right.
    """
    chance = np.exp(np.minimum((candidates.limit - candidates.costs) / _TEMPERATURE, 30))
    sides = _sides(candidates)
    twice = np.concatenate([chance, chance], dtype=np.float64)
    best = np.ones(len(candidates.tracks) + len(candidates.detections))
    np.maximum.at(best, sides, twice)
    mass = 1 + np.bincount(sides, twice, len(best))
    open_by = (1 - best / mass)[sides].reshape(2, -1)
    return np.asarray(np.minimum(2 * np.maximum(*open_by), 1), np.float32)


def _sides(candidates: Candidates) -> Int64:
    """`(2 P,)` each pair's track and then its detection, in one numbering, so that one pass serves both."""
    return np.concatenate([candidates.rows, candidates.columns + len(candidates.tracks)])


def paired_iou(a: Float32, b: Float32) -> Float32:
    """IoU of each box with the one in the same row: `(..., P, 4)` xyxy each to `(..., P)`."""
    size = np.maximum(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0)
    inner = size[..., 0] * size[..., 1]
    outer = areas(a) + areas(b) - inner
    return np.asarray(inner / np.maximum(outer, 1e-6), np.float32)


def areas(boxes: Float32) -> Float32:
    """`(..., 4)` xyxy to `(...)`."""
    return np.asarray((boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1]))


def overlapping(boxes: Float32) -> tuple[Int64, Int64, Float32]:
    """The pairs of boxes that overlap: `(Q,)` one, `(Q,)` the other, `(Q,)` pixels that they share; each pair once."""
    order = boxes[:, 0].argsort(kind="stable")
    left, top, right, bottom = np.ascontiguousarray(boxes[order].T)
    # in the order of left sides, a box can only meet those that begin before it ends
    reach = np.maximum(left.searchsorted(right) - np.arange(1, len(left) + 1), 0)
    other = np.repeat(np.arange(1, len(left) + 1) - reach.cumsum() + reach, reach)
    other += np.arange(len(other))
    high = np.minimum(np.repeat(bottom, reach), bottom.take(other))
    high -= np.maximum(np.repeat(top, reach), top.take(other))
    hit = (high > 0).nonzero()[0]
    one, other = np.repeat(np.arange(len(left)), reach).take(hit), other.take(hit)
    wide = np.minimum(right.take(one), right.take(other)) - left.take(other)
    return order.take(one), order.take(other), np.asarray(wide * high.take(hit), np.float32)


def crowding(boxes: Float32, scores: Float32 | None = None) -> tuple[Float32, Float32]:
    """How much of each box others share.

    Args:
        boxes: `(N, 4)` xyxy.
        scores: `(N,)`, or None where no box is better than another.

    Returns:
        `(N,)` the largest IoU with another box, and `(N,)` the largest share of the box inside one of a better score.
    """
    most, covered = np.zeros((2, len(boxes)), np.float32)
    if len(boxes) < 2:  # one alone has no neighbour
        return most, covered
    if len(boxes) < _FEW:
        return _crowding_of_few(boxes, scores)
    one, other, shared = overlapping(boxes)
    size = np.maximum(areas(boxes), 1e-6)
    overlap = shared / np.maximum(size.take(one) + size.take(other) - shared, 1e-6)
    np.maximum.at(most, one, overlap)
    np.maximum.at(most, other, overlap)
    if scores is not None:
        for worse, better in ((one, other), (other, one)):
            under = scores[better] > scores[worse]
            np.maximum.at(covered, worse[under], (shared / size[worse])[under])
    return most, covered


def _crowding_of_few(boxes: Float32, scores: Float32 | None) -> tuple[Float32, Float32]:
    """The same numbers from a table of all with all, which is faster for few."""
    left, top, right, bottom = np.ascontiguousarray(boxes.T)
    wide = np.minimum(right[:, None], right) - np.maximum(left[:, None], left)  # (N, N)
    tall = np.minimum(bottom[:, None], bottom) - np.maximum(top[:, None], top)
    table = np.maximum(wide, 0) * np.maximum(tall, 0)
    size = np.maximum(areas(boxes), 1e-6)
    overlap = table / np.maximum(size[:, None] + size - table, 1e-6)
    np.fill_diagonal(overlap, 0)
    if scores is None:
        return overlap.max(axis=1), np.zeros(len(boxes), np.float32)
    table /= size[:, None]
    table *= scores > scores[:, None]
    return overlap.max(axis=1), table.max(axis=1)


def place_of(candidates: Candidates, rows: Int64, columns: Int64) -> tuple[Int64, Float64]:
    """Where some pairs are among the candidates, which are in the order of rows and then of columns.

    Returns:
        `(M,)` the index, and `(M,)` 1 where the pair is there, else 0 and the index means nothing.
    """
    wide = max(len(candidates.detections), 1)
    keys = candidates.rows * wide + candidates.columns
    wanted = rows * wide + columns
    index = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
    return index.astype(np.int64), (keys[index] == wanted).astype(np.float64) if len(keys) else np.zeros(len(rows))

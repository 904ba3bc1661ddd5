"""Which tracks and detections are near one another: at 300 objects nearly all are not."""

from __future__ import annotations

import numpy as np

from alstm_ros.types import Float64, Int64

_ROUNDING = 1e-6
"""Relative to pixels this is more than rounding; what it lets in too much is left out by exact tests."""


def touching(predicted: Float64, detected: Float64) -> Int64:
    """The pairs of boxes that touch, and perhaps some that miss by less than can be seen.

    Args:
        predicted: `(T, 4)` xyxy, of tracks, grown as far as they are to be.
        detected: `(N, 4)` xyxy.

    Returns:
        `(P,)` ascending keys, row times N plus column.
    """
    if not len(predicted) or not len(detected):
        return np.zeros(0, np.int64)
    order = np.argsort(detected[:, 0], kind="stable")
    found = np.ascontiguousarray(detected[order].T)  # (4, N), in the order of left sides
    widest = (found[2] - found[0]).max()
    rows, place = _windows(found[0], predicted[:, 0] - widest - _ROUNDING, predicted[:, 2] + _ROUNDING)
    hit = found[2][place] > predicted[rows, 0] - _ROUNDING
    hit &= found[1][place] < predicted[rows, 3] + _ROUNDING
    hit &= found[3][place] > predicted[rows, 1] - _ROUNDING
    return np.sort(rows[hit] * len(detected) + order[place[hit]])


def within(centres: Float64, found: Float64, reach: Float64) -> tuple[Int64, Int64]:
    """The pairs of points that are less than so far apart.

    Args:
        centres: `(T, 2)` of tracks.
        found: `(N, 2)` of detections.
        reach: `(T,)` of each track.

    Returns:
        Rows `(P,)` ascending and columns `(P,)` in any order.
    """
    order = np.argsort(found[:, 0], kind="stable")
    x, y = np.ascontiguousarray(found[order].T)
    rows, place = _windows(x, centres[:, 0] - reach, centres[:, 0] + reach)
    away = np.square(centres[rows, 0] - x[place]) + np.square(centres[rows, 1] - y[place])
    hit = np.flatnonzero(away < np.square(reach)[rows])
    return rows[hit], order[place[hit]]


def _windows(values: Float64, low: Float64, high: Float64) -> tuple[Int64, Int64]:
    """Each of T windows paired with the places of those of `(N,)` ascending values that lie in it."""
    first = np.searchsorted(values, low)
    counts = np.maximum(np.searchsorted(values, high, side="right") - first, 0)
    rows = np.repeat(np.arange(len(low)), counts)
    return rows, np.arange(len(rows)) + np.repeat(first - np.cumsum(counts) + counts, counts)

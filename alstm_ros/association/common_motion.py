"""What all tracks do at once: the camera's motion, seen without looking at the image."""

from __future__ import annotations

import math

import numpy as np

from alstm_ros.association.frame import FrameContext
from alstm_ros.association.track_table import TrackTable
from alstm_ros.types import Float64, Int64

_CROWD = 5
"""At least this many tracks must agree before the whole scene is said to have moved."""
_SURELY = 2.0
"""The scene has moved where the tracks' median is off by at least this many of its standard errors."""
_NOTABLY = 0.02
"""The scene has moved where the tracks' median is off by at least this many heights."""
_SPREAD = 1.4826 * 1.2533
"""Median absolute deviation to standard deviation, times the error of a median over that of a mean (normal errors)."""


class CommonMotion:
    """Finds by how much the scene as a whole moved off the tracks' predictions, and takes lost tracks along.

    A track that is seen follows the camera a share of the way at once and the rest in the frames after, as its filter
    learns the speed. A lost track has no filter at work, so it goes the whole way at once; what the others still have
    before them is remembered as their lag, so that it is not taken for new motion.
    """

    def __init__(self) -> None:
        """Nothing has moved."""
        self._lag = np.zeros(2)

    def find(self, frame: FrameContext, rows: Int64, columns: Int64) -> Float64 | None:
        """By how much each track's prediction is to be moved.

        Args:
            frame: the frame.
            rows: `(K,)` tracks that were matched so far.
            columns: `(K,)` their detections.

        Returns:
            `(M, 2)` pixels; None where nothing says that the scene has moved.
        """
        lost = frame.table.lost
        held = ~lost[rows]
        shift = common_shift(frame.predicted.take(rows[held], 0), frame.boxes.take(columns[held], 0))
        if not shift.any():
            self._lag[:] = 0
            return None
        return np.asarray(shift - lost[:, None] * self._lag)

    def settle(self, table: TrackTable, rows: Int64, shift: Float64, before: Float64, detected: Float64) -> None:
        """Moves the tracks that were not matched, after the others have taken in their detections.

        Args:
            table: the living tracks.
            rows: `(K,)` those that were matched.
            shift: `(M, 2)` from `find`.
            before: `(K, 2)` speeds of the matched ones' centres before they took in their detections.
            detected: `(K, 4)` xyxy of those detections.
        """
        if not len(rows):
            return
        centres = (detected[:, :2] + detected[:, 2:]) / 2
        self._lag = median(centres - table.motion.value[rows, :2])
        change = median(table.motion.speed[rows, :2] - before)
        others = np.setdiff1d(np.arange(len(table)), rows)
        table.motion.value[others, :2] += shift[others]
        table.motion.speed[others, :2] += change
        table.observed[others] += np.tile(shift[others], 2)


def median(values: Float64) -> Float64:
    """The median down the first axis, `(K, ...)` of K > 0; NumPy's own takes ten times as long for a few values."""
    half = len(values) // 2
    if len(values) % 2:
        return np.asarray(np.partition(values, half, axis=0)[half])
    middle = np.partition(values, [half - 1, half], axis=0)
    return np.asarray((middle[half - 1] + middle[half]) / 2)


def common_shift(predicted: Float64, detected: Float64) -> Float64:
    """By how much most tracks are off their prediction together.

    Args:
        predicted: `(K, 4)` xyxy of matched tracks.
        detected: `(K, 4)` xyxy of their detections.

    Returns:
        `(2,)` pixels, the median over the tracks; 0 along an axis where it may be chance.
    """
    if len(predicted) < _CROWD:
        return np.zeros(2)
    off = (detected[:, :2] + detected[:, 2:] - predicted[:, :2] - predicted[:, 2:]) / 2
    shift = median(off)
    error = _SPREAD * median(np.abs(off - shift)) / math.sqrt(len(off))
    least = _NOTABLY * float(median(predicted[:, 3] - predicted[:, 1]))
    return np.where(np.abs(shift) > np.maximum(_SURELY * error, least), shift, 0.0)

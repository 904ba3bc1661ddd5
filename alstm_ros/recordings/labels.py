"""Boxes with ids over a whole sequence: ground truth, or what a tracker made of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from alstm_ros.errors import DataError
from alstm_ros.types import Float64, Int64


def frame_starts(frames: NDArray[np.generic], count: int, *, first: int = 0) -> Int64:
    """Where each frame's rows begin in a table that is sorted by frame.

    Args:
        frames: `(R,)`, each row's frame number, ascending.
        count: number of frames.
        first: number of the first frame.

    Returns:
        `(count + 1,)` int64: rows of the i-th frame are `starts[i]:starts[i + 1]`.
    """
    return np.searchsorted(frames, np.arange(first, first + count + 1)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Labels:
    """A sequence's boxes, one row each, in the order of their frames.

    Float64, where the rest of the package has float32: published scores were counted on the text's own decimals.

    Attributes:
        frames: `(R,)` int64, frame numbers from 1, ascending.
        ids: `(R,)` int64.
        boxes: `(R, 4)` float64, xyxy in pixels.
        scores: `(R,)` float64 in 0..1; 1 in ground truth.
        classes: `(R,)` int64: index into `names`, or MOTChallenge's class number where `names` is empty.
        counted: `(R,)` bool; false for ground truth that MOTChallenge marks as not to be counted.
        names: class names.
        length: number of frames, those without boxes included.
        stamps_ns: `(length,)` int64, the frames' stamps; empty where unknown.
        problems: one sentence for each reason why something was left out when they were read.
    """

    frames: Int64
    ids: Int64
    boxes: Float64
    scores: Float64
    classes: Int64
    counted: NDArray[np.bool_]
    names: tuple[str, ...]
    length: int
    stamps_ns: Int64 = field(default_factory=lambda: np.zeros(0, np.int64))
    problems: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Checks what the metrics rely on.

        Raises:
            DataError: frames are out of order or range, or an id stands twice in a frame.
        """
        if np.any(np.diff(self.frames) < 0):
            raise DataError("The frames of a sequence's labels must ascend.")
        if len(self.frames) and not (self.frames[0] >= 1 and self.frames[-1] <= self.length):
            last = self.frames[0] if self.frames[0] < 1 else self.frames[-1]
            raise DataError(f"A label stands in frame {last}; the sequence has frames 1 to {self.length}.")
        order = np.lexsort((self.ids, self.frames))
        twice = (np.diff(self.frames[order]) == 0) & (np.diff(self.ids[order]) == 0)
        if twice.any():
            row = order[np.flatnonzero(twice)[0]]
            raise DataError(
                f"Id {self.ids[row]} stands twice in frame {self.frames[row]}; an id may appear once a frame."
            )

    def __len__(self) -> int:
        """The number of boxes."""
        return len(self.frames)

    def select(self, keep: NDArray[np.bool_]) -> Labels:
        """The rows of a mask; length, names and stamps stay."""
        return replace(
            self,
            frames=self.frames[keep],
            ids=self.ids[keep],
            boxes=self.boxes[keep],
            scores=self.scores[keep],
            classes=self.classes[keep],
            counted=self.counted[keep],
        )

    def window(self, first: int, last: int) -> Labels:
        """The frames first..last, renumbered to start at 1."""
        part = self.select((self.frames >= first) & (self.frames <= last))
        length = max(min(last, self.length) - first + 1, 0)
        return replace(
            part, frames=part.frames - (first - 1), length=length, stamps_ns=self.stamps_ns[first - 1 : last]
        )

    def stretched(self, length: int) -> Labels:
        """The same in a sequence of at least this many frames."""
        return self if length <= self.length else replace(self, length=length)

    def rows(self) -> Int64:
        """`(length + 1,)` int64: frame f's rows are `rows[f - 1]:rows[f]`."""
        return frame_starts(self.frames, self.length, first=1)


def make_labels(  # noqa: PLR0913  # the columns of a table
    frames: NDArray[np.generic],
    ids: NDArray[np.generic],
    boxes: NDArray[np.generic],
    scores: NDArray[np.generic],
    classes: NDArray[np.generic],
    *,
    counted: NDArray[np.bool_] | None = None,
    names: tuple[str, ...] = (),
    length: int | None = None,
    stamps_ns: Int64 | None = None,
) -> Labels:
    """Labels from columns in any order and of any dtype; `length` is by default the last frame's number."""
    order = np.argsort(frames, kind="stable")
    numbers = np.asarray(frames, np.int64)[order]
    return Labels(
        numbers,
        np.asarray(ids, np.int64)[order],
        np.asarray(boxes, np.float64).reshape(-1, 4)[order],
        np.asarray(scores, np.float64)[order],
        np.asarray(classes, np.int64)[order],
        np.ones(len(order), bool) if counted is None else counted[order],
        names,
        int(length if length is not None else (numbers[-1] if len(numbers) else 0)),
        np.zeros(0, np.int64) if stamps_ns is None else stamps_ns,
    )

"""What the stages hand to one another. Shapes and dtypes are checked here once, where a value is made."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alstm_ros.errors import DataError

SECOND = 1_000_000_000
"""Nanoseconds in a second: stamps and durations are whole nanoseconds."""
MAX_PIXELS = 50_000_000
"""How many pixels the largest image has that is taken unless `input.max_pixels` says otherwise; 8K has 33 million."""

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
UInt8 = NDArray[np.uint8]

Image = NDArray[np.uint8]
"""`(H, W, 3)` uint8, BGR, rows and pixels may be strided."""

Affine = NDArray[np.float64]
"""`(2, 3)` float64; takes pixels of the previous frame to pixels of this one."""


class TrackState(IntEnum):
    """Where a track is in its life; the values are those of `alstm_ros/msg/Track`."""

    TENTATIVE = 0
    CONFIRMED = 1
    LOST = 2


class EventKind(IntEnum):
    """What happened to a track; the values are those of `alstm_ros/msg/TrackEvent`."""

    BORN = 0
    LOST = 1
    RECOVERED = 2
    ENDED = 3


def _require(name: str, array: NDArray[Any], shape: tuple[int | None, ...], dtype: type[np.generic]) -> None:
    """Raises DataError unless the array has this dtype and shape (None: any length)."""
    if array.shape == shape and array.dtype == dtype:  # nearly always, and every stage of every frame asks
        return
    fits = array.ndim == len(shape) and all(
        want is None or got == want for got, want in zip(array.shape, shape, strict=True)
    )
    if not fits or array.dtype != dtype:
        wanted = "x".join("any" if n is None else str(n) for n in shape)
        msg = f"{name} has shape {array.shape} and dtype {array.dtype}; it must be {wanted} of {np.dtype(dtype)}."
        raise DataError(msg)


@dataclass(frozen=True, slots=True)
class Detections:
    """What a detector found in one image.

    Attributes:
        boxes: `(N, 4)` float32, xyxy in pixels of the source image.
        scores: `(N,)` float32 in 0..1.
        classes: `(N,)` int64, index into the detector's class names.
        features: `(N, C)` float32, the detector's cell features, or None where it offers none.
    """

    boxes: Float32
    scores: Float32
    classes: Int64
    features: Float32 | None = None

    def __post_init__(self) -> None:
        """Checks shapes and dtypes.

        Raises:
            DataError: an array has the wrong shape or dtype.
        """
        n = len(self.boxes)
        _require("boxes", self.boxes, (n, 4), np.float32)
        _require("scores", self.scores, (n,), np.float32)
        _require("classes", self.classes, (n,), np.int64)
        if self.features is not None:
            _require("features", self.features, (n, None), np.float32)

    def __len__(self) -> int:
        """The number of detections."""
        return len(self.boxes)

    def __getitem__(self, keep: NDArray[Any] | slice) -> Detections:
        """The detections at these indices, of this mask or in this slice, in that order."""
        features = None if self.features is None else self.features[keep]
        return Detections(self.boxes[keep], self.scores[keep], self.classes[keep], features)

    @classmethod
    def empty(cls, features: int | None = None) -> Detections:
        """No detection at all; `features` is the width of the feature vector, None for none."""
        return cls(
            np.zeros((0, 4), np.float32),
            np.zeros(0, np.float32),
            np.zeros(0, np.int64),
            None if features is None else np.zeros((0, features), np.float32),
        )


@dataclass(frozen=True, slots=True)
class Tracks:
    """Every living track after one frame, one row each, in the order of their ids.

    Attributes:
        ids: `(M,)` int64, ascending; an id is never used for a second object.
        boxes: `(M, 4)` float32, xyxy in source pixels: refined where detected in this frame, else predicted.
        scores: `(M,)` float32 in 0..1, refined likewise; falling from half of what it last was where not detected.
        classes: `(M,)` int64, index into the class names.
        states: `(M,)` uint8, values of TrackState.
        velocities: `(M, 2)` float32, of the box centre, source pixels a second.
        ages_ns: `(M,)` int64, time since birth.
        unseen_ns: `(M,)` int64, time since the last frame in which it was detected; 0 in such a frame.
        detection: `(M,)` int64, row in the frame's Detections, -1 where not detected.
        confidences: `(M,)` float32 in 0..1, that this detection is the same object; NaN where none was associated.
        embeddings: `(M, E)` float32, the association feature; E is 0 where the tracker has none.
        coasting: `(M,)` bool, not detected in this frame but so lately that its predicted box is published.
    """

    ids: Int64
    boxes: Float32
    scores: Float32
    classes: Int64
    states: UInt8
    velocities: Float32
    ages_ns: Int64
    unseen_ns: Int64
    detection: Int64
    confidences: Float32
    embeddings: Float32
    coasting: NDArray[np.bool_]

    def __post_init__(self) -> None:
        """Checks shapes and dtypes.

        Raises:
            DataError: an array has the wrong shape or dtype.
        """
        m = len(self.ids)
        _require("ids", self.ids, (m,), np.int64)
        _require("boxes", self.boxes, (m, 4), np.float32)
        _require("scores", self.scores, (m,), np.float32)
        _require("classes", self.classes, (m,), np.int64)
        _require("states", self.states, (m,), np.uint8)
        _require("velocities", self.velocities, (m, 2), np.float32)
        _require("ages_ns", self.ages_ns, (m,), np.int64)
        _require("unseen_ns", self.unseen_ns, (m,), np.int64)
        _require("detection", self.detection, (m,), np.int64)
        _require("confidences", self.confidences, (m,), np.float32)
        _require("embeddings", self.embeddings, (m, None), np.float32)
        _require("coasting", self.coasting, (m,), np.bool_)

    def __len__(self) -> int:
        """The number of living tracks."""
        return len(self.ids)

    @property
    def published(self) -> NDArray[np.bool_]:
        """`(M,)` bool: what goes into Detection2DArray and result files.

        Those that are confirmed and detected in this frame, and those that coast.
        """
        return np.asarray((self.states == TrackState.CONFIRMED) & (self.detection >= 0) | self.coasting)


@dataclass(frozen=True, slots=True)
class TrackEvent:
    """A step in a track's life.

    Attributes:
        kind: what happened.
        id: the track's id.
        class_index: index into the class names.
        box: `(4,)` float32, xyxy in source pixels, where it was last seen.
        age_ns: time since birth.
    """

    kind: EventKind
    id: int
    class_index: int
    box: Float32
    age_ns: int


@dataclass(frozen=True, slots=True)
class FrameResult:
    """All that came of one frame.

    Attributes:
        stamp_ns: the frame's stamp.
        detections: what the detector found, as the tracker saw it.
        tracks: every living track.
        events: births, losses, recoveries and ends of this frame, in the order of ids.
    """

    stamp_ns: int
    detections: Detections
    tracks: Tracks
    events: tuple[TrackEvent, ...]

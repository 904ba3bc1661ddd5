"""What is known of a recording's detections, or those of a part of it: what `alstm bootstrap` finds out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alstm_ros.types import Float32, Float64, Int64

SAME, DIFFERENT, UNKNOWN = 1, 0, -1
"""Labels of pairs."""
NOTHING, NOBODY_LOOKED = -1, -2
"""Instead of a labelled object: a detection of no object; one of which no person said anything."""
COLUMNS = ("frames", "boxes", "scores", "classes", "features", "tracklets", "objects", "truths")
"""Those that hold one row for each detection."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """A recording's detections and what is known of pairs of them.

    Attributes:
        numbers: `(F,)` int64, the frames' numbers.
        stamps_ns: `(F,)` int64.
        motion: `(F, 2, 3)` float64, the camera's, from the frame before to this one; NaN where unknown.
        frames: `(D,)` int64, the index of each detection's frame, ascending.
        boxes: `(D, 4)` float32, xyxy in pixels.
        scores: `(D,)` float32.
        classes: `(D,)` int64.
        features: `(D, C)` float32, the detector's cell features; C is 0 where it offers none.
        tracklets: `(D,)` int64, the strict track that a detection belongs to, -1 for none.
        objects: `(D,)` int64, the object that a person's labels say a detection is, NOTHING or NOBODY_LOOKED.
        truths: `(D, 4)` float32, the labelled object's box; NaN where there is none.
        first: `(P,)` int64, each pair's earlier detection: the track's last one,
        second: `(P,)` int64, and its later one.
        labels: `(P,)` int8: SAME, DIFFERENT or UNKNOWN.
    """

    numbers: Int64
    stamps_ns: Int64
    motion: Float64
    frames: Int64
    boxes: Float32
    scores: Float32
    classes: Int64
    features: Float32
    tracklets: Int64
    objects: Int64
    truths: Float32
    first: Int64
    second: Int64
    labels: NDArray[np.int8]

    @property
    def labelled(self) -> int:
        """How many frames a person labelled."""
        return len(np.unique(self.frames[self.objects != NOBODY_LOOKED]))

    def __len__(self) -> int:
        """How many frames."""
        return len(self.numbers)

    def parts(self) -> Iterator[Pairs]:
        """See recording.Footage; it is all in memory."""
        yield self

    def part(self, _rng: np.random.Generator) -> Pairs:
        """See recording.Footage."""
        return self

    def choose(self, keep: NDArray[np.bool_]) -> Pairs:
        """The detections of a mask `(D,)`; labels of pairs are left out."""
        part: dict[str, Any] = {name: getattr(self, name)[keep] for name in COLUMNS}
        none = np.zeros(0, np.int64)
        return replace(self, **part, first=none, second=none, labels=np.zeros(0, np.int8))

    def at(self, chosen: Int64) -> Pairs:
        """These frames alone, by ascending index, as if the others had been lost; labels of pairs are left out."""
        place = np.full(len(self.numbers), -1, np.int64)
        place[chosen] = np.arange(len(chosen))
        kept = self.choose(place[self.frames] >= 0)
        square = np.concatenate([self.motion, np.tile([[[0.0, 0.0, 1.0]]], (len(self.motion), 1, 1))], axis=1)
        chained, before = [], int(chosen[0]) if len(chosen) else 0
        for frame in chosen.tolist():
            total = np.eye(3)
            for step in range(before + 1, frame + 1):
                total = square[step] @ total
            chained.append(total[:2])
            before = frame
        motion = np.array(chained).reshape(-1, 2, 3)
        if len(chosen):
            motion[0] = self.motion[chosen[0]]
        return replace(
            kept,
            numbers=self.numbers[chosen],
            stamps_ns=self.stamps_ns[chosen],
            motion=motion,
            frames=place[kept.frames],
        )

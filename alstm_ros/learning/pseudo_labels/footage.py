"""A recording's detections frame by frame, what is known of who is who in it, and the tracker's run over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alstm_ros.association.associator import Associator
from alstm_ros.association.tracker import IdCounter, TrackManager
from alstm_ros.config import Config
from alstm_ros.types import Affine, Detections, Float32, Float64, FrameResult, Int64

SAME, DIFFERENT, UNKNOWN = 1, 0, -1
"""Labels of a pair of detections: one object, two objects, or nobody knows."""
NO_OBJECT = -1
"""Stands in place of a labelled object where a person labelled the frame and the detection is no object."""
NOT_LABELLED = -2
"""Stands in place of a labelled object where no person said anything of the detection."""
COLUMNS = ("frames", "boxes", "scores", "classes", "features", "tracklets", "objects", "truths")
"""The fields of PseudoLabels that hold one row for each detection."""


@dataclass(frozen=True, slots=True)
class Footage:
    """The detections of a recording's frames, or of some of them, in the order of the frames.

    Attributes:
        numbers: `(F,)` int64, the frames' numbers.
        stamps_ns: `(F,)` int64, nanoseconds.
        motion: `(F, 2, 3)` float64, the camera's, from the frame before to this one; NaN where unknown.
        frames: `(D,)` int64, the index of each detection's frame, ascending.
        boxes: `(D, 4)` float32, xyxy in pixels.
        scores: `(D,)` float32 in 0..1.
        classes: `(D,)` int64.
        features: `(D, C)` float32, the detector's cell features; C is 0 where it offers none.
    """

    numbers: Int64
    stamps_ns: Int64
    motion: Float64
    frames: Int64
    boxes: Float32
    scores: Float32
    classes: Int64
    features: Float32

    def __len__(self) -> int:
        """The number of frames."""
        return len(self.numbers)

    def rows(self) -> Int64:
        """`(F + 1,)` int64: the detections of frame f are `rows[f]:rows[f + 1]`."""
        return np.searchsorted(self.frames, np.arange(len(self) + 1)).astype(np.int64)

    def detections(self, part: slice) -> Detections:
        """The detections of some rows, such as those of a frame."""
        features = self.features[part] if self.features.shape[1] else None
        return Detections(self.boxes[part], self.scores[part], self.classes[part], features)

    def camera_motion(self, frame: int) -> Affine | None:
        """`(2, 3)` from the frame before to this one, None where it is unknown."""
        motion = self.motion[frame]
        return motion if np.isfinite(motion).all() else None

    def sound(self) -> NDArray[np.bool_]:
        """`(D,)` which boxes have a size; the tracker takes no others."""
        return np.asarray((self.boxes[:, 2:] > self.boxes[:, :2]).all(axis=1))


@dataclass(frozen=True, slots=True)
class PseudoLabels(Footage):
    """A recording's detections and what is known of them without ground truth: what `alstm bootstrap` writes.

    Attributes:
        tracklets: `(D,)` int64, the strict track that a detection belongs to, -1 for none.
        objects: `(D,)` int64, the object that a person's labels say a detection is, NO_OBJECT or NOT_LABELLED.
        truths: `(D, 4)` float32, the labelled object's box; NaN where there is none.
        first: `(P,)` int64, the row of each pair's earlier detection, the track's last one.
        second: `(P,)` int64, the row of its later one.
        labels: `(P,)` int8: SAME, DIFFERENT or UNKNOWN.
    """

    tracklets: Int64
    objects: Int64
    truths: Float32
    first: Int64
    second: Int64
    labels: NDArray[np.int8]

    @property
    def labelled(self) -> int:
        """The number of frames that a person labelled."""
        return len(np.unique(self.frames[self.objects != NOT_LABELLED]))

    def parts(self) -> Iterator[PseudoLabels]:
        """The whole, which is in memory; see recordings.LabelSource."""
        yield self

    def part(self, _rng: np.random.Generator) -> PseudoLabels:
        """The whole, which is in memory; see recordings.LabelSource."""
        return self

    def choose(self, keep: NDArray[np.bool_]) -> PseudoLabels:
        """The detections of a mask `(D,)`; every frame stays, and labels of pairs are left out."""
        columns: dict[str, Any] = {name: getattr(self, name)[keep] for name in COLUMNS}
        none = np.zeros(0, np.int64)
        return replace(self, **columns, first=none, second=none, labels=np.zeros(0, np.int8))

    def at(self, chosen: Int64) -> PseudoLabels:
        """These frames alone, by ascending index, as if the others had been lost; labels of pairs are left out."""
        place = np.full(len(self), -1, np.int64)
        place[chosen] = np.arange(len(chosen))
        kept = self.choose(place[self.frames] >= 0)
        return replace(
            kept,
            numbers=self.numbers[chosen],
            stamps_ns=self.stamps_ns[chosen],
            motion=_chained(self.motion, chosen),
            frames=place[kept.frames],
        )


def _chained(motion: Float64, chosen: Int64) -> Float64:
    """The camera's motion from each chosen frame to the next, `(n, 2, 3)`, from that between all frames `(F, 2, 3)`."""
    square = np.concatenate([motion, np.tile([[[0.0, 0.0, 1.0]]], (len(motion), 1, 1))], axis=1)
    chained, before = [], int(chosen[0]) if len(chosen) else 0
    for frame in chosen.tolist():
        total = np.eye(3)
        for step in range(before + 1, frame + 1):
            total = square[step] @ total
        chained.append(total[:2])
        before = frame
    found = np.array(chained).reshape(-1, 2, 3)
    if len(chosen):
        found[0] = motion[chosen[0]]
    return found


def replay_footage(
    footage: Footage,
    associator: Associator | None,
    config: Config,
    begin: Callable[[int, slice], None] | None = None,
) -> Iterator[tuple[slice, FrameResult]]:
    """Runs the tracker over a recording's detections.

    Args:
        footage: the recording; its boxes must have a size, see Footage.sound.
        associator: corrects the tracker's costs, or None for the rules alone.
        config: of the tracker; what it names in `association.model` is not opened.
        begin: is called before each frame with its index and the rows of its detections.

    Yields:
        For each frame the rows of its detections and what the tracker made of it.
    """
    rules = replace(config, association=replace(config.association, model=""))
    tracker = TrackManager(rules, IdCounter(), associator)
    for frame, (first, last) in enumerate(pairwise(footage.rows().tolist())):
        part = slice(first, last)
        if begin is not None:
            begin(frame, part)
        stamp_ns = int(footage.stamps_ns[frame])
        yield part, tracker.update(footage.detections(part), stamp_ns, footage.camera_motion(frame))

"""The seam between the tracker and whatever has learned to associate: what is asked of it and what it is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from alstm_ros.types import Detections, Float32, Int64


@dataclass(frozen=True, slots=True)
class TrackView:
    """The living tracks of a frame before its matching, one row each.

    Attributes:
        slots: `(T,)` int64, the track's place in pools of state; its own for its whole life, reused after its end.
        predicted: `(T, 4)` float32, xyxy pixels, where the motion model expects it in this frame.
        observed: `(T, 4)` float32, xyxy pixels, its last detection, moved along with the camera since.
        speeds: `(T, 4)` float32, of centre x, centre y, width, height, pixels a second.
        scores: `(T,)` float32, of its last detection.
        ages_ns: `(T,)` int64, time since birth.
        unseen_ns: `(T,)` int64, time since its last detection, at least one frame's interval.
        confirmed: `(T,)` bool.
    """

    slots: Int64
    predicted: Float32
    observed: Float32
    speeds: Float32
    scores: Float32
    ages_ns: Int64
    unseen_ns: Int64
    confirmed: NDArray[np.bool_]

    def __len__(self) -> int:
        """The number of tracks."""
        return len(self.slots)


@dataclass(frozen=True, slots=True)
class Candidates:
    """The pairs of a frame that are near enough to be thought about.

    Attributes:
        tracks: all living tracks.
        detections: all detections.
        rows: `(P,)` int64, each pair's row in `tracks`.
        columns: `(P,)` int64, each pair's detection.
        costs: `(P,)` float32, what the rules say that the pair costs.
        limit: a pair that costs this or more is not matched.
        dt_ns: since the previous frame.
    """

    tracks: TrackView
    detections: Detections
    rows: Int64
    columns: Int64
    costs: Float32
    limit: float
    dt_ns: int


@dataclass(frozen=True, slots=True)
class Refinement:
    """What is published for matched tracks and newborn ones, in that order, K rows.

    Attributes:
        boxes: `(K, 4)` float32, xyxy pixels.
        scores: `(K,)` float32 in 0..1.
        confidences: `(K,)` float32 in 0..1, that the detection is the same object; NaN for newborns.
        embeddings: `(K, E)` float32, the association feature.
    """

    boxes: Float32
    scores: Float32
    confidences: Float32
    embeddings: Float32


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided in a frame: M tracks that were matched and B that were born, in that order.

    Attributes:
        candidates: what was asked.
        corrections: `(P,)` float32, what was added to the candidates' costs.
        rows: `(M,)` int64, rows of `candidates.tracks` that were matched.
        columns: `(M,)` int64, their detections.
        slots: `(B,)` int64, the slots of newborn tracks.
        born: `(B,)` int64, their detections.
        plain: what is published of these tracks without an associator.
    """

    candidates: Candidates
    corrections: Float32
    rows: Int64
    columns: Int64
    slots: Int64
    born: Int64
    plain: Refinement

    @property
    def which(self) -> Int64:
        """`(M + B,)` the slots of these tracks."""
        return np.concatenate([self.candidates.tracks.slots[self.rows], self.slots])

    @property
    def found(self) -> Int64:
        """`(M + B,)` their detections."""
        return np.concatenate([self.columns, self.born])

    @property
    def totals(self) -> Float32:
        """`(P,)` the candidates' corrected costs."""
        return self.candidates.costs + self.corrections


class Associator(Protocol):
    """Learned association: corrects costs, then refines what was matched, keeping a state for each track."""

    @property
    def width(self) -> int:
        """E, the length of an embedding."""
        ...

    def correct(self, candidates: Candidates) -> Float32:
        """What to add to the pairs' costs, `(P,)` float32; called once a frame, before the assignment."""
        ...

    def advance(self, decision: Decision) -> Refinement:
        """Takes in what was decided; called once a frame, after births.

        Who changes nothing returns `decision.plain`.
        """
        ...

    def forget(self, slots: NDArray[Any]) -> None:
        """These tracks have ended; their slots may be given to others."""
        ...

"""The living tracks as a structure of arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from alstm_ros.association.kalman import Motion
from alstm_ros.boxes import warp, xyxy_to_cxcywh
from alstm_ros.types import Affine, Detections, Float32, Float64, Int64, TrackState, UInt8

T = TypeVar("T")

_STRAIGHTEN = 0.5
"""How far a track that is found again turns to the straight line over its gap, before the filter takes over."""
_NEWEST = 0.2
"""Share of the newest score in the running mean."""
_TENTATIVE, _CONFIRMED, _LOST = (np.uint8(state) for state in TrackState)
"""As NumPy's numbers; it takes five times as long to compare an array with a member of an enumeration."""


@dataclass(slots=True)
class TrackTable:
    """Living tracks, one row each in the order of their ids.

    Attributes:
        ids: `(M,)` int64, ascending.
        slots: `(M,)` int64, each track's own for its whole life, reused after its end; for pools of learned state.
        states: `(M,)` uint8, values of TrackState.
        classes: `(M,)` int64.
        weights: `(M,)` float64, by how much score the class leads over the others seen.
        scores: `(M,)` float64, of the last detection.
        means: `(M,)` float64, the running mean of the scores.
        published: `(M,)` float32, the score that is published.
        hits: `(M,)` int64, detections so far.
        born_ns: `(M,)` int64, stamp of the first detection.
        seen_ns: `(M,)` int64, stamp of the last one.
        observed: `(M, 4)` float64, xyxy pixels, the last detection, moved along with the camera since.
        embeddings: `(M, E)` float32, the learned association feature.
        motion: the Kalman filter.
    """

    ids: Int64
    slots: Int64
    states: UInt8
    classes: Int64
    weights: Float64
    scores: Float64
    means: Float64
    published: Float32
    hits: Int64
    born_ns: Int64
    seen_ns: Int64
    observed: Float64
    embeddings: Float32
    motion: Motion

    def __len__(self) -> int:
        """The number of living tracks."""
        return len(self.ids)

    @property
    def tentative(self) -> NDArray[np.bool_]:
        """`(M,)` which tracks are not sure yet."""
        return np.asarray(self.states == _TENTATIVE)

    @property
    def confirmed(self) -> NDArray[np.bool_]:
        """`(M,)` which tracks are sure and were detected in the last frame."""
        return np.asarray(self.states == _CONFIRMED)

    @property
    def lost(self) -> NDArray[np.bool_]:
        """`(M,)` which tracks are sure and were not."""
        return np.asarray(self.states == _LOST)

    @classmethod
    def start(cls, ids: Int64, slots: Int64, detections: Detections, stamp_ns: int, width: int) -> TrackTable:
        """Tentative tracks, newborn from these detections; `width` is the embedding's."""
        n = len(ids)
        boxes = detections.boxes.astype(np.float64)
        return cls(
            ids=ids,
            slots=slots,
            states=np.full(n, _TENTATIVE),
            classes=detections.classes.copy(),
            weights=detections.scores.astype(np.float64),
            scores=detections.scores.astype(np.float64),
            means=detections.scores.astype(np.float64),
            published=detections.scores.copy(),
            hits=np.ones(n, np.int64),
            born_ns=np.full(n, stamp_ns, np.int64),
            seen_ns=np.full(n, stamp_ns, np.int64),
            observed=boxes,
            embeddings=np.zeros((n, width), np.float32),
            motion=Motion.start(xyxy_to_cxcywh(boxes)),
        )

    def free_slots(self, count: int) -> Int64:
        """The lowest slots that no track holds, `(count,)`."""
        taken = np.zeros(len(self) + count, bool)
        taken[self.slots[self.slots < len(taken)]] = True
        return (~taken).nonzero()[0][:count]

    def keep(self, mask: NDArray[np.bool_]) -> TrackTable:
        """The tracks of this mask."""
        kept = mask.nonzero()[0]
        return _map(lambda array: array.take(kept, 0), self)

    def joined(self, newborn: TrackTable) -> TrackTable:
        """These tracks and then the newborn ones."""
        return _map(lambda *arrays: np.concatenate(arrays), self, newborn)

    def advance(self, dt: float, camera_motion: Affine | None) -> None:
        """Predicts every track `dt` seconds on, after the camera has moved by an affine map."""
        if camera_motion is not None:
            self.motion.warp(camera_motion)
            self.observed = warp(self.observed, camera_motion)
        self.motion.predict(dt)

    def take(self, rows: Int64, detections: Detections, stamp_ns: int) -> None:
        """Gives one detection each to some tracks: rows `(K,)`, K detections in that order."""
        scores = detections.scores.astype(np.float64)
        boxes = detections.boxes.astype(np.float64)
        measured = xyxy_to_cxcywh(boxes)
        away = stamp_ns - self.seen_ns[rows]
        back = (self.lost[rows] & (away > 0)).nonzero()[0]
        if len(back):  # towards the straight line over the gap, after OC-SORT's re-update (CVPR 2023)
            start = xyxy_to_cxcywh(self.observed[rows[back]])
            line = (measured[back, :2] - start[:, :2]) / (away[back, None] / 1e9)
            self.motion.bend(rows[back], line, _STRAIGHTEN)
        self.motion.correct(rows, measured, scores)
        self.hits[rows] += 1
        self.scores[rows] = scores
        self.means[rows] += _NEWEST * (scores - self.means[rows])
        self.published[rows] = (scores + self.means[rows]) / 2
        self.seen_ns[rows] = stamp_ns
        self.observed[rows] = boxes
        self._vote(rows, detections.classes, scores)

    def _vote(self, rows: Int64, classes: Int64, scores: Float64) -> None:
        """Boyer and Moore's majority vote over a track's classes, weighted by scores."""
        same = self.classes[rows] == classes
        if same.all():
            self.weights[rows] += scores
            return
        weights = self.weights[rows] + np.where(same, scores, -scores)
        self.classes[rows] = np.where(weights < 0, classes, self.classes[rows])
        self.weights[rows] = np.abs(weights)


def _map(function: Callable[..., Any], *tables: T) -> T:
    """Applies a function to each array of some tables of one kind, nested ones too."""
    parts: dict[str, Any] = {}
    for name in tables[0].__slots__:  # type: ignore[attr-defined]  # T is TrackTable or Motion
        arrays = [getattr(table, name) for table in tables]
        parts[name] = function(*arrays) if isinstance(arrays[0], np.ndarray) else _map(function, *arrays)
    return type(tables[0])(**parts)

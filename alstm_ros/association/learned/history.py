"""What the learned association remembers outside of its network: appearances, and what belonged to nobody."""

from __future__ import annotations

import numpy as np

from alstm_ros.association.associator import Candidates, Decision
from alstm_ros.association.gating import boxes_that_meet
from alstm_ros.association.learned.competition import paired_iou
from alstm_ros.association.learned.features import APPEARANCE, Geometry
from alstm_ros.types import Detections, Float32, Int64

_APPEARANCE_MEMORY = 0.9
"""Share of a track's running appearance that stays at each detection."""
_STAYS = 0.5
"""A detection that overlaps one of the last frame by this IoU is the same thing."""


class History:
    """Everything that features need beyond the frame itself; the tracker and the training keep one each."""

    def __init__(self) -> None:
        """Starts with nothing seen."""
        self._appearances, self._unclaimed = Appearances(), Unclaimed()
        self._frame: Geometry | None = None

    def frame(self, candidates: Candidates) -> Geometry:
        """What features need of this frame; computed once."""
        if self._frame is None or self._frame.candidates is not candidates:
            appearance, seen = self._appearances(candidates)
            self._frame = Geometry.of(candidates, appearance, seen, *self._unclaimed(candidates))
        return self._frame

    def learn(self, decision: Decision) -> None:
        """Takes in what became of the frame."""
        frame, found = self.frame(decision.candidates), decision.found
        self._appearances.learn(frame.appearance, decision.which, found, len(decision.rows))
        self._unclaimed.learn(decision.candidates.detections, frame.free, found)
        self._frame = None


class Unclaimed:
    """How long each detection has been there without belonging to a track.

    What stood free beside a track while that track had another detection is another thing: a reflection, luggage, a
    poster, somebody whom the detector hardly sees. The rules cannot know, for they see one frame at a time.
    """

    def __init__(self) -> None:
        """Starts with nothing seen."""
        self._boxes, self._free = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
        self._share = 0.0

    def __call__(self, candidates: Candidates) -> tuple[Float32, float]:
        """`(N,)` seconds for which each detection has been free, 0 for new ones; and the last frame's share of such."""
        boxes = candidates.detections.boxes
        free = np.zeros(len(boxes), np.float32)
        if len(boxes) and len(self._boxes):
            rows, columns = boxes_that_meet(boxes, self._boxes)
            overlap = paired_iou(boxes.take(rows, 0), self._boxes.take(columns, 0))
            stays = np.flatnonzero(overlap >= _STAYS)[::-1]
            stays = stays[np.argsort(overlap[stays], kind="stable")]  # the best last, since the last one counts
            free[rows[stays]] = self._free[columns[stays]] + np.float32(candidates.dt_ns / 1e9)
        return free, self._share

    def learn(self, detections: Detections, free: Float32, taken: Int64) -> None:
        """Keeps what no track took."""
        rest = np.ones(len(detections), bool)
        rest[taken] = False
        self._boxes, self._free = detections.boxes[rest], free[rest]
        self._share = float(rest.mean()) if len(rest) else 0.0


class Appearances:
    """Appearance vectors: of a frame's detections, and a running mean for each track."""

    def __init__(self) -> None:
        """Starts with nothing seen."""
        self._seen = np.zeros((0, APPEARANCE), np.float32)
        self._projection = np.zeros((0, APPEARANCE), np.float32)

    def __call__(self, candidates: Candidates) -> tuple[Float32 | None, Float32 | None]:
        """Vectors of detections `(N, APPEARANCE)` and of tracks `(T, APPEARANCE)`, or None where there are none."""
        appearance = self._of(candidates.detections)
        if appearance is None:
            return None, None
        self._grow(candidates.tracks.slots)
        return appearance, self._seen[candidates.tracks.slots]

    def learn(self, appearance: Float32 | None, slots: Int64, columns: Int64, matched: int) -> None:
        """Takes over the vectors of the first `matched` tracks and of the newborn ones after them."""
        if appearance is None or not len(slots):
            return
        self._grow(slots)
        self._seen[slots[matched:]] = 0
        mixed = _APPEARANCE_MEMORY * self._seen[slots] + (1 - _APPEARANCE_MEMORY) * appearance[columns]
        self._seen[slots] = mixed / np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), 1e-6)

    def _of(self, detections: Detections) -> Float32 | None:
        """The detections' own features as unit vectors of the length that the network takes."""
        features = detections.features
        if features is None or not len(detections) or features.shape[1] == 0:
            return None
        if features.shape[1] != APPEARANCE:
            if features.shape[1] != len(self._projection):
                # a fixed random projection keeps angles, whatever the detector's width
                draw = np.random.default_rng(APPEARANCE).standard_normal((features.shape[1], APPEARANCE))
                self._projection = draw.astype(np.float32)
            features = features @ self._projection
        return np.asarray(features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-6), np.float32)

    def _grow(self, slots: Int64) -> None:
        need = int(slots.max(initial=-1)) + 1
        if need > len(self._seen):
            self._seen = np.pad(self._seen, ((0, max(need, 2 * len(self._seen)) - len(self._seen)), (0, 0)))

"""Labels pairs of detections, and strict tracklets, in recordings that nobody has labelled.

The rules of the running tracker look at every frame twice. The strict look: a detection continues a track only if each
is the other's best by a clear margin, they overlap much, and both scores are high; such a pair is the same object. The
loose look: a pair that costs far more than the tracker's limit is two objects. All other pairs are unknown, and nothing
is learned from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alstm_ros.association.associator import Candidates, Decision, Refinement
from alstm_ros.association.tracker import IdCounter, TrackManager
from alstm_ros.boxes import iou
from alstm_ros.config import Config
from alstm_ros.learning.pseudo_labels.footage import DIFFERENT, NOT_LABELLED, SAME, UNKNOWN, PseudoLabels
from alstm_ros.options import replace
from alstm_ros.recordings.frames import DetectionFrame
from alstm_ros.types import Float32, Int64

GAP = 1.5
"""Frames further apart than so many usual intervals are not neighbours."""
REFUSED = 10.0
"""Cost that is added to a pair that is not strict, which is far above any limit."""


@dataclass(frozen=True, slots=True)
class Strictness:
    """The thresholds of the strict and of the loose look.

    Attributes:
        overlap: smallest IoU of a strict link, between the expected box and the detected one.
        margin: how much better than its runner-up, in the track's row and in the detection's column, a strict link is.
        score: smallest score on either side of a strict link.
        slack: a pair is ruled out where it costs this much more than the tracker's limit.
        duplicate: a detection that overlaps another by more than this IoU may be a second one of the same object.
    """

    overlap: float = 0.7
    margin: float = 0.5
    score: float = 0.7
    slack: float = 0.3
    duplicate: float = 0.5


class _StrictLinks:
    """An associator that lets the tracker make strict links only, and labels every pair."""

    def __init__(self, strictness: Strictness) -> None:
        self._strict = strictness
        self._last: dict[int, int] = {}  # slot -> the track's last detection
        self._serials: dict[int, int] = {}  # slot -> tracklet
        self._count = 0
        self._before: Int64 = np.zeros(0, np.int64)
        self.base = 0  # detections before this frame
        self.first: list[Int64] = []
        self.second: list[Int64] = []
        self.labels: list[NDArray[np.int8]] = []
        self.tracklets: dict[int, int] = {}

    @property
    def width(self) -> int:
        """The length of an embedding; there is none."""
        return 0

    def correct(self, candidates: Candidates) -> Float32:
        """Refuses every pair that is not strict."""
        # Noted now: tracks that end in this frame are forgotten before `advance`.
        self._before = np.array([self._last[slot] for slot in candidates.tracks.slots.tolist()], np.int64)
        return np.where(self._links(candidates), 0, REFUSED).astype(np.float32)

    def _links(self, candidates: Candidates) -> NDArray[np.bool_]:
        """`(P,)` which pairs are certain."""
        tracks, found, costs = candidates.tracks, candidates.detections, candidates.costs.astype(np.float64)
        rows, columns = candidates.rows, candidates.columns
        table = np.full((len(tracks), len(found)), np.inf)
        table[rows, columns] = costs
        link = costs < candidates.limit
        link &= iou(tracks.predicted, found.boxes)[rows, columns] >= self._strict.overlap
        link &= (tracks.scores[rows] >= self._strict.score) & (found.scores[columns] >= self._strict.score)
        link &= tracks.unseen_ns[rows] <= GAP * candidates.dt_ns
        for axis, place in ((1, rows), (0, columns)):
            best = np.min(table, axis=axis, initial=np.inf)
            others = _runner_up(table, axis)
            link &= (costs <= best[place]) & (others[place] - costs >= self._strict.margin)
        return link

    def advance(self, decision: Decision) -> Refinement:
        """Labels the frame's pairs, then moves the tracks on."""
        candidates, found = decision.candidates, decision.candidates.detections
        link = decision.corrections == 0
        partner = np.full(len(candidates.tracks), -1, np.int64)  # a track's detection
        partner[decision.rows] = decision.columns
        label = np.full(len(link), UNKNOWN, np.int8)
        label[candidates.costs >= candidates.limit + self._strict.slack] = DIFFERENT
        r, c = candidates.rows, candidates.columns
        label[(partner[r] >= 0) & (partner[r] != c)] = DIFFERENT  # an object is in one place
        twins = iou(found.boxes, found.boxes) > self._strict.duplicate
        label[(partner[r] >= 0) & (partner[r] != c) & twins[partner[r], c]] = UNKNOWN
        label[link & (partner[r] == c)] = SAME
        self.first.append(self._before[r])
        self.second.append(self.base + c)
        self.labels.append(label)
        for slot, column in zip(decision.which.tolist(), decision.found.tolist(), strict=True):
            if slot not in self._serials:
                self._serials[slot] = self._count
                self._count += 1
            self._last[slot] = self.base + column
            self.tracklets[self.base + column] = self._serials[slot]
        return decision.plain

    def forget(self, slots: NDArray[np.int64]) -> None:
        """Drops what is known of ended tracks."""
        for slot in slots.tolist():
            self._last.pop(slot, None)
            self._serials.pop(slot, None)


def _runner_up(table: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """The second smallest of each row (axis 1) or column (axis 0); infinite where there is none."""
    if table.shape[axis] < 2:
        return np.full(table.shape[1 - axis], np.inf)
    return np.asarray(np.partition(table, 1, axis=axis).take(1, axis=axis))


def bootstrap(
    frames: Sequence[tuple[int, DetectionFrame]], config: Config, strictness: Strictness | None = None
) -> PseudoLabels:
    """Labels the pairs of one recording.

    Args:
        frames: numbers and detections, in the order of their stamps.
        config: of the tracker, whose rules judge; a learned associator is left out.
        strictness: where certainty begins and ends.

    Returns:
        The pairs.
    """
    links = _StrictLinks(strictness or Strictness())
    stamps = np.array([frame.stamp_ns for _, frame in frames], np.int64)
    gaps = np.diff(stamps)
    usual = float(np.median(gaps[gaps > 0])) if (gaps > 0).any() else 0.0
    # A track ends with the first frame in which it is missed: nothing is certain across a gap.
    changes = {"association.model": "", "tracks.lost_seconds": min(GAP * usual / 1e9, 60.0)}
    manager = TrackManager(replace(config, changes), IdCounter(), links)
    seen = []
    for _, frame in frames:
        result = manager.update(frame.detections, frame.stamp_ns, frame.camera_motion)
        seen.append(result.detections)
        links.base += len(result.detections)
    unknown = np.full((2, 3), np.nan)
    width = max((item.features.shape[1] for item in seen if item.features is not None), default=0)
    features = [np.zeros((len(item), width), np.float32) if item.features is None else item.features for item in seen]
    tracklets = np.full(links.base, -1, np.int64)
    tracklets[list(links.tracklets)] = list(links.tracklets.values())
    nothing = np.zeros(0, np.int64)
    return PseudoLabels(
        numbers=np.array([number for number, _ in frames], np.int64),
        stamps_ns=stamps,
        motion=np.array(
            [unknown if frame.camera_motion is None else frame.camera_motion for _, frame in frames], np.float64
        ).reshape(-1, 2, 3),
        frames=np.repeat(np.arange(len(seen)), [len(item) for item in seen]),
        boxes=np.concatenate([np.zeros((0, 4), np.float32), *(item.boxes for item in seen)]),
        scores=np.concatenate([np.zeros(0, np.float32), *(item.scores for item in seen)]),
        classes=np.concatenate([nothing, *(item.classes for item in seen)]),
        features=np.concatenate([np.zeros((0, width), np.float32), *features]),
        tracklets=tracklets,
        objects=np.full(links.base, NOT_LABELLED),
        truths=np.full((links.base, 4), np.nan, np.float32),
        first=np.concatenate([nothing, *links.first]),
        second=np.concatenate([nothing, *links.second]),
        labels=np.concatenate([np.zeros(0, np.int8), *links.labels]),
    )

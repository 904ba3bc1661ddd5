"""Training pairs from recordings that nobody has labelled.

The rules of the running tracker look at every frame twice. Strictly: a detection is a track's own only if each is the
other's best by a clear margin, they overlap much, and both scores are high. Loosely: whatever the rules could still
think of. What the strict look links is the same object; what even the loose look rules out is not; what lies between is
ambiguous, and nothing is learned from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from alstm_ros.association.associator import Candidates, Refinement
from alstm_ros.association.manager import IdCounter, TrackManager
from alstm_ros.boxes import iou
from alstm_ros.config import Config
from alstm_ros.errors import DataError
from alstm_ros.evaluation.labels import Labels
from alstm_ros.evaluation.sources import DetectionFrame
from alstm_ros.options import replace
from alstm_ros.types import Float32, Int64

SAME, DIFFERENT, UNKNOWN = 1, 0, -1
GAP = 1.5
"""Frames further apart than so many usual intervals are not neighbours."""
SECOND = 1_000_000_000
REFUSED = 10.0
"""Added to the cost of a pair that is not strict: far above any limit."""


@dataclass(frozen=True, slots=True)
class Strictness:
    """Where certainty begins and ends.

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


@dataclass(frozen=True, slots=True)
class Pairs:
    """A recording's detections and what is known of pairs of them.

    Attributes:
        numbers: `(F,)` int64, the frames' numbers.
        stamps_ns: `(F,)` int64.
        frames: `(D,)` int64, the index of each detection's frame, ascending.
        boxes: `(D, 4)` float32, xyxy in pixels.
        scores: `(D,)` float32.
        classes: `(D,)` int64.
        features: `(D, C)` float32, the detector's cell features; C is 0 where it offers none.
        tracklets: `(D,)` int64, the strict track that a detection belongs to, -1 for none.
        first: `(P,)` int64, each pair's earlier detection: the track's last one,
        second: `(P,)` int64, and its later one.
        labels: `(P,)` int8: SAME, DIFFERENT or UNKNOWN.
    """

    numbers: Int64
    stamps_ns: Int64
    frames: Int64
    boxes: Float32
    scores: Float32
    classes: Int64
    features: Float32
    tracklets: Int64
    first: Int64
    second: Int64
    labels: NDArray[np.int8]

    def save(self, path: Path) -> None:
        """Writes an .npz file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part.npz")
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        np.savez_compressed(part, **columns)
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> Pairs:
        """Reads what `save` wrote.

        Raises:
            DataError: it is no such file.
        """
        try:
            with np.load(path) as columns:
                return cls(**{field.name: columns[field.name] for field in fields(cls)})
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{path} is no file of bootstrapped pairs: {error}.") from error


class _Judge:
    """Sits where the learned associator sits: lets the tracker make strict links alone, and notes every pair."""

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
        """There are no embeddings."""
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

    def advance(
        self, candidates: Candidates, corrections: Float32, rows: Int64, columns: Int64, slots: Int64, born: Int64
    ) -> Refinement:
        """Labels the frame's pairs, then moves the tracks on."""
        tracks, found = candidates.tracks, candidates.detections
        link = corrections == 0
        partner = np.full(len(tracks), -1, np.int64)  # a track's detection
        partner[rows] = columns
        owner = np.full(len(found), -1, np.int64)  # a detection's track
        owner[columns] = rows
        label = np.full(len(link), UNKNOWN, np.int8)
        label[candidates.costs >= candidates.limit + self._strict.slack] = DIFFERENT
        r, c = candidates.rows, candidates.columns
        elsewhere = (partner[r] >= 0) & (owner[c] >= 0) & (partner[r] != c)
        label[elsewhere] = DIFFERENT
        twins = iou(found.boxes, found.boxes) > self._strict.duplicate
        label[(partner[r] >= 0) & (partner[r] != c) & twins[partner[r], c]] = UNKNOWN
        label[link & (partner[r] == c)] = SAME
        self.first.append(self._before[r])
        self.second.append(self.base + c)
        self.labels.append(label)
        for slot, column in zip(
            [*tracks.slots[rows].tolist(), *slots.tolist()], [*columns.tolist(), *born.tolist()], strict=True
        ):
            if slot not in self._serials:
                self._serials[slot] = self._count
                self._count += 1
            self._last[slot] = self.base + column
            self.tracklets[self.base + column] = self._serials[slot]
        taken = np.concatenate([columns, born])
        nothing = np.full(len(taken), np.nan, np.float32)
        return Refinement(found.boxes[taken], found.scores[taken], nothing, np.zeros((len(taken), 0), np.float32))

    def forget(self, slots: NDArray[np.int64]) -> None:
        """These tracks have ended."""
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
) -> Pairs:
    """Labels the pairs of one recording.

    Args:
        frames: numbers and detections, in the order of their stamps.
        config: of the tracker, whose rules judge; a learned associator is left out.
        strictness: where certainty begins and ends.

    Returns:
        The pairs.
    """
    judge = _Judge(strictness or Strictness())
    stamps = np.array([frame.stamp_ns for _, frame in frames], np.int64)
    gaps = np.diff(stamps)
    usual = float(np.median(gaps[gaps > 0])) if (gaps > 0).any() else 0.0
    # A track ends with the first frame that lacks it: across a gap nothing is certain, so nothing could be learned but
    # that whoever returns is somebody else.
    changes = {"association.model": "", "tracks.lost_seconds": min(GAP * usual / SECOND, 60.0)}
    manager = TrackManager(replace(config, changes), IdCounter(), judge)
    seen = []
    for _, frame in frames:
        result = manager.update(frame.detections, frame.stamp_ns, frame.camera_motion)
        seen.append(result.detections)
        judge.base += len(result.detections)
    width = max((item.features.shape[1] for item in seen if item.features is not None), default=0)
    features = [np.zeros((len(item), width), np.float32) if item.features is None else item.features for item in seen]
    tracklets = np.full(judge.base, -1, np.int64)
    tracklets[list(judge.tracklets)] = list(judge.tracklets.values())
    nothing = np.zeros(0, np.int64)
    return Pairs(
        numbers=np.array([number for number, _ in frames], np.int64),
        stamps_ns=stamps,
        frames=np.repeat(np.arange(len(seen)), [len(item) for item in seen]),
        boxes=np.concatenate([np.zeros((0, 4), np.float32), *(item.boxes for item in seen)]),
        scores=np.concatenate([np.zeros(0, np.float32), *(item.scores for item in seen)]),
        classes=np.concatenate([nothing, *(item.classes for item in seen)]),
        features=np.concatenate([np.zeros((0, width), np.float32), *features]),
        tracklets=tracklets,
        first=np.concatenate([nothing, *judge.first]),
        second=np.concatenate([nothing, *judge.second]),
        labels=np.concatenate([np.zeros(0, np.int8), *judge.labels]),
    )


@dataclass(frozen=True, slots=True)
class Purity:
    """How the labels compare with ground truth.

    Attributes:
        same: pairs labelled SAME, both detections being known objects.
        same_right: those whose objects are the same.
        same_half: pairs labelled SAME of which one detection is a known object and the other none.
        different: pairs labelled DIFFERENT, both detections being known objects.
        different_right: those whose objects are not the same.
        unknown: pairs left out.
        pairs: all pairs.
    """

    same: int
    same_right: int
    same_half: int
    different: int
    different_right: int
    unknown: int
    pairs: int

    def __add__(self, other: Purity) -> Purity:
        """Both together."""
        return Purity(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    def percent(self) -> dict[str, float]:
        """Purity of both labels, the share of half known links, and the share of pairs left out, %."""
        return {
            "same": 100 * self.same_right / max(self.same, 1),
            "same_half": 100 * self.same_half / max(self.same + self.same_half, 1),
            "different": 100 * self.different_right / max(self.different, 1),
            "unknown": 100 * self.unknown / max(self.pairs, 1),
        }


def purity(pairs: Pairs, truth: Labels, overlap: float = 0.5) -> Purity:
    """Compares with ground truth that was hidden until now.

    A detection is the object that the best matching of its frame gives it at this IoU. A pair tells something about
    objects where both of its detections are one; links with one such end are counted apart.

    Args:
        pairs: what was bootstrapped.
        truth: every annotated object, those that a benchmark does not count included.
        overlap: the smallest IoU of a match.
    """
    objects = np.full(len(pairs.frames), -1, np.int64)
    rows = truth.rows()
    starts = np.searchsorted(pairs.frames, np.arange(len(pairs.numbers) + 1))
    for index, number in enumerate(pairs.numbers.tolist()):
        mine = slice(starts[index], starts[index + 1])
        theirs = slice(rows[number - 1], rows[number]) if number <= truth.length else slice(0, 0)
        overlaps = iou(pairs.boxes[mine].astype(np.float64), truth.boxes[theirs])
        for a, b in zip(*linear_sum_assignment(-overlaps), strict=True):
            if overlaps[a, b] >= overlap:
                objects[mine.start + a] = truth.ids[theirs][b]
    one, other = objects[pairs.first], objects[pairs.second]
    known = (one >= 0) & (other >= 0)
    same, different = (pairs.labels == SAME) & known, (pairs.labels == DIFFERENT) & known
    return Purity(
        int(same.sum()),
        int((same & (one == other)).sum()),
        int(((pairs.labels == SAME) & ((one >= 0) ^ (other >= 0))).sum()),
        int(different.sum()),
        int((different & (one != other)).sum()),
        int((pairs.labels == UNKNOWN).sum()),
        len(pairs.labels),
    )

"""Bootstrapped pairs as the tapes that training reads: the tracker on real detections, judged where that is certain.

A strict tracklet is an object. Two tracklets that live at the same time are two objects, unless they lie on top of one
another; of any others nobody knows. Detections of a tracklet are left out here and there, so that tracks are lost and
found again with an answer that is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alstm_ros.association.associator import Candidates, Refinement
from alstm_ros.association.lstm import LearnedAssociator
from alstm_ros.association.manager import IdCounter, TrackManager
from alstm_ros.boxes import iou
from alstm_ros.config import Config
from alstm_ros.learning.bootstrap import Strictness
from alstm_ros.learning.noise import DOUBLE
from alstm_ros.learning.pairs import Pairs
from alstm_ros.learning.rollout import Recorder, Tape
from alstm_ros.learning.scenes import Scene
from alstm_ros.types import Detections, Float32, Int64


@dataclass(frozen=True, slots=True)
class Gaps:
    """How tracklets are interrupted.

    Attributes:
        share: of the tracklets that are long enough.
        longest: frames of a gap, at most.
        rest: frames that stay on either side of it, at least.
    """

    share: float = 0.5
    longest: int = 15
    rest: int = 4


@dataclass(frozen=True, slots=True)
class _Lives:
    """What is certain of tracklets.

    Attributes:
        first: `(T,)` int64, first frame of each.
        last: `(T,)` int64, last frame.
        apart: `(T, T)` bool, two that are two objects.
    """

    first: Int64
    last: Int64
    apart: NDArray[np.bool_]

    @classmethod
    def of(cls, frames: Int64, tracklets: Int64, boxes: Float32, twins: float) -> _Lives:
        count = int(tracklets.max(initial=-1)) + 1
        first, last = np.full(count, np.iinfo(np.int64).max), np.full(count, -1)
        np.minimum.at(first, tracklets, frames)
        np.maximum.at(last, tracklets, frames)
        apart, on_top = np.zeros((count, count), bool), np.zeros((count, count), bool)
        starts = np.flatnonzero(np.diff(frames, prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(frames)], strict=True):
            here = tracklets[start:end]
            apart[np.ix_(here, here)] = True
            on_top[np.ix_(here, here)] |= iou(boxes[start:end], boxes[start:end]) > twins
        return cls(first, last, apart & ~on_top)

    def different(self, one: Int64, other: Int64) -> NDArray[np.bool_]:
        """Which pairs of objects are certainly two; negative ones are unknown."""
        known = (one >= 0) & (other >= 0)
        return known & self.apart[np.where(known, one, 0), np.where(known, other, 0)] if len(self.apart) else known


class _Recorder(Recorder):
    """Takes back every judgement of the recorder that is not certain."""

    def __init__(
        self, scene: Scene, lives: _Lives, slack: float, rng: np.random.Generator, inner: LearnedAssociator | None
    ) -> None:
        super().__init__(scene, rng, inner, mistakes=0.0)
        self._certain, self._slack = lives, slack

    def correct(self, candidates: Candidates) -> Float32:
        """Records the pairs; unknown ones count neither way."""
        out = super().correct(candidates)
        rows, columns = candidates.rows, candidates.columns
        who = np.array([self._lives[slot].who for slot in candidates.tracks.slots.tolist()], np.int64)
        label = self._log["pair_label"][-1]
        certain = self._certain.different(who[rows], self._objects()[columns])
        certain |= candidates.costs >= candidates.limit + self._slack
        label[(label == 0) & ~certain] = -1
        # That a track has none is known only while its tracklet lives; that a detection is new is never known.
        alive = np.zeros(len(who), bool)
        held = np.flatnonzero(who >= 0)
        alive[held] = (self._certain.first[who[held]] <= self.frame) & (self.frame <= self._certain.last[who[held]])
        self._log["pair_row_use"][-1] &= alive[rows]
        positive = np.zeros(len(candidates.detections), bool)
        positive[columns[label == 1]] = True
        self._log["pair_column_use"][-1] &= positive[columns]
        return out

    def advance(
        self, candidates: Candidates, corrections: Float32, rows: Int64, columns: Int64, slots: Int64, born: Int64
    ) -> Refinement:
        """Records the steps; a detection is no truth for boxes, so nothing is learned about them."""
        before = np.array([self._lives[slot].who for slot in candidates.tracks.slots[rows].tolist()], np.int64)
        answer = super().advance(candidates, corrections, rows, columns, slots, born)
        self._log["step_goal"][-1][:] = np.nan
        now = self._objects()[columns]
        same = self._log["step_same"][-1]
        same[: len(rows)] = np.where(self._certain.different(before, now), 0, -1)
        same[: len(rows)][(before == now) & (now >= 0)] = 1
        return answer


def bootstrap_tape(
    pairs: Pairs,
    rng: np.random.Generator,
    config: Config,
    inner: LearnedAssociator | None = None,
    gaps: Gaps | None = None,
    strictness: Strictness | None = None,
) -> Tape:
    """Records the tracker on a recording's detections.

    Args:
        pairs: of the recording.
        rng: chooses the gaps.
        config: of the tracker.
        inner: the network as far as it is trained, None for the rules alone.
        gaps: how tracklets are interrupted.
        strictness: what `bootstrap` was given.

    Returns:
        The tape; it holds no truth about boxes.
    """
    strict = strictness or Strictness()
    member = pairs.tracklets >= 0
    scene = Scene(
        name="bootstrapped",
        size=(max(int(pairs.boxes[:, 2].max(initial=1)), 1), max(int(pairs.boxes[:, 3].max(initial=1)), 1)),
        stamps_ns=pairs.stamps_ns,
        frames=pairs.frames[member],
        ids=pairs.tracklets[member],
        classes=pairs.classes[member],
        boxes=pairs.boxes[member],
        visible=np.ones(int(member.sum()), np.float32),
    )
    lives = _Lives.of(scene.frames, scene.ids, scene.boxes, strict.duplicate)
    recorder = _Recorder(scene, lives, strict.slack, rng, inner)
    manager = TrackManager(config, IdCounter(), recorder)
    truth = np.where(member, np.cumsum(member) - 1, DOUBLE)  # a second detection of anything: counts neither way
    shown = ~_hidden(pairs, lives, gaps or Gaps(), rng)
    starts = np.searchsorted(pairs.frames, np.arange(len(pairs.stamps_ns) + 1))
    features = pairs.features if pairs.features.shape[1] else None
    every = Detections(pairs.boxes, pairs.scores, pairs.classes, features)
    for frame, stamp_ns in enumerate(pairs.stamps_ns.tolist()):
        rows = np.arange(starts[frame], starts[frame + 1])
        rows = rows[shown[rows]]
        recorder.frame, recorder.truth = frame, truth[rows]
        manager.update(every[rows], stamp_ns)
    return recorder.tape()


def _hidden(pairs: Pairs, lives: _Lives, gaps: Gaps, rng: np.random.Generator) -> NDArray[np.bool_]:
    """`(D,)` which detections are left out."""
    hidden = np.zeros(len(pairs.frames), bool)
    for key, (first, last) in enumerate(zip(lives.first.tolist(), lives.last.tolist(), strict=True)):
        room = last - first + 1 - 2 * gaps.rest
        if room < 1 or rng.random() >= gaps.share:
            continue
        length = int(rng.integers(1, min(gaps.longest, room) + 1))
        begin = first + gaps.rest + int(rng.integers(room - length + 1))
        hidden |= (pairs.tracklets == key) & (pairs.frames >= begin) & (pairs.frames < begin + length)
    return hidden

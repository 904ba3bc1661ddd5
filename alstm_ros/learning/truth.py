"""Bootstrapped pairs as the tapes that training reads: the tracker on real detections, judged where that is certain.

A strict tracklet is an object, and so is what a person labelled as one. Two that live at the same time are two objects,
unless they lie on top of one another; where an object is found, what lies apart from it is something else. Of any other
pairs nobody knows. Boxes and scores are judged where a person labelled the frame, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from alstm_ros.association.associator import Candidates, Decision, Refinement
from alstm_ros.association.learned.associator import LearnedAssociator
from alstm_ros.association.tracker import IdCounter, TrackManager
from alstm_ros.boxes import iou
from alstm_ros.config import Config
from alstm_ros.learning.pseudo_labels.augment import OwnClip
from alstm_ros.learning.pseudo_labels.identities import identities
from alstm_ros.learning.pseudo_labels.pairs import NOBODY_LOOKED, NOTHING, Pairs
from alstm_ros.learning.pseudo_labels.strict_links import Strictness
from alstm_ros.learning.rollout import Recorder, Tape
from alstm_ros.learning.simulation.detector_noise import DOUBLE, FALSE
from alstm_ros.learning.simulation.scenes import Scene
from alstm_ros.types import Detections, Float32, Int64


@dataclass(frozen=True, slots=True)
class Certain:
    """What is certain of objects.

    Attributes:
        apart: `(K, K)` bool, two that are two objects.
        boxes: for each frame, the objects found in it and their boxes, those that are hidden from the tracker too.
        alike: IoU above which two boxes of a frame may be one object.
    """

    apart: NDArray[np.bool_]
    boxes: list[tuple[Int64, Float32]]
    alike: float

    @classmethod
    def of(cls, pairs: Pairs, who: Int64, alike: float) -> Certain:
        """What a recording shows.

        Args:
            pairs: the recording.
            who: `(D,)` the object behind each detection, -1 where nobody knows.
            alike: see the attributes.
        """
        count = int(who.max(initial=-1)) + 1
        apart, on_top = np.zeros((count, count), bool), np.zeros((count, count), bool)
        labelled = np.unique(who[(pairs.objects >= 0) & (who >= 0)])
        boxes = []
        starts = np.searchsorted(pairs.frames, np.arange(len(pairs.numbers) + 1))
        for start, end in pairwise(starts.tolist()):
            rows = start + np.flatnonzero(who[start:end] >= 0)
            here = who[rows]
            boxes.append((here, pairs.boxes[rows]))
            apart[np.ix_(here, here)] = True
            on_top[np.ix_(here, here)] |= iou(pairs.boxes[rows], pairs.boxes[rows]) > alike
        apart &= ~on_top
        apart[np.ix_(labelled, labelled)] = True
        np.fill_diagonal(apart, val=False)
        return cls(apart, boxes, alike)

    def different(self, frame: int, one: Int64, other: Int64, boxes: Float32) -> NDArray[np.bool_]:
        """Which objects certainly are not what was detected in a frame.

        Args:
            frame: the frame.
            one: `(P,)` objects, negative where unknown.
            other: `(P,)` the detected objects, FALSE, or below where unknown.
            boxes: `(P, 4)` the detections' boxes.
        """
        known = one >= 0
        both = known & (other >= 0)
        found = both & self.apart[np.where(both, one, 0), np.where(both, other, 0)] if len(self.apart) else both
        found |= known & (other == FALSE)
        for key, box in zip(*self.boxes[frame], strict=True):  # an object is in one place
            rows = np.flatnonzero(one == key)
            elsewhere = iou(box[None], boxes[rows])[0] <= self.alike
            found[rows] |= elsewhere & (other[rows] != key)
        return np.asarray(found)


class _Recorder(Recorder):
    """Takes back every judgement of the recorder that is not certain."""

    def __init__(
        self,
        scene: Scene,
        certain: Certain,
        rng: np.random.Generator,
        inner: LearnedAssociator | None,
        mistakes: float,
        slack: float,
    ) -> None:
        super().__init__(scene, rng, inner, mistakes)
        self._certain, self._slack = certain, slack
        self._who: Int64 = np.zeros(0, np.int64)
        self.labelled: NDArray[np.bool_] = np.zeros(0, bool)
        """`(N,)` the frame's detections of which a person said what they are."""

    def correct(self, candidates: Candidates) -> Float32:
        """Records the pairs; unknown ones count neither way."""
        out = super().correct(candidates)
        rows, columns = candidates.rows, candidates.columns
        # noted now: tracks that end in this frame are forgotten before `advance`
        self._who = who = np.array([self._lives[slot].who for slot in candidates.tracks.slots.tolist()], np.int64)
        label = self._log["pair_label"][-1]
        certain = self._different(candidates, who[rows], columns)
        certain |= (candidates.costs >= candidates.limit + self._slack) & (who[rows] >= 0)
        label[(label == 0) & ~certain] = -1
        # That a track has none is known where its object is found elsewhere, or nothing is left that it could have.
        placed = np.isin(who, self._certain.boxes[self.frame][0])
        doubt = label == -1
        row_open, column_open = np.zeros(len(who), bool), np.zeros(len(candidates.detections), bool)
        row_open[rows[doubt]] = True
        column_open[columns[doubt]] = True
        self._log["pair_row_use"][-1] &= (placed | ~row_open)[rows]
        positive = np.zeros(len(column_open), bool)
        positive[columns[label == 1]] = True
        self._log["pair_column_use"][-1] &= (positive | ~column_open)[columns]
        return out

    def advance(self, decision: Decision) -> Refinement:
        """Records the steps; a detection is no truth for boxes or scores, a person's label is."""
        before, columns = self._who[decision.rows], decision.columns
        answer = super().advance(decision)
        silent = ~self.labelled[decision.found]
        self._log["step_goal"][-1][silent] = np.nan
        self._log["step_score"][-1][silent] = -1
        now = self._objects()[columns]
        same = self._log["step_same"][-1]
        same[: len(now)] = np.where(self._different(decision.candidates, before, columns), 0, -1)
        same[: len(now)][(before == now) & (now >= 0)] = 1
        return answer

    def _different(self, candidates: Candidates, who: Int64, columns: Int64) -> NDArray[np.bool_]:
        objects, boxes = self._objects()[columns], candidates.detections.boxes[columns]
        return self._certain.different(self.frame, who, objects, boxes)


def bootstrap_tape(
    clip: OwnClip,
    rng: np.random.Generator,
    config: Config,
    inner: LearnedAssociator | None = None,
    mistakes: float = 0.0,
    strictness: Strictness | None = None,
) -> Tape:
    """Records the tracker on a recording's detections.

    Args:
        clip: of the recording.
        rng: draws the mistakes.
        config: of the tracker.
        inner: the network as far as it is trained, None for the rules alone.
        mistakes: how many wrong matches are forced, a second.
        strictness: what `bootstrap` was given.

    Returns:
        The tape; it holds truth about boxes and scores where a person labelled the frame.
    """
    strict, pairs = strictness or Strictness(), clip.pairs
    who = identities(pairs)
    member = who >= 0
    boxes = np.where(np.isfinite(pairs.truths), pairs.truths, pairs.boxes)
    scene = Scene(
        name="bootstrapped",
        size=(max(int(pairs.boxes[:, 2].max(initial=1)), 1), max(int(pairs.boxes[:, 3].max(initial=1)), 1)),
        stamps_ns=pairs.stamps_ns,
        frames=pairs.frames[member],
        ids=who[member],
        classes=pairs.classes[member],
        boxes=boxes[member],
        visible=np.ones(int(member.sum()), np.float32),
    )
    certain = Certain.of(replace(pairs, boxes=boxes), who, strict.duplicate)
    recorder = _Recorder(scene, certain, rng, inner, mistakes, strict.slack)
    manager = TrackManager(config, IdCounter(), recorder)
    # whatever is not known passes for a second detection of something, which counts neither way
    truth = np.where(member, np.cumsum(member) - 1, np.where(pairs.objects == NOTHING, FALSE, DOUBLE))
    labelled = (pairs.objects != NOBODY_LOOKED) & (member | (pairs.objects == NOTHING))
    starts = np.searchsorted(pairs.frames, np.arange(len(pairs.stamps_ns) + 1))
    features = pairs.features if pairs.features.shape[1] else None
    every = Detections(pairs.boxes, pairs.scores, pairs.classes, features)
    for frame, stamp_ns in enumerate(pairs.stamps_ns.tolist()):
        rows = np.arange(starts[frame], starts[frame + 1])
        rows = rows[~clip.hidden[rows]]
        recorder.frame, recorder.truth, recorder.labelled = frame, truth[rows], labelled[rows]
        motion = pairs.motion[frame]
        manager.update(every[rows], stamp_ns, motion if np.isfinite(motion).all() else None)
    return recorder.tape()

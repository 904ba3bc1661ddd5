"""The running tracker on simulated detections, recorded: what the network would have been shown, and what was true.

The recorder sits where the learned associator sits, so the recorded states are those that the tracker really produces,
its mistakes included. With a trained network inside, they are the network's own.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alstm_ros.association.associator import Candidates, Decision, Refinement
from alstm_ros.association.learned.associator import LearnedAssociator
from alstm_ros.association.learned.competition import paired_iou
from alstm_ros.association.learned.features import pair_features, step_features
from alstm_ros.association.learned.history import Memory
from alstm_ros.association.tracker import IdCounter, TrackManager
from alstm_ros.boxes import xyxy_to_cxcywh
from alstm_ros.config import Config
from alstm_ros.learning.simulation.detector_noise import DOUBLE, FALSE, HIT, Detector
from alstm_ros.learning.simulation.scenes import Scene
from alstm_ros.types import Float32, Int64


@dataclass(frozen=True, slots=True)
class Tape:
    """One recorded run; steps and pairs are sorted by frame.

    Attributes:
        frames: the number of frames.
        step_frame: `(S,)` int32.
        step_track: `(S,)` int32, the track's serial number.
        step_index: `(S,)` int32, how many steps the track had taken before.
        step_x: `(S, STEP)` float16.
        step_score: `(S,)` float32 1 object, 0 false, -1 not known.
        step_plain: `(S,)` float32, the score that the rules publish.
        step_same: `(S,)` float32 1 the track's own object, 0 another, -1 not known.
        step_goal: `(S, 4)` float32, the truth relative to the box that the rules publish, (dx, dy) in heights, log
            ratios; NaN if none.
        step_pull: `(S, 4)` float32, the detection likewise.
        step_object: `(S,)` int32, the object that was detected, -1 if none.
        pair_frame: `(P,)` int32.
        pair_track: `(P,)` int32.
        pair_index: `(P,)` int32, which of the track's steps was its newest.
        pair_row: `(P,)` int32, row and
        pair_column: `(P,)` int32, column within the frame.
        pair_g: `(P, PAIR)` float16.
        pair_cost: `(P,)` float32.
        pair_label: `(P,)` int8, 1 same, 0 not, -1 counts neither way.
        pair_row_use: `(P,)` bool, whether the row's truth is known,
        pair_column_use: `(P,)` bool, and the column's.
    """

    frames: int
    step_frame: NDArray[np.int32]
    step_track: NDArray[np.int32]
    step_index: NDArray[np.int32]
    step_x: NDArray[np.float16]
    step_score: Float32
    step_plain: Float32
    step_same: Float32
    step_goal: Float32
    step_pull: Float32
    step_object: NDArray[np.int32]
    pair_frame: NDArray[np.int32]
    pair_track: NDArray[np.int32]
    pair_index: NDArray[np.int32]
    pair_row: NDArray[np.int32]
    pair_column: NDArray[np.int32]
    pair_g: NDArray[np.float16]
    pair_cost: Float32
    pair_label: NDArray[np.int8]
    pair_row_use: NDArray[np.bool_]
    pair_column_use: NDArray[np.bool_]

    def untold(self) -> Tape:
        """The same run without the truth: nothing in it is known."""
        return replace(
            self,
            step_score=np.full_like(self.step_score, -1),
            step_same=np.full_like(self.step_same, -1),
            step_goal=np.full_like(self.step_goal, np.nan),
            step_object=np.full_like(self.step_object, -1),
            pair_label=np.full_like(self.pair_label, -1),
            pair_row_use=np.zeros_like(self.pair_row_use),
            pair_column_use=np.zeros_like(self.pair_column_use),
        )


@dataclass(slots=True)
class _Life:
    """What a track is in truth: the object that it held last.

    A track that jumped to another object is that object from then on. To teach it to jump back looks better, but on the
    network's own states it feeds itself: what was taught to swap swaps more, and is then taught to swap back.
    """

    serial: int
    steps: int
    who: int


class Recorder:
    """An associator that writes down what it is asked, corrects with another one or not at all, and errs on purpose."""

    def __init__(
        self, scene: Scene, rng: np.random.Generator, inner: LearnedAssociator | None, mistakes: float
    ) -> None:
        """Prepares one run.

        Args:
            scene: the truth.
            rng: draws the mistakes.
            inner: corrects costs; None for the rules alone.
            mistakes: how many wrong matches are forced, a second.
        """
        self._scene, self._rng, self._inner, self._mistakes = scene, rng, inner, mistakes
        self._memory = Memory()
        self._lives: dict[int, _Life] = {}
        self._serial = 0
        self._log: defaultdict[str, list[NDArray[Any]]] = defaultdict(list)
        self.frame = -1
        self.truth: Int64 = np.zeros(0, np.int64)

    @property
    def width(self) -> int:
        """Length of an embedding."""
        return 0 if self._inner is None else self._inner.width

    def correct(self, candidates: Candidates) -> Float32:
        """Records the pairs and their truth."""
        rows, columns = candidates.rows, candidates.columns
        lives = [self._lives[slot] for slot in candidates.tracks.slots.tolist()]
        objects = self._objects()
        label, row_use, column_use = _labels(candidates, lives, objects)
        serials = np.array([life.serial for life in lives], np.int32)
        indices = np.array([life.steps - 1 for life in lives], np.int32)
        self._add("pair_frame", np.full(len(rows), self.frame, np.int32))
        self._add("pair_track", serials[rows])
        self._add("pair_index", indices[rows])
        self._add("pair_row", rows.astype(np.int32))
        self._add("pair_column", columns.astype(np.int32))
        if self._inner is None:
            out = np.zeros(len(rows), np.float32)
            pairs = pair_features(self._memory.frame(candidates))
        else:
            out = self._inner.correct(candidates).copy()
            pairs = self._inner.pairs
        self._add("pair_g", pairs.astype(np.float16))
        self._add("pair_cost", candidates.costs.astype(np.float32))
        self._add("pair_label", label)
        self._add("pair_row_use", row_use)
        self._add("pair_column_use", column_use)
        wrong = np.flatnonzero((label == 0) & (candidates.costs < candidates.limit))
        if len(wrong) and self._rng.random() < self._mistakes * candidates.dt_ns / 1e9:
            out[self._rng.choice(wrong)] -= 2
        return out

    def advance(self, decision: Decision) -> Refinement:
        """Records the steps and their truth."""
        scene, detections, plain = self._scene, decision.candidates.detections, decision.plain
        if self._inner is None:
            x = step_features(self._memory.frame(decision.candidates), decision)
            self._memory.learn(decision)
            answer = plain
        else:
            answer = self._inner.advance(decision)
            x = self._inner.x
        which, found, matched = decision.which, decision.found, len(decision.rows)
        objects = self._objects()[found]
        same = np.full(len(found), -1, np.float32)
        serials, indices = np.zeros(len(found), np.int32), np.zeros(len(found), np.int32)
        for k, (slot, who) in enumerate(zip(which.tolist(), objects.tolist(), strict=True)):
            if k >= matched:
                self._lives[slot] = _Life(self._serial, 0, who)
                self._serial += 1
            life = self._lives[slot]
            if k < matched and who > DOUBLE and (life.who >= 0 or who >= 0):
                same[k] = who == life.who
            if who >= 0:
                life.who = who
            serials[k], indices[k] = life.serial, life.steps
            life.steps += 1
        truth = self.truth[found]
        boxes = xyxy_to_cxcywh(plain.boxes)
        real = xyxy_to_cxcywh(scene.boxes[np.maximum(truth, 0)]) if len(scene.boxes) else boxes
        goal = _relative(real, boxes)
        goal[truth < 0] = np.nan
        pull = _relative(xyxy_to_cxcywh(detections.boxes[found]), boxes)
        self._add("step_frame", np.full(len(found), self.frame, np.int32))
        self._add("step_track", serials)
        self._add("step_index", indices)
        self._add("step_x", x.astype(np.float16))
        self._add("step_score", self._real(detections.boxes[found], truth))
        self._add("step_plain", plain.scores.astype(np.float32))
        self._add("step_same", same)
        self._add("step_goal", goal)
        self._add("step_pull", pull)
        self._add("step_object", objects.astype(np.int32))
        return answer

    def forget(self, slots: NDArray[Any]) -> None:
        """Drops what is known of ended tracks."""
        for slot in slots.tolist():
            self._lives.pop(slot, None)
        if self._inner is not None:
            self._inner.forget(slots)

    def tape(self) -> Tape:
        """All that was recorded."""
        joined = {name: np.concatenate(parts) for name, parts in self._log.items()}
        return Tape(frames=len(self._scene), **{f.name: joined[f.name] for f in fields(Tape) if f.name != "frames"})

    def _objects(self) -> Int64:
        """The object behind each detection; FALSE stays, a second detection of object k becomes DOUBLE - k."""
        if not len(self._scene.ids):
            return self.truth
        owner = self._scene.ids[np.where(self.truth >= 0, self.truth, np.maximum(DOUBLE - self.truth, 0))]
        return np.where(self.truth >= 0, owner, np.where(self.truth <= DOUBLE, DOUBLE - owner, FALSE))

    def _real(self, boxes: Float32, truth: Int64) -> Float32:
        """`(N,)` 1 for objects, 0 for what no object is near enough to, -1 for second detections of one."""
        owner = np.where(truth >= 0, truth, np.maximum(DOUBLE - truth, 0))
        second = truth <= DOUBLE
        if second.any():
            second[second] = paired_iou(boxes[second], self._scene.boxes[owner[second]]) >= HIT
        return np.where(second, -1, truth >= 0).astype(np.float32)

    def _add(self, name: str, values: NDArray[Any]) -> None:
        self._log[name].append(values)


def _labels(
    candidates: Candidates, lives: list[_Life], objects: Int64
) -> tuple[NDArray[np.int8], NDArray[np.bool_], NDArray[np.bool_]]:
    """Truth of each pair, and whether that of its row and of its column is known."""
    rows, columns = candidates.rows, candidates.columns
    who = np.array([life.who for life in lives], np.int64)
    # where an object has several tracks, that which held it last is the right one, and the others count neither way
    heir = np.zeros(len(who), bool)
    latest: dict[int, int] = {}
    for row in np.lexsort((-candidates.tracks.ages_ns, candidates.tracks.unseen_ns)).tolist():
        if who[row] >= 0 and latest.setdefault(int(who[row]), row) == row:
            heir[row] = True
    same = (who[rows] == objects[columns]) & (who[rows] >= 0)
    label = np.where(same, np.where(heir[rows], 1, -1), 0).astype(np.int8)
    label[(objects[columns] <= DOUBLE) & (DOUBLE - objects[columns] == who[rows])] = -1
    real = objects[columns] >= 0
    both_false = (who[rows] < 0) & ~real
    label[both_false] = -1
    positive_row, positive_column = np.zeros(len(who), bool), np.zeros(len(objects), bool)
    positive_row[rows[label == 1]] = True
    positive_column[columns[label == 1]] = True
    present = np.isin(who, objects)  # detected, though perhaps not among the candidates
    row_known = (who >= 0) & heir & (positive_row | ~present)
    column_known = (objects == FALSE) | ((objects >= 0) & (positive_column | ~np.isin(objects, who[heir])))
    return label, row_known[rows], column_known[columns]


def _relative(boxes: Float32, origin: Float32) -> Float32:
    """`(N, 4)` cxcywh relative to others: shifts in the others' heights, log ratios of sizes."""
    height = np.maximum(origin[:, 3:], 1)
    shift = (boxes[:, :2] - origin[:, :2]) / height
    ratio = np.log(np.maximum(boxes[:, 2:], 1) / np.maximum(origin[:, 2:], 1))
    return np.asarray(np.clip(np.concatenate([shift, ratio], axis=1), -1, 1), np.float32)


def record(
    scene: Scene,
    detector: Detector,
    rng: np.random.Generator,
    config: Config,
    inner: LearnedAssociator | None = None,
    mistakes: float = 0.0,
) -> Tape:
    """Runs the tracker over a scene and records it.

    Args:
        scene: the truth, with the camera's motion if that is to be known.
        detector: finds what is in the scene, fresh.
        rng: draws the mistakes.
        config: of the tracker.
        inner: the network as far as it is trained, None for the rules alone.
        mistakes: how many wrong matches are forced, a second.

    Returns:
        The tape.
    """
    recorder = Recorder(scene, rng, inner, mistakes)
    manager = TrackManager(config, IdCounter(), recorder)
    for frame, stamp in enumerate(scene.stamps_ns.tolist()):
        found, recorder.truth = detector(frame)
        recorder.frame = frame
        manager.update(found, stamp, None if scene.affines is None else scene.affines[frame])
    return recorder.tape()

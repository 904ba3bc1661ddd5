"""The running tracker, recorded: what the network would have been shown, and what was true.

The recorder sits where the learned associator sits, so the recorded states are those that the tracker really produces,
its mistakes included. With a trained network inside, they are the network's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from alstm_ros.association.associator import Candidates, Decision, Refinement
from alstm_ros.association.learned.associator import LearnedAssociator
from alstm_ros.association.learned.features import pair_features, step_features
from alstm_ros.association.learned.history import History
from alstm_ros.association.tracker import IdCounter, TrackManager
from alstm_ros.boxes import xyxy_to_cxcywh
from alstm_ros.config import Config
from alstm_ros.learning.pseudo_labels.augment import AugmentedClip
from alstm_ros.learning.pseudo_labels.footage import NO_OBJECT, NOT_LABELLED, replay_footage
from alstm_ros.learning.pseudo_labels.identities import identities
from alstm_ros.learning.pseudo_labels.strict_links import Strictness
from alstm_ros.learning.simulation.detector_noise import DUPLICATE, FALSE
from alstm_ros.learning.simulation.scenes import Scene
from alstm_ros.learning.tape import StepTruth, Tape, TapePairs, TapeSteps, concatenated
from alstm_ros.learning.truth import FrameTruth, PseudoTruth, SceneTruth, Separation
from alstm_ros.types import Detections, Float32, Int64

_FORCED = 2.0
"""Cost that a forced mistake is cheaper by, which is more than any pair costs."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """How the tracker is run while it is recorded.

    Attributes:
        tracker: its parameters.
        inner: the network as far as it is trained, None for the rules alone.
        mistakes: how many wrong matches are forced, a second.
    """

    tracker: Config
    inner: LearnedAssociator | None = None
    mistakes: float = 0.0


@dataclass(slots=True)
class _TrackLife:
    """What a track is in truth: the object that it held last.

    A track that jumped to another object is that object from then on. To teach it to jump back looks better, but on the
    network's own states it feeds itself: what was taught to swap swaps more, and is then taught to swap back.
    """

    serial: int
    steps: int
    held: int


class Recorder:
    """An associator that writes down what it is asked, corrects with another one or not at all, and errs on purpose."""

    def __init__(self, how: Rollout, rng: np.random.Generator) -> None:
        """Prepares one run.

        Args:
            how: what corrects costs, and how often it errs on purpose.
            rng: draws the mistakes.
        """
        self._inner, self._mistakes, self._rng = how.inner, how.mistakes, rng
        self._memory = History()
        self._lives: dict[int, _TrackLife] = {}  # by slot
        self._serial = 0
        self._frame = -1
        self._truth: FrameTruth  # from `begin`
        self._pairs: list[TapePairs] = []
        self._steps: list[TapeSteps] = []

    def begin(self, frame: int, truth: FrameTruth) -> None:
        """Is told which frame comes and what is true of it."""
        self._frame, self._truth = frame, truth

    @property
    def width(self) -> int:
        """Length of an embedding."""
        return 0 if self._inner is None else self._inner.width

    def correct(self, candidates: Candidates) -> Float32:
        """Records the pairs and their truth."""
        rows = candidates.rows
        lives = [self._lives[slot] for slot in candidates.tracks.slots.tolist()]
        held = np.array([life.held for life in lives], np.int64)
        if self._inner is None:
            corrections = np.zeros(len(rows), np.float32)
            features = pair_features(self._memory.frame(candidates))
        else:
            corrections = self._inner.correct(candidates).copy()
            features = self._inner.pairs
        truth, wrong = self._truth.pairs(candidates, held)
        pairs = TapePairs(
            frame=np.full(len(rows), self._frame, np.int32),
            track=np.array([life.serial for life in lives], np.int32)[rows],
            index=np.array([life.steps - 1 for life in lives], np.int32)[rows],
            row=rows.astype(np.int32),
            column=candidates.columns.astype(np.int32),
            g=features.astype(np.float16),
            cost=candidates.costs.astype(np.float32),
            truth=truth,
        )
        self._pairs.append(pairs)
        cheap = np.flatnonzero(wrong & (candidates.costs < candidates.limit))
        if len(cheap) and self._rng.random() < self._mistakes * candidates.dt_ns / 1e9:
            corrections[self._rng.choice(cheap)] -= _FORCED
        return corrections

    def advance(self, decision: Decision) -> Refinement:
        """Records the steps and their truth."""
        plain, found = decision.plain, decision.found
        if self._inner is None:
            x = step_features(self._memory.frame(decision.candidates), decision)
            self._memory.learn(decision)
            answer = plain
        else:
            answer = self._inner.advance(decision)
            x = self._inner.x
        objects = self._truth.objects[found]
        serials, indices, held = self._lived(decision, objects)
        same = np.full(len(found), -1, np.float32)
        matched = len(decision.rows)
        same[:matched] = self._truth.same(decision.candidates, decision.columns, held[:matched])
        boxes, detected = xyxy_to_cxcywh(plain.boxes), decision.candidates.detections.boxes[found]
        steps = TapeSteps(
            frame=np.full(len(found), self._frame, np.int32),
            track=serials,
            index=indices,
            x=x.astype(np.float16),
            plain=plain.scores.astype(np.float32),
            pull=_relative(xyxy_to_cxcywh(detected), boxes),
            truth=StepTruth(
                score=self._truth.scores(detected, found),
                same=same,
                goal=_relative(xyxy_to_cxcywh(self._truth.boxes(found)), boxes),
                object=objects.astype(np.int32),
            ),
        )
        self._steps.append(steps)
        return answer

    def _lived(self, decision: Decision, objects: Int64) -> tuple[NDArray[np.int32], NDArray[np.int32], Int64]:
        """Moves the tracks' lives on.

        Returns:
            Of matched and newborn tracks: serial numbers, steps taken before, and the objects held before.
        """
        which, matched = decision.which.tolist(), len(decision.rows)
        serials, indices = np.zeros((2, len(which)), np.int32)
        held = np.zeros(len(which), np.int64)
        for k, (slot, who) in enumerate(zip(which, objects.tolist(), strict=True)):
            if k >= matched:
                self._lives[slot] = _TrackLife(self._serial, 0, who)
                self._serial += 1
            life = self._lives[slot]
            serials[k], indices[k], held[k] = life.serial, life.steps, life.held
            life.held = who if who >= 0 else life.held
            life.steps += 1
        return serials, indices, held

    def forget(self, slots: Int64) -> None:
        """Drops what is known of ended tracks."""
        for slot in slots.tolist():
            self._lives.pop(slot, None)
        if self._inner is not None:
            self._inner.forget(slots)

    def tape(self, frames: int) -> Tape:
        """All that was recorded of so many frames."""
        return Tape(frames, concatenated(self._steps), concatenated(self._pairs))


def _relative(boxes: Float32, origin: Float32) -> Float32:
    """`(N, 4)` cxcywh relative to others: shifts in the others' heights, log ratios of sizes."""
    height = np.maximum(origin[:, 3:], 1)
    shift = (boxes[:, :2] - origin[:, :2]) / height
    ratio = np.log(np.maximum(boxes[:, 2:], 1) / np.maximum(origin[:, 2:], 1))
    return np.asarray(np.clip(np.concatenate([shift, ratio], axis=1), -1, 1), np.float32)


def record_scene(
    scene: Scene, detector: Callable[[int], tuple[Detections, Int64]], rng: np.random.Generator, how: Rollout
) -> Tape:
    """Runs the tracker over a scene and records it.

    Args:
        scene: the truth, with the camera's motion if that is to be known.
        detector: finds what is in the scene, fresh; see SimulatedDetector.
        rng: draws the mistakes.
        how: how the tracker is run.

    Returns:
        The tape; all of its truth is known.
    """
    recorder = Recorder(how, rng)
    manager = TrackManager(how.tracker, IdCounter(), recorder)
    for frame, stamp_ns in enumerate(scene.stamps_ns.tolist()):
        found, rows = detector(frame)
        recorder.begin(frame, SceneTruth(scene, rows))
        manager.update(found, stamp_ns, None if scene.affines is None else scene.affines[frame])
    return recorder.tape(len(scene))


def record_clip(
    clip: AugmentedClip, rng: np.random.Generator, how: Rollout, strictness: Strictness | None = None
) -> Tape:
    """Runs the tracker over a recording's detections and records it.

    Args:
        clip: of the recording.
        rng: draws the mistakes.
        how: how the tracker is run.
        strictness: what `bootstrap` was given.

    Returns:
        The tape; it holds truth about boxes and scores where a person labelled the frame.
    """
    strict, footage = strictness or Strictness(), clip.footage
    who = identities(footage)
    known = who >= 0
    boxes = np.where(np.isfinite(footage.truths), footage.truths, footage.boxes)
    scene = Scene(
        name="bootstrapped",
        size=(max(int(footage.boxes[:, 2].max(initial=1)), 1), max(int(footage.boxes[:, 3].max(initial=1)), 1)),
        stamps_ns=footage.stamps_ns,
        frames=footage.frames[known],
        ids=who[known],
        classes=footage.classes[known],
        boxes=boxes[known],
        visible=np.ones(int(known.sum()), np.float32),
    )
    separation = Separation.of(replace(footage, boxes=boxes), who, strict.duplicate)
    # whatever is not known passes for a second detection of something, which counts neither way
    rows = np.where(known, np.cumsum(known) - 1, np.where(footage.objects == NO_OBJECT, FALSE, DUPLICATE))
    labelled = (footage.objects != NOT_LABELLED) & (known | (footage.objects == NO_OBJECT))
    rows, labelled = rows[clip.shown], labelled[clip.shown]
    recorder = Recorder(how, rng)

    def begin(frame: int, part: slice) -> None:
        guess = SceneTruth(scene, rows[part])
        recorder.begin(frame, PseudoTruth(guess, labelled[part], separation, frame, strict.slack))

    for _ in replay_footage(footage.choose(clip.shown), recorder, how.tracker, begin):
        pass
    return recorder.tape(len(footage))

"""A noise model of detectors: what one would have found of a scene, and what of it is true.

Errors are of three kinds: some belong to an object, some last over frames (a detector that does not like a pose goes on
not liking it) and some are new in each frame. Sizes are in box heights, scores are logits, durations in seconds, so
that one set of numbers serves every frame rate and resolution. `python -m bench.noise` measures the same things of
real detectors; the ranges of `draw_noise` hold what it finds (docs/notebook/2026-11-23-association-network.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alstm_ros.boxes import cxcywh_to_xyxy, iou, nms, xyxy_to_cxcywh
from alstm_ros.learning.simulation.clutter import Clutter, ClutterHabits
from alstm_ros.learning.simulation.scenes import Scene
from alstm_ros.types import Detections, Float32, Float64, Int64

FALSE = -1
"""Truth of a detection that is no object."""
DUPLICATE = -2
"""Truth of a second detection of the object in row 0 of the scene's arrays; of that in row k it is DUPLICATE - k."""
HIT = 0.5
"""IoU from which a box counts as its object."""
_OWN = 0.4
"""Share of the variance of scores that belongs to the object."""
_EDGE = 0.12
"""By how much visible share the moment wavers at which a hidden object is found no more."""
_RUN = (0.03, 1.0)
"""Seconds for which an object is missed for no visible reason, evenly spread in their logarithm."""
_AWAY = 0.5
"""Boxes are cut so many image widths and heights outside of the image."""


@dataclass(frozen=True, slots=True)
class DetectorNoise:
    """How a detector errs; the defaults are those of a good one.

    Attributes:
        jitter: standard deviation of the box's centre, in its heights.
        tails: spread of the logarithm of that, from object to object and moment to moment.
        shrink: how far a hidden object's box shrinks to its visible part; 0 for detectors that guess the whole.
        bias: share of the variance of boxes that stays with an object.
        lasting: share of the variance of boxes and scores that lasts over frames.
        memory: seconds after which a lasting error is forgotten.
        score: logit of the score of an object in plain view.
        spread: standard deviation of that logit.
        hiding: logits lost when an object is wholly hidden.
        blind: visible share below which an object is not found at all, more or less.
        small: logits lost at a height of 20 pixels, half of it at 40, and so on.
        drop: share of the time for which an object is missed for no visible reason.
        clutter: false detections a frame, in plain clutter that stays for a while.
        shadow: the same for each object, near it: arms, luggage, reflections, two people as one.
        part: the same, of halves of an object.
        double: the same, of second, worse boxes on an object.
        ghost: probability that something is still found where an object was that hides or goes away.
        false: logit of the score of false ones, and its standard deviation.
        blink: probability that a false detection is there in a frame of its life.
        floor: scores below this are not reported.
        nms: boxes that overlap a better one by more than this are not reported.
        width: length of the appearance vector, 0 for none.
        likeness: cosine of two appearances of the same object, roughly.
        uniform: cosine of two objects, roughly: people in uniforms, features that mostly say "person".
    """

    jitter: float = 0.015
    tails: float = 0.3
    shrink: float = 0.4
    bias: float = 0.1
    lasting: float = 0.65
    memory: float = 0.2
    score: float = 2.8
    spread: float = 0.9
    hiding: float = 1.5
    blind: float = 0.2
    small: float = 0.6
    drop: float = 0.02
    clutter: float = 1.0
    shadow: float = 0.08
    part: float = 0.25
    double: float = 0.12
    ghost: float = 0.4
    false: tuple[float, float] = (-1.9, 0.9)
    blink: float = 0.75
    floor: float = 0.1
    nms: float = 0.7
    width: int = 0
    likeness: float = 0.7
    uniform: float = 0.3


def draw_noise(rng: np.random.Generator, width: int = 0) -> DetectorNoise:
    """A detector drawn from wide ranges: most are good ones, one of seven is poor.

    Args:
        rng: draws.
        width: length of the appearance vector that two of five detectors offer.

    Returns:
        Its noise.
    """

    def between(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    poor, keen = rng.random() < 0.15, rng.random() < 0.4  # keen ones find what is hidden, and are not sure of it
    return DetectorNoise(
        jitter=between(0.02, 0.06) if poor else between(0.006, 0.035),
        tails=float(rng.uniform(0.0, 0.6)),
        shrink=float(rng.uniform(0.0, 0.8)) if rng.random() < 0.5 else 0.0,
        bias=float(rng.uniform(0.0, 0.2)),
        lasting=float(rng.uniform(0.4, 0.8)),
        memory=between(0.1, 0.4),
        score=float(rng.uniform(1.2, 2.8) if poor else rng.uniform(2.0, 4.6)),
        spread=float(rng.uniform(0.4, 1.2)),
        hiding=float(rng.uniform(1.5, 5.0) if keen else rng.uniform(0.0, 3.0)),
        blind=-1.0 if keen else float(rng.uniform(0.0, 0.6)),
        small=float(rng.uniform(0.0, 2.5) if poor else rng.uniform(0.0, 1.2)),
        drop=between(0.02, 0.15) if poor else between(0.003, 0.06),
        clutter=between(0.5, 8.0) if poor else between(0.1, 4.0),
        shadow=between(0.05, 0.6) if poor else between(0.01, 0.25),
        part=between(0.05, 1.0) if poor else between(0.02, 0.6),
        double=between(0.02, 0.6) if poor else between(0.02, 0.4),
        ghost=float(rng.uniform(0.1, 0.9)),
        false=(float(rng.uniform(-2.6, -0.8) if poor else rng.uniform(-2.8, -1.2)), float(rng.uniform(0.6, 1.3))),
        blink=float(rng.uniform(0.4, 0.98)),
        floor=0.1 if rng.random() < 0.75 else float(rng.uniform(0.1, 0.6)),  # some users ask for the sure ones only
        nms=float(rng.uniform(0.55, 0.85)),
        width=width if rng.random() < 0.4 else 0,
        likeness=float(rng.uniform(0.2, 0.95)),
        uniform=float(rng.uniform(0.0, 0.9)),
    )


class SimulatedDetector:
    """Finds what is in a scene, frame after frame, with errors."""

    def __init__(self, scene: Scene, noise: DetectorNoise, rng: np.random.Generator) -> None:
        """Prepares one run over a scene.

        Args:
            scene: the ground truth.
            noise: how to err.
            rng: draws the errors.
        """
        self._scene, self._noise, self._rng = scene, noise, rng
        self._rows = scene.rows()
        self._known, self._who = np.unique(scene.ids, return_inverse=True)
        count = len(self._known)
        self._own = rng.standard_normal((count, 6))  # errors of the box, of the score, and how large those are
        self._lasting = rng.standard_normal((count, 7))  # the same, and of the moment at which it is found no more
        wide = max(noise.width, 1)
        own, common = _unit(rng.standard_normal((count, wide))), _unit(rng.standard_normal((1, wide)))
        self._appearances = _unit(np.sqrt(1 - noise.uniform) * own + np.sqrt(noise.uniform) * common)
        self._missed = np.zeros(count)  # seconds for which an object is still missed
        self._dt = 1 / 30 if len(scene) < 2 else float(np.median(np.diff(scene.stamps_ns))) / 1e9
        habits = ClutterHabits(
            noise.clutter, noise.shadow, noise.part, noise.double, noise.ghost, noise.false,
            noise.blink, 2 * noise.jitter,
        )  # fmt: skip
        self._clutter = Clutter(scene, habits, count, self._dt, rng)

    def __call__(self, frame: int) -> tuple[Detections, Int64]:
        """The detections of a frame; call it once for each frame, in order.

        Returns:
            Detections, best score first, and their truth `(N,)` int64: a row of the scene's arrays, FALSE, or
            DUPLICATE and below.
        """
        noise, rng = self._noise, self._rng
        part = slice(int(self._rows[frame]), int(self._rows[frame + 1]))
        who, visible = self._who[part], self._scene.visible[part].astype(np.float64)
        real = self._scene.boxes[part].astype(np.float64)
        keep = np.exp(-self._dt / noise.memory)
        self._lasting = keep * self._lasting + np.sqrt(1 - keep**2) * rng.standard_normal(self._lasting.shape)
        fresh = rng.standard_normal((len(who), 6))
        bias, lasting = np.full(6, noise.bias), np.full(6, noise.lasting)
        bias[4], lasting[4] = _OWN, (1 - _OWN) * noise.lasting
        error = np.sqrt(bias) * self._own[who] + np.sqrt(lasting) * self._lasting[who, :6]
        error += np.sqrt(np.maximum(1 - bias - lasting, 0)) * fresh  # (n, 6) of unit variance
        # where the score is low, the box is worse
        error[:, :4] *= np.exp(noise.tails * error[:, 5:] - 0.2 * error[:, 4:5])
        boxes = self._boxes(real, who, visible, error[:, :4])
        tall = np.maximum(real[:, 3] - real[:, 1], 1.0)
        left = visible - noise.blind - _EDGE * self._lasting[who, 6]  # above what it needs to be found
        logits = noise.score + noise.spread * error[:, 4] - noise.hiding * (1 - visible) ** 1.5
        logits -= noise.small * np.minimum(20.0 / tall, 2.0) + np.clip(1 - left / 0.2, 0, 1)
        hidden = left < 0
        missed = hidden | self._misses(who)
        untrue = self._clutter(frame, who, real, visible, hidden)
        found = np.concatenate([boxes[~missed], untrue]).astype(np.float32)
        false = self._clutter.logits
        logits = np.concatenate([logits[~missed], false])
        # what clings to an object that is not found itself, a visible half of it, is as good as the object
        place = np.full(len(self._known) + 1, FALSE)
        place[who[missed]] = np.arange(part.start, part.stop)[missed]
        origin = np.concatenate([np.arange(part.start, part.stop)[~missed], place[self._clutter.clings]])
        classes = np.concatenate([self._scene.classes[part][~missed], np.zeros(len(false), np.int64)])
        appearance = self._appearance(who, visible)
        appearance = np.concatenate([appearance[~missed], self._strange(appearance, who, len(false))])

        scores = (1 / (1 + np.exp(-logits))).astype(np.float32)
        good = np.flatnonzero(
            (scores >= noise.floor) & (found[:, 2] > found[:, 0] + 1) & (found[:, 3] > found[:, 1] + 1)
        )
        good = good[nms(found[good], scores[good], classes[good].astype(np.int64), noise.nms)]
        features = appearance[good].astype(np.float32) if noise.width else None
        answer = Detections(found[good], scores[good], classes[good].astype(np.int64), features)
        from_it = good < len(boxes) - missed.sum()
        return answer, judged(found[good], origin[good], from_it, real.astype(np.float32), part.start)

    def _misses(self, who: Int64) -> NDArray[np.bool_]:
        """Who is missed for no visible reason: half of it for a frame, half for longer, a few for seconds."""
        noise, rng = self._noise, self._rng
        self._missed = np.maximum(self._missed - self._dt, 0)
        mean = (_RUN[1] - _RUN[0]) / np.log(_RUN[1] / _RUN[0])
        begins = rng.random(len(who)) < 0.5 * noise.drop * self._dt / mean
        self._missed[who[begins]] = np.exp(rng.uniform(np.log(_RUN[0]), np.log(_RUN[1]), begins.sum()))
        longer = rng.random(len(who)) < 0.1 * self._dt * noise.drop
        self._missed[who[longer]] = rng.uniform(1.0, 3.0, longer.sum())
        return np.asarray((rng.random(len(who)) < 0.5 * noise.drop) | (self._missed[who] > 0))

    def _boxes(self, boxes: Float64, who: Int64, visible: Float64, error: Float64) -> Float64:
        """Boxes with their sides moved, the more the less is seen; hidden ones shrink to some part."""
        if not len(boxes):
            return boxes
        size = xyxy_to_cxcywh(boxes)
        scale = self._noise.jitter * (1 + 1.3 * (1 - visible))[:, None] * size[:, 3:]
        size = size + error * scale * np.array([0.9, 1.0, 1.7, 1.6])
        lost = self._noise.shrink * np.maximum(0.9 - visible, 0)
        aside = self._own[who, 5] > 0.5  # of some a side is hidden, of most the feet
        side = np.sign(self._own[who, 0])
        size[:, 0] += np.where(aside, side * lost * size[:, 2] / 2, 0)
        size[:, 2] *= np.where(aside, 1 - lost, 1)
        size[:, 1] -= np.where(aside, 0, lost * size[:, 3] / 2)
        size[:, 3] *= np.where(aside, 1, 1 - lost)
        size[:, 2:] = np.maximum(size[:, 2:], 2.0)
        wide, high = self._scene.size
        room = np.array([wide, high, wide, high])
        return np.asarray(np.clip(cxcywh_to_xyxy(size), -_AWAY * room, (1 + _AWAY) * room))

    def _strange(self, appearance: Float32, who: Int64, count: int) -> Float32:
        """Appearances of what is no object: some other thing's, or, where it clings to an object, much like that."""
        other = _unit(self._rng.standard_normal((count, appearance.shape[1])))
        place = np.full(max(len(self._known), 1), -1)
        place[who] = np.arange(len(who))
        mine = np.where(self._clutter.clings >= 0, place[self._clutter.clings], -1)
        other[mine >= 0] = _unit(other[mine >= 0] + appearance[mine[mine >= 0]])
        return other.astype(np.float32)

    def _appearance(self, who: Int64, visible: Float64) -> Float32:
        """Unit vectors, alike for the same object as far as the detector's likeness and what is seen allow."""
        spread = np.sqrt(1 / max(self._noise.likeness, 0.05) - 1)
        noise = self._rng.standard_normal((len(who), self._appearances.shape[1])) / np.sqrt(self._appearances.shape[1])
        mixed = self._appearances[who] * np.clip(visible, 0.2, 1)[:, None] + spread * noise
        return _unit(mixed).astype(np.float32)


def _unit(vectors: Float64) -> Float64:
    """Scaled to length one."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9))


def judged(found: Float32, origin: Int64, whole: NDArray[np.bool_], real: Float32, start: int) -> Int64:
    """What each detection is to whoever scores it.

    Args:
        found: `(N, 4)` xyxy.
        origin: `(N,)` row of the scene's arrays that it was made of, or FALSE.
        whole: `(N,)` whether it is meant to be that object, and not a part of it.
        real: `(n, 4)` the frame's true boxes, which begin at row `start`.
        start: see `real`.

    Returns:
        `(N,)` int64: the row, where the box is near enough to it; DUPLICATE - row, where it only lies on that object or
        is too far off to be called it: a track that holds on to it is neither right nor wrong; FALSE.
    """
    if not len(found) or not len(real):
        return np.full(len(found), FALSE, np.int64)
    overlap = iou(found, real)
    best = overlap.argmax(axis=1)
    truth = np.where(overlap[np.arange(len(found)), best] >= HIT, DUPLICATE - (best + start), FALSE)
    own = np.flatnonzero(origin >= 0)
    truth[own] = DUPLICATE - origin[own]
    own = own[whole[own]]
    hit = own[overlap[own, origin[own] - start] >= HIT]
    truth[hit] = origin[hit]
    return truth.astype(np.int64)

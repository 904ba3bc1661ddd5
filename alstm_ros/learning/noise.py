"""A noise model of detectors: what one would have found of a scene, and what of it is true.

Errors are of two kinds, some that last over frames (a detector that does not like a pose goes on not liking it) and
some that are new in each frame. Sizes are in box heights, scores are logits, durations in seconds, so that one set of
numbers serves every frame rate and resolution. `python -m bench.noise` measures the same things of real detectors; the
ranges of `draw_noise` hold what it finds for the package's own detector, YOLOX-nano and NanoDet-Plus on COCO's labels
(docs/measurements/noise.json), and go beyond on the good side, for there are better detectors than these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alstm_ros.association.rivals import paired_iou
from alstm_ros.boxes import cxcywh_to_xyxy, nms, xyxy_to_cxcywh
from alstm_ros.learning.scenes import Scene
from alstm_ros.types import Detections, Float32, Float64, Int64

FALSE = -1
"""Truth of a detection that is no object."""
DOUBLE = -2
"""Truth of a second detection of the object in row 0 of the scene's arrays; of that in row k it is DOUBLE - k."""
_HIT = 0.5
"""IoU from which a box counts as its object."""
_SHORTEST, _LONGEST = 0.1, 8.0
"""Seconds that false detections last, evenly spread in their logarithm."""


@dataclass(frozen=True, slots=True)
class Noise:
    """How a detector errs.

    Attributes:
        jitter: standard deviation of the box, in its heights.
        tails: spread of the logarithm of that, from object to object and moment to moment.
        shrink: how far a hidden object's box shrinks to its visible part; 0 for detectors that guess the whole.
        lasting: share of the variance of boxes and scores that lasts over frames.
        memory: seconds after which a lasting error is forgotten.
        score: logit of the score of an object in plain view.
        spread: standard deviation of that logit.
        hiding: logits lost when an object is wholly hidden.
        small: logits lost at a height of 20 pixels, half of it at 40, and so on.
        drop: probability of a miss for no visible reason.
        clutter: false detections a frame, in plain clutter that stays for a while.
        shadow: the same for each object, most of them near objects: arms, luggage, reflections, two people as one.
        double: probability of a second, worse box on an object.
        false: logit of the score of false ones, and its standard deviation.
        blink: probability that a false detection is there in a frame of its life.
        floor: scores below this are not reported.
        nms: boxes that overlap a better one by more than this are not reported.
        width: length of the appearance vector, 0 for none.
        likeness: cosine of two appearances of the same object, roughly.
        uniform: cosine of two objects, roughly: people in uniforms, features that mostly say "person".
    """

    jitter: float = 0.02
    tails: float = 0.3
    shrink: float = 0.3
    lasting: float = 0.5
    memory: float = 0.3
    score: float = 2.8
    spread: float = 0.9
    hiding: float = 4.5
    small: float = 1.0
    drop: float = 0.02
    clutter: float = 2.0
    shadow: float = 0.1
    double: float = 0.06
    false: tuple[float, float] = (-1.2, 0.8)
    blink: float = 0.7
    floor: float = 0.1
    nms: float = 0.7
    width: int = 0
    likeness: float = 0.7
    uniform: float = 0.3


def draw_noise(rng: np.random.Generator, width: int = 0) -> Noise:
    """A detector drawn from wide ranges, from an excellent one to a poor one.

    Args:
        rng: draws.
        width: length of the appearance vector that two of five detectors offer.

    Returns:
        Its noise.
    """

    def between(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    return Noise(
        jitter=between(0.004, 0.05),
        tails=float(rng.uniform(0.0, 0.7)),
        shrink=float(rng.uniform(0.0, 0.6)) if rng.random() < 0.5 else 0.0,
        lasting=float(rng.uniform(0.2, 0.8)),
        memory=between(0.1, 1.0),
        score=float(rng.uniform(0.8, 4.2)),
        spread=float(rng.uniform(0.5, 1.3)),
        hiding=float(rng.uniform(2.0, 6.5)),
        small=float(rng.uniform(0.0, 2.5)),
        drop=between(0.002, 0.1),
        clutter=float(rng.uniform(0.0, 6.0)),
        shadow=between(0.03, 3.0),
        double=between(0.02, 1.2),
        false=(float(rng.uniform(-1.9, -0.6)), float(rng.uniform(0.4, 1.2))),
        blink=float(rng.uniform(0.3, 0.95)),
        floor=0.1 if rng.random() < 0.7 else float(rng.uniform(0.1, 0.6)),  # some users ask for the sure ones only
        nms=float(rng.uniform(0.55, 0.8)),
        width=width if rng.random() < 0.4 else 0,
        likeness=float(rng.uniform(0.2, 0.95)),
        uniform=float(rng.uniform(0.0, 0.9)),
    )


class Detector:
    """Finds what is in a scene, frame after frame, with errors."""

    def __init__(self, scene: Scene, noise: Noise, rng: np.random.Generator) -> None:
        """Prepares one run over a scene.

        Args:
            scene: the ground truth.
            noise: how to err.
            rng: draws the errors.
        """
        self._scene, self._noise, self._rng = scene, noise, rng
        self._rows = scene.rows()
        self._known, self._who = np.unique(scene.ids, return_inverse=True)
        self._lasting = rng.standard_normal((len(self._known), 6))  # errors of the box, of the score, and how large
        wide = max(noise.width, 1)
        own, common = _unit(rng.standard_normal((len(self._known), wide))), _unit(rng.standard_normal((1, wide)))
        self._looks = _unit(np.sqrt(1 - noise.uniform) * own + np.sqrt(noise.uniform) * common)
        self._clutter = np.zeros((0, 7))  # cxcywh, logit, life left and the object it clings to, of what is no object
        self._where = np.full((len(self._known), 4), np.nan)  # cxcywh of each object when last in the scene
        self._hidden = np.zeros(len(self._known))  # seconds for which an object is still missed
        self._dt = 1 / 30 if len(scene) < 2 else float(np.median(np.diff(scene.stamps_ns))) / 1e9

    def __call__(self, frame: int) -> tuple[Detections, Int64]:
        """The detections of a frame; call it once for each frame, in order.

        Returns:
            Detections, best score first, and their truth `(N,)` int64: a row of the scene's arrays, FALSE, or
            DOUBLE and below.
        """
        noise, rng = self._noise, self._rng
        part = slice(int(self._rows[frame]), int(self._rows[frame + 1]))
        who, visible = self._who[part], self._scene.visible[part].astype(np.float64)
        keep = np.exp(-self._dt / noise.memory)
        self._lasting = keep * self._lasting + np.sqrt(1 - keep**2) * rng.standard_normal(self._lasting.shape)
        error = np.sqrt(noise.lasting) * self._lasting[who]
        error = error + np.sqrt(1 - noise.lasting) * rng.standard_normal(error.shape)  # (n, 6) of unit variance
        error[:, :4] *= np.exp(noise.tails * error[:, 5:])
        boxes = self._boxes(self._scene.boxes[part].astype(np.float64), visible, error[:, :4])
        tall = np.maximum(self._scene.boxes[part, 3] - self._scene.boxes[part, 1], 1.0)
        logits = noise.score + noise.spread * error[:, 4] - noise.hiding * (1 - visible) ** 1.5
        logits -= noise.small * np.minimum(20.0 / tall, 2.0)
        self._hidden = np.maximum(self._hidden - self._dt, 0)
        missed = rng.random(len(who)) < noise.drop
        longer = rng.random(len(who)) < 0.02 * self._dt * noise.drop / 0.02  # a few are missed for seconds
        self._hidden[who[longer]] = rng.uniform(0.2, 3.0, longer.sum())
        missed |= self._hidden[who] > 0
        truth = np.arange(part.start, part.stop)
        classes = self._scene.classes[part]
        looks = self._appearance(who, visible)

        extra = np.flatnonzero(~missed & (rng.random(len(who)) < noise.double))
        worse = self._doubles(boxes[extra])
        clutter = self._false(frame, who, self._scene.boxes[part].astype(np.float64))
        everything = np.concatenate([boxes[~missed], worse, clutter[:, :4]])
        logits = np.concatenate([logits[~missed], logits[extra] - rng.uniform(1.5, 5.0, len(extra)), clutter[:, 4]])
        truth = np.concatenate([truth[~missed], DOUBLE - truth[extra], np.full(len(clutter), FALSE)])
        classes = np.concatenate([classes[~missed], classes[extra], np.zeros(len(clutter), np.int64)])
        other = _unit(rng.standard_normal((len(clutter), looks.shape[1])))
        looks = np.concatenate([looks[~missed], looks[extra], other])

        scores = (1 / (1 + np.exp(-logits))).astype(np.float32)
        found = everything.astype(np.float32)
        good = np.flatnonzero(
            (scores >= noise.floor) & (found[:, 2] > found[:, 0] + 1) & (found[:, 3] > found[:, 1] + 1)
        )
        good = good[nms(found[good], scores[good], classes[good].astype(np.int64), noise.nms)]
        truth = self._judged(found, truth)
        features = looks[good].astype(np.float32) if noise.width else None
        return Detections(found[good], scores[good], classes[good].astype(np.int64), features), truth[good].astype(
            np.int64
        )

    def _judged(self, found: Float32, truth: Int64) -> Int64:
        """A box that is too far off its object is as good as false, for whoever scores it."""
        owner = np.where(truth >= 0, truth, np.where(truth <= DOUBLE, DOUBLE - truth, -1))
        far = np.zeros(len(truth), bool)
        known = np.flatnonzero(owner >= 0)
        far[known] = paired_iou(found[known], self._scene.boxes[owner[known]]) < _HIT
        return np.where(far, FALSE, truth)

    def _boxes(self, boxes: Float64, visible: Float64, error: Float64) -> Float64:
        """Boxes with their sides moved, the more the less is seen; hidden ones shrink to some part."""
        if not len(boxes):
            return boxes
        size = xyxy_to_cxcywh(boxes)
        # widths err less in pixels than heights do, since boxes of people are narrow
        scale = self._noise.jitter * (1 + 2.5 * (1 - visible))[:, None] * size[:, 3:]
        size = size + error * scale * np.array([0.7, 1.0, 0.8, 1.2])
        shrink = (
            self._noise.shrink * np.maximum(0.6 - visible, 0) * np.abs(np.tanh(error[:, 0]))
        )  # feet or sides go first
        size[:, 1] -= shrink * size[:, 3] / 2
        size[:, 3] *= 1 - shrink
        size[:, 2:] = np.maximum(size[:, 2:], 2.0)
        out = cxcywh_to_xyxy(size)
        wide, high = self._scene.size
        return np.asarray(
            np.clip(out, [-0.1 * wide, -0.1 * high, -0.1 * wide, -0.1 * high], [1.1 * wide, 1.1 * high] * 2)
        )

    def _doubles(self, boxes: Float64) -> Float64:
        """Half a person, or a box too large."""
        size = xyxy_to_cxcywh(boxes)
        size[:, 2:] *= self._rng.uniform(0.5, 1.3, (len(boxes), 2))
        size[:, :2] += self._rng.uniform(-0.2, 0.2, (len(boxes), 2)) * size[:, 2:]
        return cxcywh_to_xyxy(size)

    def _false(self, frame: int, who: Int64, boxes: Float64) -> Float64:
        """What is no object: `(n, 5)`; most of it near objects, to some of which it clings, some of it for long."""
        noise, rng = self._noise, self._rng
        size = xyxy_to_cxcywh(boxes)
        self._follow(frame, who, size)
        rate = noise.clutter + noise.shadow * len(boxes)
        if frame:
            # of lives spread evenly in their logarithm, so many begin in a frame that `rate` are there at any time
            mean = (_LONGEST - _SHORTEST) / np.log(_LONGEST / _SHORTEST)
            life = np.exp(rng.uniform(np.log(_SHORTEST), np.log(_LONGEST), rng.poisson(rate * self._dt / mean)))
        else:  # those who are there at a moment are the longer lived ones
            life = rng.uniform(_SHORTEST, _LONGEST, rng.poisson(rate))
            life *= rng.random(len(life))
        if len(life):
            self._clutter = np.concatenate([self._clutter, self._born(life, who, size)])
        now = self._clutter[rng.random(len(self._clutter)) < noise.blink, :5]
        now[:, :2] += rng.normal(0, noise.jitter, (len(now), 2)) * now[:, 3:4]
        now[:, 2:4] *= np.exp(rng.normal(0, noise.jitter, (len(now), 2)))
        now[:, 4] += rng.normal(0, 0.5, len(now))
        return np.concatenate([cxcywh_to_xyxy(now[:, :4]), now[:, 4:]], axis=1)

    def _follow(self, frame: int, who: Int64, size: Float64) -> None:
        """Ages what is no object, and moves it with the camera or with the object that it clings to."""
        clutter, affines = self._clutter, self._scene.affines
        if affines is not None and len(clutter):
            clutter[:, :2] = clutter[:, :2] @ affines[frame, :, :2].T + affines[frame, :, 2]
        before = self._where.copy()
        self._where[:] = np.nan
        self._where[who] = size
        to = clutter[:, 6].astype(np.int64)
        clings = np.flatnonzero(to >= 0)
        was, now = before[to[clings]], self._where[to[clings]]
        ratio = now[:, 3:] / was[:, 3:]
        clutter[clings, :2] = now[:, :2] + (clutter[clings, :2] - was[:, :2]) * ratio
        clutter[clings, 2:4] *= ratio
        clutter[:, 5] -= self._dt
        self._clutter = clutter[(clutter[:, 5] > 0) & np.isfinite(clutter[:, :4]).all(axis=1)]

    def _born(self, life: Float64, who: Int64, size: Float64) -> Float64:
        """New ones, `(n, 7)`."""
        rng, n = self._rng, len(life)
        wide, high = self._scene.size
        tall = np.exp(rng.uniform(np.log(20), np.log(0.6 * high), n))
        middle = rng.uniform([0, 0], [wide, high], (n, 2))
        clings = np.full(n, -1)
        if len(size):
            which = rng.integers(len(size), size=n)
            tall = np.where(rng.random(n) < 0.7, size[which, 3] * rng.uniform(0.4, 1.2, n), tall)
            near = rng.random(n) < 0.7
            middle[near] = (size[which, :2] + rng.normal(0, 0.45, (n, 2)) * tall[:, None])[near]
            clings = np.where(near & (rng.random(n) < 0.4), who[which], -1)
        score = rng.normal(*self._noise.false, n)
        return np.column_stack([middle, tall * rng.uniform(0.3, 0.8, n), tall, score, life, clings])

    def _appearance(self, who: Int64, visible: Float64) -> Float32:
        """Unit vectors, alike for the same object as far as the detector's likeness and what is seen allow."""
        spread = np.sqrt(1 / max(self._noise.likeness, 0.05) - 1)
        noise = self._rng.standard_normal((len(who), self._looks.shape[1])) / np.sqrt(self._looks.shape[1])
        mixed = self._looks[who] * np.clip(visible, 0.2, 1)[:, None] + spread * noise
        return _unit(mixed).astype(np.float32)


def _unit(vectors: Float64) -> Float64:
    """Scaled to length one."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9))

"""What a simulated detector finds that is no object: clutter, shadows, halves and second boxes, ghosts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alstm_ros.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from alstm_ros.learning.simulation.scenes import Scene
from alstm_ros.types import Float64, Int64

_LIVES = {"clutter": (0.1, 20.0), "shadow": (0.1, 5.0), "part": (0.05, 2.5), "double": (0.05, 1.5), "ghost": (0.1, 4.0)}
"""Seconds that each kind lasts, evenly spread in their logarithm."""
_HIDDEN = 3.0
"""Logits that something clinging to an object loses when the object is wholly hidden."""
_GHOST = 0.8
"""Logits by which what is found in an object's place is surer than other false ones."""
_FLICKER = 0.4
"""Standard deviation of a false score from frame to frame, logits."""


@dataclass(frozen=True, slots=True)
class ClutterHabits:
    """How much a detector finds that is not there; see noise.DetectorNoise, whose numbers these are.

    Attributes:
        clutter: at any time.
        shadow: at any time, for each object.
        part: likewise.
        double: likewise.
        ghost: probability that something is found where an object was that hides or goes away.
        score: logit and its standard deviation.
        blink: probability of being there in a frame of its life.
        jitter: standard deviation of the box from frame to frame, in heights.
    """

    clutter: float
    shadow: float
    part: float
    double: float
    ghost: float
    score: tuple[float, float]
    blink: float
    jitter: float


class Clutter:
    """False detections with lives of their own; most stay where they are, or with the object they cling to.

    Attributes:
        logits: `(n,)` scores of those that the last call returned.
        clings: `(n,)` the object that each of them clings to, -1 for none.
    """

    def __init__(self, scene: Scene, habits: ClutterHabits, objects: int, dt: float, rng: np.random.Generator) -> None:
        """Prepares one run over a scene.

        Args:
            scene: whose size and camera motion count.
            habits: of the detector.
            objects: how many there are in all frames.
            dt: seconds between frames.
            rng: draws.
        """
        self._scene, self._habits, self._dt, self._rng = scene, habits, dt, rng
        self._there = np.zeros((0, 7))  # cxcywh, logit, life left and the object it clings to
        room = max(objects, 1)  # clutter clings to object -1, which must be one that can be looked up
        self._where = np.full((room, 4), np.nan)  # cxcywh of each object in the last frame
        self._open = np.zeros(room, bool)  # whether it could be found there
        self.logits, self.clings = np.zeros(0), np.zeros(0, np.int64)

    def __call__(self, frame: int, who: Int64, boxes: Float64, visible: Float64, hidden: NDArray[np.bool_]) -> Float64:
        """Those of a frame, `(n, 4)` xyxy.

        Args:
            frame: its number.
            who: `(k,)` the objects in it.
            boxes: `(k, 4)` xyxy.
            visible: `(k,)` their visible shares.
            hidden: `(k,)` which of them are too far hidden to be found.
        """
        habits, rng = self._habits, self._rng
        size = xyxy_to_cxcywh(boxes)
        self._ghosts(who[~hidden], who[hidden])
        self._follow(frame, who, size)
        for kind, rate in (
            ("clutter", habits.clutter),
            ("shadow", habits.shadow * len(who)),
            ("part", habits.part * len(who)),
            ("double", habits.double * len(who)),
        ):
            life = self._lives(kind, rate, first=frame == 0)
            if len(life) and (kind == "clutter" or len(who)):
                self._there = np.concatenate([self._there, self._born(kind, life, who, size)])
        now = self._there[rng.random(len(self._there)) < habits.blink]
        now[:, :2] += rng.normal(0, habits.jitter, (len(now), 2)) * now[:, 3:4]
        now[:, 2:4] *= np.exp(rng.normal(0, habits.jitter, (len(now), 2)))
        now[:, 4] += rng.normal(0, _FLICKER, len(now))
        seen = np.ones(len(self._where))
        seen[who] = visible
        self.clings = now[:, 6].astype(np.int64)
        covered = np.where((self.clings >= 0) & self._open[self.clings], 1 - seen[self.clings], 0)
        self.logits = now[:, 4] - _HIDDEN * covered
        return cxcywh_to_xyxy(now[:, :4])

    def _ghosts(self, found: Int64, hidden: Int64) -> None:
        """Something is found where an object was, for a while: what hides it, or a part of it."""
        rng, before = self._rng, self._open.copy()
        self._open[:] = False
        self._open[found] = True
        gone = np.flatnonzero(before & ~self._open)
        gone = gone[rng.random(len(gone)) < self._habits.ghost]
        if not len(gone):
            return
        n, last = len(gone), self._where[gone]
        size = last[:, 2:] * np.column_stack([rng.uniform(0.5, 1.2, n), rng.uniform(0.4, 1.0, n)])
        middle = last[:, :2] + rng.normal(0, 0.12, (n, 2)) * last[:, 3:]
        score = rng.normal(*self._habits.score, n) + _GHOST
        low, high = _LIVES["ghost"]
        life = np.exp(rng.uniform(np.log(low), np.log(high), n))
        clings = np.where(np.isin(gone, hidden) & (rng.random(n) < 0.5), gone, -1)
        self._there = np.concatenate([self._there, np.column_stack([middle, size, score, life, clings])])

    def _lives(self, kind: str, rate: float, *, first: bool) -> Float64:
        """How long those last that begin in this frame, so that `rate` are there at any time."""
        low, high = _LIVES[kind]
        if not first:
            mean = (high - low) / np.log(high / low)
            count = self._rng.poisson(rate * self._dt / mean)
            return np.asarray(np.exp(self._rng.uniform(np.log(low), np.log(high), count)))
        life = self._rng.uniform(low, high, self._rng.poisson(rate))  # at any moment, most are long-lived ones
        return life * self._rng.random(len(life))

    def _born(self, kind: str, life: Float64, who: Int64, size: Float64) -> Float64:
        """New ones, `(n, 7)`."""
        rng, n = self._rng, len(life)
        wide, high = self._scene.size
        score = rng.normal(*self._habits.score, n)
        if kind == "clutter":
            tall = np.exp(rng.uniform(np.log(20), np.log(0.6 * high), n))
            if len(size):
                like = size[rng.integers(len(size), size=n), 3] * rng.uniform(0.4, 1.2, n)
                tall = np.where(rng.random(n) < 0.7, like, tall)
            middle = rng.uniform([0, 0], [wide, high], (n, 2))
            return np.column_stack([middle, tall * rng.uniform(0.3, 0.8, n), tall, score, life, np.full(n, -1)])
        which = rng.integers(len(size), size=n)
        middle, extent = size[which, :2], size[which, 2:]
        clings = who[which]
        if kind == "shadow":
            tall = extent[:, 1:] * rng.uniform(0.4, 1.2, (n, 1))
            middle = middle + rng.normal(0, 0.45, (n, 2)) * tall
            extent = tall * np.column_stack([rng.uniform(0.3, 0.8, n), np.ones(n)])
            clings = np.where(rng.random(n) < 0.4, clings, -1)
        elif kind == "part":
            share = np.column_stack([rng.uniform(0.5, 1.15, n), rng.uniform(0.3, 0.85, n)])
            up = rng.choice([-1.0, -1.0, 1.0], n) * (rng.random(n) < 0.8)  # heads and shoulders are found most
            aside = rng.uniform(-1, 1, n) * (1 - np.minimum(share[:, 0], 1))
            middle = middle + 0.5 * extent * np.column_stack([aside, up * (1 - share[:, 1])])
            extent = extent * share
        else:
            middle = middle + rng.uniform(-0.15, 0.15, (n, 2)) * extent
            extent = extent * rng.uniform(0.7, 1.3, (n, 2))
        return np.column_stack([middle, extent, score, life, clings])

    def _follow(self, frame: int, who: Int64, size: Float64) -> None:
        """Ages them, and moves them with the camera or with the object that they cling to."""
        there, affines = self._there, self._scene.affines
        to = there[:, 6].astype(np.int64)
        if affines is not None and len(there):
            free = to < 0
            there[free, :2] = there[free, :2] @ affines[frame, :, :2].T + affines[frame, :, 2]
        before = self._where.copy()
        self._where[:] = np.nan
        self._where[who] = size
        clings = np.flatnonzero(to >= 0)
        was, now = before[to[clings]], self._where[to[clings]]
        ratio = now[:, 2:] / was[:, 2:]
        there[clings, :2] = now[:, :2] + (there[clings, :2] - was[:, :2]) * ratio
        there[clings, 2:4] *= ratio
        there[:, 5] -= self._dt
        self._there = there[(there[:, 5] > 0) & np.isfinite(there[:, :4]).all(axis=1)]

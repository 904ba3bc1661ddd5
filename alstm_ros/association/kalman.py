"""A Kalman filter over boxes: constant velocity, time in seconds, noise in box heights.

Centre x, centre y, width and height move independently, so each is a filter of two numbers (value and speed) with a
covariance of three; all tracks and all four axes are one array, and no matrix is ever inverted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from alstm_ros.types import Affine, Float64, Int64

_JITTER = 0.06
"""Random walk of the detector's box about the object, heights^2 a second: its errors last for several frames."""
_ACCELERATION = np.array([0.5, 0.5, 0.15, 0.15])
"""How fast the speeds of (cx, cy, w, h) change, (heights a second)^2 a second."""
_SIZE_MEMORY = 0.3
"""Seconds after which a growing box has stopped to grow by 1 - 1/e, unless it is seen to go on."""
_MEASUREMENT = 0.05
"""Standard deviation of a detection, heights."""
_START_SPEED = 1.0
"""Standard deviation of a newborn's speed, heights a second."""
_SURE = 0.8
"""Detections of at least this score count as equally exact."""
_DOUBT = 1.5
"""Below `_SURE`, a score lower by 1 adds this many times the standard deviation."""
_SMALLEST = 1.0
"""Width and height are never predicted below this, pixels."""


@dataclass(slots=True)
class Motion:
    """What is believed of the boxes of M tracks; every array is `(M, 4)` float64 over (cx, cy, w, h).

    Attributes:
        value: pixels.
        speed: pixels a second.
        pp: variance of the value.
        pv: covariance of value and speed.
        vv: variance of the speed.
    """

    value: Float64
    speed: Float64
    pp: Float64
    pv: Float64
    vv: Float64

    @classmethod
    def start(cls, measured: Float64) -> Motion:
        """Newborn tracks, at rest, at their detections `(M, 4)` cxcywh."""
        scale = np.repeat(measured[:, 3:] ** 2, 4, axis=1)
        return cls(
            measured.copy(),
            np.zeros_like(measured),
            _MEASUREMENT**2 * scale,
            np.zeros_like(measured),
            _START_SPEED**2 * scale,
        )

    def predict(self, dt: float) -> None:
        """Moves all boxes on by `dt` seconds.

        The centre keeps its speed. The speed of the size dies away, since boxes grow when an object comes out from
        behind another, and then stop.
        """
        if dt <= 0:
            return
        keep = math.exp(-dt / _SIZE_MEMORY)
        stays = np.array([1.0, 1.0, keep, keep])
        moves = np.array([dt, dt, _SIZE_MEMORY * (1 - keep), _SIZE_MEMORY * (1 - keep)])
        scale = self.value[:, 3:] ** 2
        self.value += self.speed * moves
        np.maximum(self.value[:, 2:], _SMALLEST, out=self.value[:, 2:])
        self.speed *= stays
        self.pp += moves * (2 * self.pv + moves * self.vv) + (_JITTER * dt + _ACCELERATION * dt**3 / 3) * scale
        self.pv += moves * self.vv
        self.pv *= stays
        self.pv += _ACCELERATION * dt**2 / 2 * scale
        self.vv *= stays**2
        self.vv += _ACCELERATION * dt * scale

    def warp(self, affine: Affine) -> None:
        """Takes all boxes from the previous frame's pixels to this one's.

        x and y have the same noise, so rotation leaves the covariance as it is.
        """
        linear, shift = affine[:, :2], affine[:, 2]
        zoom = math.sqrt(abs(float(np.linalg.det(linear))))
        self.value[:, :2] = self.value[:, :2] @ linear.T + shift
        self.speed[:, :2] = self.speed[:, :2] @ linear.T
        self.value[:, 2:] *= zoom
        self.speed[:, 2:] *= zoom
        self.pp *= zoom**2
        self.pv *= zoom**2
        self.vv *= zoom**2

    def correct(self, rows: Int64, measured: Float64, scores: Float64) -> None:
        """Takes in one detection for each of some tracks.

        Args:
            rows: `(K,)` which tracks.
            measured: `(K, 4)` cxcywh pixels.
            scores: `(K,)` in 0..1; a low score means a less exact box (NSA Kalman, GIAOTracker, ICCVW 2021).
        """
        doubt = 1 + _DOUBT * (_SURE - np.minimum(scores, _SURE))
        noise = ((_MEASUREMENT * doubt * measured[:, 3]) ** 2)[:, None]
        pp, pv = self.pp.take(rows, 0), self.pv.take(rows, 0)
        off = measured - self.value.take(rows, 0)
        gain, turn = pp / (pp + noise), pv / (pp + noise)
        self.value[rows] += gain * off
        self.speed[rows] += turn * off
        self.pp[rows] = (1 - gain) * pp
        self.pv[rows] = (1 - gain) * pv
        self.vv[rows] -= turn * pv

    def bend(self, rows: Int64, velocity: Float64, share: float) -> None:
        """Turns the speed of some centres a share of the way to `(K, 2)` pixels a second."""
        self.speed[rows, :2] += share * (velocity - self.speed[rows, :2])

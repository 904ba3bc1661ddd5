"""A Kalman filter over boxes: constant velocity, time in seconds, noise in box heights.

Centre x, centre y, width and height move independently, so each is a filter of two numbers (value and speed) with a
covariance of three; all tracks and all four axes are one array, and no matrix is ever inverted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alstm_ros.types import Affine, Float64

_POSITION_DIFFUSION = 0.06
"""Random walk of the box about its smooth path, heights^2 a second."""
_VELOCITY_DIFFUSION = 1.0
"""How fast speeds change, (heights a second)^2 a second."""
_MEASUREMENT = 0.05
"""Standard deviation of a detector's box, heights."""
_START_SPEED = 1.0
"""Standard deviation of a newborn's speed, heights a second."""


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
        """Newborn tracks, at rest, at their detections `(N, 4)` cxcywh."""
        scale = measured[:, 3:] ** 2 * np.ones(4)
        return cls(
            measured.copy(),
            np.zeros_like(measured),
            _MEASUREMENT**2 * scale,
            np.zeros_like(measured),
            _START_SPEED**2 * scale,
        )

    def predict(self, dt: float) -> None:
        """Moves all boxes on by `dt` seconds."""
        if dt <= 0:
            return
        scale = self.value[:, 3:] ** 2
        self.value += self.speed * dt
        self.value[:, 2:] = np.maximum(self.value[:, 2:], 1.0)
        self.pp += 2 * dt * self.pv + dt * dt * self.vv
        self.pp += (_POSITION_DIFFUSION * dt + _VELOCITY_DIFFUSION * dt**3 / 3) * scale
        self.pv += dt * self.vv + _VELOCITY_DIFFUSION * dt**2 / 2 * scale
        self.vv += _VELOCITY_DIFFUSION * dt * scale

    def warp(self, affine: Affine) -> None:
        """Takes all boxes from the previous frame's pixels to this one's."""
        linear, shift = affine[:, :2], affine[:, 2]
        zoom = float(np.sqrt(abs(np.linalg.det(linear))))
        self.value[:, :2] = self.value[:, :2] @ linear.T + shift
        self.speed[:, :2] = self.speed[:, :2] @ linear.T
        self.value[:, 2:] *= zoom
        self.speed[:, 2:] *= zoom
        for variance in (self.pp, self.pv, self.vv):
            variance *= zoom**2

    def correct(self, rows: np.ndarray, measured: Float64, scores: Float64) -> None:
        """Takes in one detection for each of some tracks.

        Args:
            rows: `(K,)` int64, which tracks.
            measured: `(K, 4)` cxcywh pixels.
            scores: `(K,)` in 0..1; a low score means a noisy box (NSA Kalman, GIAOTracker 2022).
        """
        noise = (_MEASUREMENT * measured[:, 3:] * (1.5 - scores[:, None])) ** 2
        pp, pv, vv = self.pp[rows], self.pv[rows], self.vv[rows]
        off = measured - self.value[rows]
        gain, turn = pp / (pp + noise), pv / (pp + noise)
        self.value[rows] += gain * off
        self.speed[rows] += turn * off
        self.pp[rows] = (1 - gain) * pp
        self.pv[rows] = (1 - gain) * pv
        self.vv[rows] = vv - turn * pv

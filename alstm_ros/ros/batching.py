"""How many cameras' images go through the detector at once: as many as it gains from, which is measured."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from alstm_ros.types import Image

GAIN = 0.8
"""The part of the time of its images one by one that a batch may take: its first image waits for the last one."""
ROUNDS = 3
"""How often each is timed; the fastest counts, since other processes only ever add time."""
SIZE = (480, 640)
"""Height and width of the pictures that are timed, in pixels; detectors scale every picture to their own size."""


def measure_batch_size(detect: Callable[[list[Image]], object], cameras: int) -> int:
    """Times the detector on empty pictures.

    Args:
        detect: runs the detector on pictures, each `(H, W, 3)` uint8 BGR.
        cameras: how many pictures a batch could have.

    Returns:
        `cameras` where a batch gains, else 1.
    """
    if cameras == 1:
        return 1
    pictures: list[Image] = [np.zeros((*SIZE, 3), np.uint8) for _ in range(cameras)]
    single, batch = _fastest(detect, pictures[:1]), _fastest(detect, pictures)
    return cameras if batch < GAIN * cameras * single else 1


def _fastest(detect: Callable[[list[Image]], object], pictures: list[Image]) -> float:
    detect(pictures)  # the first run of a shape allocates
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        detect(pictures)
        taken.append(time.perf_counter() - began)
    return min(taken)

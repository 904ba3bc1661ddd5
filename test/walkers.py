"""People who walk, as a detector sees them, and a tracker for them."""

from __future__ import annotations

import numpy as np

from alstm_ros.association.tracker import IdCounter, TrackManager
from alstm_ros.config import Config
from alstm_ros.options import replace
from alstm_ros.types import Detections, Float32

SECOND = 1_000_000_000


def manager(changes: dict[str, object] | None = None, ids: IdCounter | None = None) -> TrackManager:
    return TrackManager(replace(Config(), {"association.model": "", **(changes or {})}), ids or IdCounter())


def found(boxes: object, scores: object = None, classes: object = None) -> Detections:
    array = np.asarray(boxes, np.float32).reshape(-1, 4)
    n = len(array)
    return Detections(
        array,
        np.full(n, 0.9, np.float32) if scores is None else np.asarray(scores, np.float32),
        np.zeros(n, np.int64) if classes is None else np.asarray(classes, np.int64),
    )


def walkers(seconds: float, count: int = 6, seed: int = 0) -> Float32:
    """`(count, 4)` where people are who walk on lanes of their own, at this time."""
    rng = np.random.default_rng(seed)
    left = rng.uniform(100, 900, count) + rng.uniform(-60, 60, count) * seconds
    top = 160.0 * np.arange(count)
    height = rng.uniform(100, 150, count)
    return np.stack([left, top, left + 0.4 * height, top + height], axis=1).astype(np.float32)

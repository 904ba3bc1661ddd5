"""What it costs to say that a detection is a track: overlap, height overlap, scores, classes."""

from __future__ import annotations

import numpy as np

from alstm_ros.boxes import iou
from alstm_ros.types import Float64


def height_iou(a: Float64, b: Float64) -> Float64:
    """Intersection over union of the vertical extents: `(N, 4)`, `(M, 4)` xyxy to `(N, M)` (HM-IoU, Hybrid-SORT 2024)."""
    low = np.maximum(a[:, None, 1], b[None, :, 1])
    high = np.minimum(a[:, None, 3], b[None, :, 3])
    inner = np.maximum(high - low, 0)
    outer = (a[:, 3] - a[:, 1])[:, None] + (b[:, 3] - b[:, 1])[None, :] - inner
    return np.divide(inner, outer, out=np.zeros_like(inner), where=outer > 0)


def box_cost(predicted: Float64, detected: Float64) -> Float64:
    """1 - IoU times height IoU: `(N, 4)`, `(M, 4)` xyxy to `(N, M)` in 0..1."""
    return 1 - iou(predicted, detected) * height_iou(predicted, detected)

"""Geometry of boxes. One convention, `(N, 4)` xyxy in pixels; nothing here changes its input."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from alstm_ros.types import Affine, Float32, Int64

F = TypeVar("F", np.float32, np.float64)


def area(boxes: NDArray[F]) -> NDArray[F]:
    """Area of each box.

    Args:
        boxes: `(N, 4)` xyxy.

    Returns:
        `(N,)`; an inverted box has area 0.
    """
    size = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return np.asarray(size[:, 0] * size[:, 1])


def iou(a: NDArray[F], b: NDArray[F]) -> NDArray[F]:
    """Intersection over union of every pair.

    Args:
        a: `(N, 4)` xyxy.
        b: `(M, 4)` xyxy.

    Returns:
        `(N, M)` in 0..1; 0 where both boxes are empty.
    """
    left, top, right, bottom = np.ascontiguousarray(b.T)
    wide = np.minimum(a[:, 2:3], right) - np.maximum(a[:, :1], left)  # (N, M)
    tall = np.minimum(a[:, 3:], bottom) - np.maximum(a[:, 1:2], top)
    overlap = np.maximum(wide, 0) * np.maximum(tall, 0)
    union = area(a)[:, None] + area(b)[None, :] - overlap
    return np.asarray(np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0))


def xyxy_to_cxcywh(boxes: NDArray[F]) -> NDArray[F]:
    """Corners to centre and size: `(N, 4)` to `(N, 4)`."""
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)


def cxcywh_to_xyxy(boxes: NDArray[F]) -> NDArray[F]:
    """Centre and size to corners: `(N, 4)` to `(N, 4)`."""
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def clip(boxes: NDArray[F], width: int, height: int) -> NDArray[F]:
    """The part of each box that lies within an image of this size: `(N, 4)` to `(N, 4)`."""
    return np.clip(boxes, 0, np.array([width, height, width, height], boxes.dtype))


def warp(boxes: NDArray[F], affine: Affine) -> NDArray[F]:
    """The upright box around each box's four corners after an affine map.

    Args:
        boxes: `(N, 4)` xyxy in pixels of the previous frame.
        affine: `(2, 3)`, previous frame to this one.

    Returns:
        `(N, 4)` xyxy in pixels of this frame.
    """
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2).astype(np.float64)  # (N, 4, 2)
    moved = corners @ affine[:, :2].T + affine[:, 2]
    return np.concatenate([moved.min(axis=1), moved.max(axis=1)], axis=1).astype(boxes.dtype)


def nms(boxes: Float32, scores: Float32, classes: Int64, threshold: float, most: int | None = None) -> Int64:
    """Greedy non-maximum suppression within each class.

    Blocks of boxes are compared with those that stay, so that work and memory do not grow with the square of all.

    Args:
        boxes: `(N, 4)` float32 xyxy.
        scores: `(N,)` float32.
        classes: `(N,)` int64; boxes of different classes never suppress each other.
        threshold: a box goes when it overlaps a better one by more than this IoU.
        most: how many are wanted, the best ones; all when None.

    Returns:
        `(K,)` int64 indices of what stays, best score first; equal scores keep their order.
    """
    order = np.argsort(-scores, kind="stable").astype(np.int64)
    best = np.zeros(0, np.int64)
    for start in range(0, len(order), _BLOCK):
        if most is not None and len(best) >= most:
            break
        block = order[start : start + _BLOCK]
        block = block[~_suppresses(best, block, boxes, classes, threshold).any(axis=0)]
        overlaps = _suppresses(block, block, boxes, classes, threshold)
        keep = np.ones(len(block), bool)
        for i in range(len(block)):
            if keep[i]:
                keep[i + 1 :] &= ~overlaps[i, i + 1 :]
        best = np.concatenate([best, block[keep]])
    return best[:most]


_BLOCK = 512
"""How many boxes are compared with one another at once in non-maximum suppression."""


def _suppresses(better: Int64, worse: Int64, boxes: Float32, classes: Int64, threshold: float) -> NDArray[np.bool_]:
    """Whether each of the better boxes suppresses each of the worse ones."""
    return np.asarray((iou(boxes[better], boxes[worse]) > threshold) & (classes[better][:, None] == classes[worse]))

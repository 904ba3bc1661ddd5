"""How the camera moved from one image to the next, seen in what stands still: sparse optical flow, then RANSAC.

Corners of the previous image are followed by pyramidal Lucas-Kanade, forth and back; points on detected objects are
left out, since those move by themselves. A similarity (shift, turn, zoom) that most of the rest agree on is the answer.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from alstm_ros.types import Affine, Float32, Image, UInt8

_LONGEST = 480
"""Images are reduced to this many pixels along their longer side."""
_CORNERS = 200
"""At most so many points are followed,"""
_APART = 8
"""which lie at least so many reduced pixels apart."""
_QUALITY = 0.01
"""The weakest corner's strength, relative to the strongest one's."""
_WINDOW = (21, 21)
"""Reduced pixels that are compared around a point, at each of"""
_LEVELS = 3
"""so many halvings."""
_RETURN = 0.5
"""A point that misses its start by more reduced pixels, when it is followed back, is lost."""
_AGREE = 1.0
"""Reduced pixels by which a point may be off the common motion."""
_LEAST = 20
"""So many points must agree,"""
_SHARE = 0.5
"""and this share of those that were followed."""
_STILL = 0.3
"""The camera is said to stand still where no corner of the image moves by more reduced pixels."""
_ZOOM = 1.25
"""A zoom by more than this from one image to the next is taken for a mistake, as is"""
_TURN = math.radians(20)
"""a larger turn."""
_GAP_NS = 1_000_000_000
"""After so long a gap nothing is compared."""


class CameraMotion:
    """Follows one camera. The same images and boxes give the same answers: nothing here draws lots of its own."""

    def __init__(self) -> None:
        """Has seen no image."""
        self._grey: UInt8 | None = None
        self._stamp_ns = 0
        self._shape = (0, 0)
        self._boxes = np.zeros((0, 4), np.float32)

    def reset(self) -> None:
        """Forgets the last image."""
        self._grey = None

    def __call__(self, image: Image, boxes: Float32, stamp_ns: int) -> Affine | None:
        """Takes in the next image.

        Args:
            image: `(H, W, 3)` uint8 BGR.
            boxes: `(N, 4)` float32 xyxy pixels of what was detected in it.
            stamp_ns: when it was taken.

        Returns:
            `(2, 3)` float64, pixels of the previous image to this one's. None where the camera stood still, where there
            was no previous image of this size within the last second, and where too few points agree.
        """
        shape = (image.shape[0], image.shape[1])
        scale = min(1.0, _LONGEST / max(shape))
        size = (max(round(shape[1] * scale), 1), max(round(shape[0] * scale), 1))
        grey = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
        before, self._grey = self._grey, np.asarray(grey, np.uint8)
        known = before is not None and shape == self._shape and 0 < stamp_ns - self._stamp_ns <= _GAP_NS
        objects, self._boxes = self._boxes, boxes
        self._stamp_ns, self._shape = stamp_ns, shape
        if before is None or not known:
            return None
        ratio = np.array([size[0] / shape[1], size[1] / shape[0]])
        small = _similarity(before, self._grey, objects * np.tile(ratio, 2), boxes * np.tile(ratio, 2))
        if small is None:
            return None
        affine = small.copy()
        affine[:, :2] *= ratio / ratio[:, None]
        affine[:, 2] /= ratio
        return np.asarray(affine, np.float64)


def _similarity(before: UInt8, now: UInt8, objects: NDArray[np.float64], found: NDArray[np.float64]) -> Affine | None:
    """The motion between two reduced images; objects are xyxy boxes in the first, found ones in the second."""
    open_space = np.full(before.shape, 255, np.uint8)
    for left, top, right, bottom in np.clip(objects, 0, max(before.shape)).astype(int).tolist():
        open_space[top : bottom + 1, left : right + 1] = 0
    start = cv2.goodFeaturesToTrack(before, _CORNERS, _QUALITY, _APART, mask=open_space)
    if start is None or len(start) < _LEAST:
        return None
    end, there, _ = cv2.calcOpticalFlowPyrLK(before, now, start, start.copy(), winSize=_WINDOW, maxLevel=_LEVELS)
    back, again, _ = cv2.calcOpticalFlowPyrLK(now, before, end, end.copy(), winSize=_WINDOW, maxLevel=_LEVELS)
    p, q = start[:, 0], end[:, 0]
    good = (there[:, 0] == 1) & (again[:, 0] == 1) & (np.abs(back[:, 0] - p).max(axis=1) < _RETURN)
    for left, top, right, bottom in found.tolist():
        good &= (q[:, 0] < left) | (q[:, 0] > right) | (q[:, 1] < top) | (q[:, 1] > bottom)
    if good.sum() < _LEAST:
        return None
    # OpenCV's RANSAC starts its own draws from the same number each time
    affine, agree = cv2.estimateAffinePartial2D(p[good], q[good], method=cv2.RANSAC, ransacReprojThreshold=_AGREE)
    if affine is None or agree.sum() < max(_LEAST, _SHARE * good.sum()):
        return None
    return np.asarray(affine, np.float64) if _plausible(affine, now.shape) else None


def _plausible(affine: Affine, shape: tuple[int, ...]) -> bool:
    """Whether the camera moved, and not by more than cameras do between two images."""
    zoom, turn = math.hypot(affine[0, 0], affine[1, 0]), math.atan2(affine[1, 0], affine[0, 0])
    height, width = shape
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64)
    off = np.abs(corners @ affine[:, :2].T + affine[:, 2] - corners).max()
    return bool(off > _STILL and 1 / _ZOOM < zoom < _ZOOM and abs(turn) < _TURN)

"""How the camera moved from one image to the next, seen in what stands still.

Corners of the previous image are followed by pyramidal Lucas-Kanade, forth and back; points on detected objects are
left out, since those move by themselves. A similarity (shift, turn, zoom) that most of the rest agree on is the answer.
While the camera stands, only small patches of the image are compared with an earlier one, which costs next to nothing.

Sources: Bouguet, "Pyramidal Implementation of the Lucas Kanade Feature Tracker" (Intel, 2000); Fischler and Bolles,
"Random Sample Consensus" (CACM 1981); Shi and Tomasi, "Good Features to Track" (CVPR 1994).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from alstm_ros.types import Affine, Float32, Float64, Image, UInt8

_LONGEST = 400
"""The longer side of a reduced image is at most this many pixels; it is every n-th pixel of the camera's image."""
_CORNERS = 100
"""At most this many points are followed from one image to the next."""
_FEW = 60
"""New corners are looked for where fewer points than this are left of those that were followed before."""
_APART = 8
"""Two followed points lie at least this many reduced pixels apart."""
_QUALITY = 0.01
"""The weakest followed corner has at least this share of the strongest corner's strength."""
_WINDOW = (15, 15)
"""Width and height, in reduced pixels, of what is compared around a followed point."""
_LEVELS = 3
"""A point is followed on this many halvings of the reduced image, so that it may move far."""
_RETURN = 0.5
"""A point that misses its start by more reduced pixels than this when it is followed back is lost."""
_AGREE = 1.0
"""A point that is off the common motion by more reduced pixels than this does not support it."""
_LEAST = 20
"""At least this many points must support the common motion."""
_SHARE = 0.5
"""At least this share of the followed points must support the common motion."""
_STILL = 0.25
"""The camera stands still where no corner of the image moves by more reduced pixels than this."""
_ZOOM = 1.25
"""A zoom by more than this factor from one image to the next is taken for a mistake."""
_TURN = math.radians(20)
"""A turn by more than this angle, in radians, from one image to the next is taken for a mistake."""
_GAP_NS = 1_000_000_000
"""Images that lie further apart than this many nanoseconds are not compared."""
_FRESH_NS = 3_000_000_000
"""An image is compared with one at most this many nanoseconds older, since light and objects change."""
_PATCHES = 40
"""A standing camera is recognised by at most this many patches."""
_RADIUS = 6
"""A patch reaches this many reduced pixels to each side of its middle."""
_CHANGED = 0.5
"""A patch whose pixels differ by more than this share of its own contrast shows something else now."""


class CameraMotion:
    """Follows one camera. The same images and boxes give the same answers: nothing here draws lots of its own."""

    def __init__(self, source: str) -> None:
        """Has seen no image.

        Args:
            source: `motion.camera`: auto looks first whether the camera stands, image does not, none says nothing.
        """
        self._source = source
        self._before: _View | None = None
        self._standing: _Patches | None = None
        self._stamp_ns = 0

    def configure(self, source: str) -> None:
        """Takes over `motion.camera`, see `__init__`; another one forgets the last image."""
        if source != self._source:
            self.reset()
        self._source = source

    def reset(self) -> None:
        """Forgets what it saw."""
        self._before = self._standing = None

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
        if self._source == "none":
            return None
        before, self._stamp_ns, last_ns = self._before, stamp_ns, self._stamp_ns
        if before is None or before.shape != image.shape[:2] or not 0 < stamp_ns - last_ns <= _GAP_NS:
            self._stand(_View.of(image, boxes, stamp_ns))
            return None
        fresh = stamp_ns - before.stamp_ns <= _FRESH_NS
        if fresh and self._standing is not None and self._standing.stand(image, boxes):
            return None
        now = _View.of(image, boxes, stamp_ns)
        small = before.motion_to(now)
        if small is None or _off(small, now.grey.shape) <= _STILL:
            # what is too little to be told now is compared with the same image again, so that a slow drift adds up
            self._stand(before if small is not None and fresh else now)
            return None
        self._before, self._standing = now, None
        return np.asarray(small * np.array([1, 1, now.step]), np.float64)

    def _stand(self, view: _View) -> None:
        """Compares what follows with this image."""
        if view is not self._before or self._standing is None:
            self._before, self._standing = view, _Patches.of(view) if self._source == "auto" else None


@dataclass(slots=True)
class _View:
    """A reduced image.

    Attributes:
        grey: `(h, w)` uint8, every `step`-th pixel of the green channel.
        boxes: `(N, 4)` xyxy reduced pixels of the objects.
        points: `(P, 1, 2)` float32, points that were followed to here and lie on no object.
        shape: height and width of the camera's image.
        step: the camera's pixels for each reduced one.
        stamp_ns: when it was taken.
    """

    grey: UInt8
    boxes: Float64
    points: Float32
    shape: tuple[int, int]
    step: int
    stamp_ns: int

    @classmethod
    def of(cls, image: Image, boxes: Float32, stamp_ns: int) -> _View:
        """Reduces an image."""
        shape = (image.shape[0], image.shape[1])
        step = math.ceil(max(shape) / _LONGEST)
        grey = np.ascontiguousarray(image[::step, ::step, 1])
        return cls(grey, boxes / step, np.zeros((0, 1, 2), np.float32), shape, step, stamp_ns)

    def corners(self) -> Float32:
        """`(P, 1, 2)` corners to follow: those that were followed to here while they are many, else new ones."""
        if len(self.points) >= _FEW:
            return self.points
        open_space = np.full(self.grey.shape, 255, np.uint8)
        for left, top, right, bottom in np.clip(self.boxes, 0, max(self.grey.shape)).astype(int).tolist():
            open_space[top : bottom + 1, left : right + 1] = 0
        found = cv2.goodFeaturesToTrack(self.grey, _CORNERS, _QUALITY, _APART, mask=open_space)
        return np.zeros((0, 1, 2), np.float32) if found is None else np.asarray(found, np.float32)

    def motion_to(self, now: _View) -> Affine | None:
        """The motion from this image to another in reduced pixels, and what was followed is left in `now.points`."""
        start = self.corners()
        if len(start) < _LEAST:
            return None
        a, b = self.grey, now.grey
        end, there, _ = cv2.calcOpticalFlowPyrLK(a, b, start, start.copy(), winSize=_WINDOW, maxLevel=_LEVELS)
        back, again, _ = cv2.calcOpticalFlowPyrLK(b, a, end, end.copy(), winSize=_WINDOW, maxLevel=_LEVELS)
        p, q = start[:, 0], end[:, 0]
        good = (there[:, 0] == 1) & (again[:, 0] == 1) & (np.abs(back[:, 0] - p).max(axis=1) < _RETURN)
        good &= ~inside(q, now.boxes)
        if good.sum() < _LEAST:
            return None
        # OpenCV's RANSAC starts its own draws from the same number each time
        affine, agree = cv2.estimateAffinePartial2D(p[good], q[good], method=cv2.RANSAC, ransacReprojThreshold=_AGREE)
        if affine is None or agree.sum() < max(_LEAST, _SHARE * good.sum()):
            return None
        now.points = np.asarray(end[good][agree[:, 0] == 1], np.float32)
        zoom, turn = math.hypot(affine[0, 0], affine[1, 0]), math.atan2(affine[1, 0], affine[0, 0])
        return np.asarray(affine, np.float64) if 1 / _ZOOM < zoom < _ZOOM and abs(turn) < _TURN else None


@dataclass(frozen=True, slots=True)
class _Patches:
    """Parts of an image by which one sees that the camera still stands as it stood then.

    Attributes:
        rows: `(P, S)` where the patches' pixels lie in the camera's image.
        columns: `(P, S)` likewise.
        middles: `(P, 2)` of the patches, the camera's pixels.
        template: `(P, S)` float32 grey levels, their mean taken off.
        steepness: `(P, 2, S)` float32, their slope in x and y, grey levels a reduced pixel.
        inverse: `(P, 2, 2)` float32, of the slopes' second moments.
    """

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    middles: Float64
    template: Float32
    steepness: Float32
    inverse: Float32

    @classmethod
    def of(cls, view: _View) -> _Patches | None:
        """Chooses the patches; None where an image has too few corners."""
        points, grey = view.corners()[:, 0].round().astype(np.intp), view.grey
        height, width = grey.shape
        reach = _RADIUS + 1  # one more for the slopes
        room = (points >= reach).all(axis=1) & (points[:, 0] < width - reach) & (points[:, 1] < height - reach)
        points = points[room][:_PATCHES]
        if len(points) < _LEAST // 2:
            return None
        side = np.arange(-_RADIUS, _RADIUS + 1)
        rows, columns = np.broadcast_arrays(points[:, 1, None, None] + side[:, None], points[:, 0, None, None] + side)
        level = grey.astype(np.float32)
        slopes = [
            (level[rows, columns + 1] - level[rows, columns - 1]) / 2,
            (level[rows + 1, columns] - level[rows - 1, columns]) / 2,
        ]
        count = len(points)
        template = level[rows, columns].reshape(count, -1)
        steepness = np.stack(slopes, axis=1).reshape(count, 2, -1)
        moments = steepness @ steepness.transpose(0, 2, 1) + 1e-3 * np.eye(2, dtype=np.float32)
        template -= template.mean(axis=1, keepdims=True)
        inverse = np.linalg.inv(moments).astype(np.float32)
        high, wide = ((where * view.step).reshape(count, -1) for where in (rows, columns))
        return cls(high, wide, points * float(view.step), template, steepness, inverse)

    def stand(self, image: Image, boxes: Float32) -> bool:
        """Whether most patches that no object covers are where they were.

        One step of Lucas and Kanade's method gives each patch's shift; brightness may change.
        """
        free = ~inside(self.middles, boxes.astype(np.float64))
        if free.sum() < _LEAST // 2:
            return False
        now = image[self.rows[free], self.columns[free], 1].astype(np.float32)
        now -= now.mean(axis=1, keepdims=True)
        template = self.template[free]
        change = now - template
        pull = (self.steepness[free] * change[:, None]).sum(axis=2)
        shift = np.abs((self.inverse[free] * pull[:, None]).sum(axis=2)).max(axis=1)
        other = np.square(change).sum(axis=1) > _CHANGED * np.square(template).sum(axis=1)
        shift[other] = np.inf
        return bool(np.median(shift) < _STILL)


def inside(points: Float32 | Float64, boxes: Float64) -> NDArray[np.bool_]:
    """`(P,)` which points `(P, 2)` lie in any of some boxes `(N, 4)` xyxy."""
    x, y = points[:, 0, None], points[:, 1, None]
    left, top, right, bottom = boxes.T
    return np.asarray(((x >= left) & (x <= right) & (y >= top) & (y <= bottom)).any(axis=1))


def _off(affine: Affine, shape: tuple[int, ...]) -> float:
    """Reduced pixels by which a motion takes the corners of an image, at most."""
    height, width = shape
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64)
    return float(np.abs(corners @ affine[:, :2].T + affine[:, 2] - corners).max())

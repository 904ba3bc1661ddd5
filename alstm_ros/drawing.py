"""Boxes with ids, classes, scores and short trails on a picture, for whoever looks at it."""

from __future__ import annotations

import colorsys
import re
import zlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from alstm_ros.types import Image, Tracks, TrackState

Colour = tuple[int, int, int]
Rectangle = tuple[int, int, int, int]  # left, top, right, bottom

GOLDEN = 0.6180339887498949  # steps of the golden ratio keep the hues of consecutive ids far apart
FAR = 30_000  # pixels; OpenCV's coordinates end at 32767
FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True, slots=True)
class Mark:
    """One object to draw.

    Attributes:
        id: its id, prefix included.
        box: left, top, right, bottom in pixels of the source image.
        name: the class name.
        score: 0..1.
        lost: whether it was not seen in this frame, its box only predicted; it is dashed then and leaves no trail.
    """

    id: str
    box: tuple[float, float, float, float]
    name: str
    score: float
    lost: bool = False

    @property
    def text(self) -> str:
        """Id, class and score, such as `7 person 0.93`."""
        return f"{self.id} {self.name} {'lost' if self.lost else format(self.score, '.2f')}"


def marks(tracks: Tracks, classes: Sequence[str], prefix: str = "") -> list[Mark]:
    """What to draw of these tracks: all but the tentative ones, in the order of their ids.

    Args:
        tracks: every living track.
        classes: class names, by class index.
        prefix: put before every id.
    """
    seen = tracks.detection >= 0
    return [
        Mark(
            f"{prefix}{tracks.ids[row]}",
            tuple(tracks.boxes[row].tolist()),
            classes[tracks.classes[row]],
            float(tracks.scores[row]),
            lost=not seen[row],
        )
        for row in np.flatnonzero(tracks.states != TrackState.TENTATIVE)
    ]


def colour(track_id: str) -> Colour:
    """A bright colour that belongs to this id wherever it is drawn, BGR."""
    digits = re.search(r"\d+$", track_id)
    number = int(digits.group()) if digits else zlib.crc32(track_id.encode())
    red, green, blue = colorsys.hsv_to_rgb(number * GOLDEN % 1, 0.8, 1.0)
    return round(255 * blue), round(255 * green), round(255 * red)


def ink_on(ground: Colour) -> Colour:
    """Black or white, BGR: what can be read on this colour."""
    bright = 0.114 * ground[0] + 0.587 * ground[1] + 0.299 * ground[2] > 128  # BT.601's luma
    return (0, 0, 0) if bright else (255, 255, 255)


class Trails:
    """Where each id has been lately: the middle of its box's lower edge."""

    def __init__(self, reach_ns: int = 2_000_000_000) -> None:
        """Starts without trails.

        Args:
            reach_ns: how far back a trail reaches, in the stamps' time.
        """
        self.reach_ns = reach_ns
        self._trails: dict[str, deque[tuple[int, float, float]]] = {}
        self.stamp_ns = 0

    def remember(self, stamp_ns: int, shown: Sequence[Mark]) -> None:
        """Takes in one frame.

        Args:
            stamp_ns: its stamp; one before the last one's clears the trails.
            shown: its objects; those that are lost leave no trail.
        """
        if stamp_ns < self.stamp_ns:
            self._trails.clear()
        self.stamp_ns = stamp_ns
        for mark in shown:
            if not mark.lost:
                left, _, right, bottom = mark.box
                self._trails.setdefault(mark.id, deque()).append((stamp_ns, (left + right) / 2, bottom))
        for key, trail in list(self._trails.items()):
            while trail and trail[0][0] < stamp_ns - self.reach_ns:
                trail.popleft()
            if not trail:
                del self._trails[key]

    def path(self, track_id: str) -> list[tuple[int, float, float]]:
        """Stamp, x and y in pixels of the image, the oldest first."""
        return list(self._trails.get(track_id, ()))


class Overlay:
    """Draws one camera's frames in turn and remembers where each id has been."""

    def __init__(self, trail_ns: int = 2_000_000_000) -> None:
        """Starts without trails.

        Args:
            trail_ns: how far back a trail reaches, in the stamps' time.
        """
        self._trails = Trails(trail_ns)

    def draw(self, image: Image, stamp_ns: int, shown: Sequence[Mark], scale: float = 1.0) -> Image:
        """A copy of the picture with the marks on it.

        Args:
            image: `(H, W, 3)` uint8 BGR.
            stamp_ns: the frame's stamp; one before the last one's clears the trails.
            shown: what to draw, later ones over earlier ones.
            scale: the copy's size relative to the picture's; lines and letters keep theirs readable.

        Returns:
            `(scale * H, scale * W, 3)` uint8 BGR.
        """
        self._trails.remember(stamp_ns, shown)
        size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        canvas = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale != 1 else image.copy(order="C")
        unit = max(1, round(min(size) / 400))  # a line's width: 1 up to 600 lines of picture, 3 at 1080
        for mark in shown:
            self._draw_trail(canvas, mark.id, scale, unit)
        for mark in shown:
            _draw_box(canvas, mark, scale, unit)
        labels: list[Rectangle] = []
        for mark in shown:
            _draw_label(canvas, mark, scale, unit, labels)
        return np.asarray(canvas)

    def _draw_trail(self, canvas: Image, track_id: str, scale: float, unit: int) -> None:
        points = np.array(self._trails.path(track_id), np.float64)
        if len(points) < 2:
            return
        path = _pixels(points[:, 1:] * scale)
        _draw_lines(canvas, [path], colour(track_id), unit)
        recent = path[points[:, 0] > self._trails.stamp_ns - self._trails.reach_ns / 2]
        if len(recent) > 1:  # the newer half twice as wide
            _draw_lines(canvas, [recent], colour(track_id), 2 * unit)


def _pixels(points: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.asarray(np.clip(points.round(), -FAR, FAR), np.int32)


def _draw_lines(canvas: Image, lines: Sequence[NDArray[np.int32]], ink: Colour, width: int) -> None:
    """Draws lines through points, each `(N, 2)` x and y."""
    cv2.polylines(canvas, lines, isClosed=False, color=ink, thickness=width, lineType=cv2.LINE_AA)


def _corners(mark: Mark, canvas: Image, scale: float) -> tuple[int, int, int, int]:
    """The box on the canvas; a side that lies outside stays outside, but near."""
    height, width = canvas.shape[:2]
    low, high = np.full(4, -20.0), np.array([width, height, width, height]) + 20.0
    left, top, right, bottom = np.clip(np.array(mark.box) * scale, low, high).round().astype(int).tolist()
    return left, top, right, bottom


def _draw_box(canvas: Image, mark: Mark, scale: float, unit: int) -> None:
    left, top, right, bottom = _corners(mark, canvas, scale)
    if not mark.lost:
        cv2.rectangle(canvas, (left, top), (right, bottom), colour(mark.id), 2 * unit, cv2.LINE_AA)
        return
    dash = 6 * unit
    xs, ys = np.arange(left, right, 2 * dash), np.arange(top, bottom, 2 * dash)
    across = [((x, y), (min(x + dash, right), y)) for y in (top, bottom) for x in xs]
    down = [((x, y), (x, min(y + dash, bottom))) for x in (left, right) for y in ys]
    _draw_lines(canvas, [np.array(line, np.int32) for line in across + down], colour(mark.id), unit)


def _draw_label(canvas: Image, mark: Mark, scale: float, unit: int, taken: list[Rectangle]) -> None:
    """Writes id, class and score on a filled ground above the box, or near it where another label stands there."""
    text = mark.text
    size, margin = 0.4 * unit, 2 * unit
    (wide, high), below = cv2.getTextSize(text, FONT, size, unit)
    wide, high = wide + 2 * margin, high + below + margin
    left, top, _, bottom = _corners(mark, canvas, scale)
    x = max(0, min(left - unit, canvas.shape[1] - wide))
    places = (top - high, bottom, top - 2 * high, bottom + high)
    ys = [max(0, min(y, canvas.shape[0] - high)) for y in places]
    free = (y for y in ys if not any(_overlap((x, y, x + wide, y + high), other) for other in taken))
    y = next(free, ys[0])
    taken.append((x, y, x + wide, y + high))
    ground = colour(mark.id)
    cv2.rectangle(canvas, (x, y), (x + wide - 1, y + high - 1), ground, cv2.FILLED)
    cv2.putText(canvas, text, (x + margin, y + high - below), FONT, size, ink_on(ground), unit, cv2.LINE_AA)


def _overlap(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]

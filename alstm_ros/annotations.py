"""The tracks as lines and texts, for viewers that draw on the camera's image themselves, such as Foxglove.

What fills `foxglove_msgs/ImageAnnotations` in reads nothing else, so the node, which fills rclpy's messages, and `alstm
track`, which fills those of rosbags, draw the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from alstm_ros.drawing import Mark, Trails, colour, ink_on

ANNOTATIONS = "foxglove_msgs/msg/ImageAnnotations"
LINE_LOOP, LINE_STRIP = 2, 3
"""Values of `foxglove_msgs/PointsAnnotation.type`: a closed line, and an open one."""
TRAIL_POINTS = 16
"""A trail is drawn through this many points at the most, so that a recording stays small."""
FAINT = 0.5
"""Opacity of a box that is only predicted, 0..1; annotations cannot be dashed."""
FONT = 12.0
"""Height of the texts, pixels of the viewer's screen."""

Point = tuple[float, float]
Rgba = tuple[float, float, float, float]


class Line(NamedTuple):
    """A line through points in pixels of the image; colours are red, green, blue and opacity, 0..1."""

    kind: int
    points: tuple[Point, ...]
    rgba: Rgba
    thickness: float


class Text(NamedTuple):
    """A text whose lower left corner lies at a point of the image, in pixels, on a ground of its own."""

    place: Point
    words: str
    rgba: Rgba
    ground: Rgba


class Annotator:
    """One camera's lines and texts; it remembers where each id has been."""

    def __init__(self) -> None:
        """Starts without trails."""
        self._trails = Trails()

    def __call__(self, stamp_ns: int, shown: Sequence[Mark]) -> tuple[list[Line], list[Text]]:
        """What to draw on one image.

        Args:
            stamp_ns: the image's stamp; one before the last one's clears the trails.
            shown: the objects, later ones over earlier ones.

        Returns:
            Trails first, then boxes; and a text for each box.
        """
        self._trails.remember(stamp_ns, shown)
        trails, boxes, texts = [], [], []
        for mark in shown:
            rgba = _rgba(colour(mark.id), FAINT if mark.lost else 1.0)
            left, top, right, bottom = mark.box
            corners = ((left, top), (right, top), (right, bottom), (left, bottom))
            boxes.append(Line(LINE_LOOP, corners, rgba, 1.0 if mark.lost else 2.0))
            texts.append(Text((left, top), mark.text, _rgba(ink_on(colour(mark.id))), rgba))
            path = self._trails.path(mark.id)
            if len(path) > 1:
                step = -(-len(path) // TRAIL_POINTS)
                points = tuple((x, y) for _, x, y in path[::-step])  # from the newest, which is always among them
                trails.append(Line(LINE_STRIP, points[::-1], rgba, 1.0))
        return trails + boxes, texts


def _rgba(bgr: tuple[int, int, int], opacity: float = 1.0) -> Rgba:
    blue, green, red = bgr
    return red / 255, green / 255, blue / 255, opacity

"""Lines and texts for Foxglove, where the package foxglove_msgs is installed, which is not on PyPI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from std_msgs.msg import Header

from alstm_ros.annotations import FONT, Annotator, Point, Rgba
from alstm_ros.drawing import Mark

try:
    from foxglove_msgs import msg
except ImportError:
    msg = None
MESSAGE: type | None = msg and msg.ImageAnnotations
"""The message class; None where the package is not installed."""


class AnnotationMessages:
    """Fills one camera's annotations; only where there is a `MESSAGE`."""

    def __init__(self) -> None:
        """Starts without trails."""
        self._annotator = Annotator()

    def __call__(self, header: Header, stamp_ns: int, shown: Sequence[Mark]) -> Any:
        """One message for one image.

        Args:
            header: the camera image's; a viewer draws annotations on the image of the same stamp.
            stamp_ns: the frame's stamp.
            shown: what to draw.
        """
        lines, texts = self._annotator(stamp_ns, shown)
        return msg.ImageAnnotations(
            points=[
                msg.PointsAnnotation(
                    timestamp=header.stamp,
                    type=line.kind,
                    points=[_point(place) for place in line.points],
                    outline_color=_colour(line.rgba),
                    thickness=line.thickness,
                )
                for line in lines
            ],
            texts=[
                msg.TextAnnotation(
                    timestamp=header.stamp,
                    position=_point(text.place),
                    text=text.words,
                    font_size=FONT,
                    text_color=_colour(text.rgba),
                    background_color=_colour(text.ground),
                )
                for text in texts
            ],
        )


def _point(place: Point) -> Any:
    return msg.Point2(x=place[0], y=place[1])


def _colour(rgba: Rgba) -> Any:
    red, green, blue, opacity = rgba
    return msg.Color(r=red, g=green, b=blue, a=opacity)

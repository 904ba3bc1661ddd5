"""`vision_msgs/Detection2DArray` as recordings have it, in every version of vision_msgs since Foxy.

Foxy: `bbox.center` is a `geometry_msgs/Pose2D`, a result has `id` and `score`, a detection has `tracking_id`. Galactic:
the same centre, and `hypothesis.class_id` and `hypothesis.score`. Humble and later: `bbox.center.position`, and `id` in
a detection (https://github.com/ros-perception/vision_msgs, branches foxy, galactic and ros2).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

Corners = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""


class RecordedDetection(NamedTuple):
    """One detection of a message.

    Attributes:
        key: its id; empty where it has none.
        class_id: of its best hypothesis; empty where it has none.
        score: likewise; 1 where it has none.
        box: its corners.
    """

    key: str
    class_id: str
    score: float
    box: Corners


def detections_of(message: Any) -> Iterator[RecordedDetection]:
    """The detections of a `Detection2DArray`.

    Raises:
        AttributeError: it is of no known version.
        ValueError: an angle is infinite.
    """
    for item in message.detections:
        hypotheses = [getattr(result, "hypothesis", result) for result in item.results]
        best = max(hypotheses, key=lambda one: one.score, default=None)
        name = "" if best is None else str(best.class_id if hasattr(best, "class_id") else best.id)
        key = item.id if hasattr(item, "id") else item.tracking_id
        yield RecordedDetection(key, name, 1.0 if best is None else best.score, corners_of(item.bbox))


def corners_of(box: Any) -> Corners:
    """The corners of a `BoundingBox2D`; of a turned one those of the upright box around it."""
    centre = getattr(box.center, "position", box.center)
    half_x, half_y = box.size_x / 2, box.size_y / 2
    if box.center.theta:
        cosine, sine = abs(math.cos(box.center.theta)), abs(math.sin(box.center.theta))
        half_x, half_y = cosine * half_x + sine * half_y, sine * half_x + cosine * half_y
    return centre.x - half_x, centre.y - half_y, centre.x + half_x, centre.y + half_y

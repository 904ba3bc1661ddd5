"""Pictures, messages made of them, and what is read from answers."""

from __future__ import annotations

import numpy as np
import pytest

from alstm_ros.types import Image

pytest.importorskip("rclpy", reason="ROS is not installed")

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Image as ImageMessage
from vision_msgs.msg import Detection2DArray

COLOURS = {"blue": (220, 20, 20), "green": (20, 220, 20), "red": (20, 20, 220), "grey": (200, 200, 200)}


def scene(*blobs: tuple[int, int, str], height: int = 96, width: int = 128, size: int = 24) -> Image:
    """A dark picture with squares: `(height, width, 3)` uint8 BGR.

    Args:
        blobs: left, top and colour of each.
        height: pixels.
        width: pixels.
        size: of a square, pixels.
    """
    image = np.full((height, width, 3), 20, np.uint8)
    for left, top, colour in blobs:
        image[top : top + size, left : left + size] = COLOURS[colour]
    return image


def image_message(image: Image, stamp_ns: int, frame_id: str = "camera") -> ImageMessage:
    """A bgr8 message."""
    return raw_message(image.tobytes(), "bgr8", image.shape[:2], 3 * image.shape[1], stamp_ns, frame_id)


def raw_message(
    data: bytes, encoding: str, size: tuple[int, ...], step: int, stamp_ns: int, frame_id: str = "camera"
) -> ImageMessage:
    """An image message of any encoding."""
    message = ImageMessage(height=size[0], width=size[1], encoding=encoding, step=step)
    message.data.frombytes(data)
    message.header.frame_id = frame_id
    message.header.stamp = stamp_message(stamp_ns)
    return message


def stamp_message(stamp_ns: int) -> Time:
    """A header's stamp."""
    return Time(sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000)


def found(answer: Detection2DArray) -> list[tuple[str, int, int]]:
    """Class and centre of each detection, sorted."""
    return sorted(
        (d.results[0].hypothesis.class_id, round(d.bbox.center.position.x), round(d.bbox.center.position.y))
        for d in answer.detections
    )


def ids(answer: Detection2DArray) -> list[str]:
    """The id of each detection."""
    return [detection.id for detection in answer.detections]


def values(status: DiagnosticStatus) -> dict[str, str]:
    """A status's values by key."""
    return {pair.key: pair.value for pair in status.values}


SCENE = scene((20, 30, "red"), (80, 40, "blue"))
EXPECTED = [("blue", 92, 52), ("red", 32, 42)]  # what is found in it
QUICK: dict[str, object] = {"tracks.confirm_hits": 1, "tracks.birth_score": 0.5}  # a track is shown at its first frame

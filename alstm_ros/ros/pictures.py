"""What a person looks at: the overlay image and the markers. Made only while somebody subscribes."""

from __future__ import annotations

from collections.abc import Sequence

from geometry_msgs.msg import Point
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as ImageMessage
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import ImageMarker

from alstm_ros.drawing import Mark, colour
from alstm_ros.images import encode_jpeg
from alstm_ros.types import Image

CORNERS = ((0, 1), (2, 1), (2, 3), (0, 3))  # x and y of a box's corners in xyxy, around it


def image_message(header: Header, image: Image) -> ImageMessage:
    """A picture as a message.

    Args:
        header: the camera image's.
        image: `(H, W, 3)` uint8 BGR, contiguous.
    """
    height, width = image.shape[:2]
    message = ImageMessage(header=header, height=height, width=width, encoding="bgr8", step=3 * width)
    # Filling the array in place takes a millisecond; giving `data` an ndarray takes rclpy a check of every byte.
    message.data.frombytes(image.reshape(-1).data)
    return message


def compressed_message(header: Header, image: Image, quality: int) -> CompressedImage:
    """A picture as a JPEG message.

    Args:
        header: the camera image's.
        image: `(H, W, 3)` uint8 BGR.
        quality: 1..100.
    """
    message = CompressedImage(header=header, format="bgr8; jpeg compressed bgr8")  # as image_transport says it
    message.data.frombytes(encode_jpeg(image, quality).data)
    return message


def markers(header: Header, shown: Sequence[Mark]) -> ImageMarker:
    """The boxes as one list of lines, four each, in the colours of their ids."""
    message = ImageMarker(header=header, ns="tracks", type=ImageMarker.LINE_LIST, action=ImageMarker.ADD, scale=2.0)
    for mark in shown:
        corners = [Point(x=mark.box[x], y=mark.box[y]) for x, y in CORNERS]
        blue, green, red = (value / 255 for value in colour(mark.id))
        ink = ColorRGBA(r=red, g=green, b=blue, a=1.0)
        for start, end in zip(corners, corners[1:] + corners[:1], strict=True):
            message.points.extend((start, end))
            message.outline_colors.append(ink)
    return message

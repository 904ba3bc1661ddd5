"""A camera's message, and what came beside it, as the frame that the pipeline takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as ImageMessage
from vision_msgs.msg import Detection2DArray

from alstm_ros.config import Config
from alstm_ros.detection.given import GivenDetections
from alstm_ros.errors import ImageError
from alstm_ros.images import check_size, decode, decode_compressed
from alstm_ros.pipeline import AnyFrame, DetectionFrame, Frame
from alstm_ros.ros.companions import Companion
from alstm_ros.ros.mailbox import Arrival
from alstm_ros.ros.topics import image_candidates
from alstm_ros.types import Image

SAME_NS = 1_000_000
"""Detections belong to an image whose stamp differs by at most this many nanoseconds; detectors copy the stamp."""
LATE_IMAGES = 8
"""How many images wait for the detections that somebody makes of them; enough for 0.25 s at 30 a second."""


class FrameReader:
    """Reads one camera's messages."""

    def __init__(self, node: Node, camera: str, config: Config, given: GivenDetections | None) -> None:
        """Subscribes to nothing yet.

        Args:
            node: what comes beside a frame is subscribed to on it.
            camera: the camera's name, empty for the only one.
            config: all parameters.
            given: reads the detections where they come from a topic; None where a model makes them.
        """
        self._given = given
        self._max_pixels = config.input.max_pixels
        self._image: Companion | None = None
        if given is not None:
            topic = node.resolve_topic_name(f"{camera}/image" if camera else "image")
            self._image = Companion(node, image_candidates(config.input, topic), LATE_IMAGES)

    def configure(self, config: Config) -> None:
        """Takes over the live parameters."""
        self._max_pixels = config.input.max_pixels

    @property
    def _companions(self) -> Sequence[Companion]:
        return [one for one in (self._image,) if one is not None]

    def look(self) -> None:
        """Follows the publishers of what comes beside a frame."""
        for companion in self._companions:
            companion.look()

    def stop(self) -> None:
        """Frees the subscriptions."""
        for companion in self._companions:
            companion.stop()

    def __call__(self, arrival: Arrival) -> AnyFrame:
        """The frame of a message.

        Raises:
            ImageError: the image is damaged, or of an encoding that is not known.
        """
        message = arrival.message
        frame_id = message.header.frame_id
        if isinstance(message, Detection2DArray):
            if self._given is None:
                raise TypeError("Detections came where images are subscribed to.")
            found = self._given.read(message)
            return DetectionFrame(
                found, arrival.stamp_ns, camera=arrival.camera, frame_id=frame_id, image=self._beside(arrival.stamp_ns)
            )
        return Frame(decoded(message, self._max_pixels), arrival.stamp_ns, arrival.camera, frame_id)

    def _beside(self, stamp_ns: int) -> Image | None:
        """The image that somebody's detections were made of; None where there is none, or none that can be read."""
        message = self._image.match(stamp_ns, SAME_NS) if self._image is not None else None
        try:
            return None if message is None else decoded(message, self._max_pixels)
        except ImageError:
            return None  # tracking goes on without it, as it would without an image


def decoded(message: ImageMessage | CompressedImage, max_pixels: int) -> Image:
    """The picture of an image message.

    Args:
        message: the message.
        max_pixels: the largest picture that is taken.

    Raises:
        ImageError: it is larger, damaged, or of an encoding that is not known.
    """
    data = np.frombuffer(message.data, np.uint8)
    if isinstance(message, CompressedImage):
        return decode_compressed(data, message.format, max_pixels)
    check_size(message.height, message.width, max_pixels)
    return decode(data, message.encoding, message.height, message.width, message.step, bool(message.is_bigendian))

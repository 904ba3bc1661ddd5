"""Hands the newest image of each camera from the executor's thread to the worker's."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Detection2DArray


@dataclass(frozen=True, slots=True)
class Arrival:
    """An image message, or one of detections, as it came.

    Attributes:
        camera: whose it is.
        message: the message.
        stamp_ns: the header's stamp; where that is zero, when the message came.
        received_ns: monotonic clock when the message came, for timings only.
        age_ns: by the node's clock, the time from the stamp until the message came; None where it carries no stamp.
    """

    camera: str
    message: Image | CompressedImage | Detection2DArray
    stamp_ns: int
    received_ns: int
    age_ns: int | None = None

    def age_at(self, now_ns: int) -> int | None:
        """How old the image is at this time of the monotonic clock; None where it carries no stamp."""
        return None if self.age_ns is None else self.age_ns + now_ns - self.received_ns


class Mailbox:
    """One place for each camera; a newer image takes the place of one not yet fetched."""

    def __init__(self, cameras: Sequence[str]) -> None:
        """Starts empty and open.

        Args:
            cameras: names of those who may leave images.
        """
        self._cameras = frozenset(cameras)
        self._waiting: dict[str, Arrival] = {}  # in the order in which the cameras began to wait
        self._changed = threading.Condition()
        self._open = True
        self._busy = False

    def put(self, arrival: Arrival) -> bool:
        """Leaves an image; returns whether it took the place of one that nobody had fetched.

        It takes that one's turn, too: a fast camera, whose newest image is always young, has its turn like the others.

        Raises:
            KeyError: nobody knows this camera.
        """
        if arrival.camera not in self._cameras:
            raise KeyError(arrival.camera)
        with self._changed:
            overwritten = arrival.camera in self._waiting
            self._waiting[arrival.camera] = arrival
            self._changed.notify_all()
        return overwritten

    def take(self, most: int) -> list[Arrival]:
        """Waits for images and fetches those whose cameras wait longest; none when the mailbox is closed.

        Until the next call the images count as in work.

        Args:
            most: how many images are fetched at the most.
        """
        with self._changed:
            self._busy = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._open or self._waiting)
            if not self._open:
                return []
            taken = [self._waiting.pop(camera) for camera in list(self._waiting)[:most]]
            self._busy = True
            return taken

    def drain(self, timeout: float) -> bool:
        """Throws away what waits, and waits for what is in work; returns whether that ended within `timeout` s."""
        with self._changed:
            self._waiting.clear()
            return self._changed.wait_for(lambda: not self._busy, timeout)

    def close(self) -> None:
        """Makes `take` return nothing, now and ever after."""
        with self._changed:
            self._open = False
            self._changed.notify_all()

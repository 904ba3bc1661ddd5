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
    """

    camera: str
    message: Image | CompressedImage | Detection2DArray
    stamp_ns: int
    received_ns: int


class Mailbox:
    """One place for each camera; a newer image takes the place of one not yet fetched."""

    def __init__(self, cameras: Sequence[str]) -> None:
        """Starts empty and open.

        Args:
            cameras: names, in the order in which `take` returns them.
        """
        self._places: dict[str, Arrival | None] = dict.fromkeys(cameras)
        self._changed = threading.Condition()
        self._open = True
        self._busy = False

    def put(self, arrival: Arrival) -> bool:
        """Leaves an image; returns whether it took the place of one that nobody had fetched."""
        with self._changed:
            overwritten = self._places[arrival.camera] is not None
            self._places[arrival.camera] = arrival
            self._changed.notify_all()
        return overwritten

    def take(self) -> list[Arrival]:
        """Waits for images and fetches all there are; none when the mailbox is closed.

        Until the next call the images count as in work.
        """
        with self._changed:
            self._busy = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._open or any(self._places.values()))
            if not self._open:
                return []
            taken = [arrival for arrival in self._places.values() if arrival is not None]
            self._places = dict.fromkeys(self._places)
            self._busy = True
            return taken

    def drain(self, timeout: float) -> bool:
        """Throws away what waits, and waits for what is in work; returns whether that ended within `timeout` s."""
        with self._changed:
            self._places = dict.fromkeys(self._places)
            return self._changed.wait_for(lambda: not self._busy, timeout)

    def close(self) -> None:
        """Makes `take` return nothing, now and ever after."""
        with self._changed:
            self._open = False
            self._changed.notify_all()

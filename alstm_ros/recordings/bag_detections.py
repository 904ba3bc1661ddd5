"""Detections that a recording holds as a source: somebody's `vision_msgs/Detection2DArray` instead of images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from alstm_ros.detection.given import GivenDetections
from alstm_ros.errors import DataError
from alstm_ros.pipeline import DetectionFrame
from alstm_ros.recordings.bag import Bag
from alstm_ros.recordings.bag_images import choose_topic, stamp_of

DETECTIONS = "vision_msgs/msg/Detection2DArray"


class BagDetections:
    """One topic of detections of a bag."""

    def __init__(self, path: Path, topic: str, given: GivenDetections) -> None:
        """Finds the topic.

        Args:
            path: the bag, a folder or a file.
            topic: the topic; empty where there is only one.
            given: reads the messages.

        Raises:
            DataError: the bag cannot be read at all, or the topic is not clear.
        """
        self._bag = Bag(path)
        self._opening = list(self._bag.problems)
        self._given = given
        self.topic = choose_topic(self._bag, topic, (DETECTIONS,), "detection")
        self.name = path.name.split(".")[0] if path.is_file() else path.name

    @property
    def length(self) -> int:
        """Messages on the topic."""
        return next(item.count for item in self._bag.topics if item.name == self.topic)

    @property
    def problems(self) -> list[str]:
        """What could not be read."""
        return self._bag.problems

    def __iter__(self) -> Iterator[tuple[int, DetectionFrame]]:
        """Reads one message after the other."""
        self._bag.problems[:] = self._opening
        damaged = 0
        for number, message in enumerate(self._bag.read([self.topic]), 1):
            try:
                fields = self._bag.decode(message)
            except DataError:
                damaged += 1
                continue
            stamp_ns = stamp_of(fields.header, message.log_ns)
            yield number, DetectionFrame(self._given.read(fields), stamp_ns, frame_id=fields.header.frame_id)
        if damaged:
            self.problems.append(f"{damaged} messages on {self.topic} are damaged and were left out.")

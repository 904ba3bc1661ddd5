"""The images of a bag as a source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alstm_ros.errors import DataError, ImageError
from alstm_ros.images import decode, decode_compressed
from alstm_ros.pipeline import Frame
from alstm_ros.recordings.bag import Bag, Message
from alstm_ros.types import SECOND

DEPTHS = ("16UC1", "32FC1")
"""Encodings of depth images (REP 118); a thermal camera sends 16UC1, too, but not on a topic that is called depth."""
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"


def choose_topic(bag: Bag, wanted: str, types: tuple[str, ...], what: str) -> str:
    """The topic that the user names, or the only one of these types.

    Args:
        bag: the recording.
        wanted: a topic's name, or empty to find it.
        types: the types that will do.
        what: what is looked for, in words, such as `image`.

    Returns:
        The topic's name.

    Raises:
        DataError: there is none, several and none was named, or the named one will not do.
    """
    fitting = [topic.name for topic in bag.topics if topic.type in types]
    listed = ", ".join(fitting)
    if wanted:
        for name in (wanted, f"{wanted}/compressed"):  # as image_transport names it, and as the node finds it
            if name in fitting:
                return name
        there = f"its {what} topics are {listed}" if fitting else f"it holds no {what} topic"
        raise DataError(f"The bag {bag.path} has no {what} topic '{wanted}'; {there}.")
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise DataError(f"The bag {bag.path} holds {len(fitting)} {what} topics; name one of {listed}.")
    everything = ", ".join(f"{topic.name} ({topic.type})" for topic in bag.topics)
    raise DataError(f"The bag {bag.path} holds no {what} topic, only {everything}.")


def stamp_of(header: Any, log_ns: int) -> int:
    """A message's stamp in nanoseconds; an unset one is replaced by the time of recording, as the live node does."""
    return int(header.stamp.sec) * SECOND + int(header.stamp.nanosec) or log_ns


class BagImages:
    """One image topic of a bag, raw or compressed."""

    def __init__(self, path: Path, topic: str = "") -> None:
        """Finds the topic.

        Args:
            path: the bag, a folder or a file.
            topic: the image topic; empty where there is only one.

        Raises:
            DataError: the bag cannot be read at all, or the topic is not clear.
        """
        self._bag = Bag(path)
        self._opening = list(self._bag.problems)
        self.topic = choose_topic(self._bag, topic, (IMAGE, COMPRESSED), "image")
        self._bag.check(self.topic)
        self._compressed = next(item.type for item in self._bag.topics if item.name == self.topic) == COMPRESSED
        self.name = path.name.split(".")[0] if path.is_file() else path.name

    @property
    def length(self) -> int:
        """Messages on the topic."""
        return next(item.count for item in self._bag.topics if item.name == self.topic)

    @property
    def problems(self) -> list[str]:
        """What could not be read."""
        return self._bag.problems

    def __iter__(self) -> Iterator[tuple[int, Frame]]:
        """Reads and decodes one message after the other."""
        self._bag.problems[:] = self._opening
        damaged: dict[str, list[str]] = {}
        for number, message in enumerate(self._bag.read([self.topic]), 1):
            try:
                frame = self._decode(message)
            except (ImageError, DataError) as error:
                damaged.setdefault(getattr(error, "cause", "no such message"), []).append(str(error))
                continue
            yield number, frame
        for errors in damaged.values():
            which = f"{len(errors)} images on {self.topic} left out, the first:" if errors[1:] else None
            self.problems.append(f"{which or f'1 image on {self.topic} left out:'} {errors[0]}")

    def _decode(self, message: Message) -> Frame:
        fields = self._bag.decode(message)
        try:
            if self._compressed:
                image = decode_compressed(fields.data, fields.format)
            else:
                if fields.encoding in DEPTHS and "depth" in self.topic:
                    raise DataError(
                        f"{self.topic} holds depths ({fields.encoding}), not pictures."
                    )  # told with the others
                size = fields.height, fields.width, fields.step, fields.is_bigendian
                image = decode(fields.data, fields.encoding, *size)
            return Frame(image, stamp_of(fields.header, message.log_ns), frame_id=fields.header.frame_id)
        except AttributeError as error:
            raise DataError(f"The message is of another version of its type ({error}).") from error

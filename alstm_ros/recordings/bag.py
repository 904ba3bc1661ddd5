"""Reading rosbag2 recordings without a ROS installation: mcap and sqlite3, split, zstd by file, chunk and message.

Each file of a recording is opened for itself, so that a missing `metadata.yaml`, which an interrupted recording leaves,
costs nothing. A file that the library refuses is read record by record instead, as far as it goes; see `bag_salvage`.
"""

from __future__ import annotations

import contextlib
import shutil
import struct
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard
from rosbags.interfaces import MessageDefinitionFormat
from rosbags.rosbag2 import Reader
from rosbags.serde import SerdeError
from rosbags.typesys.store import Typestore

from alstm_ros.errors import DataError
from alstm_ros.recordings.bag_folder import UNREADABLE, bag_files, metadata_files, storages_in
from alstm_ros.recordings.bag_salvage import salvage, salvage_topics
from alstm_ros.recordings.message_types import store_for

DAMAGES = (SerdeError, KeyError, IndexError, AssertionError, ValueError, struct.error, MemoryError)
"""What rosbags raises at bytes that are no message of their type."""
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"  # RFC 8878; a CDR message starts with 00


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic of a recording.

    Attributes:
        name: such as `/camera/image_raw`.
        type: such as `sensor_msgs/msg/Image`.
        count: messages on it.
        definition: the type's definition as stored in the bag, empty where it holds none.
        idl: whether the definition is IDL instead of .msg text.
    """

    name: str
    type: str
    count: int
    definition: str = ""
    idl: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """One recorded message, still serialised.

    Attributes:
        topic: its topic's name.
        log_ns: when it was recorded, nanoseconds.
        data: CDR bytes.
    """

    topic: str
    log_ns: int
    data: bytes


class Bag:
    """A recording: a folder of storage files, or one such file."""

    def __init__(self, path: Path) -> None:
        """Finds the files and their topics.

        Args:
            path: folder or file.

        Raises:
            DataError: there is nothing that could be read.
        """
        self.path = path
        self.problems: list[str] = []
        self._files = self._find_files()
        self._broken: set[Path] = set()
        found: dict[str, Topic] = {}
        for file in self._files:
            for topic in self._topics_of(file):
                old = found.get(topic.name)
                count = topic.count + (old.count if old else 0)
                definition = topic.definition or (old.definition if old else "")
                found[topic.name] = Topic(topic.name, topic.type, count, definition, topic.idl)
        if not found:
            why = " ".join(self.problems) or "It holds no topic."
            raise DataError(f"The bag {path} cannot be read. {why}")
        self.topics = tuple(sorted(found.values(), key=lambda topic: topic.name))
        self._stores: dict[str, tuple[Typestore, str]] = {}

    def _find_files(self) -> list[Path]:
        if not self.path.is_dir():
            if not self.path.is_file():
                raise DataError(f"There is no bag at {self.path}.")
            return [self.path]
        present = storages_in(self.path)
        if not present:
            raise DataError(f"The folder {self.path} holds no .mcap or .db3 file, so it is no bag.")
        try:
            names = {item.name for item in present}
            missing = [name for name in metadata_files(self.path) if name not in names]
            self.problems += [f"{name}, which metadata.yaml lists, is missing." for name in missing]
        except UNREADABLE as error:
            kind = "missing" if isinstance(error, FileNotFoundError) else "damaged"
            self.problems.append(
                f"metadata.yaml of {self.path} is {kind}, the recording was not finished; its files are read by name."
            )
        return list(bag_files(self.path, present)[0])

    def _topics_of(self, file: Path) -> list[Topic]:
        with _plain(file) as plain:
            if _journal(plain):
                return self._salvaged(file, plain, "its last changes lie in a journal beside it")
            try:
                with Reader(plain) as reader:
                    return [
                        Topic(
                            item.topic,
                            item.msgtype,
                            item.msgcount,
                            item.msgdef.data if item.msgdef.format != MessageDefinitionFormat.NONE else "",
                            item.msgdef.format == MessageDefinitionFormat.IDL,
                        )
                        for item in reader.connections
                    ]
            except Exception as error:  # noqa: BLE001  # a damaged file raises whatever its parser stumbles over
                return self._salvaged(file, plain, _sentence(error))

    def _salvaged(self, file: Path, plain: Path, why: str) -> list[Topic]:
        """The topics of a file that is to be read record by record."""
        self._broken.add(file)
        self.problems.append(f"{file.name} is damaged or unfinished ({why}).")
        return [Topic(*topic) for topic in salvage_topics(plain)]

    def read(self, topics: Collection[str]) -> Iterator[Message]:
        """The messages on some topics, file after file, in order of recording.

        What cannot be read is left out and told in `problems`.

        Args:
            topics: their names.

        Yields:
            One message after the other; only one file chunk is held in memory.
        """
        for file in self._files:
            last, seen, at_last = -1, 0, 0
            with _plain(file) as plain:
                if file not in self._broken:
                    try:
                        for message in _healthy(plain, topics):
                            seen += 1
                            at_last = at_last + 1 if message.log_ns == last else 1
                            last = message.log_ns
                            yield message
                        continue
                    except Exception as error:  # noqa: BLE001  # as in _topics_of
                        self.problems.append(f"{file.name} is damaged after {seen} messages ({_sentence(error)}).")
                losses: list[str] = []
                for topic, log_ns, data in salvage(plain, losses):
                    if topic not in topics:
                        continue
                    at_last -= log_ns == last
                    if log_ns > last or (log_ns == last and at_last < 0):
                        yield Message(topic, log_ns, _unpacked(data))
                self.problems += [f"{file.name}: {loss}" for loss in losses]

    def decode(self, message: Message) -> Any:
        """The message's fields, by the definition in the bag, else by the one this package knows.

        Args:
            message: from `read`.

        Returns:
            An object with the message's fields as attributes.

        Raises:
            DataError: the bytes do not fit the definition, or the type is unknown.
        """
        store, kind = self._type(message.topic)
        try:
            return store.deserialize_cdr(message.data, kind)
        except DAMAGES as error:
            raise DataError(f"The message does not fit its type {kind} ({_sentence(error)}).") from error

    def check(self, topic: str) -> None:
        """Looks whether the topic's messages can be decoded.

        Raises:
            DataError: nothing tells what its type is.
        """
        self._type(topic)

    def _type(self, name: str) -> tuple[Typestore, str]:
        """What decodes a topic's messages, and their type."""
        if name not in self._stores:
            topic = next(item for item in self.topics if item.name == name)
            try:
                self._stores[name] = (store_for(topic.type, topic.definition, idl=topic.idl), topic.type)
            except DataError as error:
                raise DataError(f"The topic {name} of the bag {self.path} cannot be read. {error}") from error
        return self._stores[name]


def _healthy(plain: Path, topics: Collection[str]) -> Iterator[Message]:
    with Reader(plain) as reader:
        wanted = [item for item in reader.connections if item.topic in topics]
        if wanted:  # an empty list would mean all
            for item, log_ns, data in reader.messages(wanted):
                yield Message(item.topic, log_ns, _unpacked(data))


def _journal(file: Path) -> bool:
    """Whether a database's last changes lie in a second file, which rosbags does not look at."""
    beside = [file.with_name(file.name + suffix) for suffix in ("-wal", "-journal")]
    return file.suffix == ".db3" and any(item.is_file() and item.stat().st_size > 0 for item in beside)


def _unpacked(data: bytes) -> bytes:
    """Undoes zstd by message, which only the bytes themselves tell in a bag without metadata."""
    if data[:4] == ZSTD_MAGIC:
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return data


@contextlib.contextmanager
def _plain(file: Path) -> Iterator[Path]:
    """The file itself, or, where it is compressed as a whole, its contents for as long as they are needed."""
    if file.suffix != ".zstd":
        yield file
        return
    with tempfile.TemporaryDirectory(prefix="alstm-bag-") as folder:
        plain = Path(folder) / file.stem
        # A cut-off archive gives what was packed until then; the reader of the contents then tells what is missing.
        with file.open("rb") as packed, plain.open("wb") as out, contextlib.suppress(zstandard.ZstdError):
            shutil.copyfileobj(zstandard.ZstdDecompressor().stream_reader(packed), out, 1 << 20)
        yield plain


def _sentence(error: Exception) -> str:
    return (str(error) or type(error).__name__).rstrip(".")

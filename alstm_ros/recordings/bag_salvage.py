"""What can still be read of a damaged or unfinished storage file, record by record from its start."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mcap.exceptions import EndOfFile
from mcap.records import Channel, Chunk, Message, Schema
from mcap.stream_reader import StreamReader, breakup_chunk

DAMAGED = (sqlite3.Error, UnicodeDecodeError)
"""What SQLite raises at a damaged database; its very words may be damaged."""
Found = tuple[str, str, int, str, bool]
"""Name, type, message count, definition, whether that is IDL: the fields of `bag.Topic`."""


def salvage(path: Path, losses: list[str]) -> Iterator[tuple[str, int, bytes]]:
    """The messages that can be read.

    Args:
        path: a .mcap or .db3 file.
        losses: takes one sentence for each part that could not be read.

    Yields:
        Topic, time of recording in nanoseconds, serialised message.
    """
    if path.suffix == ".db3":
        yield from _rows(path, losses)
        return
    topics: dict[int, str] = {}
    for record in _records(path, losses):
        if isinstance(record, Channel):
            topics[record.id] = record.topic
        elif isinstance(record, Message) and record.channel_id in topics:
            yield topics[record.channel_id], record.log_time, record.data


def salvage_topics(path: Path) -> list[Found]:
    """The topics that can be read, with the number of their messages; reads the file through."""
    if path.suffix == ".db3":
        with contextlib.suppress(*DAMAGED), _database(path) as database:
            rows = database.execute("SELECT id, name, type FROM topics").fetchall()
            names = [row for row in rows if isinstance(row[1], str) and isinstance(row[2], str)]
            tally = dict.fromkeys((name for _, name, _ in names), 0)
            for topic, _, _ in _rows(path, []):
                tally[topic] = tally.get(topic, 0) + 1
            stored = _definitions(database)
            return [(name, kind, tally[name], *stored.get(kind, ("", False))) for _, name, kind in names]
        return []
    schemas: dict[int, Schema] = {}
    channels: dict[int, Channel] = {}
    counts: dict[int, int] = {}
    for record in _records(path, []):
        if isinstance(record, Schema):
            schemas[record.id] = record
        elif isinstance(record, Channel):
            channels[record.id] = record
        elif isinstance(record, Message):
            counts[record.channel_id] = counts.get(record.channel_id, 0) + 1
    found: list[Found] = []
    for key, channel in channels.items():
        if channel.schema_id in schemas:
            schema = schemas[channel.schema_id]
            text = schema.data.decode("utf-8", "replace")
            found.append((channel.topic, schema.name, counts.get(key, 0), text, schema.encoding != "ros2msg"))
    return found


def _records(path: Path, losses: list[str]) -> Iterator[object]:
    """Records in the order of the file, chunks opened; a damaged chunk is skipped, a damaged record ends it."""
    with path.open("rb") as file:
        stream = iter(StreamReader(file, emit_chunks=True, record_size_limit=path.stat().st_size).records)
        while True:
            start = file.tell()
            try:
                record = next(stream, None)
            except EndOfFile:
                losses.append(f"the file ends within a record at byte {start}; what came before is read.")
                return
            except Exception as error:  # noqa: BLE001  # a damaged record raises whatever its parser stumbles over
                losses.append(f"the record at byte {start} is damaged ({error}); what follows is lost.")
                return
            if record is None:
                return
            if not isinstance(record, Chunk):
                yield record
                continue
            try:
                inside = breakup_chunk(record, validate_crc=True)
            except Exception as error:  # noqa: BLE001  # as above
                losses.append(f"the chunk at byte {start} is damaged ({error}) and left out.")
                continue
            yield from inside


@contextlib.contextmanager
def _database(path: Path) -> Iterator[sqlite3.Connection]:
    """Opens a copy of a database that SQLite may refuse because the file is shorter than its head says.

    With "version-valid-for" unlike the change counter, SQLite takes the number of pages from the file's size
    (https://sqlite.org/fileformat.html, 1.3.7 and 1.3.12). A journal beside the file is replayed into the copy.
    """
    with tempfile.TemporaryDirectory(prefix="alstm-bag-") as folder:
        copy = Path(folder) / path.name
        for suffix in ("", "-wal", "-journal"):
            original = path.with_name(path.name + suffix)
            if original.is_file():
                shutil.copyfile(original, copy.with_name(copy.name + suffix))
        if not copy.with_name(f"{copy.name}-wal").is_file():
            with copy.open("r+b") as file:
                file.seek(92)
                file.write(b"\0\0\0\0")
        with contextlib.closing(sqlite3.connect(copy)) as database:
            yield database


def _definitions(database: sqlite3.Connection) -> dict[str, tuple[str, bool]]:
    """Type to definition and whether that is IDL; rosbag2 stores them since Iron."""
    with contextlib.suppress(*DAMAGED):
        rows = database.execute("SELECT topic_type, encoding, encoded_message_definition FROM message_definitions")
        return {kind: (text, encoding == "ros2idl") for kind, encoding, text in rows if isinstance(text, str)}
    return {}


def _rows(path: Path, losses: list[str]) -> Iterator[tuple[str, int, bytes]]:
    done = 0
    try:
        with _database(path) as database:
            names = dict(database.execute("SELECT id, name FROM topics"))
            # In order of writing: an index over the time may itself be damaged.
            for topic, stamp, data in database.execute("SELECT topic_id, timestamp, data FROM messages ORDER BY rowid"):
                if isinstance(names.get(topic), str) and isinstance(data, bytes) and isinstance(stamp, int):
                    done += 1
                    yield names[topic], stamp, data
    except DAMAGED as error:
        losses.append(f"the database is damaged after {done} messages ({error}); what follows is lost.")

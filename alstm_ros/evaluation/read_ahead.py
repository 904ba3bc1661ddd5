"""Reads and decodes the next frames while the detector works on this one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from alstm_ros.evaluation.sources import AnyFrame, Source

WAIT = 0.1
"""Seconds after which a thread that waits looks whether the other one has gone."""

Item = tuple[int, AnyFrame] | Exception | None
"""A numbered frame, what went wrong, or the end."""


@dataclass(frozen=True, slots=True)
class ReadAhead:
    """A source whose frames are read by a thread of its own, so many ahead and no more; order and numbers stay.

    Attributes:
        source: what is read; opened, read and closed in that thread alone.
        depth: frames ahead.
    """

    source: Source
    depth: int = 3

    @property
    def name(self) -> str:
        """See Source."""
        return self.source.name

    @property
    def length(self) -> int | None:
        """See Source."""
        return self.source.length

    @property
    def problems(self) -> list[str]:
        """See Source."""
        return self.source.problems

    def __iter__(self) -> Iterator[tuple[int, AnyFrame]]:
        """See Source; what the reading raises is raised here."""
        ready: queue.Queue[Item] = queue.Queue(self.depth)
        gone = threading.Event()
        reader = threading.Thread(target=_read, args=(self.source, ready, gone), name="read-ahead", daemon=True)
        reader.start()
        try:
            while (item := ready.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            gone.set()
            reader.join()


def _read(source: Source, ready: queue.Queue[Item], gone: threading.Event) -> None:
    """Puts every frame, then the end; stops when nobody takes them any more."""
    last: Item = None
    try:
        for item in source:
            if not _put(ready, item, gone):
                return
    except Exception as error:  # noqa: BLE001  # whatever it is, it is raised where the frames are taken
        last = error
    _put(ready, last, gone)


def _put(ready: queue.Queue[Item], item: Item, gone: threading.Event) -> bool:
    while not gone.is_set():
        try:
            ready.put(item, timeout=WAIT)
        except queue.Full:
            continue
        return True
    return False

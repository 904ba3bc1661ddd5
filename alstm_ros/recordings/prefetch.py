"""Does the next frame's work in a thread of its own while this frame's is done: reading ahead, detecting ahead."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from alstm_ros.recordings.frames import AnyFrame, FrameSource

WAIT = 0.1
"""Seconds after which a thread that waits looks whether the other one has gone."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Prefetched:
    """A source whose frames are read by a thread of its own, so many ahead and no more; order and numbers stay.

    Attributes:
        source: what is read; opened, read and closed in that thread alone.
        depth: frames ahead.
    """

    source: FrameSource
    depth: int = 3

    @property
    def name(self) -> str:
        """See FrameSource."""
        return self.source.name

    @property
    def length(self) -> int | None:
        """See FrameSource."""
        return self.source.length

    @property
    def problems(self) -> list[str]:
        """See FrameSource."""
        return self.source.problems

    def __iter__(self) -> Iterator[tuple[int, AnyFrame]]:
        """See FrameSource; what the reading raises is raised here."""
        return prefetch(self.source, self.depth, "read-ahead")


def prefetch(items: Iterable[T], depth: int, name: str) -> Generator[T, None, None]:
    """Walks through items in a thread of its own.

    Args:
        items: walked through once, in that thread alone, which also closes them.
        depth: so many may wait, and the thread holds one more.
        name: of the thread.

    Yields:
        The items in their order, then what went wrong in the thread, if anything did. Who stops early closes this
        generator, which waits for the thread to end.
    """
    ready: queue.Queue[tuple[T] | Exception | None] = queue.Queue(depth)
    gone = threading.Event()
    worker = threading.Thread(target=_work, args=(items, ready, gone), name=name, daemon=True)
    worker.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item[0]
    finally:
        gone.set()
        worker.join()


@contextmanager
def closing_walk(items: Iterable[T]) -> Iterator[Iterator[T]]:
    """An iterator that is closed, if it can be, where the walk ends: what it opened does not wait for its last user."""
    walk = iter(items)
    try:
        yield walk
    finally:
        if isinstance(walk, Generator):
            walk.close()


def _work(items: Iterable[T], ready: queue.Queue[tuple[T] | Exception | None], gone: threading.Event) -> None:
    """Puts every item, then the end; stops when nobody takes them any more."""
    last: Exception | None = None
    try:
        with closing_walk(items) as walk:
            for item in walk:
                if not _put(ready, (item,), gone):
                    return
    except Exception as error:  # noqa: BLE001  # whatever it is, it is raised where the items are taken
        last = error
    _put(ready, last, gone)


def _put(
    ready: queue.Queue[tuple[T] | Exception | None], item: tuple[T] | Exception | None, gone: threading.Event
) -> bool:
    while not gone.is_set():
        try:
            ready.put(item, timeout=WAIT)
        except queue.Full:
            continue
        return True
    return False

"""Several frames of a recording in the detector at once, each on one processor thread.

A live node has one frame at a time, so its threads share each layer of the network and wait for each other between
layers. A recording's next frames are there already: a thread with a frame of its own waits for nobody. What comes out
is the same, bit for bit, since every frame goes the same way through the same network (a test holds it to that).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from joblib import cpu_count

from alstm_ros.config import Config
from alstm_ros.options import replace
from alstm_ros.pipeline import Detector
from alstm_ros.recordings.prefetch import closing_walk

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class DetectorPool:
    """A detector that several threads call at once.

    Attributes:
        detector: is called from any thread. Calls for a GPU take turns in its engine.
        count: so many frames at once.
    """

    detector: Detector
    count: int = 1

    def __post_init__(self) -> None:
        """Waits until the runtime that will answer is chosen, so that two runs over one recording cannot differ."""
        self.detector.settle()

    @classmethod
    def open(cls, load: Callable[[Config], Detector], config: Config) -> DetectorPool:
        """Opens a detector for recordings: `engine.threads` frames at once, each on one thread.

        Args:
            load: opens the detector that a config names.
            config: all parameters.

        Raises:
            AlstmError: the detector cannot be opened.
        """
        detector = load(replace(config, {"engine.threads": 1}))
        return cls(detector, config.engine.threads or cpu_count(only_physical_cores=True))

    def walk(self, items: Iterable[T], detect: Callable[[T], R]) -> Generator[tuple[T, R], None, None]:
        """Walks through frames, detecting ahead.

        Args:
            items: frames, in whatever form; walked through once, by whoever asks for the next one.
            detect: what to do with each, in a thread of the pool.

        Yields:
            Each item with what came of it, in their order, then what went wrong, if anything did. At most two items
            for each thread wait, are worked on, or wait to be taken, and one more has been read. Who stops early closes
            this generator, which waits for the threads to end.
        """
        waiting: deque[tuple[T, Future[R]]] = deque()
        following: tuple[T] | Exception | None
        threads = ThreadPoolExecutor(self.count, "detector")
        try:
            with closing_walk(items) as walk:
                following = _following(walk)
                while waiting or isinstance(following, tuple):
                    while isinstance(following, tuple) and len(waiting) < 2 * self.count:
                        waiting.append((following[0], threads.submit(detect, following[0])))
                        following = _following(walk)
                    item, future = waiting.popleft()
                    yield item, future.result()
        finally:
            threads.shutdown(cancel_futures=True)
        if following is not None:
            raise following


def _following(walk: Iterator[T]) -> tuple[T] | Exception | None:
    """The next item, or what went wrong instead, or None at the end."""
    try:
        return (next(walk),)
    except StopIteration:
        return None
    except Exception as error:  # noqa: BLE001  # raised after the items before it
        return error

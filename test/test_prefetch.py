"""Reading ahead changes when frames are read, and nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import recordings

from alstm_ros.errors import DataError
from alstm_ros.pipeline import Frame
from alstm_ros.recordings.prefetch import Prefetched
from alstm_ros.recordings.sources import open_source


class Slow:
    """Ten frames; counts what was read, and fails at a frame if that is wanted."""

    name, length = "slow", 10

    def __init__(self, fails_at: int = 99) -> None:
        self.problems: list[str] = []
        self.read = 0
        self.closed_in: str | None = None
        self._fails_at = fails_at

    def __iter__(self) -> Iterator[tuple[int, Frame]]:
        try:
            for number in range(1, 11):
                if number == self._fails_at:
                    raise DataError("the disk has gone")
                self.read += 1
                yield number, Frame(np.zeros((4, 4, 3), np.uint8), number)
        finally:
            self.closed_in = threading.current_thread().name


def test_a_bag_gives_the_same_frames(tmp_path: Path) -> None:
    bag = recordings.write_bag(tmp_path / "bag", range(1, 9))
    plain, ahead = open_source(bag), Prefetched(open_source(bag))
    assert (ahead.name, ahead.length) == (plain.name, plain.length)
    for (number, one), (same, other) in zip(plain, ahead, strict=True):
        assert isinstance(one, Frame)
        assert isinstance(other, Frame)
        assert (number, one.stamp_ns) == (same, other.stamp_ns)
        np.testing.assert_array_equal(one.image, other.image)
    assert len(list(ahead)) == 8  # and once more


def test_no_more_is_read_than_was_asked_for() -> None:
    source = Slow()
    for number, _ in Prefetched(source, depth=2):
        time.sleep(0.02)
        assert source.read <= number + 3  # two wait, one is held by the thread
    assert source.read == 10


def test_who_stops_early_leaves_no_thread() -> None:
    source = Slow()
    frames = iter(Prefetched(source, depth=2))
    assert next(frames)[0] == 1
    frames.close()  # type: ignore[attr-defined]  # a generator
    assert source.read < 10
    assert source.closed_in == "read-ahead"
    assert not any(thread.name == "read-ahead" for thread in threading.enumerate())


def test_what_goes_wrong_is_raised_after_the_frames_before() -> None:
    frames = iter(Prefetched(Slow(fails_at=4)))
    assert [next(frames)[0] for _ in range(3)] == [1, 2, 3]
    with pytest.raises(DataError, match="the disk has gone"):
        next(frames)

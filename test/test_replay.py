"""Detecting later frames while this one is tracked changes when things are done, and no byte of what is written."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import recordings
from blobs import Blobs

from alstm_ros.config import Config
from alstm_ros.errors import DataError, ModelError
from alstm_ros.options import replace as change
from alstm_ros.recordings.detector_pool import DetectorPool
from alstm_ros.recordings.frames import AnyFrame
from alstm_ros.recordings.prefetch import Prefetched
from alstm_ros.recordings.replay import Step, image_step, replay
from alstm_ros.recordings.sinks import SINKS, RunInfo
from alstm_ros.recordings.sources import open_source
from alstm_ros.types import Detections, FrameResult, Image

WAIT = 20.0


@pytest.fixture
def bag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def walkers(number: int) -> Image:
        picture = np.random.default_rng(3).integers(0, 80, (120, 160, 3), np.uint8)
        picture[20:50, 5 + 4 * number : 25 + 4 * number, 0] = 220
        picture[70:100, 130 - 4 * number : 150 - 4 * number, 2] = 200
        return np.asarray(picture, np.uint8)

    monkeypatch.setattr(recordings, "scene", walkers)
    return recordings.write_bag(tmp_path / "bag", range(1, 26))


class Failing(Blobs):
    """Finds what Blobs finds, until the engine fails at the picture of frame 7."""

    def __call__(self, images: Sequence[Image]) -> list[Detections]:
        if images[0][20, 5 + 4 * 7, 0] == 220 and images[0][20, 4 + 4 * 7, 0] != 220:
            raise ModelError("The engine has gone.")
        return super().__call__(images)


def written(step: Step, bag: Path, folder: Path) -> dict[str, bytes]:
    """Every kind of output."""
    paths = [folder / f"x{suffix}" for suffix in SINKS]
    done = replay(Prefetched(open_source(bag)), step, paths, RunInfo(Blobs(Config()).classes), quiet=True)
    assert (done.frames, done.objects) == (25, 2)
    return {path.suffix: path.read_bytes() for path in paths}


def idle() -> bool:
    """Whether no thread of a replay is left."""
    return not any(thread.name.startswith(("read-ahead", "detector")) for thread in threading.enumerate())


@pytest.mark.parametrize("camera", ["none", "image", "auto"])
@pytest.mark.parametrize("count", [1, 3])
def test_the_same_bytes_with_and_without_a_pool(bag: Path, tmp_path: Path, camera: str, count: int) -> None:
    config = change(Config(), {"motion.camera": camera})
    at_once, in_turn = (
        image_step(config, DetectorPool(Blobs(config), count)),
        image_step(config, DetectorPool(Blobs(config))),
    )
    assert at_once.pool is not None
    one = written(at_once, bag, tmp_path / "at_once")
    other = written(replace(in_turn, pool=None), bag, tmp_path / "in_turn")
    for suffix in SINKS:
        assert one[suffix] == other[suffix], suffix
    assert idle()


def test_later_frames_are_detected_while_one_is_tracked_and_no_more_than_fit(bag: Path, tmp_path: Path) -> None:
    config = Config()
    plain = image_step(config, DetectorPool(Blobs(config), 2))
    stamps = [frame.stamp_ns for _, frame in open_source(bag)]
    begun = {stamp: threading.Event() for stamp in stamps}
    pool, threads, tracked = set(), set(), list[int]()

    def detect(frame: AnyFrame) -> Detections:
        pool.add(threading.current_thread().name)
        begun[frame.stamp_ns].set()
        if frame.stamp_ns == stamps[0]:
            assert begun[stamps[1]].wait(WAIT), "one frame at a time"
        return plain.detect(frame)

    def track(frame: AnyFrame, found: Detections) -> FrameResult:
        threads.add(threading.current_thread())
        tracked.append(frame.stamp_ns)
        for stamp in stamps[len(tracked) : len(tracked) + 2]:
            assert begun[stamp].wait(WAIT), "a thread rests"
        assert sum(event.is_set() for event in begun.values()) <= len(tracked) + 3
        return plain.track(frame, found)

    step = replace(plain, detect=detect, track=track)
    replay(open_source(bag), step, [tmp_path / "x.txt"], RunInfo(Blobs(config).classes), quiet=True)
    assert tracked == stamps
    assert {name.rpartition("_")[0] for name in pool} == {"detector"}
    assert threads == {threading.main_thread()}


@pytest.mark.parametrize("count", [1, 2])
def test_what_was_tracked_before_a_failure_is_left_beside_the_file(bag: Path, tmp_path: Path, count: int) -> None:
    config = Config()
    step = image_step(config, DetectorPool(Failing(config), count))
    with pytest.raises(ModelError, match="The engine has gone"):
        replay(Prefetched(open_source(bag)), step, [tmp_path / "x.jsonl"], RunInfo(Blobs(config).classes), quiet=True)
    assert not (tmp_path / "x.jsonl").exists(), "it would look like a result"
    assert len((tmp_path / "x.jsonl.part").read_text(encoding="utf-8").splitlines()) == 6
    assert idle()


def test_what_was_read_before_the_source_failed_is_tracked(bag: Path) -> None:
    def broken() -> Iterator[tuple[int, AnyFrame]]:
        yield from islice(open_source(bag), 5)
        raise DataError("The disk has gone.")

    walk = DetectorPool(Blobs(Config()), 2).walk(broken(), lambda item: item[0])
    assert [next(walk)[1] for _ in range(5)] == [1, 2, 3, 4, 5]
    with pytest.raises(DataError, match="The disk has gone"):
        next(walk)
    assert idle()


def test_who_stops_early_leaves_no_thread(bag: Path) -> None:
    walk = DetectorPool(Blobs(Config()), 2).walk(Prefetched(open_source(bag)), lambda item: item[0])
    assert next(walk)[1] == 1
    walk.close()
    assert idle()


def test_what_fails_in_tracking_ends_the_threads(bag: Path, tmp_path: Path) -> None:
    config = Config()

    def track(_frame: AnyFrame, _found: Detections) -> FrameResult:
        raise ModelError("The network has gone.")

    step = replace(image_step(config, DetectorPool(Blobs(config))), track=track)
    with pytest.raises(ModelError, match="The network has gone"):
        replay(Prefetched(open_source(bag)), step, [tmp_path / "x.txt"], RunInfo(Blobs(Config()).classes), quiet=True)
    assert idle()

"""Detecting the next frame while this one is tracked changes when things are done, and no byte of what is written."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import recordings
from blobs import Blobs

from alstm_ros.config import Config
from alstm_ros.errors import ModelError
from alstm_ros.evaluation.read_ahead import ReadAhead
from alstm_ros.evaluation.replay import Step, image_step, replay
from alstm_ros.evaluation.sinks import SINKS, RunInfo
from alstm_ros.evaluation.sources import AnyFrame, open_source
from alstm_ros.options import replace as change
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
    """Finds what Blobs finds, until the engine fails at the seventh image."""

    looked = 0

    def __call__(self, images: Sequence[Image]) -> list[Detections]:
        self.looked += 1
        if self.looked == 7:
            raise ModelError("The engine has gone.")
        return super().__call__(images)


def written(step: Step, bag: Path, folder: Path) -> dict[str, bytes]:
    """Every kind of output."""
    paths = [folder / f"x{suffix}" for suffix in SINKS]
    done = replay(ReadAhead(open_source(bag)), step, paths, RunInfo(Blobs(Config()).classes), quiet=True)
    assert (done.frames, done.objects) == (25, 2)
    return {path.suffix: path.read_bytes() for path in paths}


@pytest.mark.parametrize("camera", ["off", "image"])
def test_the_same_bytes_with_and_without_a_thread(bag: Path, tmp_path: Path, camera: str) -> None:
    config = change(Config(), {"motion.camera": camera})
    at_once, in_turn = image_step(config, Blobs(config)), image_step(config, Blobs(config))
    assert at_once.ahead == 1
    one = written(at_once, bag, tmp_path / "at_once")
    other = written(replace(in_turn, ahead=0), bag, tmp_path / "in_turn")
    for suffix in SINKS:
        assert one[suffix] == other[suffix], suffix


def test_a_frame_is_detected_while_the_one_before_is_tracked(bag: Path, tmp_path: Path) -> None:
    config = Config()
    plain = image_step(config, Blobs(config))
    begun = [threading.Event() for _ in range(30)]
    threads = set()

    def detect(frame: AnyFrame) -> Detections:
        begun[len(threads_seen)].set()
        threads_seen.append(threading.current_thread().name)
        return plain.detect(frame)

    def track(frame: AnyFrame, found: Detections) -> FrameResult:
        threads.add(threading.current_thread())
        tracked.append(frame.stamp_ns)
        if len(tracked) < 25:
            assert begun[len(tracked)].wait(WAIT), f"frame {len(tracked) + 1} is not looked at"
        assert len(threads_seen) <= len(tracked) + 2  # one waits, one is being looked at
        return plain.track(frame, found)

    threads_seen: list[str] = []
    tracked: list[int] = []
    replay(open_source(bag), Step(detect, track, ahead=1), [tmp_path / "x.txt"], RunInfo(("a",)), quiet=True)
    assert tracked == sorted(tracked)
    assert len(tracked) == 25
    assert set(threads_seen) == {"detect-ahead"}
    assert threads == {threading.main_thread()}


def test_what_was_tracked_before_the_detector_failed_is_in_the_files(bag: Path, tmp_path: Path) -> None:
    config = Config()
    with pytest.raises(ModelError, match="The engine has gone"):
        replay(ReadAhead(open_source(bag)), image_step(config, Failing(config)), [tmp_path / "x.jsonl"],
               RunInfo(Blobs(config).classes), quiet=True)  # fmt: skip
    assert len((tmp_path / "x.jsonl").read_text(encoding="utf-8").splitlines()) == 6
    assert not {"read-ahead", "detect-ahead"} & {thread.name for thread in threading.enumerate()}


def test_what_fails_in_tracking_ends_the_threads(bag: Path, tmp_path: Path) -> None:
    config = Config()

    def track(_frame: AnyFrame, _found: Detections) -> FrameResult:
        raise ModelError("The network has gone.")

    step = replace(image_step(config, Blobs(config)), track=track)
    with pytest.raises(ModelError, match="The network has gone"):
        replay(ReadAhead(open_source(bag)), step, [tmp_path / "x.txt"], RunInfo(("a",)), quiet=True)
    assert not {"read-ahead", "detect-ahead"} & {thread.name for thread in threading.enumerate()}

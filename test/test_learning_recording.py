"""Recordings of any length: bootstrapped, written, read and drawn from part by part, in memory that does not grow."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import recordings
from blobs import Blobs

from alstm_ros import cli
from alstm_ros.commands import bootstrap as bootstrap_command
from alstm_ros.config import Config
from alstm_ros.errors import DataError
from alstm_ros.learning.pseudo_labels import recordings as recording
from alstm_ros.learning.pseudo_labels.augment import draw_augmented_clip
from alstm_ros.learning.pseudo_labels.footage import PseudoLabels
from alstm_ros.learning.pseudo_labels.recordings import LabelledRecording, in_parts, open_recordings, write_recording
from alstm_ros.learning.pseudo_labels.strict_links import bootstrap
from alstm_ros.recordings import detection_cache
from alstm_ros.recordings.detection_cache import DetectedSource
from alstm_ros.recordings.frames import DetectionFrame
from alstm_ros.recordings.sources import open_source
from alstm_ros.types import Detections, Image

PERIOD = 33_000_000


def street(count: int) -> Iterator[tuple[int, DetectionFrame]]:
    """Six people who walk to and fro, never held in memory."""
    for number in range(1, count + 1):
        left = 100.0 * np.arange(6) + 3.0 * abs(number % 200 - 100)
        boxes = np.stack([left, 50 + 0 * left, left + 40, 150 + 0 * left], axis=1).astype(np.float32)
        features = np.full((6, 64), number % 7, np.float32)
        found = Detections(boxes, np.full(6, 0.9, np.float32), np.zeros(6, np.int64), features)
        yield number, DetectionFrame(found, number * PERIOD)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 60 frames, pieces of 40."""
    monkeypatch.setattr(recording, "FRAMES", 60)
    monkeypatch.setattr(detection_cache, "PIECE", 40)


def made(path: Path, count: int) -> LabelledRecording:
    write_recording(path, (bootstrap(part, Config()) for part in in_parts(street(count))))
    return LabelledRecording.open(path)


def peak(function: Callable[[], object]) -> int:
    """Bytes held at most."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.usefixtures("short")
def test_parts_are_the_recording(tmp_path: Path) -> None:
    whole = made(tmp_path / "x.npz", 150)
    assert (len(whole), whole.labelled) == (150, 0)
    parts = list(whole.parts())
    assert [len(part) for part in parts] == [60, 60, 30]
    assert [part.numbers.tolist() for part in parts] == [[*range(1, 61)], [*range(61, 121)], [*range(121, 151)]]
    alone = bootstrap(list(street(150))[60:120], Config())
    for name in (field.name for field in fields(alone)):
        np.testing.assert_array_equal(getattr(parts[1], name), getattr(alone, name))


@pytest.mark.usefixtures("short")
def test_the_end_is_set_aside(tmp_path: Path) -> None:
    whole = made(tmp_path / "x.npz", 150)
    begin, end = whole.split_end(0.4)
    assert [part.numbers.tolist() for part in begin.parts()] == [[*range(1, 61)], [*range(61, 91)]]
    assert [part.numbers.tolist() for part in end.parts()] == [[*range(91, 121)], [*range(121, 151)]]
    nothing = whole.split_end(0.0)[1]
    assert (len(nothing), list(nothing.parts())) == (0, [])


def test_crowds_make_shorter_parts_and_nobody_an_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "LEAST", 10)
    monkeypatch.setattr(recording, "DETECTIONS", 90)
    assert [len(part) for part in in_parts(street(40))] == [15, 15, 10]
    assert [len(part) for part in in_parts(street(30))] == [15, 15]
    assert list(in_parts(iter(()))) == [[]]


@pytest.mark.usefixtures("short")
def test_clips_are_drawn_from_all_parts_and_by_the_seed(tmp_path: Path) -> None:
    begin = made(tmp_path / "x.npz", 300).split_end(0.2)[0]
    again = made(tmp_path / "y.npz", 300).split_end(0.2)[0]
    seen = set()
    for seed in range(30):
        one, other = (draw_augmented_clip(np.random.default_rng(seed), [item], 20) for item in (begin, again))
        np.testing.assert_array_equal(one.footage.boxes, other.footage.boxes)
        np.testing.assert_array_equal(one.hidden, other.hidden)
        seen.add((int(one.footage.numbers[0]) - 1) // 60)
    assert seen == {0, 1, 2, 3}


def test_a_file_that_is_written_again_is_read_again(tmp_path: Path) -> None:
    first = made(tmp_path / "x.npz", 30)
    assert len(next(first.parts())) == 30
    second = made(tmp_path / "x.npz", 40)
    assert len(next(second.parts())) == 40


def test_what_fails_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    made(tmp_path / "x.npz", 30)

    def broken() -> Iterator[PseudoLabels]:
        yield bootstrap(list(street(20)), Config())
        raise DataError("The disk has gone.")

    with pytest.raises(DataError, match="The disk has gone"):
        write_recording(tmp_path / "x.npz", broken())
    assert [len(item) for item in open_recordings(tmp_path)] == [30]
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]


@pytest.mark.usefixtures("short")
def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    """Bootstrapping, and drawing training clips."""

    def made_and_drawn(count: int) -> int:
        def work() -> None:
            begin = made(tmp_path / f"{count}.npz", count).split_end(0.2)[0]
            for seed in range(12):
                draw_augmented_clip(np.random.default_rng(seed), [begin], 20)

        recording._read.cache_clear()
        return peak(work)

    made_and_drawn(60)  # the first call fills caches
    short, long = made_and_drawn(480), made_and_drawn(4 * 480)
    assert long < 1.3 * short
    size = 4 * 480 * 6 * 64 * 4  # features alone
    assert long < size


@pytest.mark.usefixtures("short")
def test_the_command_works_by_parts_in_constant_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From images, with the cache of detections; the second run reads that."""
    monkeypatch.setattr(bootstrap_command, "load_detector", Blobs)
    texture = np.random.default_rng(3).integers(0, 80, (48, 64, 3), np.uint8)

    def walker(number: int) -> Image:
        picture: Image = np.array(texture, np.uint8)
        picture[20:40, 2 + number % 30 : 14 + number % 30] = 240
        return picture

    monkeypatch.setattr(recordings, "scene", walker)
    found = {}
    for count in (130, 4 * 130):
        bag = recordings.write_bag(tmp_path / f"bag{count}", range(1, count + 1))
        call = ["bootstrap", str(bag), "--output", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]

        def work(call: list[str] = call) -> None:
            assert cli.main(call) == 0

        work()
        made = (tmp_path / "out" / f"bag{count}.npz").read_bytes()
        found[count] = peak(work)  # from the cache
        assert (tmp_path / "out" / f"bag{count}.npz").read_bytes() == made
        assert len(LabelledRecording.open(tmp_path / "out" / f"bag{count}.npz")) == count
        source = DetectedSource(open_source(bag), Config(), Blobs, bag, tmp_path / "cache", quiet=True)
        assert len(list(source)) == count
    assert found[520] < 1.3 * found[130]

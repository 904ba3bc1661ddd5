"""Stamps that hiccup, stand, or start anew: what tracks make of them, and what is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import recordings
from blobs import Blobs
from hypothesis import given
from hypothesis import strategies as st
from recordings import stamp, write_bag
from walkers import SECOND, found, manager, walkers

from alstm_ros import cli
from alstm_ros.association.stamps import FARTHEST_BACK_NS, PATIENCE, StampClock
from alstm_ros.commands import track as command
from alstm_ros.types import Detections

PERIOD = SECOND // 30
MS = 1_000_000


def test_stamps_that_lie_a_millisecond_back_now_and_then_change_no_id() -> None:
    tracker = manager()
    ids = set()
    for k in range(300):
        time = 10 * SECOND + k * PERIOD
        given_ns = 10 * SECOND + (k - 1) * PERIOD - MS if k % 20 == 19 else time
        result = tracker.update(found(walkers((time - 10 * SECOND) / SECOND)), given_ns)
        assert result.stamp_ns == given_ns
        assert len(result.tracks) == 6
        ids |= set(result.tracks.ids.tolist())
    assert ids == {1, 2, 3, 4, 5, 6}


@pytest.mark.parametrize(
    ("back", "anew"),
    [(1, False), (MS, False), (PERIOD, False), (3 * PERIOD, False), (3 * PERIOD + 1, True), (SECOND, True)],
)
def test_a_hiccup_lies_within_a_few_frames_and_a_restart_further_back(back: int, anew: bool) -> None:  # noqa: FBT001  # a table
    clock = StampClock()
    for k in range(10):
        clock(5 * SECOND + k * PERIOD)
    last = 5 * SECOND + 9 * PERIOD
    moment = clock(last - back)
    assert moment == (last - back if anew else last, anew)
    assert (clock.hiccups, clock.restarts) == (int(not anew), int(anew))


def test_a_slow_camera_has_long_hiccups_but_none_of_more_than_a_second() -> None:
    clock = StampClock()
    for k in range(10):
        clock(k * 2 * SECOND)
    assert not clock(18 * SECOND - FARTHEST_BACK_NS).anew
    assert clock(18 * SECOND - FARTHEST_BACK_NS - 1).anew


def test_a_clock_that_was_set_back_for_good_starts_anew() -> None:
    clock = StampClock()
    for k in range(10):
        clock(k * PERIOD)
    behind = 9 * PERIOD - MS
    moments = [clock(behind) for _ in range(20)]
    assert [moment.anew for moment in moments] == [False] * 10 + [True] + [False] * 9
    assert moments[-1].time_ns == behind


def test_lost_tracks_end_where_time_stands() -> None:
    """Random boxes, never two alike: without an end, the table would grow with every frame."""
    rng = np.random.default_rng(0)
    tracker = manager()
    most = 0
    for _ in range(1000):
        corner = rng.uniform(0, 1800, (10, 2))
        boxes = np.concatenate([corner, corner + np.array([40, 90])], axis=1)
        result = tracker.update(found(boxes), SECOND)
        most = max(most, len(result.tracks))
        assert result.stamp_ns == SECOND
    assert most < 10 * (PATIENCE + 2.5 * 30 + 5)
    assert (result.tracks.unseen_ns <= 2.5 * SECOND).all()
    for k in range(1, 200):
        result = tracker.update(Detections.empty(), SECOND + k * PERIOD)
    assert not len(result.tracks)


def test_a_few_looks_at_the_same_moment_pass_no_time() -> None:
    clock = StampClock()
    assert {clock(SECOND).time_ns for _ in range(PATIENCE + 1)} == {SECOND}
    assert clock.standing == 0
    assert clock(SECOND).time_ns > SECOND
    assert clock.sentences("x") == ("The stamps of x stand still; 1 frames' time is taken from the camera's pace.",)


@given(st.lists(st.integers(0, 5 * SECOND), min_size=1, max_size=200))
def test_time_never_goes_back_but_anew(stamps: list[int]) -> None:
    clock, last = StampClock(), None
    for one in stamps:
        moment = clock(one)
        assert last is None or moment.anew or moment.time_ns >= last
        last = moment.time_ns


def test_stamps_that_ascend_are_the_time() -> None:
    clock = StampClock()
    stamps = np.cumsum(np.random.default_rng(1).integers(1, SECOND, 500)).tolist()
    assert [clock(one) for one in stamps] == [(one, False) for one in stamps]
    assert clock.sentences("x") == ()


@pytest.mark.parametrize(
    ("kind", "told"), [("hiccup", "1 frame of bag is stamped"), ("stand", "The stamps of bag stand still")]
)
def test_a_recording_tells_it(
    tmp_path: Path, kind: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def given_ns(number: int) -> int:
        return stamp(1) if kind == "stand" else stamp(number - 1) - MS if number == 20 else stamp(number)

    whole = recordings.image_message
    monkeypatch.setattr(command, "load_detector", Blobs)
    numbers = iter(range(1, 41))
    monkeypatch.setattr(recordings, "image_message", lambda picture, _: whole(picture, given_ns(next(numbers))))
    bag = write_bag(tmp_path / "bag", range(1, 41))
    assert cli.main(["track", str(bag), "--output", str(tmp_path / "x.txt")]) == 1
    assert told in capsys.readouterr().err

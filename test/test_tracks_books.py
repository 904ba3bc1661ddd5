"""Whatever comes, the books of tracks are right: ids, fields, slots, and the same bytes for the same input."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from walkers import SECOND, found, manager, walkers

from alstm_ros.association.tracker import IdCounter
from alstm_ros.types import Detections, EventKind, FrameResult, Tracks, TrackState

SEEDS = st.integers(0, 2**32 - 1)


def junk(rng: np.random.Generator) -> Detections:
    """Boxes as no detector should give them: not finite, inverted, empty, huge, anywhere."""
    n = int(rng.integers(0, 8))
    low = rng.uniform(-50, 300, (n, 2))
    boxes = np.concatenate([low, low + rng.uniform(-5, 80, (n, 2))], axis=1)
    boxes[rng.random((n, 4)) < 0.05] = rng.choice([np.nan, np.inf, -np.inf, 0.0, 1e6, -1e6, 1e30])
    scores = rng.random(n)
    scores[rng.random(n) < 0.05] = np.nan
    return found(boxes, scores, rng.integers(0, 3, n))


def same(a: FrameResult, b: FrameResult) -> bool:
    """Byte for byte."""
    tracks = all(getattr(a.tracks, f.name).tobytes() == getattr(b.tracks, f.name).tobytes() for f in fields(Tracks))
    events = [(e.kind, e.id, e.class_index, e.age_ns, e.box.tobytes()) for e in a.events]
    return tracks and events == [(e.kind, e.id, e.class_index, e.age_ns, e.box.tobytes()) for e in b.events]


@given(SEEDS)
@settings(max_examples=60)
def test_whatever_comes_the_books_are_right(seed: int) -> None:
    """Any boxes at any stamps: ids new for ever, events in order, every field of every track as it is documented."""
    rng = np.random.default_rng(seed)
    ids = IdCounter()
    trackers = [manager({"association.common_motion": bool(rng.integers(2))}, ids) for _ in range(2)]
    clocks, living, ended = [0, 0], [dict[int, TrackState](), dict[int, TrackState]()], set[int]()
    newest = 0
    for _ in range(40):
        which = int(rng.integers(2))
        tracker, states = trackers[which], living[which]
        clocks[which] += int(rng.choice([0, 33_000_000, 33_000_000, 33_000_000, 900_000_000, 10**13, -(10**9)]))
        if rng.random() < 0.05:
            tracker.reset()
        result = tracker.update(junk(rng), clocks[which])
        for event in result.events:
            if event.kind == EventKind.BORN:
                assert event.id > newest
                newest = event.id
                states[event.id] = TrackState.TENTATIVE
                continue
            assert event.id in states
            assert event.id not in ended
            if event.kind == EventKind.ENDED:
                del states[event.id]
                ended.add(event.id)
            elif event.kind == EventKind.LOST:
                states[event.id] = TrackState.LOST
            else:
                assert states[event.id] == TrackState.LOST
                states[event.id] = TrackState.CONFIRMED
            assert event.age_ns >= 0
        tracks = result.tracks
        assert tracks.ids.tolist() == sorted(states)
        for key, state in zip(tracks.ids.tolist(), tracks.states.tolist(), strict=True):
            assert (states[key] == TrackState.LOST) == (state == TrackState.LOST)
        check_fields(result)


def check_fields(result: FrameResult) -> None:
    tracks, detections = result.tracks, result.detections
    assert np.isfinite(detections.boxes).all()
    for name in ("boxes", "scores", "velocities"):
        assert np.isfinite(getattr(tracks, name)).all(), name
    assert (tracks.boxes[:, 2:] >= tracks.boxes[:, :2]).all()
    assert ((tracks.scores >= 0) & (tracks.scores <= 1)).all()
    assert (tracks.unseen_ns >= 0).all()
    assert (tracks.ages_ns >= tracks.unseen_ns).all()
    seen = tracks.detection >= 0
    assert (tracks.unseen_ns[seen] == 0).all()
    assert len(set(tracks.detection[seen].tolist())) == seen.sum()
    assert (tracks.detection < len(detections)).all()
    assert (tracks.states[~seen] == TrackState.LOST).all()
    assert (tracks.states[tracks.coasting] == TrackState.LOST).all()
    assert (tracks.unseen_ns[tracks.coasting] <= SECOND // 5).all()
    assert (tracks.published == (tracks.states == TrackState.CONFIRMED) | tracks.coasting).all()
    known = np.isfinite(tracks.confidences)
    assert (seen[known]).all()
    assert ((tracks.confidences[known] >= 0) & (tracks.confidences[known] <= 1)).all()
    newborn = np.isin(tracks.ids, [event.id for event in result.events if event.kind == EventKind.BORN])
    assert (known == (seen & ~newborn)).all()


@given(SEEDS)
@settings(max_examples=30)
def test_same_input_same_bytes_in_any_order(seed: int) -> None:
    """Two runs are the same to the byte; with the detections in another order the same boxes get the same ids."""
    rng = np.random.default_rng(seed)
    first, second, shuffled = manager(), manager(), manager()
    for k in range(25):
        boxes = walkers(k / 25) + rng.normal(0, 2, (6, 4)).astype(np.float32)
        boxes = np.concatenate([boxes, boxes[:2] + np.float32(rng.uniform(5, 40))])
        detections = found(boxes, rng.uniform(0.05, 1, len(boxes)))
        a, b = (tracker.update(detections, k * 40_000_000) for tracker in (first, second))
        assert same(a, b)
        order = rng.permutation(len(boxes))
        c = shuffled.update(detections[order], k * 40_000_000)
        assert a.tracks.ids.tolist() == c.tracks.ids.tolist()
        back = np.where(c.tracks.detection >= 0, order[c.tracks.detection], -1)
        assert a.tracks.detection.tolist() == back.tolist()
        np.testing.assert_array_equal(a.tracks.boxes, c.tracks.boxes)


@given(SEEDS, st.sampled_from([5, 8, 12, 25, 30, 60, 120]), st.floats(0, 0.5))
@settings(max_examples=30)
def test_ids_hold_at_any_frame_rate(seed: int, rate: int, dropped: float) -> None:
    """The same walk, seen at other rates and with frames dropped by the camera, gives each person one id."""
    rng = np.random.default_rng(seed)
    tracker = manager()
    seen = set[int]()
    for k in range(3 * rate):
        if rng.random() < dropped:
            continue
        boxes = walkers(k / rate) + rng.normal(0, 1.5, (6, 1)).astype(np.float32)
        seen |= set(tracker.update(found(boxes), k * SECOND // rate).tracks.ids.tolist())
    assert seen == {1, 2, 3, 4, 5, 6}


def test_every_track_has_a_slot_of_its_own() -> None:
    """Slots are the lowest free ones, kept for life, and given back with `forget`."""
    rng = np.random.default_rng(0)
    tracker = manager({"tracks.lost_seconds": 1.0})
    held = defaultdict[int, int](int)
    for k in range(200):
        boxes = walkers(k / 10, 6)[rng.random(6) < 0.4]
        tracker.update(found(boxes), k * SECOND // 3)
        table = tracker._table  # slots are shown to associators alone
        slots = dict(zip(table.ids.tolist(), table.slots.tolist(), strict=True))
        assert len(set(slots.values())) == len(slots)
        assert all(held.setdefault(key, slot) == slot for key, slot in slots.items())
        assert max(slots.values(), default=0) < 12
    assert len(held) > 20


@pytest.mark.parametrize("count", [0, 1, 400])
def test_any_number_of_objects(count: int) -> None:
    tracker = manager()
    x, y = np.meshgrid(np.arange(20) * 60, np.arange(20) * 60)
    left, top = x.ravel()[:count], y.ravel()[:count]
    boxes = np.stack([left, top, left + 30, top + 50], axis=1)
    for k in range(3):
        result = tracker.update(found(boxes + k), k * 33_000_000)
    assert len(result.tracks) == count
    assert result.tracks.published.all()

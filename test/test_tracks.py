"""The life of tracks: ids, events, time, and what is published of them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alstm_ros.association.manager import IdCounter, TrackManager
from alstm_ros.config import Config
from alstm_ros.options import replace
from alstm_ros.types import Detections, EventKind, Float32, FrameResult, Tracks, TrackState

SECOND = 1_000_000_000
SEEDS = st.integers(0, 2**32 - 1)


def manager(changes: dict[str, object] | None = None, ids: IdCounter | None = None) -> TrackManager:
    return TrackManager(replace(Config(), {"association.model": "", **(changes or {})}), ids or IdCounter())


def found(boxes: object, scores: object = None, classes: object = None) -> Detections:
    array = np.asarray(boxes, np.float32).reshape(-1, 4)
    n = len(array)
    return Detections(
        array,
        np.full(n, 0.9, np.float32) if scores is None else np.asarray(scores, np.float32),
        np.zeros(n, np.int64) if classes is None else np.asarray(classes, np.int64),
    )


def walkers(seconds: float, count: int = 6, seed: int = 0) -> Float32:
    """`(count, 4)` where people are who walk on lanes of their own, at this time."""
    rng = np.random.default_rng(seed)
    left = rng.uniform(100, 900, count) + rng.uniform(-60, 60, count) * seconds
    top = 160.0 * np.arange(count)
    height = rng.uniform(100, 150, count)
    return np.stack([left, top, left + 0.4 * height, top + height], axis=1).astype(np.float32)


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


def test_stamps_count_and_not_frames() -> None:
    """A track that is not seen ends after so many seconds, however many frames there were."""
    for frames in (1, 5, 50):
        tracker = manager({"tracks.lost_seconds": 1.0})
        for k in range(5):
            tracker.update(found(walkers(0, 1)), k * SECOND // 10)
        last = SECOND * 4 // 10
        for k in range(1, frames + 1):
            result = tracker.update(Detections.empty(), last + k * SECOND // frames)
        assert result.tracks.ids.tolist() == [1]
        assert result.tracks.states.tolist() == [TrackState.LOST]
        assert result.tracks.unseen_ns.tolist() == [SECOND]
        assert result.tracks.ages_ns.tolist() == [last + SECOND]
        after = tracker.update(Detections.empty(), last + SECOND + 1)
        assert not len(after.tracks)
        assert [(event.kind, event.id) for event in after.events] == [(EventKind.ENDED, 1)]


def test_found_again_behind_a_pillar() -> None:
    """Half a second out of sight: the same id, with a LOST and a RECOVERED event, and the box goes on meanwhile."""
    tracker = manager({"output.coast_seconds": 0.0})
    told = []
    for k in range(60):
        boxes = np.array([[100 + 4 * k, 50, 150 + 4 * k, 200]], np.float32)
        hidden = 25 <= k < 40
        result = tracker.update(Detections.empty() if hidden else found(boxes), k * SECOND // 30)
        told += [(k, event.kind) for event in result.events]
        assert result.tracks.ids.tolist() == [1]
        assert bool(result.tracks.published[0]) != hidden
        if k > 15:
            assert abs(result.tracks.boxes[0] - boxes[0]).max() < 15
            assert result.tracks.velocities[0] == pytest.approx([120, 0], abs=15)
    assert told == [(0, EventKind.BORN), (25, EventKind.LOST), (40, EventKind.RECOVERED)]


def coasted(changes: dict[str, object], *, score: float = 0.9, hits: int = 20, speed: float = 4) -> list[Tracks]:
    """What is told of one walker, and of one who stands by the picture's lower right, after the walker is gone."""
    tracker, told = manager(changes), []
    edge = [900, 500, 960, 700]
    for k in range(hits + 15):
        boxes = [edge, [100 + speed * k, 50, 150 + speed * k, 200]][: 2 if k < hits else 1]
        result = tracker.update(found(boxes, [0.9, score][: len(boxes)]), k * SECOND // 30)
        told += [result.tracks] if k >= hits else []
    return told


def test_a_missed_object_coasts_for_a_moment() -> None:
    """Published where it is expected with a falling score: for 0.2 s, and only where it is well known."""
    told = coasted({})
    shown = [bool(tracks.published[0]) for tracks in told]
    assert shown == [True] * 6 + [False] * 9
    assert [bool(tracks.coasting[0]) for tracks in told] == shown
    scores = [float(tracks.scores[0]) for tracks in told]
    assert 0.3 < scores[0] < 0.45
    assert (np.diff(scores) < 0).all()
    for k, tracks in enumerate(told[:6]):
        left = 100 + 4 * (20 + k)
        np.testing.assert_allclose(tracks.boxes[0], [left, 50, left + 50, 200], atol=3)
    for other in (
        coasted({"output.coast_seconds": 0.0}),
        coasted({}, hits=9),
        coasted({"tracks.birth_score": 0.5}, score=0.55),
        coasted({"tracks.lost_seconds": 0.0}),
        coasted({}, speed=42),  # its next step leads out of what the camera has shown
    ):
        assert not any(tracks.coasting.any() for tracks in other)


def test_scores_are_evened_out_or_raw() -> None:
    """A single low score does not dim what is published of a track, unless raw scores are asked for."""
    for refined, wanted in ((True, (0.5 + 0.8) / 2 - 0.03), (False, 0.5)):
        tracker = manager({"output.refined": refined})
        for k in range(30):
            tracks = tracker.update(found(walkers(0, 1), [0.5 if k == 29 else 0.8]), k * SECOND // 30).tracks
        assert tracks.scores[0] == pytest.approx(wanted, abs=1e-6)


def walks(seconds: float, *, speed: float) -> Float32:
    """`(6, 4)` people on one street, every other one going the other way, each of another height."""
    way = np.array([1, -1, 1, -1, 1, -1])
    left = np.array([80, 900, 300, 1100, 520, 1320]) + way * speed * seconds
    height = np.array([150, 142, 135, 128, 121, 114])
    foot = np.array([420, 414, 408, 402, 396, 390])
    return np.stack([left, foot - height, left + 0.4 * height, foot], axis=1).astype(np.float32)


@pytest.mark.parametrize("seed", range(6))
def test_ids_come_back_after_two_seconds(seed: int) -> None:
    """People on straight ways, all hidden for 2.1 s, while one way crosses another: everybody's id comes back."""
    rng = np.random.default_rng(seed)
    tracker, rate, ids = manager(), 25, list[list[int]]()
    for k in range(7 * rate):
        if 3 * rate < k < round(5.1 * rate):
            tracker.update(Detections.empty(), k * SECOND // rate)
            continue
        boxes = walks(k / rate, speed=60)
        jitter = rng.normal(0, 0.01, (6, 4)) * (boxes[:, 3:] - boxes[:, 1:2])
        tracks = tracker.update(found(boxes + jitter), k * SECOND // rate).tracks
        place = {int(d): int(i) for i, d in zip(tracks.ids, tracks.detection, strict=True) if d >= 0}
        ids.append([place[d] for d in range(6)])
    assert ids[-1] == ids[0]


def test_backward_stamp_ends_all_and_ids_go_on() -> None:
    tracker = manager()
    for k in range(5):
        tracker.update(found(walkers(k / 30, 2)), SECOND + k * 33_000_000)
    result = tracker.update(found(walkers(0, 2)), 0)
    assert [(event.kind, event.id) for event in result.events] == [
        (EventKind.ENDED, 1),
        (EventKind.ENDED, 2),
        (EventKind.BORN, 3),
        (EventKind.BORN, 4),
    ]
    assert result.tracks.ages_ns.tolist() == [0, 0]


def test_reset_is_told_with_the_next_frame() -> None:
    tracker = manager()
    tracker.update(found(walkers(0, 1)), 0)
    tracker.reset()
    result = tracker.update(Detections.empty(), 33_000_000)
    assert [(event.kind, event.id) for event in result.events] == [(EventKind.ENDED, 1)]
    assert not len(result.tracks)


def test_equal_stamps_are_a_second_look() -> None:
    tracker = manager()
    boxes = walkers(0, 3)
    tracker.update(found(boxes), 0)
    result = tracker.update(found(boxes + np.float32(1)), 0)
    assert result.tracks.ids.tolist() == [1, 2, 3]
    assert not result.events
    assert np.isfinite(result.tracks.velocities).all()


def test_birth_waits_for_certainty() -> None:
    """In a first frame and at high scores a track is confirmed at once, else by a second detection."""
    tracker = manager()
    boxes = walkers(0, 4)
    first = tracker.update(found(boxes[:1], [0.75]), 0)
    assert first.tracks.published.tolist() == [True]
    second = tracker.update(found(boxes, [0.75, 0.75, 0.9, 0.65]), 33_000_000)
    assert second.tracks.ids.tolist() == [1, 2, 3]  # best first
    assert second.tracks.states.tolist() == [TrackState.CONFIRMED, TrackState.CONFIRMED, TrackState.TENTATIVE]
    third = tracker.update(found(boxes[:2], [0.75, 0.75]), 66_000_000)
    assert third.tracks.published.tolist() == [True, False, True]
    gone = manager()
    gone.update(Detections.empty(), 0)
    gone.update(found(boxes[:1], [0.75]), 33_000_000)
    after = gone.update(Detections.empty(), 66_000_000)
    assert [(event.kind, event.id) for event in after.events] == [(EventKind.ENDED, 1)]


def test_no_birth_on_top_of_a_track() -> None:
    tracker = manager()
    box = np.array([[100, 100, 200, 300]], np.float32)
    tracker.update(found(box), 0)
    double = found([[100, 100, 200, 300], [104, 108, 204, 308], [100, 100, 200, 190]], [0.95, 0.9, 0.9])
    result = tracker.update(double, 33_000_000)
    assert result.tracks.ids.tolist() == [1, 2]
    assert result.tracks.detection.tolist() == [0, 2]


def test_low_scores_hold_tracks_but_high_ones_come_first() -> None:
    tracker = manager()
    box = np.array([[100, 100, 200, 300]], np.float32)
    for k in range(3):
        tracker.update(found(box), k * 33_000_000)
    held = tracker.update(found(box + np.float32(2), [0.3]), 99_000_000)
    assert held.tracks.detection.tolist() == [0]
    both = np.concatenate([box + np.float32(2), box + np.float32(4)])
    chosen = tracker.update(found(both, [0.3, 0.9]), 132_000_000)
    assert chosen.tracks.detection.tolist() == [1]
    noise = tracker.update(found(box, [0.05]), 165_000_000)
    assert noise.tracks.detection.tolist() == [-1]


def test_class_is_what_was_seen_most_and_never_changes_the_id() -> None:
    tracker = manager()
    box = walkers(0, 1)
    seen = [
        tracker.update(found(box, classes=[c]), k * 33_000_000).tracks
        for k, c in enumerate([1, 1, 1, 2, 1, 2, 2, 2, 2])
    ]
    assert [int(tracks.ids[0]) for tracks in seen] == [1] * 9
    assert [int(tracks.classes[0]) for tracks in seen] == [1, 1, 1, 1, 1, 1, 1, 1, 2]


def test_configure_takes_effect_and_keeps_tracks() -> None:
    tracker = manager()
    boxes = walkers(0, 2)
    tracker.update(found(boxes[:1]), 0)
    tracker.configure(replace(Config(), {"association.model": "", "tracks.birth_score": 0.95}))
    assert tracker.update(found(boxes), 33_000_000).tracks.ids.tolist() == [1]
    tracker.configure(replace(Config(), {"association.model": "", "tracks.birth_score": 0.5}))
    assert tracker.update(found(boxes), 66_000_000).tracks.ids.tolist() == [1, 2]


def pan(tracker: TrackManager, *, told: bool) -> set[int]:
    """Ids that eight people get who stand still before a camera that starts to turn; one is hidden at first."""
    rng = np.random.default_rng(3)
    left, top = 240.0 * np.arange(8), rng.uniform(100, 400, 8)
    boxes = np.stack([left, top, left + 60, top + 150], axis=1).astype(np.float32)
    ids, shift = set[int](), 0.0
    for k in range(40):
        step = 0.0 if k < 10 else 25.0
        shift += step
        shown = boxes + np.array([shift, 0, shift, 0], np.float32) + rng.normal(0, 1, (8, 1)).astype(np.float32)
        affine = np.array([[1, 0, step], [0, 1, 0]]) if told else None
        hidden = 10 <= k < 16
        ids |= set(tracker.update(found(shown[1:] if hidden else shown), k * SECOND // 30, affine).tracks.ids.tolist())
    return ids


def test_camera_motion_is_followed() -> None:
    """Told as an affine, or seen in what all tracks do at once, lost ones included."""
    everyone = {1, 2, 3, 4, 5, 6, 7, 8}
    assert pan(manager(), told=True) == everyone
    assert pan(manager({"association.common_motion": True}), told=False) == everyone
    assert pan(manager({"association.common_motion": False}), told=False) > everyone


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

"""The life of tracks: birth, time, end, and what they carry."""

from __future__ import annotations

import numpy as np
from walkers import SECOND, found, manager, walkers

from alstm_ros.config import Config
from alstm_ros.options import replace
from alstm_ros.types import Detections, EventKind, TrackState


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

"""Tracks that are not seen for a while: what is published of them, and that they come back."""

from __future__ import annotations

import numpy as np
import pytest
from walkers import SECOND, found, manager, walkers

from alstm_ros.association.tracker import TrackManager
from alstm_ros.types import Detections, EventKind, Float32, Tracks


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

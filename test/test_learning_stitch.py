"""Strict tracklets joined in hindsight."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alstm_ros import cli
from alstm_ros.config import Config
from alstm_ros.learning.pseudo_labels.footage import SAME, PseudoLabels
from alstm_ros.learning.pseudo_labels.recordings import open_recordings
from alstm_ros.learning.pseudo_labels.stitch import Stitching, stitch
from alstm_ros.learning.pseudo_labels.strict_links import bootstrap
from alstm_ros.recordings.frames import DetectionFrame
from alstm_ros.types import Detections

PERIOD = 50_000_000
FRAMES = 60
AWAY = range(28, 34)


def recording(away: range = AWAY, *, turned: float = 1.0, weak: bool = False) -> PseudoLabels:
    """Somebody who walks to the right, and is not found for a while, or only weakly; and another, far away.

    Args:
        away: frames in which the walker is not found.
        turned: the walker's speed afterwards, relative to that before.
        weak: whether a detection of a low score stays in those frames.
    """
    made = []
    for number in range(FRAMES):
        walked = 4.0 * (number if number < away.start else away.start + turned * (number - away.start))
        left = np.array([walked, 700 - 3.0 * number], np.float32)
        boxes = np.stack([left, np.full(2, 100), left + 40, np.full(2, 200)], axis=1).astype(np.float32)
        boxes[1, [1, 3]] += 300
        scores = np.array([0.9, 0.92], np.float32)
        keep = np.ones(2, bool)
        if number in away:
            scores[0], keep[0] = 0.4, weak
        found = Detections(boxes, scores, np.zeros(2, np.int64))[keep]
        made.append((number + 1, DetectionFrame(found, number * PERIOD)))
    return bootstrap(made, Config())


def walker(pairs: PseudoLabels) -> set[int]:
    """The walker's tracklets."""
    return set(pairs.tracklets[(pairs.boxes[:, 1] < 200) & (pairs.tracklets >= 0)].tolist())


def broken(pairs: PseudoLabels) -> PseudoLabels:
    """The recording with a new tracklet wherever a frame lacks one."""
    tracklets = pairs.tracklets.copy()
    late = (pairs.boxes[:, 1] < 200) & (pairs.frames >= AWAY.stop)
    tracklets[late] = tracklets.max() + 1
    tracklets[(pairs.boxes[:, 1] < 200) & np.isin(pairs.frames, AWAY)] = -1
    return replace(pairs, tracklets=tracklets)


def test_who_walks_on_behind_something_is_one() -> None:
    pairs = broken(recording())
    assert len(walker(pairs)) == 2
    joined = stitch(pairs)
    assert len(walker(joined)) == 1
    added = [ends[len(pairs.labels) :].tolist() for ends in (joined.first, joined.second, joined.labels)]
    assert [pairs.frames[rows].tolist() for rows in added[:2]] == [[AWAY.start - 1], [AWAY.stop]]
    assert added[2] == [SAME]


def test_what_lies_between_belongs_to_them() -> None:
    pairs = broken(recording(weak=True))
    between = (pairs.boxes[:, 1] < 200) & np.isin(pairs.frames, AWAY)
    assert (pairs.tracklets[between] == -1).all()
    joined = stitch(pairs)
    assert {*joined.tracklets[between].tolist()} == walker(joined)
    assert len(walker(joined)) == 1


@pytest.mark.parametrize("how", [Stitching(longest=0.2), Stitching(least=40), Stitching(passes=0)])
def test_limits_hold(how: Stitching) -> None:
    pairs = broken(recording())
    joined = stitch(pairs, how)
    assert len(joined.labels) == len(pairs.labels)
    assert np.array_equal(joined.tracklets, pairs.tracklets)


def test_who_would_have_turned_round_may_be_another() -> None:
    assert len(walker(stitch(broken(recording(turned=-1.0))))) == 2


def test_a_rival_leaves_it_open() -> None:
    pairs = broken(recording())
    at = np.flatnonzero((pairs.frames == AWAY.stop) & (pairs.boxes[:, 1] < 200))[0]
    order = np.argsort(np.append(pairs.frames, pairs.frames[at]), kind="stable")
    columns = {
        name: np.concatenate([getattr(pairs, name), getattr(pairs, name)[[at]]])[order]
        for name in ("frames", "boxes", "scores", "classes", "features", "objects", "truths")
    }
    rival = replace(pairs, **columns, tracklets=np.append(pairs.tracklets, -1)[order])
    assert len(walker(stitch(rival))) == 2


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000))
def test_no_object_is_in_a_frame_twice(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = np.sort(rng.integers(0, 12, 60))
    left = rng.uniform(0, 150, (60, 2))
    boxes = np.concatenate([left, left + np.array([40, 80])], axis=1).astype(np.float32)
    tracklets = np.full(60, -1)
    for key in range(14):  # a tracklet is in a frame once
        rows = np.flatnonzero(tracklets < 0)
        chosen = rng.choice(rows, 4, replace=False)
        _, first = np.unique(frames[chosen], return_index=True)
        tracklets[chosen[first]] = key
    base = recording()
    pairs = replace(
        base.choose(np.zeros(len(base.frames), bool)),
        frames=frames,
        boxes=boxes,
        scores=np.full(60, 0.9, np.float32),
        classes=np.zeros(60, np.int64),
        features=np.zeros((60, 0), np.float32),
        tracklets=tracklets,
        objects=np.full(60, -2),
        truths=np.full((60, 4), np.nan, np.float32),
    )
    joined = stitch(pairs, Stitching(overlap=0.1, margin=0.0, grown=9.0))
    known = joined.tracklets >= 0
    places = np.stack([joined.frames[known], joined.tracklets[known]], axis=1)
    assert len(np.unique(places, axis=0)) == len(places)
    assert (joined.tracklets >= 0)[pairs.tracklets >= 0].all()


def test_the_command_stitches_where_it_is_asked_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "walk"
    place.mkdir()
    lines = [f"{n + 1},-1,{4 * n},100,40,100,0.9" for n in range(FRAMES) if n not in AWAY]
    (place / "det.txt").write_text("\n".join(lines))
    (place / "seqinfo.ini").write_text(
        f"[Sequence]\nname=walk\nframeRate=20\nseqLength={FRAMES}\nimWidth=640\nimHeight=480\n"
    )
    same = []
    for more in ([], ["--stitch"]):
        assert cli.main(["bootstrap", str(place), "--output", str(tmp_path / "out"), "--json", *more]) == 0
        same.append(json.loads(capsys.readouterr().out)["recordings"]["walk"]["same"])
        (part,) = next(iter(open_recordings(tmp_path / "out"))).parts()
        assert len(np.unique(part.tracklets)) == (1 if more else 2)
    assert same[1] == same[0] + 1

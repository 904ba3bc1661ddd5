"""`alstm bootstrap` labels what is certain, and only that."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from alstm_ros import cli
from alstm_ros.config import Config
from alstm_ros.errors import DataError
from alstm_ros.learning.pseudo_labels.augment import AugmentedClip, Gaps, interrupted
from alstm_ros.learning.pseudo_labels.footage import DIFFERENT, SAME, UNKNOWN, PseudoLabels
from alstm_ros.learning.pseudo_labels.purity import purity
from alstm_ros.learning.pseudo_labels.recordings import LabelledRecording, write_recording
from alstm_ros.learning.pseudo_labels.strict_links import bootstrap
from alstm_ros.learning.rollout import Rollout, record_clip
from alstm_ros.recordings.frames import DetectionFrame
from alstm_ros.recordings.labels import Labels, make_labels
from alstm_ros.recordings.mot import MotDetections, read_labels
from alstm_ros.types import Detections

PERIOD = 33_000_000


def frames_of(boxes: list[list[tuple[float, float]]], score: float = 0.9) -> list[tuple[int, DetectionFrame]]:
    """One frame for each list of left and top corners of boxes of 40x100."""
    made = []
    for number, corners in enumerate(boxes, 1):
        table = np.array([(x, y, x + 40, y + 100) for x, y in corners], np.float32).reshape(-1, 4)
        n = len(table)
        found = Detections(table, np.full(n, score, np.float32), np.zeros(n, np.int64), np.ones((n, 3), np.float32))
        made.append((number, DetectionFrame(found, number * PERIOD)))
    return made


def truth_of(boxes: list[list[tuple[float, float]]]) -> Labels:
    """The same boxes as ground truth; the object is the place in the list."""
    rows = [(f, i + 1, x, y, x + 40, y + 100) for f, corners in enumerate(boxes, 1) for i, (x, y) in enumerate(corners)]
    table = np.array(rows, float)
    return make_labels(table[:, 0], table[:, 1], table[:, 2:], np.ones(len(table)), np.ones(len(table)))


def whole(pairs: PseudoLabels) -> AugmentedClip:
    """A recording as it is."""
    return AugmentedClip(pairs, np.zeros(len(pairs.frames), bool))


def test_lone_walkers_are_linked_throughout() -> None:
    boxes = [[(3.0 * f, 100.0), (600.0 - 3 * f, 300.0)] for f in range(30)]
    pairs = bootstrap(frames_of(boxes), Config())
    assert (pairs.labels == SAME).sum() == 2 * 29
    assert set(pairs.tracklets.tolist()) == {0, 1}
    assert pairs.features.shape == (60, 3)
    found = purity(pairs, truth_of(boxes))
    assert (found.same, found.same_right, found.same_half) == (58, 58, 0)


def test_nothing_is_learned_where_two_cannot_be_told_apart() -> None:
    """They meet, stand as one for a while, and part: the links end before, and begin after."""
    meeting = [abs(f - 30) * 4.0 if abs(f - 30) > 3 else 0.0 for f in range(60)]
    boxes = [[(300 - gap, 100.0), (300 + gap, 102.0)] for gap in meeting]
    pairs = bootstrap(frames_of(boxes), Config())
    frame = pairs.frames[pairs.second]
    near = (frame > 26) & (frame < 35)
    assert not (pairs.labels[near] == SAME).any()
    assert (pairs.labels[near] == UNKNOWN).any()
    assert (pairs.labels[frame < 15] == SAME).sum() == 2 * 14
    found = purity(pairs, truth_of(boxes))
    assert found.same_right == found.same > 60
    assert found.different_right == found.different


def test_gaps_and_weak_scores_are_not_certain() -> None:
    boxes = [[(3.0 * f, 100.0)] if f not in {10, 11} else [] for f in range(20)]
    pairs = bootstrap(frames_of(boxes), Config())
    assert (pairs.labels == SAME).sum() == 9 + 7
    assert len(set(pairs.tracklets[pairs.tracklets >= 0].tolist())) == 2
    weak = bootstrap(frames_of([[(3.0 * f, 100.0)] for f in range(20)], score=0.5), Config())
    assert not (weak.labels == SAME).any()


def test_second_detection_of_the_same_object_is_left_out() -> None:
    boxes = [[(3.0 * f, 100.0), (3.0 * f + 8, 104.0)] for f in range(20)]
    pairs = bootstrap(frames_of(boxes), Config())
    assert not (pairs.labels == DIFFERENT).any()


def test_no_frames_and_no_detections() -> None:
    assert len(bootstrap([], Config()).labels) == 0
    assert len(bootstrap(frames_of([[], [], []]), Config()).labels) == 0


def test_what_is_saved_is_read(tmp_path: Path) -> None:
    pairs = bootstrap(frames_of([[(3.0 * f, 100.0)] for f in range(5)]), Config())
    write_recording(tmp_path / "a" / "x.npz", [pairs])
    [back] = LabelledRecording.open(tmp_path / "a" / "x.npz").parts()
    for name in (field.name for field in fields(PseudoLabels)):
        np.testing.assert_array_equal(getattr(back, name), getattr(pairs, name))
    (tmp_path / "y.npz").write_bytes(b"nothing")
    with pytest.raises(DataError, match="no file of bootstrapped pairs"):
        LabelledRecording.open(tmp_path / "y.npz")


def test_wrong_labels_are_counted_as_wrong() -> None:
    boxes = [[(3.0 * f, 100.0), (600.0 - 3 * f, 300.0)] for f in range(10)]
    exchanged = [corners if f < 5 else corners[::-1] for f, corners in enumerate(boxes)]
    pairs = bootstrap(frames_of(boxes), Config())
    found = purity(pairs, truth_of(exchanged))
    assert (found.same, found.same_right) == (18, 16)
    half = truth_of(boxes)
    assert purity(pairs, half.select(half.frames != 5)).same_half == 4


def test_links_on_mot17_are_pure(shared: Path) -> None:
    """The ground truth is hidden until the count; `bench/bootstrap.py` does all sequences."""
    folder = shared / "data" / "mot17" / "MOT17-05"
    source = MotDetections(folder / "det.txt", folder / "seqinfo.ini", folder / "gmc.txt")
    found = purity(bootstrap(list(source), Config()), read_labels(folder / "gt.txt", truth=True, length=source.length))
    assert found.same > 2000
    assert found.percent()["same"] >= 99.5
    assert found.percent()["different"] >= 99.5


def test_command(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(shared / "data" / "mot17" / "MOT17-05")
    assert cli.main(["bootstrap", folder, "--output", str(tmp_path), "--gt", folder, "--json"]) == 0
    captured = capsys.readouterr()
    made = json.loads(captured.out)
    [pairs] = LabelledRecording.open(tmp_path / "MOT17-05.npz").parts()
    assert made["recordings"]["MOT17-05"]["same"] == (pairs.labels == SAME).sum()
    assert made["purity"]["same"] >= 99.5
    assert "right: 99." in captured.err


def test_tape_knows_what_is_certain_and_no_more() -> None:
    """Walkers that are interrupted and found again, with an answer that is known."""
    boxes = [[(3.0 * f, 100.0), (3.0 * f, 300.0)] if f < 40 else [(3.0 * f, 100.0)] for f in range(60)]
    boxes += [[(3.0 * f, 100.0), (200.0, 300.0)] for f in range(60, 80)]
    pairs = bootstrap(frames_of(boxes), Config())
    assert pairs.tracklets.max() == 2
    rng = np.random.default_rng(0)
    clip = AugmentedClip(pairs, interrupted(pairs, Gaps(share=1.0, longest=0.33), rng))
    tape = record_clip(clip, rng, Rollout(Config()))
    assert tape.frames == 80
    assert np.isnan(tape.steps.truth.goal).all()
    assert set(tape.pairs.truth.label.tolist()) <= {-1, 0, 1}
    assert (tape.pairs.truth.label == 1).sum() > 100
    # A pair is the same only within a tracklet; found again after a gap is among them.
    positive = tape.pairs.truth.label == 1
    frame_of_step = {
        (track, index): frame
        for track, index, frame in zip(tape.steps.track, tape.steps.index, tape.steps.frame, strict=True)
    }
    waits = [
        frame - frame_of_step[track, index]
        for frame, track, index in zip(
            tape.pairs.frame[positive], tape.pairs.track[positive], tape.pairs.index[positive], strict=True
        )
    ]
    assert max(waits) > 1
    assert set(tape.steps.truth.same.tolist()) <= {-1.0, 1.0}


def test_boxes_without_a_size_do_not_shift_the_truth() -> None:
    """What is laid over a clip may press a box together; the tracker leaves such a box out, and so must the truth."""
    boxes = [[(3.0 * f, 100.0), (600.0 - 3 * f, 300.0)] for f in range(40)]
    pairs = bootstrap(frames_of(boxes), Config())
    plain = record_clip(whole(pairs), np.random.default_rng(0), Rollout(Config()))
    pressed = pairs.boxes.copy()
    first = np.flatnonzero(pairs.frames == 20)[0]
    pressed[first, 2] = pressed[first, 0] - 1
    hidden = np.zeros(len(pairs.frames), bool)
    hidden[first] = True
    tape = record_clip(whole(replace(pairs, boxes=pressed)), np.random.default_rng(0), Rollout(Config()))
    same = record_clip(AugmentedClip(pairs, hidden), np.random.default_rng(0), Rollout(Config()))
    np.testing.assert_array_equal(tape.steps.truth.object, same.steps.truth.object)
    np.testing.assert_array_equal(tape.steps.x, same.steps.x)
    assert len(tape.steps.track) == len(plain.steps.track) - 1


def test_tape_leaves_the_doubtful_out() -> None:
    """The network is never told that two broken pieces of a way are two objects."""
    boxes = [[(3.0 * f, 100.0)] if f not in {20, 21, 22} else [] for f in range(40)]
    pairs = bootstrap(frames_of(boxes), Config())
    assert set(pairs.tracklets.tolist()) == {0, 1}
    tape = record_clip(whole(pairs), np.random.default_rng(0), Rollout(Config()))
    across = tape.pairs.frame == 23
    assert across.any()
    assert set(tape.pairs.truth.label[across].tolist()) == {-1}
    assert not tape.pairs.truth.row_use[across].any()
    assert not tape.pairs.truth.column_use[across].any()
    assert tape.steps.truth.same[tape.steps.frame == 23].tolist() == [-1.0]


def test_tapes_are_cut_into_batches() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from alstm_ros.learning.batches import make_batch
    from alstm_ros.learning.clips import TrainingDataConfig

    boxes = [[(3.0 * f, 100.0), (600.0 - 3 * f, 120.0)] for f in range(80)]
    pairs = bootstrap(frames_of(boxes), Config())
    tape = record_clip(whole(pairs), np.random.default_rng(0), Rollout(Config()))
    batch = make_batch([(tape, 0), (tape, 20)], TrainingDataConfig(), Config().association.max_cost)
    assert torch.isfinite(batch.x).all()
    assert not batch.real.any()
    assert batch.pairs.positive.any()

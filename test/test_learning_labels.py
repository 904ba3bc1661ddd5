"""A few frames that a person corrected: learned there, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest

pytest.importorskip("torch", reason="learning needs torch")

import torch

from alstm_ros import cli
from alstm_ros.config import Config
from alstm_ros.learning.batches import make_batch
from alstm_ros.learning.clips import TrainingDataConfig
from alstm_ros.learning.fine_tuning import FINE_TUNING, fine_tuning_config
from alstm_ros.learning.fine_tuning import LABELLED as TAUGHT
from alstm_ros.learning.network.model import AssociationLstm, LstmConfig
from alstm_ros.learning.objective import LossConfig, objective
from alstm_ros.learning.pseudo_labels.augment import AugmentedClip
from alstm_ros.learning.pseudo_labels.footage import NO_OBJECT, NOT_LABELLED, PseudoLabels
from alstm_ros.learning.pseudo_labels.identities import attach_labels, identities
from alstm_ros.learning.pseudo_labels.interpolate import join_tracklets
from alstm_ros.learning.pseudo_labels.recordings import LabelledRecording, write_recording
from alstm_ros.learning.pseudo_labels.strict_links import bootstrap
from alstm_ros.learning.rollout import Rollout, record_clip
from alstm_ros.learning.tape import Tape
from alstm_ros.recordings.frames import DetectionFrame
from alstm_ros.recordings.labels import make_labels
from alstm_ros.recordings.sparse_labels import SparseLabels, write_mot
from alstm_ros.types import Detections

FRAMES, PERIOD = 60, 33_000_000
LABELLED = np.array([10, 20, 30, 40, 50])
WRONG = np.array([12, 0, 12, 0], np.float32)
"""The detector's boxes lie a bit to the right of the objects."""


def walkers() -> list[tuple[int, DetectionFrame]]:
    """Two walkers, and something in between that is nobody."""
    frames = []
    for number in range(1, FRAMES + 1):
        left = np.array([3.0 * number, 600 - 3.0 * number, 300], np.float32)
        top = np.array([100, 300, 500], np.float32)
        boxes = np.stack([left, top, left + 40, top + 100], axis=1) + WRONG
        found = Detections(boxes, np.array([0.9, 0.9, 0.75], np.float32), np.zeros(3, np.int64))
        frames.append((number, DetectionFrame(found, number * PERIOD)))
    return frames


def labels(frames: np.ndarray = LABELLED, ids: tuple[int, int] = (7, 4)) -> SparseLabels:
    """What a person says of some frames."""
    rows = [(n, ids[0], 3.0 * n, 100) for n in frames] + [(n, ids[1], 600 - 3.0 * n, 300) for n in frames]
    table = np.array([(n, key, x, y, x + 40, y + 100) for n, key, x, y in rows], np.float64)
    ones = np.ones(len(table))
    made = make_labels(table[:, 0], table[:, 1], table[:, 2:], ones, ones, length=FRAMES)
    return SparseLabels("walkers", made, frames, fps=30.0, width=640, height=640)


def tape_of(pairs: PseudoLabels) -> Tape:
    clip = AugmentedClip(pairs, np.zeros(len(pairs.frames), bool))
    return record_clip(clip, np.random.default_rng(0), Rollout(Config()))


def losses_of(tape: Tape, model: AssociationLstm) -> dict[str, torch.Tensor]:
    limit = Config().association.max_cost
    return objective(model, make_batch([(tape, 0)], TrainingDataConfig(window=FRAMES), limit), LossConfig())[1]


def network() -> AssociationLstm:
    torch.manual_seed(0)
    return AssociationLstm(LstmConfig(hidden=16, head=16, pair=16))


def test_boxes_and_scores_are_judged_in_labelled_frames_alone() -> None:
    pairs = attach_labels(bootstrap(walkers(), Config()), labels())
    tape = tape_of(pairs)
    told = np.isin(tape.steps.frame + 1, LABELLED)
    assert np.isnan(tape.steps.truth.goal[~told]).all()
    assert (tape.steps.truth.score[~told] == -1).all()
    real = told & (tape.steps.truth.score == 1)
    assert real.sum() == 2 * len(LABELLED)
    np.testing.assert_allclose(tape.steps.truth.goal[real], np.tile([-0.12, 0, 0, 0], (real.sum(), 1)), atol=5e-3)
    nobody = told & (tape.steps.truth.score == 0)
    assert nobody.sum() == len(LABELLED)
    assert np.isnan(tape.steps.truth.goal[nobody]).all()


def test_without_labels_box_and_score_losses_are_zero_and_move_no_weight() -> None:
    tape, model = tape_of(bootstrap(walkers(), Config())), network()
    parts = losses_of(tape, model)
    assert all(parts[name].item() == 0 for name in ("box", "score", "smooth"))
    total = torch.stack([parts[name] for name in ("box", "score", "smooth")]).sum()
    total.backward()  # type: ignore[no-untyped-call]
    assert all(w.grad is None or not w.grad.any() for w in model.parameters())
    labelled = losses_of(tape_of(attach_labels(bootstrap(walkers(), Config()), labels())), model)
    assert labelled["box"].item() > 0
    assert labelled["score"].item() > 0


def test_a_short_training_brings_the_boxes_to_where_the_person_put_them() -> None:
    tape, model = tape_of(attach_labels(bootstrap(walkers(), Config()), labels())), network()
    first = losses_of(tape, model.train())
    before, doubt = first["box"].item(), first["score"].item()
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(60):
        optimiser.zero_grad()
        parts = losses_of(tape, model)
        (parts["box"] + parts["score"]).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    after = losses_of(tape, model)
    assert after["box"].item() < 0.3 * before
    assert after["score"].item() < 0.5 * doubt


def test_labels_join_tracklets_and_cut_them() -> None:
    frames = walkers()
    broken = [(n, f) for n, f in frames if n not in {25, 26, 27}]
    pairs = bootstrap(broken, Config())
    assert pairs.tracklets.max() >= 3
    joined = identities(attach_labels(pairs, labels()))
    first = pairs.boxes[:, 1] == 100
    assert len(set(joined[first].tolist())) == 1
    exchanged = labels()
    late = exchanged.labels.frames > 30
    ids = np.where(late, 11 - exchanged.labels.ids, exchanged.labels.ids)
    swapped = make_labels(
        exchanged.labels.frames, ids, exchanged.labels.boxes, np.ones(len(ids)), np.ones(len(ids)), length=FRAMES
    )
    cut = identities(attach_labels(bootstrap(frames, Config()), SparseLabels("w", swapped, LABELLED)))
    walker = bootstrap(frames, Config()).boxes[:, 1] == 100
    assert set(cut[walker].tolist()) == {-1, *cut[walker & (cut >= 0)].tolist()}
    assert (cut[walker] >= 0).sum() == len(LABELLED)  # the tracklet is not believed, the labelled frames are


def test_a_box_that_the_person_deleted_is_nothing_and_doubtful_ones_stay_open() -> None:
    pairs = attach_labels(bootstrap(walkers(), Config()), labels())
    deleted = np.isin(pairs.numbers[pairs.frames], LABELLED) & (pairs.boxes[:, 1] == 500)
    assert (pairs.objects[deleted] == NO_OBJECT).all()
    assert (pairs.objects[~np.isin(pairs.numbers[pairs.frames], LABELLED)] == NOT_LABELLED).all()
    moved = labels().labels
    shift = np.array([-8, 0, -8, 0])  # 20 of 40 pixels with the detector's own error: an IoU of a third
    shifted = make_labels(moved.frames, moved.ids, moved.boxes + shift, np.ones(10), np.ones(10), length=FRAMES)
    near = attach_labels(bootstrap(walkers(), Config()), SparseLabels("w", shifted, LABELLED))
    assert (near.objects[deleted] == NO_OBJECT).all()
    assert (near.objects[~deleted] == NOT_LABELLED).all()


def test_the_command_takes_labels(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shared / "data" / "mot17" / "MOT17-05"
    rows = np.loadtxt(folder / "gt.txt", delimiter=",")
    rows = rows[np.isin(rows[:, 0], [100, 200]) & (rows[:, 6] == 1)]
    boxes = np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1)
    made = make_labels(rows[:, 0], rows[:, 1], boxes, np.ones(len(rows)), np.ones(len(rows)), length=837)
    write_mot(SparseLabels("MOT17-05", made, np.array([100, 200]), 14.0, 640, 480), tmp_path / "labels")
    call = ["bootstrap", str(folder), "--output", str(tmp_path / "out"), "--labels", str(tmp_path / "labels")]
    assert cli.main(call) == 0
    [pairs] = LabelledRecording.open(tmp_path / "out" / "MOT17-05.npz").parts()
    told = pairs.objects >= 0
    assert set(pairs.numbers[pairs.frames[told]].tolist()) == {100, 200}
    assert np.isfinite(pairs.truths[told]).all()
    assert set(pairs.objects[told].tolist()) <= set(rows[:, 1].astype(int).tolist())
    late = make_labels(rows[:, 0] + 900, rows[:, 1], boxes, np.ones(len(rows)), np.ones(len(rows)), length=1837)
    write_mot(SparseLabels("MOT17-05", late, np.array([1000, 1100]), 14.0, 640, 480), tmp_path / "labels")
    assert cli.main(call) == 2
    assert "none of them is in the recording" in capsys.readouterr().err


def test_between_labelled_frames_an_object_is_where_it_should_be() -> None:
    found = bootstrap(walkers(), Config())
    # no strict tracklet holds anywhere: scores are too low for that
    torn = replace(found, tracklets=np.full(len(found.frames), -1))
    pairs = attach_labels(torn, labels())
    who = identities(pairs)
    inside = (pairs.numbers[pairs.frames] >= LABELLED[0]) & (pairs.numbers[pairs.frames] <= LABELLED[-1])
    first = np.isclose(pairs.boxes[:, 1], 100)
    nobody = np.isclose(pairs.boxes[:, 1], 500)
    assert len(np.unique(who[inside & first])) == 1
    assert (who[inside & ~nobody] >= 0).all()
    assert (who[~inside | nobody] == -1).all()
    assert len(np.unique(who[inside & ~nobody])) == 2
    assert (pairs.objects[~np.isin(pairs.numbers[pairs.frames], LABELLED)] == NOT_LABELLED).all()


def test_too_long_between_labelled_frames_nothing_is_taken_for_known() -> None:
    slow = [(n, DetectionFrame(f.detections, f.stamp_ns * 5)) for n, f in walkers()]  # 1.65 s from label to label
    found = bootstrap(slow, Config())
    pairs = attach_labels(replace(found, tracklets=np.full(len(found.frames), -1)), labels())
    assert ((pairs.tracklets >= 0) == (pairs.objects >= 0)).all()


def test_a_tracklet_that_would_be_two_objects_is_not_joined() -> None:
    found = bootstrap(walkers(), Config())
    one = replace(found, tracklets=np.zeros(len(found.frames), np.int64))
    assert (join_tracklets(attach_labels(one, labels())).tracklets == 0).all()


def test_what_a_person_labelled_is_learned_more_boldly(tmp_path: Path) -> None:
    found = bootstrap(walkers(), Config())
    for name, pairs in {"without": found, "with": attach_labels(found, labels())}.items():
        write_recording(tmp_path / name / "walkers.npz", [pairs])
    careful, taught = (fine_tuning_config(tmp_path / name, "default", {}) for name in ("without", "with"))
    assert careful.loss.distillation == FINE_TUNING["loss.distillation"]
    assert taught.loss.distillation == TAUGHT["loss.distillation"]
    assert taught.steps == tuple(cast("list[int]", TAUGHT["steps"]))
    assert fine_tuning_config(tmp_path / "with", "default", {"loss.distillation": 0.5}).loss.distillation == 0.5

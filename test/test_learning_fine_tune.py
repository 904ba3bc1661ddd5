"""`alstm train --from`: a network trained further on one's own recordings."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="learning needs torch")

import onnx
import torch

from alstm_ros import cli
from alstm_ros.association.learned.associator import MODELS, open_associator
from alstm_ros.config import Config
from alstm_ros.learning.fine_tuning import fine_tuning_config
from alstm_ros.learning.network.weights import read_model
from alstm_ros.learning.pseudo_labels.augment import Gaps, draw_augmented_clip, interrupted, overlay
from alstm_ros.learning.pseudo_labels.footage import PseudoLabels
from alstm_ros.learning.pseudo_labels.recordings import write_recording
from alstm_ros.learning.pseudo_labels.strict_links import bootstrap
from alstm_ros.learning.run_files import build_config, merged
from alstm_ros.learning.train import AssociationTrainConfig
from alstm_ros.recordings.frames import DetectionFrame
from alstm_ros.types import Detections

SMALL = ["data.held=0", "steps=[2]", "batch=3", "recorders=1", "data.clips=4", "data.frames=50", "data.window=24"]


def recording(frames: int = 120) -> PseudoLabels:
    """Three people who cross a wide place."""
    made = []
    for number in range(1, frames + 1):
        left = np.array([4.0 * number, 700 - 4.0 * number, 300 + 2.0 * number], np.float32)
        top = np.array([100, 140, 300], np.float32)
        boxes = np.stack([left, top, left + 40, top + 100], axis=1)
        found = Detections(boxes, np.array([0.9, 0.92, 0.94], np.float32), np.zeros(3, np.int64))
        made.append((number, DetectionFrame(found, number * 33_000_000)))
    return bootstrap(made, Config())


@pytest.fixture
def bootstrapped(tmp_path: Path) -> Path:
    """What `alstm bootstrap` leaves."""
    write_recording(tmp_path / "bootstrapped" / "monday.npz", [recording()])
    return tmp_path / "bootstrapped"


def test_the_command_leaves_a_model_that_says_what_it_learnt_from(
    bootstrapped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    call = ["train", "--from", str(bootstrapped), "--output", str(out), "--json", *SMALL]
    assert cli.main(call) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["model"] == str(out / "association.onnx")
    open_associator(answer["model"])
    told = {item.key: item.value for item in onnx.load(answer["model"]).metadata_props}
    assert "fine-tuned on 120 frames of its user's recordings (monday)" in told["training_data"]
    assert told["licence"]
    before, after = read_model("default"), read_model(answer["model"])
    moved = [(a - b).abs().max().item() for a, b in zip(before.parameters(), after.parameters(), strict=True)]
    assert 0 < max(moved) < 0.1
    for a, b in zip(before.buffers(), after.buffers(), strict=True):  # what was learnt rests on this scale
        assert torch.allclose(a.float(), b.float(), rtol=1e-3, atol=1e-5)
    assert cli.main(call) == 0  # nothing is left to do
    assert cli.main([*call, "seed=1"]) == 2
    assert "another 'seed'" in capsys.readouterr().err


def test_the_exported_model_keeps_a_share_of_what_it_started_from(bootstrapped: Path, tmp_path: Path) -> None:
    made = {}
    for share in ("0.0", "0.5", "1.0"):
        call = ["train", "--from", str(bootstrapped), "--output", str(tmp_path / share), *SMALL]
        assert cli.main([*call, f"start_share={share}"]) == 0
        made[share] = read_model(str(tmp_path / share / "association.onnx")).state_dict()
    before = read_model("default").state_dict()
    trained = torch.load(tmp_path / "0.5" / "checkpoint.pt", weights_only=True)["model"]
    for name in ("head.weight", "pair1.weight", "lstm2.weight_hh_l0"):
        assert torch.equal(made["1.0"][name], before[name])
        assert torch.equal(made["0.0"][name], trained[name])
        assert not torch.equal(trained[name], before[name])
        assert torch.allclose(made["0.5"][name], (before[name] + trained[name]) / 2, atol=1e-6)


def test_training_goes_on_from_a_file_of_ones_own(bootstrapped: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.onnx"
    mine.write_bytes(MODELS["default"].read_bytes())
    call = ["train", "--from", str(bootstrapped), "--output", str(tmp_path / "out"), "--model", str(mine)]
    assert cli.main([*call, *SMALL]) == 0
    assert (tmp_path / "out" / "association.onnx").is_file()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "Give a run"),
        (["--from", "nothing"], "holds no bootstrapped recording"),
        (["--model", "default", "a.yaml"], "There is no parameter file"),
        (["a.yaml", "b.yaml"], "a run has one file"),
    ],
)
def test_what_cannot_be_is_refused(
    given: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", *given]) == 2
    assert said in capsys.readouterr().err


def test_a_run_of_an_unknown_kind_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text("kind: cook\n")
    assert cli.main(["train", str(tmp_path / "a.yaml")]) == 2
    assert "must be one of association, detector" in capsys.readouterr().err


def test_clips_of_own_recordings_are_reproducible_and_keep_who_is_who() -> None:
    pairs = recording()
    for seed in range(12):
        one, two = (draw_augmented_clip(np.random.default_rng(seed), [pairs], 60) for _ in range(2))
        np.testing.assert_array_equal(one.footage.boxes, two.footage.boxes)
        np.testing.assert_array_equal(one.hidden, two.hidden)
        assert (np.diff(one.footage.frames) >= 0).all()
        assert (np.diff(one.footage.stamps_ns) > 0).all()
        heights = one.footage.boxes[:, 3] - one.footage.boxes[:, 1]
        assert (np.abs(heights - 100) < 60).all()
        keys = one.footage.tracklets * 1000 + one.footage.frames
        assert len(np.unique(keys)) == len(keys)  # nobody is in two places


def test_who_stands_behind_is_hidden() -> None:
    one = recording(20).at(np.arange(20))
    front = one.choose(one.tracklets == 1)
    below = np.array([0, 20, 0, 20], np.float32)
    lower = replace(front, boxes=front.boxes + below)
    both, hidden = overlay(front, lower, np.zeros(len(front.frames), bool), np.random.default_rng(0))
    behind = both.tracklets == 1
    assert not hidden[~behind].any()
    assert hidden[behind].mean() > 0.3
    assert (both.scores[behind] < 0.5).all()
    assert (both.scores[~behind] > 0.9).all()


def test_gaps_leave_both_ends() -> None:
    pairs = recording(40).at(np.arange(40))
    hidden = interrupted(pairs, Gaps(share=1.0, longest=0.5, rest=4), np.random.default_rng(1))
    for key in range(3):
        rows = np.flatnonzero(pairs.tracklets == key)
        assert 1 <= hidden[rows].sum() <= 15
        assert not hidden[rows[:4]].any()
        assert not hidden[rows[-4:]].any()


def test_old_names_of_parameters_are_taken_with_a_warning(bootstrapped: Path) -> None:
    with pytest.warns(FutureWarning, match="'keep' is called 'start_share' now"):
        config = fine_tuning_config(bootstrapped, "default", {"keep": 0.25})
    assert config.start_share == 0.25
    given = {"loss.keep": 3.0, "loss.remember": 0.5}
    with pytest.warns(FutureWarning, match="the old name goes away"):
        loss = build_config(merged(AssociationTrainConfig, given), AssociationTrainConfig).loss
    assert (loss.rules_right_weight, loss.distillation) == (3.0, 0.5)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_later_value_wins_whichever_name_it_has() -> None:
    assert merged(AssociationTrainConfig, {"keep": 0.1}, {"start_share": 0.2}) == {"start_share": 0.2}
    assert merged(AssociationTrainConfig, {"start_share": 0.2}, {"keep": 0.1}) == {"start_share": 0.1}


def test_a_run_of_the_release_before_goes_on(bootstrapped: Path, tmp_path: Path) -> None:
    """Its checkpoint holds the old names."""
    call = ["train", "--from", str(bootstrapped), "--output", str(tmp_path / "out"), *SMALL]
    assert cli.main(call) == 0
    path = tmp_path / "out" / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    state["config"]["keep"] = state["config"].pop("start_share")
    state["config"]["loss"]["keep"] = state["config"]["loss"].pop("rules_right_weight")
    state["config"]["loss"]["remember"] = state["config"]["loss"].pop("distillation")
    torch.save(state, path)
    assert cli.main(call) == 0
    assert cli.main([*call, "start_share=0.1"]) == 2

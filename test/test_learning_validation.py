"""Whether fine-tuning helped is asked of recordings' ends that were not trained on; without a sure gain all stays."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="learning needs torch")

import torch
from test_learning_fine_tune import SMALL as TAUGHT
from test_learning_fine_tune import recording

from alstm_ros import cli
from alstm_ros.association.learned.associator import MODELS
from alstm_ros.learning import validation as held_out
from alstm_ros.learning.network.onnx_file import write_network
from alstm_ros.learning.network.weights import read_model
from alstm_ros.learning.pseudo_labels.augment import AugmentedClip
from alstm_ros.learning.pseudo_labels.recordings import LabelledRecording, write_recording
from alstm_ros.learning.validation import (
    STRETCH,
    Verdict,
    _accuracy,
    association_accuracy,
    compare_networks,
    tracked,
    verdict,
)

SMALL = [word for word in TAUGHT if not word.startswith("data.held")]


def test_the_accuracy_is_hota_s() -> None:
    rng = np.random.default_rng(0)
    who, ids = rng.integers(0, 4, 200), rng.integers(-1, 6, 200)
    apart = ~np.eye(4, dtype=bool)
    parts = []
    for a, b in zip(who, ids, strict=True):
        if b >= 0:
            true = np.sum((who == a) & (ids == b))
            missed, wrong = np.sum((who == a) & (ids != b)), np.sum((who != a) & (ids == b))
            parts.append(true / (true + missed + wrong))
    assert _accuracy(who, ids, apart) == pytest.approx(100 * np.mean(parts))


def test_objects_that_may_be_one_do_not_count_against_an_id() -> None:
    who, ids = np.array([0, 0, 1, 1]), np.array([5, 5, 5, 5])
    assert _accuracy(who, ids, np.zeros((2, 2), bool)) == 100
    assert _accuracy(who, ids, ~np.eye(2, dtype=bool)) == 50
    assert np.isnan(_accuracy(who, np.full(4, -1), np.zeros((2, 2), bool)))


def test_ids_are_given_to_what_is_not_hidden() -> None:
    pairs = recording(60)
    hidden = (pairs.tracklets == 1) & (pairs.frames > 20) & (pairs.frames < 24)
    ids = tracked(AugmentedClip(pairs, hidden), "")
    assert (ids[hidden] == -1).all()
    assert (ids[~hidden] >= 0).all()
    assert association_accuracy(AugmentedClip(pairs, hidden), "") == 100


def test_two_networks_are_judged_on_the_same_clips(tmp_path: Path) -> None:
    other = read_model("default")
    with torch.no_grad():
        for name, weight in other.named_parameters():
            if name.startswith("pair"):
                weight.copy_(torch.randn(weight.shape, generator=torch.manual_seed(0)))
    write_network(other, tmp_path / "other.onnx", {})
    ends = [recording(3 * STRETCH)]
    one = compare_networks(ends, "default", str(tmp_path / "other.onnx"), seed=0)
    back = compare_networks(ends, str(tmp_path / "other.onnx"), "default", seed=0)
    assert one is not None
    assert back is not None
    assert one.before != one.after
    assert (one.before, one.after, one.error) == (back.after, back.before, back.error)
    assert compare_networks([recording(2 * STRETCH - 1)], "default", "default", seed=0) is None


def test_of_long_recordings_some_stretches_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_out, "STRETCHES", 3)
    monkeypatch.setattr(held_out, "CLIPS", 6)
    found = compare_networks([recording(4 * STRETCH), recording(5 * STRETCH)], "default", "default", seed=0)
    assert found is not None
    assert (found.stretches, found.after - found.before, found.better, found.worse) == (3, 0, False, False)


def test_the_clips_decide() -> None:
    rng = np.random.default_rng(0)
    before = rng.uniform(80, 90, (3, 24))
    for gain, said in ((1.0, (True, False)), (-1.0, (False, True)), (0.0, (False, False))):
        found = verdict(np.stack([before, before + gain + rng.normal(0, 0.5, (3, 24)) * (gain != 0)], axis=2))
        assert found is not None
        assert (found.better, found.worse) == said
        assert found.after - found.before == pytest.approx(gain, abs=0.4)
    assert verdict(np.array([[[80.0, 81.0], [np.nan, 80.0]]])) is None
    half = verdict(np.array([[[80.0, 81.0], [80.0, 80.0]], [[np.nan, 80.0], [82.0, 84.0]]]))
    assert half == Verdict(2, 80.5, 81.5, 0.0)


def test_a_gain_must_exceed_chance() -> None:
    assert Verdict(24, 80.0, 81.0, 0.5).better
    assert not Verdict(2, 80.0, 81.0, 0.5).better  # two stretches prove little
    assert not Verdict(24, 80.0, 81.0, 0.7).better
    assert Verdict(24, 81.0, 80.0, 0.5).worse
    assert not Verdict(24, 81.0, 80.0, 0.7).worse


def test_without_a_sure_gain_the_network_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_recording(tmp_path / "bootstrapped" / "monday.npz", [recording(10 * STRETCH)])
    call = ["train", "--from", str(tmp_path / "bootstrapped"), *SMALL, "rate=1e-9"]
    assert cli.main([*call, "--output", str(tmp_path / "out")]) == 0
    assert "no sure gain" in capsys.readouterr().err
    assert (tmp_path / "out" / "association.onnx").read_bytes() == MODELS["default"].read_bytes()
    assert cli.main([*call, "--output", str(tmp_path / "all"), "data.held=0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["held_out"] == {"verdict": None, "kept": False, "labelled": 0}


def test_labelled_frames_are_not_held_out_and_stay_learned_unless_the_rest_got_worse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = recording(10 * STRETCH)
    write_recording(tmp_path / "bootstrapped" / "monday.npz", [pairs])
    objects = np.where(pairs.frames % STRETCH == 0, pairs.tracklets, pairs.objects)
    labelled = replace(pairs, objects=objects, truths=np.where(objects[:, None] >= 0, pairs.boxes, np.float32(np.nan)))
    assert labelled.labelled == 10
    write_recording(tmp_path / "bootstrapped" / "tuesday.npz", [labelled])
    assert len(LabelledRecording.open(tmp_path / "bootstrapped" / "tuesday.npz").split_end(0.2)[1]) == 0
    call = ["train", "--from", str(tmp_path / "bootstrapped"), *SMALL, "rate=1e-9"]
    assert cli.main([*call, "--output", str(tmp_path / "out")]) == 0
    assert "10 labelled frames were learned" in capsys.readouterr().err
    assert (tmp_path / "out" / "association.onnx").read_bytes() != MODELS["default"].read_bytes()

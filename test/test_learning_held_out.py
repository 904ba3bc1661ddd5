"""Whether fine-tuning helped is asked of recordings' ends that were not trained on; without a sure gain all stays."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="learning needs torch")

import torch
from test_learning_fine_tune import SMALL, recording

from alstm_ros import cli
from alstm_ros.association.lstm import MODELS
from alstm_ros.learning.export import export
from alstm_ros.learning.held_out import LEAST, Verdict, _accuracy, association_accuracy, compare, followed
from alstm_ros.learning.own_clips import OwnClip
from alstm_ros.learning.pairs import parted
from alstm_ros.learning.weights import read_model


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
    ids = followed(OwnClip(pairs, hidden), "")
    assert (ids[hidden] == -1).all()
    assert (ids[~hidden] >= 0).all()
    assert association_accuracy(OwnClip(pairs, hidden), "") == 100


def test_the_end_is_set_aside() -> None:
    begin, end = parted(recording(50), 0.2)
    assert begin.numbers.tolist() == list(range(1, 41))
    assert end.numbers.tolist() == list(range(41, 51))
    assert len(begin.boxes) + len(end.boxes) == len(recording(50).boxes)
    assert len(parted(recording(50), 0.0)[1].numbers) == 0


def test_a_network_that_got_worse_is_not_believed(tmp_path: Path) -> None:
    broken = read_model("default")
    with torch.no_grad():
        for name, weight in broken.named_parameters():
            if name.startswith("pair"):
                weight.copy_(torch.randn(weight.shape, generator=torch.manual_seed(0)))
    bad = tmp_path / "bad.onnx"
    export(broken, bad, {})
    ends = [recording(LEAST)]
    worse = compare(ends, "default", str(bad), seed=0)
    better = compare(ends, str(bad), "default", seed=0)
    same = compare(ends, "default", "default", seed=0)
    assert worse is not None
    assert better is not None
    assert same is not None
    assert worse.after < worse.before
    assert not worse.better
    assert better.better
    assert not same.better
    assert (better.before, better.after) == (worse.after, worse.before)
    assert compare([recording(LEAST - 1)], "default", "default", seed=0) is None


def test_a_gain_must_exceed_chance() -> None:
    assert Verdict(24, 80.0, 81.0, 0.5).better
    assert not Verdict(24, 80.0, 81.0, 0.7).better


def test_without_a_sure_gain_the_network_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording(5 * LEAST).save(tmp_path / "bootstrapped" / "monday.npz")
    call = ["train", "--from", str(tmp_path / "bootstrapped"), *SMALL, "rate=1e-9"]
    assert cli.main([*call, "--output", str(tmp_path / "out")]) == 0
    assert "no sure gain" in capsys.readouterr().err
    assert (tmp_path / "out" / "association.onnx").read_bytes() == MODELS["default"].read_bytes()
    assert cli.main([*call, "--output", str(tmp_path / "all"), "data.held=0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["held_out"] is None

"""Networks trained alike from several seeds, and the one that says what they say on average."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="learning needs torch")

import torch
from test_learning_distillation import batch_of, network, own
from test_learning_train import ROOT, SMALL, config

from alstm_ros.association.learned.associator import open_associator
from alstm_ros.cli import main
from alstm_ros.learning.answers import answers
from alstm_ros.learning.distillation import distillation_loss, mean_answers
from alstm_ros.learning.ensemble import ensemble_runs
from alstm_ros.learning.network.weights import read_model
from alstm_ros.learning.objective import LossConfig, objective


def test_members_have_seeds_of_their_own_and_the_last_one_learns_from_them_all() -> None:
    *members, (last, folder) = ensemble_runs(config(["members=3", "seed=2", "merge=[5]"]), Path("out"))
    assert [run.seed for run, _ in members] == [6, 7, 8]
    assert {(run.members, run.steps, run.start) for run, _ in members} == {(1, (2, 2), "")}
    assert (folder, last.seed, last.steps, last.start) == (Path("out"), 2, (5,), "out/member0/association.onnx")
    assert last.teachers == tuple(f"{place}/association.onnx" for _, place in members)
    assert not last.data.truth
    assert runs_alone() == [(config([]), Path("out"))]


def runs_alone() -> list[object]:
    return list(ensemble_runs(config([]), Path("out")))


def test_the_teachers_mean_is_what_counts() -> None:
    batch, one, other = batch_of(own().without_truth()), network(1), network(2)
    mean = mean_answers([one, other], batch)
    a, b = answers(one, batch), answers(other, batch)
    torch.testing.assert_close(mean.correction, (a.correction + b.correction) / 2)
    torch.testing.assert_close(mean.lift, (a.lift + b.lift) / 2)
    assert not mean.correction.requires_grad
    silent = LossConfig(calm=0.0, small=0.0, distillation=1.0)
    total, _ = objective(one, batch, silent, [one, other])
    assert total.item() == pytest.approx(distillation_loss(a, mean, batch).item())


def test_alstm_train_makes_all_networks_and_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["train", str(ROOT / "config" / "train.yaml"), *SMALL, "members=2", "steps=[2]", "merge=[2,1]"]
    given += ["--output", str(tmp_path), "--json"]
    assert main(given) == 0
    path = Path(json.loads(capsys.readouterr().out)["model"])
    assert path == tmp_path / "association.onnx"
    open_associator(str(path))
    networks = [tmp_path / f"member{k}" / "association.onnx" for k in range(2)] + [path]
    states = [read_model(str(network_)).state_dict() for network_ in networks]
    heads = [state["pair3.weight"] for state in states]
    assert not any(torch.equal(heads[a], heads[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    # all share the first one's scale, which is what the last one started from
    torch.testing.assert_close(states[2]["norm_step.running_mean"], states[0]["norm_step.running_mean"])
    before = [network_.read_bytes() for network_ in networks]
    assert main(given) == 0
    assert [network_.read_bytes() for network_ in networks] == before

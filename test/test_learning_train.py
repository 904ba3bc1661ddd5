from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from alstm_ros.association.learned.associator import open_associator
from alstm_ros.errors import ConfigError

torch = pytest.importorskip("torch", reason="learning needs torch")

ROOT = Path(__file__).resolve().parents[1]
SMALL = [
    "members=1",
    "steps=[2,2]",
    "batch=3",
    "recorders=1",
    "data.clips=3",
    "data.frames=60",
    "data.window=24",
    "data.simulated=1.0",
]


def config(changes: list[str], file: str = "train.yaml") -> Any:
    from alstm_ros.learning.run import read_run

    return read_run(ROOT / "config" / file, SMALL + changes)


def trained(folder: Path, changes: list[str] | None = None, stop: int | None = None) -> dict[str, Any]:
    """The weights after a small run, which is interrupted after `stop` steps and then resumed."""
    from alstm_ros.learning.train import AssociationTrainer

    def report(done: int, _total: int, losses: Mapping[str, float]) -> None:
        assert all(math.isfinite(value) for value in losses.values()), "a loss is not a number"
        if done == stop:
            raise KeyboardInterrupt

    if stop is not None:
        with pytest.raises(KeyboardInterrupt):
            AssociationTrainer(config(changes or []), folder).run(report)
        stop = None
    trainer = AssociationTrainer(config(changes or []), folder)
    open_associator(str(trainer.run(report)))
    weights: dict[str, Any] = torch.load(trainer.checkpoint, weights_only=True)["model"]
    return weights


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return all(torch.equal(value, b[name]) for name, value in a.items())


def test_a_run_is_reproducible_from_its_seed_and_goes_on_where_it_was(tmp_path: Path) -> None:
    first = trained(tmp_path / "a")
    assert same(first, trained(tmp_path / "b"))
    assert same(first, trained(tmp_path / "c", stop=3))
    assert not same(first, trained(tmp_path / "d", ["seed=1"]))


@pytest.mark.parametrize("start", ["", "default"])
def test_how_often_checkpoints_are_written_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    import alstm_ros.learning.train as module

    seldom = trained(tmp_path / "seldom", [f"start={start}"])
    monkeypatch.setattr(module, "SAVE_EVERY", 0.0)
    assert same(seldom, trained(tmp_path / "always", [f"start={start}"]))


@pytest.mark.parametrize("kind", ["infonce", "contrastive"])
def test_other_association_losses_train_too(tmp_path: Path, kind: str) -> None:
    trained(tmp_path, [f"loss.kind={kind}", "steps=[2]"])


def test_the_paper_s_structure_trains_and_runs(tmp_path: Path) -> None:
    """State vectors of two lengths, batch normalisation, RMSProp, signed smoothness, only sure detections."""
    from alstm_ros.association.tracker import IdCounter, TrackManager
    from alstm_ros.config import Config
    from alstm_ros.learning.train import AssociationTrainer
    from alstm_ros.types import Detections

    trainer = AssociationTrainer(config([], "train_paper.yaml"), tmp_path)
    assert isinstance(trainer.optimiser, torch.optim.RMSprop)
    assert all((tape.steps.x[:, 2] >= 0.8).all() for tape in trainer.record(0))
    associator = open_associator(str(trainer.run(lambda *_: None)))()
    manager = TrackManager(Config(), IdCounter(), associator)
    box = torch.tensor([[10.0, 10.0, 50.0, 110.0]]).numpy()
    one = Detections(box, box[:, 0] / 11, box[:, 0].astype("int64") * 0)
    found = [manager.update(one, k * 10**8).tracks for k in range(5)][-1]
    assert found.ids.tolist() == [1]


def test_the_exported_paper_network_is_torch_s(tmp_path: Path) -> None:
    import numpy as np

    from alstm_ros.association.learned.features import PAIR, STEP
    from alstm_ros.config import EngineConfig
    from alstm_ros.engines import open_engine
    from alstm_ros.learning.network.model import AssociationLstm
    from alstm_ros.learning.network.onnx_file import write_network

    torch.manual_seed(0)
    sizes = config([], "train_paper.yaml").model
    model = AssociationLstm(sizes)
    x, lengths = torch.randn(6, 9, STEP), torch.full((6,), 9)
    model.steps(x, lengths)  # fills the running statistics
    model.eval()
    write_network(model, tmp_path / "paper.onnx", {})
    engine = open_engine(tmp_path / "paper.onnx", EngineConfig(threads=1))
    wide = {"h1": sizes.hidden, "c1": sizes.hidden, "h2": sizes.last, "c2": sizes.last}
    mine = {name: np.zeros((6, width), np.float32) for name, width in wide.items()}
    with torch.no_grad():
        whole = model.steps(x, lengths)
        for k in range(9):
            blank = {"pairs": np.zeros((1, PAIR), np.float32), "keys": np.zeros((1, sizes.embedding + 2), np.float32)}
            got = engine({"x": x[:, k].numpy(), **mine, **blank})
            mine = {name: got[f"{name}_next"] for name in wide}
            want = model.heads(whole[:, k], x[:, k])
            assert np.allclose(got["key"], want["key"].numpy(), atol=1e-4)


def test_research_learns_from_first_halves_and_says_so(tmp_path: Path, shared: Path) -> None:
    from alstm_ros.learning import train
    from alstm_ros.learning.network.weights import read_metadata

    run = config([f"data.halves={shared / 'data/mot17'}", "data.simulated=0.0", "steps=[1]"], "train_research.yaml")
    trainer = train.AssociationTrainer(run, tmp_path)
    about = read_metadata(trainer.run(lambda *_: None))
    assert "not for commercial use" in about["licence"]
    assert "MOTChallenge" in about["training_data"]
    names = [source.name for source in train._WORKER["sources"].scenes]  # what the clips were cut from
    assert "MOT17-02" in names
    assert max(len(source) for source in train._WORKER["sources"].scenes) <= 526  # half of the longest


def test_signed_differences_do_not_see_what_wavers() -> None:
    from alstm_ros.learning.network.losses import smoothness_loss

    wavers = torch.tensor([[[0.0] * 4, [0.1] * 4, [0.0] * 4]])
    one = torch.ones(1)
    assert smoothness_loss(wavers, torch.zeros_like(wavers), one, "signed") == 0
    assert smoothness_loss(wavers, torch.zeros_like(wavers), one, "second") > 1


def test_the_command_prints_the_model_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from alstm_ros.cli import main

    given = ["train", str(ROOT / "config" / "train.yaml"), *SMALL, "steps=[2]", "--output", str(tmp_path), "--json"]
    assert main(given) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["steps"] == 2
    assert Path(answer["model"]).is_file()
    assert list((tmp_path / "tensorboard").iterdir())


def test_two_processes_train_one_network_under_torchrun(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    command += ["-m", "alstm_ros.cli", "train", str(ROOT / "config" / "train.yaml"), *SMALL, "--output", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=800)
    assert done.returncode == 0, done.stderr
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["done"] == 4


@pytest.mark.parametrize(
    ("change", "said"),
    [("steps", "lacks its '='"), ("colour=1", "no training parameter 'colour'"), ("batch=many", "'batch' is 'many'")],
)
def test_a_wrong_change_is_refused_with_a_sentence(change: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config([change])

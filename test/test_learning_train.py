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

from alstm_ros.association.lstm import open_associator
from alstm_ros.errors import ConfigError

torch = pytest.importorskip("torch", reason="learning needs torch")

ROOT = Path(__file__).resolve().parents[1]
SMALL = [
    "steps=[2,2]",
    "batch=3",
    "recorders=1",
    "data.clips=3",
    "data.frames=60",
    "data.window=24",
    "data.simulated=1.0",
]


def config(changes: list[str]) -> Any:
    from alstm_ros.learning.command import read

    return read(ROOT / "config" / "train.yaml", SMALL + changes)


def trained(folder: Path, changes: list[str] | None = None, stop: int | None = None) -> dict[str, Any]:
    """The weights after a small run, which is interrupted after `stop` steps and then resumed."""
    from alstm_ros.learning.train import Trainer

    def report(done: int, _total: int, losses: Mapping[str, float]) -> None:
        assert all(math.isfinite(value) for value in losses.values()), "a loss is not a number"
        if done == stop:
            raise KeyboardInterrupt

    if stop is not None:
        with pytest.raises(KeyboardInterrupt):
            Trainer(config(changes or []), folder).run(report)
        stop = None
    trainer = Trainer(config(changes or []), folder)
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


@pytest.mark.parametrize("kind", ["infonce", "contrastive"])
def test_other_association_losses_train_too(tmp_path: Path, kind: str) -> None:
    trained(tmp_path, [f"loss.kind={kind}", "steps=[2]"])


def test_the_command_prints_the_model_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from alstm_ros.cli import main

    given = ["train", str(ROOT / "config" / "train.yaml"), *SMALL, "steps=[2]", "--output", str(tmp_path), "--json"]
    assert main(given) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["steps"] == 2
    assert Path(answer["model"]).is_file()
    assert list((tmp_path / "tensorboard").iterdir())


def test_two_processes_train_one_network_under_torchrun(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29517"]
    command += ["-m", "alstm_ros.cli", "train", str(ROOT / "config" / "train.yaml"), *SMALL, "--output", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["done"] == 4


@pytest.mark.parametrize(
    ("change", "said"),
    [("steps", "no '='"), ("colour=1", "no training parameter 'colour'"), ("batch=many", "'batch' is 'many'")],
)
def test_a_wrong_change_is_refused_with_a_sentence(change: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config([change])

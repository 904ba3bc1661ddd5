"""Runs the association's training, all networks of an ensemble after one another, in one process or in several."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import distributed
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from alstm_ros.errors import ConfigError
from alstm_ros.learning.ensemble import ensemble_runs
from alstm_ros.learning.fine_tuning import accept_or_restore
from alstm_ros.learning.run_files import build_config, merged, parsed_changes, values_of
from alstm_ros.learning.train import AssociationTrainConfig, AssociationTrainer
from alstm_ros.options import flatten


def read_run(path: Path, changes: Sequence[str]) -> AssociationTrainConfig:
    """Reads a run of the association: its YAML, and changes given as `name=value`.

    Raises:
        ConfigError: the file or a change cannot be read, or names something unknown.
    """
    return build_config(
        merged(AssociationTrainConfig, values_of(path), parsed_changes(changes)), AssociationTrainConfig
    )


def train_association(config: AssociationTrainConfig, output: Path, *, as_json: bool) -> int:
    """Trains the association, each network of the run after the other, and prints the result."""
    with torchrun_group() as rank:
        for part, folder in ensemble_runs(config, output):
            if rank == 0 and folder != output:
                sys.stderr.write(f"{folder.name} of {config.members}; the last network learns from all.\n")
            path, done, latest = train_network(part, folder)
        fine_tuned = accept_or_restore(config, path) if rank == 0 else None
    if fine_tuned is not None:
        if as_json:
            answer = {"model": str(path), "steps": done, "losses": latest}
            print(json.dumps(answer | {"held_out": dataclasses.asdict(fine_tuned)}))  # noqa: T201  # the answer
        elif config.data.bootstrapped:
            sys.stderr.write(fine_tuned.sentences(path, config.start))
        else:
            sys.stderr.write(f"The model is {path}; use it with association.model: {path}\n")
    return 0


@contextmanager
def torchrun_group() -> Iterator[int]:
    """Joins the processes that torchrun started, if it did, and gives the rank of this one, 0 for one alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield 0
        return
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield distributed.get_rank()
    finally:
        distributed.destroy_process_group()


def train_network(config: AssociationTrainConfig, folder: Path) -> tuple[Path, int, dict[str, float]]:
    """Trains one network; progress goes to stderr, losses to TensorBoard files in the folder.

    Returns:
        The model, the number of steps, and the last losses.
    """
    trainer, latest = AssociationTrainer(config, folder), dict[str, float]()
    with (
        SummaryWriter(str(folder / "tensorboard")) as board,
        tqdm(total=sum(config.steps), initial=trainer.done, unit="step", disable=trainer.rank > 0) as bar,
    ):

        def report(done: int, _total: int, losses: Mapping[str, float]) -> None:
            latest.update(losses)
            bar.update(done - bar.n)
            if done % 20 == 0 and trainer.rank == 0:
                bar.set_postfix(loss=f"{losses['loss']:.3f}")
                for name, value in losses.items():
                    board.add_scalar(f"loss/{name}", value, done)

        return trainer.run(report), trainer.done, latest


def refuse_another(checkpoint: Path, config: AssociationTrainConfig) -> None:
    """Refuses to resume a run that has other parameters.

    Raises:
        ConfigError: the checkpoint is of another run.
    """
    if not checkpoint.is_file():
        return
    stored = torch.load(checkpoint, map_location="cpu", weights_only=True)["config"]
    before = {AssociationTrainConfig.RENAMED.get(name, name): value for name, value in flatten(stored)}
    now = dict(flatten(dataclasses.asdict(config)))
    differing = [name for name in now if now[name] != before.get(name)]
    if differing:
        raise ConfigError(
            f"{checkpoint.parent} holds a run with another '{differing[0]}'; give another --output, or remove it."
        )

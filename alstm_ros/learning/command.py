"""`alstm train`: teaches the Association LSTM and leaves an ONNX file."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from torch import distributed
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from alstm_ros.errors import ConfigError
from alstm_ros.learning.train import TrainConfig, Trainer
from alstm_ros.options import flatten


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("config", type=Path, help="the run, such as config/train.yaml")
    parser.add_argument(
        "changes", nargs="*", metavar="NAME=VALUE", help="changes to it, such as data.sequences=FOLDER or seed=1"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("train"), help="folder of the run; one that exists is resumed"
    )
    parser.add_argument("--json", action="store_true", help="print the last losses and the model's path as JSON")


def run(args: argparse.Namespace) -> int:
    """Trains; progress goes to stderr, losses to TensorBoard files in the run's folder."""
    config = read(args.config, args.changes)
    trainer = Trainer(config, args.output)
    if trainer.ranks > 1:
        distributed.init_process_group("nccl" if trainer.device.type == "cuda" else "gloo")
    latest: dict[str, float] = {}
    total = sum(config.steps)
    try:
        with (
            SummaryWriter(str(args.output / "tensorboard")) as board,
            tqdm(total=total, initial=trainer.done, unit="step", disable=trainer.rank > 0) as bar,
        ):

            def report(done: int, _total: int, losses: Mapping[str, float]) -> None:
                latest.update(losses)
                bar.update(done - bar.n)
                if done % 20 == 0 and trainer.rank == 0:
                    bar.set_postfix(loss=f"{losses['loss']:.3f}")
                    for name, value in losses.items():
                        board.add_scalar(f"loss/{name}", value, done)

            path = trainer.run(report)
    finally:
        if trainer.ranks > 1:
            distributed.destroy_process_group()
    if trainer.rank == 0:
        if args.json:
            print(json.dumps({"model": str(path), "steps": trainer.done, "losses": latest}))  # noqa: T201  # the answer
        else:
            sys.stderr.write(f"The model is {path}; use it with association.model: {path}\n")
    return 0


def read(path: Path, changes: list[str]) -> TrainConfig:
    """Reads a run's YAML and applies changes given as `name=value`.

    Raises:
        ConfigError: the file or a change cannot be read, or names something unknown.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"The training file {path} cannot be read: {error}") from error
    if not isinstance(tree, Mapping):
        raise ConfigError(f"The training file {path} holds no parameters; it must look like 'seed: 0'.")
    values = dict(flatten(tree))
    for change in changes:
        name, found, value = change.partition("=")
        if not found:
            raise ConfigError(f"The change {change!r} has no '='; it must look like seed=1.")
        values[name] = yaml.safe_load(value)
    config: TrainConfig = _build(TrainConfig, values, "")
    return config


def _build(cls: type[Any], values: Mapping[str, object], prefix: str) -> Any:
    """A config dataclass from dotted names; every name must be used."""
    hints, parts = get_type_hints(cls), {}
    known = {field.name: field for field in dataclasses.fields(cls)}
    for name in values:
        if name.split(".")[0] not in known:
            raise ConfigError(f"There is no training parameter '{prefix}{name}'; it must be one of {', '.join(known)}.")
    for name, field in known.items():
        if dataclasses.is_dataclass(hints[name]):
            inner = {key.partition(".")[2]: value for key, value in values.items() if key.startswith(f"{name}.")}
            parts[name] = _build(hints[name], inner, f"{prefix}{name}.")
        elif name in values:
            parts[name] = _checked(prefix + name, values[name], field)
    return cls(**parts)


def _checked(name: str, value: object, field: dataclasses.Field[Any]) -> object:
    """The value in the type of the default."""
    default = field.default
    if isinstance(default, tuple) and isinstance(value, list) and all(type(item) is int for item in value):
        return tuple(value)
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if type(value) is not type(default):
        raise ConfigError(f"The training parameter '{name}' is {value!r}; it must be like {default!r}.")
    return value

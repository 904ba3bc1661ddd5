"""`alstm train`: teaches the Association LSTM and leaves an ONNX file."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import torch
import yaml
from torch import distributed
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from alstm_ros.association.lstm import MODELS
from alstm_ros.errors import ConfigError
from alstm_ros.learning.pairs import NOBODY_LOOKED, load_all
from alstm_ros.learning.train import TrainConfig, Trainer
from alstm_ros.learning.weights import describe
from alstm_ros.options import flatten

FINE_TUNING: Mapping[str, object] = {
    "steps": [180],
    "batch": 16,
    "rate": 1e-3,
    "data.clips": 60,
    "data.frames": 200,
    "data.simulated": 1.0,
}
"""What differs from TrainConfig's defaults when a network is trained further: minutes instead of an hour."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "given",
        nargs="*",
        metavar="CONFIG | NAME=VALUE",
        help="the run, such as config/train.yaml (needed without --from), and changes to it, such as seed=1",
    )
    parser.add_argument(
        "--from",
        dest="bootstrapped",
        type=Path,
        metavar="DIR",
        help="train further on what 'alstm bootstrap' wrote; a few minutes with the defaults",
    )
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="with --from: where to start, an ONNX file that 'alstm train' wrote or a checkpoint (default: the one "
        "that comes with the package)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder of the run; one that exists is resumed (default: train, with --from fine-tuned)",
    )
    parser.add_argument("--json", action="store_true", help="print the last losses and the model's path as JSON")


def configured(args: argparse.Namespace) -> TrainConfig:
    """The run that the arguments describe.

    Raises:
        ConfigError: what was given does not fit together, or names something unknown.
        DataError: the folder holds no bootstrapped recording.
    """
    files = [Path(item) for item in args.given if "=" not in item]
    changes = [item for item in args.given if "=" in item]
    if len(files) > 1:
        raise ConfigError(f"{files[0]} and {files[1]} are given; a run has one file, and changes look like seed=1.")
    if args.bootstrapped is None:
        if not files:
            raise ConfigError("Give a run, such as config/train.yaml, or --from with a folder of 'alstm bootstrap'.")
        if args.model:
            raise ConfigError("--model goes with --from; a run's file says 'start: MODEL' instead.")
        return read(files[0], changes)
    start = args.model or "default"
    fixed = {"data.bootstrapped": str(args.bootstrapped), "start": start}
    values = {**FINE_TUNING, **about(args.bootstrapped, start), **(values_of(files[0]) if files else {}), **fixed}
    return build({**values, **changed(changes)})


def about(folder: Path, start: str) -> dict[str, object]:
    """What the fine-tuned file says of its origin.

    Raises:
        DataError: the folder holds no bootstrapped recording.
    """
    recordings = load_all(folder)
    names = ", ".join(path.stem for path in sorted(folder.glob("*.npz")))
    frames = sum(len(pairs.numbers) for pairs in recordings)
    labelled = sum(len(np.unique(pairs.frames[pairs.objects != NOBODY_LOOKED])) for pairs in recordings)
    path = MODELS.get(start, Path(start))
    base = describe(path) if path.suffix == ".onnx" else {}
    told = base.get("training_data", "not told")
    return {
        "licence": base.get("licence", "not told"),
        "training_data": f"{told}; then fine-tuned on {frames} frames of its user's recordings ({names}), labelled by "
        f"'alstm bootstrap' without ground truth, {labelled} frames by a person; simulated scenes",
    }


def run(args: argparse.Namespace) -> int:
    """Trains; progress goes to stderr, losses to TensorBoard files in the run's folder."""
    config = configured(args)
    args.output = args.output or Path("fine-tuned" if args.bootstrapped else "train")
    if args.bootstrapped:
        refuse_another(args.output / "checkpoint.pt", config)
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


def refuse_another(checkpoint: Path, config: TrainConfig) -> None:
    """Refuses to go on with a run that was told something else.

    Raises:
        ConfigError: the checkpoint is of another run.
    """
    if not checkpoint.is_file():
        return
    before = torch.load(checkpoint, map_location="cpu", weights_only=True)["config"]
    now = dataclasses.asdict(config)
    differing = [name for name in now if now[name] != before.get(name)]
    if differing:
        raise ConfigError(
            f"{checkpoint.parent} holds a run with another '{differing[0]}'; give another --output, or remove it."
        )


def read(path: Path, changes: list[str]) -> TrainConfig:
    """Reads a run's YAML and applies changes given as `name=value`.

    Raises:
        ConfigError: the file or a change cannot be read, or names something unknown.
    """
    return build({**values_of(path), **changed(changes)})


def values_of(path: Path) -> dict[str, object]:
    """A run's YAML as dotted names and values.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"The training file {path} cannot be read: {error}") from error
    if not isinstance(tree, Mapping):
        raise ConfigError(f"The training file {path} holds no parameters; it must look like 'seed: 0'.")
    return dict(flatten(tree))


def changed(changes: Sequence[str]) -> dict[str, object]:
    """Changes given as `name=value`.

    Raises:
        ConfigError: one has no '='.
    """
    values: dict[str, object] = {}
    for change in changes:
        name, found, value = change.partition("=")
        if not found:
            raise ConfigError(f"The change {change!r} has no '='; it must look like seed=1.")
        values[name] = yaml.safe_load(value)
    return values


def build(values: Mapping[str, object]) -> TrainConfig:
    """A run from dotted names.

    Raises:
        ConfigError: a name is unknown, or a value is of another kind.
    """
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

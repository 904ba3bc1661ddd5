"""`alstm train`: teaches the Association LSTM and leaves an ONNX file."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import distributed
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from alstm_ros.association.lstm import MODELS
from alstm_ros.errors import ConfigError
from alstm_ros.learning.export import export
from alstm_ros.learning.held_out import Verdict, compare
from alstm_ros.learning.members import runs
from alstm_ros.learning.recording import open_all
from alstm_ros.learning.run_files import build, changed, values_of
from alstm_ros.learning.train import TrainConfig, Trainer
from alstm_ros.learning.weights import describe, read_model

KINDS = ("association", "detector")
"""What a run's file says in `kind` that it trains; where it says nothing, the association."""
FINE_TUNING: Mapping[str, object] = {
    "steps": [120],
    "batch": 16,
    "rate": 1e-3,
    "keep": 0.5,
    "data.held": 0.2,
    "data.clips": 40,
    "data.frames": 200,
    "data.simulated": 1.0,
    "data.truth": False,
    "loss.remember": 1.0,
    "loss.calm": 0.0,
    "loss.small": 0.0,
}
"""What differs from TrainConfig's defaults when a network is trained further: minutes instead of an hour."""
LABELLED: Mapping[str, object] = {
    "steps": [300],
    "rate": 2e-3,
    "warm": 20,
    "data.own": 0.8,
    "data.clips": 60,
    "data.truth": True,
    "loss.remember": 0.3,
}
"""What differs from FINE_TUNING where a person labelled frames: they know what the old network does not.

Simulated scenes tell their truth, lest it learn a few people by heart.
"""


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


def run(args: argparse.Namespace) -> int:
    """Trains what the arguments describe.

    Raises:
        ConfigError: what was given does not fit together, or names something unknown.
        DataError: the folder of `--from` holds no bootstrapped recording.
    """
    files = [Path(item) for item in args.given if "=" not in item]
    changes = changed([item for item in args.given if "=" in item])
    if len(files) > 1:
        raise ConfigError(f"{files[0]} and {files[1]} are given; a run has one file, and changes look like seed=1.")
    if not files and not args.bootstrapped:
        raise ConfigError("Give a run, such as config/train.yaml, or --from with a folder of 'alstm bootstrap'.")
    values = {**(values_of(files[0]) if files else {}), **changes}
    kind = values.pop("kind", "association")
    if kind not in KINDS:
        raise ConfigError(f"The training file {files[0]} is of kind {kind!r}; it must be one of {', '.join(KINDS)}.")
    if args.bootstrapped:
        if kind == "detector":
            raise ConfigError(f"--from trains the association further; {files[0]} is a run of the detector.")
        config = fine_tuning(args.bootstrapped, args.model or "default", values)
        output = args.output or Path("fine-tuned")
        refuse_another(output / "checkpoint.pt", config)
        return teach(config, output, as_json=args.json)
    if args.model:
        raise ConfigError("--model goes with --from; a run's file says 'start: MODEL' instead.")
    output = args.output or Path("train")
    if kind == "detector":
        detector = importlib.import_module("alstm_ros.learning.detector.command")
        code: int = detector.run(build(values, detector.TrainConfig), output, as_json=args.json)
        return code
    return teach(build(values, TrainConfig), output, as_json=args.json)


def read(path: Path, changes: Sequence[str]) -> TrainConfig:
    """A run of the association: its YAML, and changes given as `name=value`.

    Raises:
        ConfigError: the file or a change cannot be read, or names something unknown.
    """
    return build({**values_of(path), **changed(changes)}, TrainConfig)


def fine_tuning(folder: Path, start: str, values: Mapping[str, object]) -> TrainConfig:
    """The run of `--from`: FINE_TUNING (and LABELLED), what the files say of their origin, and the user's own values.

    Raises:
        DataError: the folder holds no bootstrapped recording.
        ModelError: the start is no network.
    """
    fixed = {"data.bootstrapped": str(folder), "start": start}
    preset = {**FINE_TUNING, **(LABELLED if any(recording.labelled for recording in open_all(folder)) else {})}
    given = {**preset, **values, **fixed}
    return build({**about(folder, start, build(given, TrainConfig).data.held), **given}, TrainConfig)


def about(folder: Path, start: str, held: float) -> dict[str, str]:
    """What the fine-tuned file says of its origin.

    Raises:
        DataError: the folder holds no bootstrapped recording.
    """
    recordings = open_all(folder)
    names = ", ".join(recording.path.stem for recording in recordings)
    frames = sum(len(recording.parted(held)[0]) for recording in recordings)
    labelled = sum(recording.labelled for recording in recordings)
    path = MODELS.get(start, Path(start))
    base = describe(path) if path.suffix == ".onnx" else {}
    told = base.get("training_data", "not told")
    return {
        "licence": base.get("licence", "not told"),
        "training_data": f"{told}; then fine-tuned on {frames} frames of its user's recordings ({names}), labelled by "
        f"'alstm bootstrap' without ground truth, {labelled} frames by a person; simulated scenes",
    }


def teach(config: TrainConfig, output: Path, *, as_json: bool) -> int:
    """Trains the association, each network of the run after the other, and tells what came of it."""
    with together() as rank:
        for part, folder in runs(config, output):
            if rank == 0 and folder != output:
                sys.stderr.write(f"{folder.name} of {config.members}; the last network learns from all.\n")
            path, done, latest = train(part, folder)
        settled = settle(config, path) if rank == 0 else None
    if settled is not None:
        if as_json:
            answer = {"model": str(path), "steps": done, "losses": latest}
            print(json.dumps(answer | {"held_out": dataclasses.asdict(settled)}))  # noqa: T201  # the answer
        elif config.data.bootstrapped:
            sys.stderr.write(settled.sentences(path, config.start))
        else:
            sys.stderr.write(f"The model is {path}; use it with association.model: {path}\n")
    return 0


@contextmanager
def together() -> Iterator[int]:
    """Joins the processes that torchrun started, where it did; gives this one's number, 0 for one alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield 0
        return
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield distributed.get_rank()
    finally:
        distributed.destroy_process_group()


def train(config: TrainConfig, folder: Path) -> tuple[Path, int, dict[str, float]]:
    """Trains one network; progress goes to stderr, losses to TensorBoard files in the folder.

    Returns:
        The model, the number of steps, and the last losses.
    """
    trainer, latest = Trainer(config, folder), dict[str, float]()
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


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a fine-tuned network.

    Attributes:
        verdict: what the held-out stretches say; None where nothing was held out, or too little.
        kept: whether the file holds the network as it was.
        labelled: frames that a person labelled.
    """

    verdict: Verdict | None
    kept: bool
    labelled: int

    def sentences(self, path: Path, start: str) -> str:
        """What a person is told at the end."""
        use = f"The model is {path}; use it with association.model: {path}\n"
        told = f"On held-out stretches of the recordings: {self.verdict}. " if self.verdict else ""
        if self.kept:
            why = "Too little was held out to tell" if self.verdict is None else "That is no sure gain"
            why = "That is a loss" if self.verdict and self.verdict.worse else why
            return f"{told}{why}, so {path} holds the network as it was ({start}).\n"
        if self.labelled and not (self.verdict and self.verdict.better):
            return f"{told}{self.labelled} labelled frames were learned; judge what they brought.\n{use}"
        return f"{told or 'Nothing was held out; judge the model on other recordings. '}\n{use}".replace(" \n", "\n")


def settle(config: TrainConfig, path: Path) -> Settled:
    """Asks the held-out ends of the recordings, and puts the old network back where they see no sure gain.

    What a person labelled teaches boxes and scores, too, of which these ends say nothing: then a sure loss is needed.

    Args:
        config: of the run that is finished.
        path: the file that it made.
    """
    recordings = open_all(Path(config.data.bootstrapped)) if config.data.bootstrapped else []
    labelled = sum(recording.labelled for recording in recordings)
    ends = [recording.parted(config.data.held)[1] for recording in recordings]
    before, start = path.with_name("before.onnx"), MODELS.get(config.start, Path(config.start))
    if not config.data.held or not recordings:
        return Settled(None, kept=False, labelled=labelled)
    if start.suffix == ".onnx":
        shutil.copyfile(start, before)
    else:
        export(read_model(config.start), before, {"licence": "not told", "training_data": "not told"})
    verdict = compare(ends, str(before), str(path), config.seed, config.recorders)
    kept = verdict.worse or not (verdict.better or labelled) if verdict else not labelled
    if kept:
        before.replace(path)
    else:
        before.unlink()
    return Settled(verdict, kept, labelled)


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

"""`alstm train`: teaches the Association LSTM, or a detector, and leaves an ONNX file."""

from __future__ import annotations

import argparse
from pathlib import Path

from alstm_ros.errors import ConfigError
from alstm_ros.learning.detector import run as detector
from alstm_ros.learning.detector.train import TrainConfig as DetectorTrainConfig
from alstm_ros.learning.fine_tuning import fine_tuning_config
from alstm_ros.learning.run import refuse_another, train_association
from alstm_ros.learning.run_files import build_config, merged, parsed_changes, values_of
from alstm_ros.learning.train import AssociationTrainConfig

KINDS = ("association", "detector")
"""What a run's file says in `kind` that it trains; where it says nothing, the association."""


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
    changes = parsed_changes([item for item in args.given if "=" in item])
    if len(files) > 1:
        raise ConfigError(f"{files[0]} and {files[1]} are given; a run has one file, and changes look like seed=1.")
    if not files and not args.bootstrapped:
        raise ConfigError("Give a run, such as config/train.yaml, or --from with a folder of 'alstm bootstrap'.")
    written = values_of(files[0]) if files else {}
    kind = changes.pop("kind", written.pop("kind", "association"))
    if kind not in KINDS:
        raise ConfigError(f"The training file {files[0]} is of kind {kind!r}; it must be one of {', '.join(KINDS)}.")
    if args.bootstrapped:
        if kind == "detector":
            raise ConfigError(f"--from trains the association further; {files[0]} is a run of the detector.")
        values = merged(AssociationTrainConfig, written, changes)
        config = fine_tuning_config(args.bootstrapped, args.model or "default", values)
        output = args.output or Path("fine-tuned")
        refuse_another(output / "checkpoint.pt", config)
        return train_association(config, output, as_json=args.json)
    if args.model:
        raise ConfigError("--model goes with --from; a run's file says 'start: MODEL' instead.")
    output = args.output or Path("train")
    if kind == "detector":
        values = merged(DetectorTrainConfig, written, changes)
        return detector.run(build_config(values, DetectorTrainConfig), output, as_json=args.json)
    values = merged(AssociationTrainConfig, written, changes)
    return train_association(build_config(values, AssociationTrainConfig), output, as_json=args.json)

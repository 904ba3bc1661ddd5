"""The `alstm` command: one subcommand, one module with `add_arguments(parser)` and `run(args) -> exit code`."""

from __future__ import annotations

import argparse
import importlib
import shlex
import sys
from collections.abc import Sequence
from typing import NamedTuple

from alstm_ros import __version__
from alstm_ros.dependencies import how_to_install
from alstm_ros.errors import AlstmError


class Command(NamedTuple):
    """One subcommand.

    Attributes:
        module: imported when the command is called.
        text: what `alstm --help` says of it.
        example: a call of it, as its own help shows it.
    """

    module: str
    text: str
    example: str


COMMANDS = {
    "track": Command(
        "alstm_ros.commands.track",
        "track objects in bags, videos, folders of images, detection files",
        "alstm track drive.mcap --output tracks.jsonl --output tracks.mp4",
    ),
    "evaluate": Command(
        "alstm_ros.commands.evaluate",
        "score tracks against ground truth; compare two runs",
        "alstm evaluate tracks.jsonl --gt truth/drive --report report.html",
    ),
    "check": Command(
        "alstm_ros.commands.check",
        "say what a detector's file is taken for, and draw what it finds in a picture",
        "alstm check my_detector.onnx --image street.jpg",
    ),
    "export-labels": Command(
        "alstm_ros.commands.export_labels",
        "write tracks as labels for a person to correct",
        "alstm export-labels tracks.jsonl --images drive.mcap --every 30 --output labels.json",
    ),
    "train": Command(
        "alstm_ros.commands.train",
        "train the learned association, or a detector",
        "alstm train --from pairs --output fine-tuned",
    ),
    "tune": Command(
        "alstm_ros.commands.tune",
        "search for parameters that suit your recordings",
        "alstm tune drives/* --gt truth --budget 30m --output tuned.yaml",
    ),
    "bootstrap": Command(
        "alstm_ros.commands.bootstrap",
        "make training pairs from recordings that nobody labelled",
        "alstm bootstrap drives/* --output pairs",
    ),
    "export": Command(
        "alstm_ros.commands.export",
        "make a third-party detector a file that describes itself",
        "alstm export yolox_nano.onnx --licence Apache-2.0 --output detector.onnx",
    ),
    "build": Command(
        "alstm_ros.commands.build",
        "build TensorRT engines ahead of time",
        "alstm build default association",
    ),
}
"""The subcommands by name."""

FAILED = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: what stands after `alstm`; the process' own when None.

    Returns:
        The exit code: 0 done, 1 done but with something to look at, 2 refused, 130 interrupted.
    """
    parser = argparse.ArgumentParser(prog="alstm", description="Track objects in recordings and judge the tracks.")
    known = "\n".join(f"  {name:<14} {command.text}" for name, command in COMMANDS.items())
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"commands:\n{known}\n\n'alstm COMMAND --help' tells more."
    parser.add_argument("--version", action="version", version=f"alstm {__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="what to do, see below")
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given:
        parser.print_help()
        return 0
    name = parser.parse_args(given[:1]).command
    module_name, text, example = COMMANDS[name]
    try:
        module = importlib.import_module(module_name)
        command = argparse.ArgumentParser(
            prog=f"alstm {name}",
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=f"example: {example}",
        )
        module.add_arguments(command)
        args = command.parse_intermixed_args(given[1:])
        args.command_line = shlex.join(["alstm", *given])
        code: int = module.run(args)
    except AlstmError as error:
        sys.stderr.write(f"alstm {name}: {error}\n")
        return FAILED
    except ModuleNotFoundError as error:
        missing = error.name or str(error)
        sys.stderr.write(f"alstm {name} needs the Python package '{missing}': {how_to_install(missing)}\n")
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


if __name__ == "__main__":
    sys.exit(main())

"""The `alstm` command: one subcommand, one module with `add_arguments(parser)` and `run(args) -> exit code`."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from alstm_ros.dependencies import how_to_install
from alstm_ros.errors import AlstmError

COMMANDS = {
    "track": (
        "alstm_ros.commands.track",
        "track objects in bags, videos, folders of images, detection files",
    ),
    "evaluate": ("alstm_ros.commands.evaluate", "score tracks against ground truth; compare two runs"),
    "export-labels": ("alstm_ros.commands.export_labels", "write tracks as labels for a person to correct"),
    "train": ("alstm_ros.commands.train", "teach the Association LSTM"),
    "tune": ("alstm_ros.commands.tune", "search for parameters that suit your recordings"),
    "bootstrap": ("alstm_ros.commands.bootstrap", "make training pairs from recordings that nobody labelled"),
    "export": ("alstm_ros.commands.export", "make a third-party detector a file that describes itself"),
    "build": ("alstm_ros.commands.build", "build TensorRT engines ahead of time"),
}
"""Name to module, imported when the command is called, and what `alstm --help` says of it."""

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
    known = "\n".join(f"  {name:<14} {text}" for name, (_, text) in COMMANDS.items())
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"commands:\n{known}\n\n'alstm COMMAND --help' tells more."
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="what to do, see below")
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = parser.parse_args(given[:1]).command
    module_name, text = COMMANDS[name]
    try:
        module = importlib.import_module(module_name)
        command = argparse.ArgumentParser(prog=f"alstm {name}", description=f"{text[0].upper()}{text[1:]}.")
        module.add_arguments(command)
        code: int = module.run(command.parse_intermixed_args(given[1:]))
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

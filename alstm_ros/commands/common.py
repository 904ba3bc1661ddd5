"""Options that several commands share."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alstm_ros.config import Config
from alstm_ros.engines.cache import default_folder
from alstm_ros.options import replace
from alstm_ros.parameter_text import NODE, assigned, load_config


def add_config(parser: argparse.ArgumentParser, *, model: bool = True) -> None:
    """Adds `--config`, `--node`, `--set` and, unless the command has a model of its own, `--model`."""
    parser.add_argument(
        "--config", type=Path, metavar="YAML", help="the node's parameter file ('/**: ros__parameters:')"
    )
    parser.add_argument(
        "--node",
        default=NODE,
        help="the node whose parameters to take from that file, such as /robot1/alstm (default: %(default)s)",
    )
    if model:
        parser.add_argument(
            "--model", dest="detector_model", metavar="MODEL", help="the detector; short for --set detector.model=MODEL"
        )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="changes",
        help="one parameter, such as tracks.birth_score=0.6; wins over the file; may be repeated",
    )


def config_from(args: argparse.Namespace) -> Config:
    """The config that these options describe.

    Raises:
        ConfigError: the file or a parameter is refused.
    """
    config = load_config(args.config, node=args.node) if args.config else Config()
    if getattr(args, "detector_model", None):
        config = replace(config, {"detector.model": args.detector_model})
    return replace(config, assigned(args.changes, "tracks.birth_score=0.6"))


def add_cache(parser: argparse.ArgumentParser) -> None:
    """Adds `--cache`."""
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="where detections are kept (default: the user's cache)"
    )


def cache_from(args: argparse.Namespace) -> Path:
    """The folder that `--cache` names, or the usual one."""
    chosen: Path = args.cache or default_folder() / "detections"
    return chosen


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """Adds `--jobs` and `--dask`."""
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="how many recordings to work on at once (default 1)"
    )
    parser.add_argument("--dask", metavar="ADDRESS", help="work on a Dask cluster, such as tcp://scheduler:8786")


def print_json(value: Mapping[str, Any]) -> None:
    """Prints one JSON object on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")

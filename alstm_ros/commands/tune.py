"""`alstm tune`: parameters that suit your recordings, if there are any better ones."""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
from pathlib import Path

import yaml

from alstm_ros.commands.common import add_cache, add_config, cache_from, config_from, print_json
from alstm_ros.config import Config
from alstm_ros.detection import load_detector
from alstm_ros.errors import ConfigError, DataError
from alstm_ros.evaluation.pairing import benchmark_of, find_truths, pair
from alstm_ros.evaluation.tuning import Found, Search, TuningTask, hold_out, search, searched
from alstm_ros.options import values
from alstm_ros.recordings.contents import contents_of
from alstm_ros.recordings.detection_cache import DetectedSource, detect_all
from alstm_ros.recordings.sinks import PartFile
from alstm_ros.recordings.sources import SourceOptions, frame_range, open_source
from alstm_ros.recordings.track_files import name_of, read_truth

METRICS = ("HOTA", "AssA", "DetA", "MOTA", "IDF1")
UNITS = {"s": 1, "m": 60, "h": 3600}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's options."""
    parser.add_argument(
        "source", nargs="+", type=Path, metavar="SOURCE", help="bags, videos or folders, as for 'alstm track'"
    )
    parser.add_argument(
        "--gt", nargs="+", type=Path, required=True, metavar="TRUTH", help="as for 'alstm evaluate'; paired by name"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="YAML", help="the parameter file to write")
    parser.add_argument("--budget", default="", metavar="TIME", help="how long to search, such as 90s, 30m or 2h")
    parser.add_argument("--trials", type=int, metavar="N", help="how many sets to try (default 50 without --budget)")
    parser.add_argument("--metric", choices=METRICS, default="HOTA", help="what to raise (default HOTA)")
    parser.add_argument(
        "--holdout", type=float, default=0.3, metavar="SHARE", help="share that the search does not see (default 0.3)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the search and of the choice of what is held out")
    parser.add_argument(
        "--storage", metavar="URL", help="Optuna storage that several machines share, such as sqlite:///study.db"
    )
    parser.add_argument("--study", default="alstm", help="the study's name there (default alstm)")
    parser.add_argument("--topic", default="", help="the bags' image topic, where they hold several")
    parser.add_argument(
        "--gt-topic", default="", help="the ground truth bags' Detection2DArray topic, where they hold several"
    )
    parser.add_argument(
        "--fps", type=float, help="frames a second of a folder of images (default: its seqinfo.ini's or 30)"
    )
    parser.add_argument("--frames", default="", metavar="A-B", help="score only these; halves as for 'alstm track'")
    add_cache(parser)
    parser.add_argument("--json", action="store_true", help="print the outcome as one JSON object")
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Searches.

    Returns:
        0 where a parameter file was written, 1 where nothing is recommended.
    """
    if not 0 < args.holdout < 1:
        raise ConfigError(f"--holdout is {args.holdout:g}; it must lie between 0 and 1.")
    if args.trials is not None and args.trials < 1:
        raise ConfigError(f"--trials is {args.trials}; it must be at least 1.")
    seconds = parse_time(args.budget) if args.budget else None
    trials = args.trials if args.trials or seconds else 50
    config = config_from(args)
    tasks = _tasks(args, config)
    tuned_on, held_out = hold_out(tasks, args.holdout, args.seed)
    how = Search(args.metric, trials, seconds, args.seed, args.storage, args.study)
    sys.stderr.write(f"searching on {_names(tuned_on)}; held out: {_names(held_out)}\n")
    found = search(tuned_on, held_out, config, how)
    if args.json:
        print_json(dataclasses.asdict(found) | {"recommended": found.refusal is None, "held_out": _listed(held_out)})
    else:
        sys.stdout.write(
            f"{args.metric}           parameters at hand  best set\n"
            f"searched on    {found.default:18.2f}  {found.best:8.2f}\n"
            f"held out       {found.default_held_out:18.2f}  {found.best_held_out:8.2f}\n"
        )
    if found.refusal:
        sys.stderr.write(f"No parameters are recommended: {found.refusal}\n")
        return 1
    with PartFile(args.output) as file:
        file.part.write_text(parameter_file(config, found, args.metric, tuned_on, held_out), encoding="utf-8")
    sys.stderr.write(f"wrote {args.output}\n")
    return 0


def parse_time(text: str) -> float:
    """Seconds of `90s`, `30m`, `2h`.

    Raises:
        ConfigError: it is no such time.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if match is None or float(match[1]) == 0:
        raise ConfigError(f"--budget is '{text}'; it must look like 90s, 30m or 2h.")
    return float(match[1]) * UNITS[match[2]]


def _tasks(args: argparse.Namespace, config: Config) -> list[TuningTask]:
    folder = cache_from(args)
    paths: dict[str, Path] = {}
    for path in args.source:
        if name_of(path) in paths:
            raise DataError(f"Both {paths[name_of(path)]} and {path} are called '{name_of(path)}'.")
        paths[name_of(path)] = path
    tasks = []
    for item in pair(find_truths(args.gt), paths):
        for note in contents_of(item.result).notes:
            sys.stderr.write(f"note: {note}\n")
        source = open_source(item.result, SourceOptions(args.topic, args.fps))
        cached = detect_all(DetectedSource(source, config, load_detector, item.result, folder, whole=True))
        for problem in cached.problems:
            sys.stderr.write(f"problem: {problem}\n")
        truth = read_truth(item.truth, args.gt_topic)
        for problem in (*truth.problems, *truth.labels.problems):
            sys.stderr.write(f"problem: {problem}\n")
        length = truth.labels.length
        first, last = frame_range(args.frames, length) if args.frames else (1, length)
        tasks.append(TuningTask(cached, truth, benchmark_of(item.truth), first, min(last, length)))
    if sum(task.last - task.first + 1 for task in tasks) < 2:
        raise DataError("There are fewer than two frames to tune on.")
    return tasks


def _listed(tasks: list[TuningTask]) -> list[str]:
    return [f"{task.source.name} {task.first}-{task.last}" for task in tasks]


def _names(tasks: list[TuningTask]) -> str:
    return ", ".join(_listed(tasks))


def parameter_file(
    config: Config, found: Found, metric: str, tuned_on: list[TuningTask], held_out: list[TuningTask]
) -> str:
    """The YAML that the node and `alstm` take, with what it reached."""
    plain = values(Config())
    known = searched(config)
    aside = f"({_names(held_out)})"
    chosen = {name: value for name, value in values(config).items() if value != plain[name]} | found.changes
    lines = [
        f"# Found by 'alstm tune' in {found.trials} trials ({found.pruned} more given up early).",
        f"# {metric} on what was searched on: {found.best:.2f}, before {found.default:.2f} ({_names(tuned_on)})",
        f"# {metric} on what was held out: {found.best_held_out:.2f}, before {found.default_held_out:.2f} {aside}",
        "/**:",
        "  ros__parameters:",
    ]
    for name, value in sorted(chosen.items()):
        written = list(value) if isinstance(value, tuple) else value
        text = yaml.safe_dump({name: written}, default_flow_style=True, width=1000).strip()[1:-1]
        lines.append(f"    {text}" + (f"  # default {known[name].default}" if name in known else ""))
    return "\n".join(lines) + "\n"

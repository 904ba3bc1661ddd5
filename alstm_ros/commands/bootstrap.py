"""`alstm bootstrap`: training pairs from recordings that nobody has labelled, or of which a few frames were."""

from __future__ import annotations

import argparse
import functools
import operator
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alstm_ros.commands.common import add_cache, add_config, add_jobs, cache_from, config_from, print_json
from alstm_ros.config import Config
from alstm_ros.detection import load_detector
from alstm_ros.errors import DataError
from alstm_ros.evaluation.pairing import find_truths, pair
from alstm_ros.learning.pseudo_labels.footage import DIFFERENT, NOT_LABELLED, SAME, UNKNOWN, PseudoLabels
from alstm_ros.learning.pseudo_labels.identities import attach_labels
from alstm_ros.learning.pseudo_labels.purity import Purity, purity
from alstm_ros.learning.pseudo_labels.recordings import in_parts, write_recording
from alstm_ros.learning.pseudo_labels.stitch import stitch
from alstm_ros.learning.pseudo_labels.strict_links import bootstrap
from alstm_ros.recordings.detection_cache import DetectedSource
from alstm_ros.recordings.parallel import run_all
from alstm_ros.recordings.sources import SourceOptions, open_source
from alstm_ros.recordings.sparse_labels import read_sparse
from alstm_ros.recordings.track_files import name_of, read_truth


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's options."""
    parser.add_argument(
        "source", nargs="+", type=Path, metavar="SOURCE", help="bags, videos or folders, as for 'alstm track'"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="gets an .npz for each recording")
    parser.add_argument(
        "--gt",
        nargs="+",
        type=Path,
        metavar="TRUTH",
        help="ground truth, only to say afterwards how pure the labels are",
    )
    parser.add_argument(
        "--labels",
        nargs="+",
        type=Path,
        default=[],
        metavar="LABELS",
        help="frames that a person corrected, as 'alstm export-labels' writes them; boxes and scores are learned there",
    )
    parser.add_argument(
        "--stitch",
        action="store_true",
        help="join strict tracklets where hindsight shows that they are one: longer ones, and real gaps to learn from",
    )
    parser.add_argument("--topic", default="", help="the bags' image topic, where they hold several")
    parser.add_argument(
        "--fps", type=float, help="frames a second of a folder of images (default: its seqinfo.ini's or 30)"
    )
    add_cache(parser)
    parser.add_argument("--json", action="store_true", help="print what was made as one JSON object")
    add_config(parser)
    add_jobs(parser)


@dataclass(frozen=True, slots=True)
class BootstrapJob:
    """One recording.

    Attributes:
        source: its path.
        truth: its ground truth, or None.
        labels: what a person labelled of it, or None.
        output: the file to write.
        stitch: whether strict tracklets are joined in hindsight.
        options: about the source.
        cache: where detections are kept.
        config: all parameters.
    """

    source: Path
    truth: Path | None
    labels: Path | None
    output: Path
    stitch: bool
    options: SourceOptions
    cache: Path
    config: Config


def run(args: argparse.Namespace) -> int:
    """Makes the pairs.

    Returns:
        0, or 1 where something could not be read.
    """
    config = config_from(args)
    cache = cache_from(args)
    paths: dict[str, Path] = {}
    for path in args.source:
        if name_of(path) in paths:
            raise DataError(f"Both {paths[name_of(path)]} and {path} are called '{name_of(path)}'.")
        paths[name_of(path)] = path
    truths = {item.result: item.truth for item in pair(find_truths(args.gt), paths)} if args.gt else {}
    options = SourceOptions(args.topic, args.fps)
    labels = find_labels(args.labels, list(paths))
    jobs = [
        BootstrapJob(
            path, truths.get(path), labels.get(name), args.output / f"{name}.npz", args.stitch, options, cache, config
        )
        for name, path in paths.items()
    ]
    made: dict[str, dict[str, Any]] = {}
    total: Purity | None = None
    for job, (numbers, pure) in zip(jobs, run_all(run_bootstrap_job, jobs, args.jobs, args.dask), strict=True):
        made[job.output.stem] = numbers
        sys.stderr.write(
            f"{job.output}: {numbers['same']} pairs the same, {numbers['different']} different, "
            f"{numbers['unknown']} left out, {numbers['labelled']} detections in labelled frames\n"
        )
        for problem in numbers["problems"]:
            sys.stderr.write(f"problem: {problem}\n")
        if pure is not None:
            total = pure if total is None else total + pure
    if total is not None:
        found = total.percent()
        sys.stderr.write(f"right: {found['same']:.2f} % of the same, {found['different']:.2f} % of the different\n")
    if args.json:
        print_json({"recordings": made, "purity": total and total.percent()})
    return 1 if any(numbers["problems"] for numbers in made.values()) else 0


def find_labels(paths: Sequence[Path], recordings: Sequence[str]) -> dict[str, Path]:
    """Labels by the name of their recording; a single one belongs to a single recording whatever it is called.

    Raises:
        DataError: labels are of none of the recordings.
    """
    found = find_truths(paths)
    if len(found) == len(recordings) == 1:
        return {recordings[0]: next(iter(found.values()))}
    stray = sorted(found.keys() - set(recordings))
    if stray:
        raise DataError(f"Labels '{stray[0]}' are of none of the recordings {', '.join(recordings)}.")
    return found


def run_bootstrap_job(job: BootstrapJob) -> tuple[dict[str, Any], Purity | None]:
    """Makes one recording's pairs; must be importable, other processes call it.

    Raises:
        DataError: none of the frames that a person labelled is in the recording.
    """
    source = DetectedSource(open_source(job.source, job.options), job.config, load_detector, job.source, job.cache)
    sparse = read_sparse(job.labels) if job.labels else None
    truth = read_truth(job.truth).labels if job.truth else None
    names = {"same": SAME, "different": DIFFERENT, "unknown": UNKNOWN}
    numbers: dict[str, Any] = dict.fromkeys([*names, "detections", "labelled"], 0)
    pure: list[Purity] = []

    def parts() -> Iterator[PseudoLabels]:
        met = 0
        for frames in in_parts(source):
            part = bootstrap(frames, job.config)
            part = stitch(part) if job.stitch else part
            if sparse is not None:
                met += int(np.isin(part.numbers, sparse.frames).sum())
                part = attach_labels(part, sparse)
            for name, label in names.items():
                numbers[name] += int((part.labels == label).sum())
            numbers["detections"] += len(part.boxes)
            numbers["labelled"] += int((part.objects != NOT_LABELLED).sum())
            if truth is not None:
                pure.append(purity(part, truth))
            yield part
        if sparse is not None and not met:
            raise DataError(f"{sparse.name} labels {len(sparse.frames)} frames, and none of them is in the recording.")

    write_recording(job.output, parts())
    numbers["problems"] = list(source.problems)
    return numbers, functools.reduce(operator.add, pure) if pure else None

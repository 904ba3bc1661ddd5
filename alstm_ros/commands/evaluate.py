"""`alstm evaluate`: tracks against ground truth."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from alstm_ros import __version__
from alstm_ros.commands.common import add_jobs, print_json
from alstm_ros.errors import ConfigError, DataError
from alstm_ros.evaluation.compare import Difference, gains, paired_bootstrap, parse_requirements
from alstm_ros.evaluation.pairing import Pair, benchmark_of, find_results, find_truths, pair
from alstm_ros.evaluation.report import Outcome, write_report
from alstm_ros.evaluation.scoring import METRICS, Judged, Score, score_sequence, total
from alstm_ros.evaluation.trackeval_adapter import BENCHMARKS
from alstm_ros.recordings.parallel import run_all
from alstm_ros.recordings.progress import progress_bar
from alstm_ros.recordings.sources import frame_range
from alstm_ros.recordings.sparse_labels import keep_frames
from alstm_ros.recordings.track_files import SequenceTracks, align, read_result, read_truth
from alstm_ros.types import Int64

PEDESTRIANS = ("MOT16", "MOT17", "MOT20")
"""Benchmarks that judge one class of a text and take others for distractors."""
PEDESTRIAN = 1
"""MOTChallenge's number of that class."""
SHOWN = (
    "HOTA",
    "DetA",
    "AssA",
    "MOTA",
    "IDF1",
    "IDSW",
    "Frag",
    "AP50",
    "AP50_raw",
    "AP50:95",
    "AP50:95_raw",
    "flicker",
    "latency_p50",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's options."""
    parser.add_argument(
        "result",
        nargs="+",
        type=Path,
        metavar="RESULT",
        help="what a tracker published: MOTChallenge .txt, .jsonl of 'alstm track', a bag, or a folder of those",
    )
    parser.add_argument(
        "--gt",
        nargs="+",
        type=Path,
        required=True,
        metavar="TRUTH",
        help="gt.txt, a bag with a Detection2DArray topic, a sequence's folder, or a folder of those; paired by name",
    )
    parser.add_argument("--topic", default="", help="the result bag's Detection2DArray topic, where it holds several")
    parser.add_argument(
        "--gt-topic", default="", help="the ground truth bag's Detection2DArray topic, where it holds several"
    )
    parser.add_argument(
        "--benchmark",
        choices=("auto", *BENCHMARKS),
        default="auto",
        help="whose rules of scoring to apply (default: by the names of folders, else by the columns of gt.txt)",
    )
    parser.add_argument(
        "--frames", default="", metavar="A-B", help="score only these frames, or first-half or second-half"
    )
    parser.add_argument("--against", nargs="+", type=Path, metavar="RESULT", help="another run to compare with")
    parser.add_argument(
        "--require",
        default="",
        metavar="TEXT",
        help="such as 'HOTA>=60 IDSW<=20', or '+AssA>0' for better than --against; exit code 1 where it is not met",
    )
    parser.add_argument("--report", type=Path, metavar="HTML", help="write a report, one file with everything in it")
    parser.add_argument(
        "--images",
        nargs="+",
        type=Path,
        default=[],
        metavar="SOURCE",
        help="the recordings, from which the report shows cut-outs of id switches",
    )
    parser.add_argument("--image-topic", default="", help="the image topic of such a bag, where it holds several")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap's random choice (default 0)")
    parser.add_argument("--json", action="store_true", help="print everything as one JSON object")
    add_jobs(parser)


@dataclass(frozen=True, slots=True)
class ScoringTask:
    """One sequence to judge.

    Attributes:
        pair: its files.
        benchmark: of BENCHMARKS, or auto.
        frames: which of them; empty for all.
        topic: of the result's bag.
        gt_topic: of the ground truth's bag.
    """

    pair: Pair
    benchmark: str
    frames: str
    topic: str
    gt_topic: str


def run(args: argparse.Namespace) -> int:
    """Scores.

    Returns:
        0, or 1 where a requirement is not met or something could not be read.
    """
    requirements = parse_requirements(args.require) if args.require else []
    if not args.against and any(item.metric.startswith("+") for item in requirements):
        raise ConfigError("--require asks for a difference to another run; name that run with --against.")
    notes: list[str] = []
    truths = find_truths(args.gt, notes)
    judged = _judge_all(args, truths, args.result, notes)
    scores = [item.score for item in judged]
    everything = total(judged)
    other = _judge_all(args, truths, args.against, notes) if args.against else []
    differences = paired_bootstrap(scores, [item.score for item in other], seed=args.seed) if other else []
    numbers = {**everything.numbers, **gains(differences)}
    failures = [text for item in requirements if (text := item.check(numbers)) is not None]
    problems = [text for item in judged for text in item.recording.problems]

    if args.json:
        print_json(
            {
                "sequences": {score.name: score.numbers for score in scores},
                "all": everything.numbers,
                "against": [dataclasses.asdict(item) for item in differences],
                "requirements": {str(item): item.check(numbers) is None for item in requirements},
                "problems": problems,
            }
        )
    else:
        sys.stdout.write(table([*scores, everything] if len(scores) > 1 else scores))
        sys.stdout.write(comparison(differences))
    if args.report:
        runs = f"{_listed(args.result)} against {_listed(args.against)}" if args.against else _listed(args.result)
        made = f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC, alstm {__version__}"
        about = (("Run", runs), ("Ground truth", _listed(args.gt)), ("Command", args.command_line), ("Made", made))
        outcome = Outcome(judged, everything, differences, requirements, about)
        write_report(args.report, outcome, args.images, args.image_topic)
        sys.stderr.write(f"wrote {args.report}\n")
    for text in notes:
        sys.stderr.write(f"note: {text}\n")
    for text in problems:
        sys.stderr.write(f"problem: {text}\n")
    for text in failures:
        sys.stderr.write(f"not good enough: {text}\n")
    return 1 if failures or problems else 0


def _listed(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths))


def _judge_all(
    args: argparse.Namespace, truths: dict[str, Path], results: Sequence[Path], notes: list[str]
) -> list[Judged]:
    pairs = pair(truths, find_results(results, notes))
    tasks = [ScoringTask(item, args.benchmark, args.frames, args.topic, args.gt_topic) for item in pairs]
    with progress_bar("scoring", len(tasks), "sequence") as bar:
        judged = []
        for item in run_all(judge_task, tasks, args.jobs, args.dask):
            judged.append(item)
            bar.update()
    return judged


def judge_task(task: ScoringTask) -> Judged:
    """Scores one sequence; must be importable, other processes call it."""
    truth = read_truth(task.pair.truth, task.gt_topic)
    result = align(truth, read_result(task.pair.result, task.topic))
    told = (*truth.problems, *truth.labels.problems, *result.problems, *result.labels.problems)
    result = dataclasses.replace(result, problems=told)
    truth = dataclasses.replace(truth, name=task.pair.name)
    benchmark = task.benchmark
    if benchmark == "auto":
        benchmark = benchmark_of(task.pair.truth) if truth.labelled is None else "none"
    if not truth.fps and truth.labelled is None:  # text alone does not say how long a sequence goes on without objects
        truth = dataclasses.replace(truth, labels=truth.labels.stretched(result.labels.length))
    if result.labels.frames[-1:].max(initial=0) > truth.labels.length:
        raise DataError(
            f"{task.pair.result} has a box in frame {result.labels.frames[-1]}; the ground truth ends with frame "
            f"{truth.labels.length}."
        )
    first, last = frame_range(task.frames or "1-", truth.labels.length)
    frames = np.arange(1, truth.labels.length + 1) if truth.labelled is None else truth.labelled
    frames = frames[(frames >= first) & (frames <= last)]
    if not len(frames):
        raise DataError(f"The ground truth {task.pair.truth} has no frames to judge.")
    _check(task.pair.truth, truth, benchmark)
    judged = score_sequence(_cut(truth, frames), _cut(result, frames), benchmark)
    return dataclasses.replace(judged, frames=frames)


def _check(path: Path, truth: SequenceTracks, benchmark: str) -> None:
    """Looks whether anything of the ground truth can be judged: without it every box would be a false one.

    Raises:
        DataError: it has boxes, and none of them counts.
    """
    labels = truth.labels
    if not len(labels):  # a sequence of nobody
        return
    if not labels.counted.any():
        raise DataError(f"No row of {path} counts: its seventh column is 0 in all of them.")
    judged = labels.classes == PEDESTRIAN
    if benchmark in PEDESTRIANS and not labels.names and not (judged & labels.counted).any():
        raise DataError(
            f"{benchmark} judges class {PEDESTRIAN} of {path}, pedestrians, and none of its rows is of it; with "
            "--benchmark none every class is judged."
        )


def _cut(recording: SequenceTracks, frames: Int64) -> SequenceTracks:
    """These frames alone, numbered from 1; latencies are those of the whole recording."""
    return dataclasses.replace(
        recording,
        labels=keep_frames(recording.labels, frames),
        raw=recording.raw and keep_frames(recording.raw, frames),
    )


def table(scores: Sequence[Score]) -> str:
    """The numbers as aligned text, one line a sequence."""
    known = [name for name in SHOWN if any(name in score.numbers for score in scores)]
    rows = [["", *known]]
    for score in scores:
        cells = [f"{score.numbers[name]:.{METRICS[name].digits}f}" if name in score.numbers else "-" for name in known]
        rows.append([score.name, *cells])
    return _aligned(rows)


def comparison(differences: Sequence[Difference]) -> str:
    """The comparison as aligned text."""
    if not differences:
        return ""
    rows = [["", "this run", "other run", "difference", "95 % interval", "not better in"]]
    for item in differences:
        digits = METRICS[item.metric].digits
        rows.append(
            [
                item.metric,
                f"{item.here:.{digits}f}",
                f"{item.there:.{digits}f}",
                f"{item.here - item.there:+.{digits}f}",
                f"{item.low:+.{digits}f} .. {item.high:+.{digits}f}",
                f"{100 * item.worse:.1f} % of resamples",
            ]
        )
    return "\n" + _aligned(rows)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"

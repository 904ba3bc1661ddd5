"""`alstm track`: recordings in, tracks out."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path

from alstm_ros.commands.common import add_config, add_jobs, config_from, print_json
from alstm_ros.config import Config
from alstm_ros.detection import load_detector
from alstm_ros.detection.given import GivenDetections
from alstm_ros.errors import DataError
from alstm_ros.recordings.contents import contents_of
from alstm_ros.recordings.detector_pool import DetectorPool
from alstm_ros.recordings.frames import FrameSource
from alstm_ros.recordings.mot import MotDetections
from alstm_ros.recordings.parallel import run_all
from alstm_ros.recordings.prefetch import Prefetched
from alstm_ros.recordings.replay import Replayed, detection_step, image_step, replay
from alstm_ros.recordings.sinks import SINKS, RunInfo, check_outputs
from alstm_ros.recordings.sources import SourceOptions, Window, open_source

INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class TrackJob:
    """One source to track.

    Attributes:
        source: a path, None for a detection file.
        detections: `det.txt`, None for a path.
        seqinfo: its `seqinfo.ini`.
        camera_motion: its `gmc.txt`.
        options: about the source.
        frames: which of them; empty for all.
        outputs: files to write; `{name}` stands for the source's name.
        config: all parameters.
        quiet: show no progress.
        images: write the images into the bag, too.
    """

    source: Path | None
    detections: Path | None
    seqinfo: Path | None
    camera_motion: Path | None
    options: SourceOptions
    frames: str
    outputs: tuple[str, ...]
    config: Config
    quiet: bool
    images: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's options."""
    parser.add_argument(
        "source",
        nargs="*",
        type=Path,
        metavar="SOURCE",
        help="a rosbag2 (folder, .mcap, .db3, also .zstd), a video, a folder of images, "
        "or a folder with det.txt and seqinfo.ini",
    )
    parser.add_argument("--detections", type=Path, metavar="TXT", help="MOTChallenge detections instead of a SOURCE")
    parser.add_argument("--seqinfo", type=Path, metavar="INI", help="the seqinfo.ini of --detections")
    parser.add_argument("--camera-motion", type=Path, metavar="TXT", help="the gmc.txt of --detections")
    parser.add_argument(
        "--output",
        action="append",
        default=[],
        metavar="OUT",
        help=f"a file to write; its suffix, one of {', '.join(SINKS)}, names the format; {{name}} stands for the "
        "source's name; may be repeated",
    )
    parser.add_argument(
        "--topic",
        default="",
        help="the bag's image topic, where it holds several; with --set input.detections=topic its detection topic",
    )
    parser.add_argument(
        "--fps", type=float, help="frames a second of a folder of images (default: its seqinfo.ini's or 30)"
    )
    parser.add_argument(
        "--frames", default="", metavar="A-B", help="track only these frames, or first-half or second-half"
    )
    parser.add_argument("--images", action="store_true", help="write the images into the .mcap, too, as JPEG")
    parser.add_argument("--json", action="store_true", help="print what was done as one JSON object")
    add_config(parser)
    add_jobs(parser)


def run(args: argparse.Namespace) -> int:
    """Tracks.

    Returns:
        0, or 1 where something could not be read, or 130 when interrupted.
    """
    jobs = _jobs(args)
    done: list[Replayed] = []
    for replayed in run_all(track_one, jobs, args.jobs, args.dask):
        done.append(replayed)
        _tell(replayed)
        if not args.output and not args.json:
            sys.stdout.write(_table(replayed))
        if replayed.interrupted:
            break
    if args.json:
        print_json({"runs": [dataclasses.asdict(item) for item in done]})
    if any(item.interrupted for item in done):
        return INTERRUPTED
    return 1 if any(item.problems for item in done) else 0


def track_one(job: TrackJob) -> Replayed:
    """Tracks one source; must be importable, other processes call it."""
    given = GivenDetections(job.config) if job.config.input.detections == "topic" and job.source else None
    source = _open(job, given)
    images = given is None and not isinstance(source, MotDetections)
    outputs = [Path(text.replace("{name}", source.name)) for text in job.outputs]
    check_outputs(outputs, images=images)
    if images:
        pool = DetectorPool.open(load_detector, job.config)
        step, classes = image_step(job.config, pool), pool.detector.classes
    else:
        step, classes = detection_step(job.config), given.classes if given else ("pedestrian",)
    if job.frames:
        source = Window(source, job.frames)
    if images:
        source = Prefetched(source)
    info = RunInfo(classes, job.config.output.id_prefix, job.config.detector.score_threshold, job.images)
    done = replay(source, step, outputs, info, quiet=job.quiet)
    return dataclasses.replace(done, notes=contents_of(job.source).notes if job.source is not None else ())


def _open(job: TrackJob, given: GivenDetections | None) -> FrameSource:
    if job.source is not None and given is not None:
        from alstm_ros.recordings.bag_detections import BagDetections  # noqa: PLC0415  # a robot may lack rosbags

        return BagDetections(job.source, job.options.topic, given)
    if job.source is not None:
        return open_source(job.source, job.options)
    if job.detections is None or job.seqinfo is None:
        raise DataError("--detections needs --seqinfo, which holds the frame rate and the number of frames.")
    return MotDetections(job.detections, job.seqinfo, job.camera_motion)


def _jobs(args: argparse.Namespace) -> list[TrackJob]:
    if bool(args.source) == bool(args.detections):
        raise DataError("Give either a SOURCE (a bag, a video, a folder of images) or --detections, and not both.")
    if args.fps is not None and args.fps <= 0:
        raise DataError(f"--fps is {args.fps:g}; it must be above 0.")
    if len(args.source) > 1 and any("{name}" not in text for text in args.output):
        raise DataError("With several sources each --output must hold {name}, such as 'tracks/{name}.txt'.")
    check_outputs([Path(text) for text in args.output], images=True)
    if args.images and (args.detections or not any(text.endswith(".mcap") for text in args.output)):
        raise DataError("--images needs a SOURCE that holds images, and an --output that ends in .mcap.")
    config = config_from(args)
    several = len(args.source) > 1 and (args.jobs > 1 or args.dask is not None)
    return [
        TrackJob(
            source,
            args.detections,
            args.seqinfo,
            args.camera_motion,
            SourceOptions(args.topic, args.fps),
            args.frames,
            tuple(args.output),
            config,
            quiet=several,
            images=args.images,
        )
        for source in args.source or [None]
    ]


def _table(done: Replayed) -> str:
    """Who was seen when, one line an object."""
    rows = [("id", "class", "first frame", "last frame", "frames")]
    rows += [(one.id, one.name, str(one.first), str(one.last), str(one.frames)) for one in done.seen]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) + "\n" for row in rows)


def _tell(done: Replayed) -> None:
    speed = done.frames / done.seconds if done.seconds > 0 else 0.0
    stopped = ", interrupted" if done.interrupted else ""
    lines = [f"{done.name}: {done.frames} frames, {done.objects} objects, {speed:.1f} frames/s{stopped}"]
    lines += [f"  wrote {path}" for path in done.outputs]
    if not done.outputs:
        lines.append("  wrote nothing; --output keeps the tracks")
    lines += [f"  note: {note}" for note in done.notes]
    lines += [f"  problem: {problem}" for problem in done.problems]
    sys.stderr.write("\n".join(lines) + "\n")

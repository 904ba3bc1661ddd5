"""`alstm export-labels`: tracks as a first draft of ground truth, for a person to correct."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

from alstm_ros.errors import DataError
from alstm_ros.pipeline import Frame
from alstm_ros.recordings.sinks import PartFile
from alstm_ros.recordings.sources import SourceOptions, open_source
from alstm_ros.recordings.sparse_labels import SparseLabels, every_nth, image_name, write_coco, write_mot
from alstm_ros.recordings.track_files import read_result
from alstm_ros.types import SECOND


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's options."""
    parser.add_argument("tracks", type=Path, metavar="TRACKS", help="what 'alstm track' wrote: .txt, .jsonl or .mcap")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="OUT",
        help="a COCO file (.json), or a folder for MOTChallenge's gt.txt and seqinfo.ini",
    )
    parser.add_argument("--every", type=int, default=10, metavar="N", help="export every so many frames (default 10)")
    parser.add_argument(
        "--images", type=Path, metavar="SOURCE", help="the recording; its frames are written to img1/ beside the labels"
    )
    parser.add_argument("--topic", default="", help="the bag's image topic, where it holds several")
    parser.add_argument("--fps", type=float, default=0.0, help="frames a second, where the tracks carry no stamps")


def run(args: argparse.Namespace) -> int:
    """Exports.

    Returns:
        0, or 1 where an image could not be read.
    """
    recording = read_result(args.tracks)
    labels = recording.labels
    if not labels.length:
        raise DataError(f"{args.tracks} holds no frames.")
    fps = args.fps or _rate(labels.stamps_ns)
    whole = SparseLabels(recording.name, labels, np.arange(1, labels.length + 1), fps)
    sparse = every_nth(whole, args.every)
    coco = args.output.suffix == ".json"
    folder = args.output.parent if coco else args.output
    missing: list[int] = []
    if args.images:
        sparse, missing = _write_images(args, sparse, folder)
    if coco:
        write_coco(sparse, args.output)
    else:
        write_mot(sparse, args.output)
    for problem in (*recording.problems, *labels.problems):
        sys.stderr.write(f"problem: {problem}\n")
    sys.stderr.write(f"wrote {len(sparse.labels)} boxes in {len(sparse.frames)} frames to {args.output}\n")
    if missing:
        sys.stderr.write(f"problem: frames without an image: {', '.join(map(str, missing))}\n")
    return 1 if missing else 0


def _rate(stamps_ns: np.ndarray) -> float:
    """Frames a second, by the median gap between stamps."""
    if len(stamps_ns) < 2:
        return 0.0
    return float(round(SECOND / max(float(np.median(np.diff(stamps_ns))), 1.0), 3))


def _check(args: argparse.Namespace, sparse: SparseLabels, number: int, frame: Frame) -> None:
    """Looks whether an image can be that of a labelled frame.

    Raises:
        DataError: its stamp or its size says that it is of another recording.
    """
    labels = sparse.labels
    if len(labels.stamps_ns) >= number and labels.stamps_ns[number - 1] != frame.stamp_ns:
        raise DataError(
            f"{args.images} is another recording: its frame {number} is stamped {frame.stamp_ns} ns, that of "
            f"{args.tracks} {labels.stamps_ns[number - 1]} ns."
        )
    height, width = frame.image.shape[:2]
    boxes = labels.boxes[labels.frames == number]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    if ((centres < 0) | (centres > (width, height))).any():
        raise DataError(
            f"{args.images} is another recording: its frame {number} has {width}x{height} pixels, and a box of "
            f"{args.tracks} lies outside."
        )


def _write_images(args: argparse.Namespace, sparse: SparseLabels, folder: Path) -> tuple[SparseLabels, list[int]]:
    """Writes the labelled frames' images; returns the labels with the images' size, and the frames without one."""
    wanted = set(sparse.frames.tolist())
    height = width = 0
    last = max(wanted)
    for number, frame in open_source(args.images, SourceOptions(args.topic)):
        if number in wanted and isinstance(frame, Frame):
            height, width = frame.image.shape[:2]
            _check(args, sparse, number, frame)
            _, data = cv2.imencode(".jpg", frame.image, [cv2.IMWRITE_JPEG_QUALITY, 92])
            with PartFile(folder / image_name(number)) as file:
                file.part.write_bytes(bytes(data))
            wanted.discard(number)
        if number >= last:
            break
    sized = SparseLabels(sparse.name, sparse.labels, sparse.frames, sparse.fps, width, height)
    return sized, sorted(wanted)

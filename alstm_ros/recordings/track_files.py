"""Tracks and ground truth from whatever file they stand in: MOTChallenge text, JSON Lines, a bag."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from alstm_ros.errors import DataError
from alstm_ros.recordings.detection_messages import corners_of, detections_of
from alstm_ros.recordings.label_rows import LabelRow, LabelRows, is_frame
from alstm_ros.recordings.labels import Labels, make_labels
from alstm_ros.recordings.left_out import LeftOut
from alstm_ros.recordings.mot import read_ini, read_labels, read_sequence
from alstm_ros.recordings.sparse_labels import SECTION, read_sparse
from alstm_ros.types import Float64, Int64

MILLISECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class SequenceTracks:
    """Tracks of one sequence.

    Attributes:
        name: of the sequence.
        labels: the published boxes.
        raw: the detector's own boxes and scores, row for row of `labels`; None where unknown.
        latencies_ms: time from a frame's stamp to its result's arrival, one a frame; empty where unknown.
        fps: frames a second; 0 where unknown.
        problems: what could not be read.
        labelled: `(F,)` int64, the frames that a person labelled, of ground truth; None for all.
    """

    name: str
    labels: Labels
    raw: Labels | None = None
    latencies_ms: Float64 = field(default_factory=lambda: np.zeros(0))
    fps: float = 0.0
    problems: tuple[str, ...] = ()
    labelled: Int64 | None = None


def read_result(path: Path, topic: str = "") -> SequenceTracks:
    """Reads what a tracker published.

    Args:
        path: `.txt` (MOTChallenge), `.jsonl` of `alstm track`, or a bag with a `Detection2DArray` topic.
        topic: that topic, where the bag holds several.

    Returns:
        The tracks; a bag recorded live gives latencies, JSON Lines and a TrackArray the detector's own boxes.

    Raises:
        DataError: it cannot be read.
    """
    if path.suffix == ".jsonl":
        return _read_jsonl(path)
    if path.suffix == ".txt":
        return SequenceTracks(path.stem, read_labels(path, truth=False))
    return _read_bag(path, topic)


def read_truth(path: Path, topic: str = "") -> SequenceTracks:
    """Reads ground truth.

    Args:
        path: a MOTChallenge `gt.txt`, a COCO file of `alstm export-labels`, or a bag with a `Detection2DArray` topic.
        topic: that topic, where the bag holds several.

    Returns:
        The ground truth; length and frame rate from a `seqinfo.ini` beside the text where there is one.

    Raises:
        DataError: it cannot be read.
    """
    if path.suffix not in {".txt", ".json"}:
        return _read_bag(path, topic)
    info = seqinfo_of(path)
    if path.suffix == ".json" or (info and info.parent == path.parent and read_ini(info).has_section(SECTION)):
        sparse = read_sparse(path)
        return SequenceTracks(sparse.name, sparse.labels, fps=sparse.fps, labelled=sparse.frames)
    facts = read_sequence(info) if info else None
    labels = read_labels(path, truth=True, length=facts.length if facts else None)
    return SequenceTracks(name_of(path), labels, fps=facts.fps if facts else 0.0)


def seqinfo_of(path: Path) -> Path | None:
    """The `seqinfo.ini` that belongs to a `gt.txt`, in its folder or, in MOTChallenge's own layout, one above."""
    for folder in (path.parent, path.parent.parent):
        if (folder / "seqinfo.ini").is_file():
            return folder / "seqinfo.ini"
    return None


def name_of(path: Path) -> str:
    """A sequence's name: a file's, or its folder's where the file is called `gt.txt`."""
    if path.name == "gt.txt":
        folder = path.resolve().parent
        return folder.parent.name if folder.name == "gt" else folder.name
    return path.name.split(".")[0] if path.is_file() else path.name


def _read_jsonl(path: Path) -> SequenceTracks:
    rows = LabelRows(LeftOut(path.name, "box"))
    lines = LeftOut(path.name, "line")
    stamps: dict[int, int] = {}
    try:
        with path.open(encoding="utf-8") as file:
            for number, text in enumerate(file, 1):
                try:
                    _read_line(json.loads(text), rows, stamps, f"line {number}")
                except (ValueError, KeyError, TypeError, IndexError, RecursionError):  # noqa: PERF203  # each line for itself
                    lines.add("it is none of 'alstm track'", f"line {number}")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no JSON Lines file of 'alstm track': {error}.") from error
    if lines and not stamps:
        raise DataError(f"{path} is no JSON Lines file of 'alstm track': none of its lines is one.")
    length = max(stamps, default=0)
    # A frame that was left out as damaged has no line; its neighbours' time keeps the stamps ascending.
    known = np.array(sorted(stamps), np.int64)
    between = np.interp(np.arange(1, length + 1), known, [stamps[int(n)] for n in known]).tolist() if length else []
    listed = [stamps.get(n, int(time)) for n, time in enumerate(between, 1)]
    try:
        labels, raw = rows.labels(length, listed), rows.labels(length, listed, raw=True)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return SequenceTracks(name_of(path), labels, raw, problems=lines.sentences())


def _read_line(line: Any, rows: LabelRows, stamps: dict[int, int], place: str) -> None:
    """One frame; raises what a line that is no frame's raises."""
    frame, stamp_ns = line["frame"], line["stamp_ns"]
    if not is_frame(frame) or frame in stamps or not 0 <= stamp_ns < 2**63:
        raise ValueError(frame)
    tracks = line["tracks"]
    stamps[frame] = int(stamp_ns)
    for item in tracks:
        seen = item["detection"] is not None
        if seen and item["detection"] < 0:
            raise IndexError(item["detection"])
        if item.get("published", item["state"] == "confirmed" and seen):
            found = line["detections"][item["detection"]] if seen else item  # a published box may coast
            row = LabelRow(frame, item["id"], item["class"], item["box"], item["score"])
            rows.add(row, place, (found["box"], found["score"]))


def _read_bag(path: Path, topic: str) -> SequenceTracks:
    # Imported here: text needs no rosbags.
    from alstm_ros.recordings.bag import Bag  # noqa: PLC0415
    from alstm_ros.recordings.bag_images import choose_topic, stamp_of  # noqa: PLC0415
    from alstm_ros.recordings.messages import DETECTIONS, TRACKS  # noqa: PLC0415

    bag = Bag(path)
    chosen = choose_topic(bag, topic, (DETECTIONS,), "detection")
    beside = chosen.rsplit("/", 1)[0] + "/tracks"
    kinds = {item.name: item.type for item in bag.topics}
    raw = _raw_boxes(bag, beside, stamp_of) if kinds.get(beside) == TRACKS else {}
    rows = LabelRows(LeftOut(path.name, "detection"))
    damaged = LeftOut(path.name, "message")
    stamps: list[int] = []
    latencies: list[float] = []
    keyless = 0
    for message in bag.read([chosen]):
        try:
            fields = bag.decode(message)
            found = list(detections_of(fields))
        except (DataError, AttributeError, ValueError) as error:
            damaged.add(f"it is no {DETECTIONS} that can be read ({error})", f"the one at {message.log_ns} ns")
            continue
        stamp_ns = stamp_of(fields.header, message.log_ns)
        stamps.append(stamp_ns)
        latencies.append((message.log_ns - stamp_ns) / MILLISECOND)
        for item in found:
            keyless += not item.key
            row = LabelRow(len(stamps), item.key, item.class_id, item.box, item.score)
            rows.add(row, f"the message stamped {stamp_ns} ns", raw.get((stamp_ns, item.key)))
    if keyless:
        raise DataError(f"Detections on {chosen} of {path} carry no id; only ones with ids can be scored as tracks.")
    if damaged and not stamps:
        raise DataError(f"{path} holds no detections that can be read: {' '.join(damaged.sentences())}")
    try:
        labels = rows.labels(len(stamps), stamps)
        unrefined = rows.labels(len(stamps), stamps, raw=True) if raw else None
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    live = np.array(latencies) if any(latencies) else np.zeros(0)  # offline bags are logged at the stamps themselves
    return SequenceTracks(name_of(path), labels, unrefined, live, problems=(*bag.problems, *damaged.sentences()))


def _raw_boxes(bag: Any, topic: str, stamp_of: Any) -> dict[tuple[int, str], tuple[object, object]]:
    """The detector's own box and score by stamp and id."""
    found: dict[tuple[int, str], tuple[object, object]] = {}
    for message in bag.read([topic]):
        with contextlib.suppress(DataError, AttributeError, ValueError):  # damaged, or of before there were raw boxes
            fields = bag.decode(message)
            stamp_ns = stamp_of(fields.header, message.log_ns)
            for item in fields.tracks:
                if item.raw_bbox.size_x > 0:
                    found[stamp_ns, item.id] = corners_of(item.raw_bbox), item.raw_score
    return found


def align(truth: SequenceTracks, result: SequenceTracks) -> SequenceTracks:
    """Gives a result the frame numbers of its ground truth.

    By stamps where both have them. Otherwise a frame's number in the one is its number in the other.

    Args:
        truth: the ground truth.
        result: what a tracker published.

    Returns:
        The result; frames that the ground truth lacks are left out and told in `problems`.

    Raises:
        DataError: the two share no stamp, or a bag's frames cannot be told from one another.
    """
    stamped = len(result.labels.stamps_ns) > 0
    if not (stamped and len(truth.labels.stamps_ns)):
        # A bag numbers its frames by messages: right only if there is one for every frame.
        if stamped and len(result.latencies_ms) and result.labels.length != truth.labels.length:
            raise DataError(
                f"{result.name} was recorded live and has {result.labels.length} frames, its ground truth "
                f"{truth.labels.length}, without stamps; frames were dropped, and nothing tells which."
            )
        return result
    place = {int(stamp): i for i, stamp in enumerate(truth.labels.stamps_ns, 1)}
    numbers = np.array([place.get(int(stamp), 0) for stamp in result.labels.stamps_ns], np.int64)
    if not numbers.any():
        raise DataError(f"No frame of {result.name} has the stamp of a frame of its ground truth.")
    problems = result.problems
    strangers = int((numbers == 0).sum())
    if strangers:
        problems += (f"{strangers} frames of {result.name} have no ground truth and are left out.",)
    raw = None if result.raw is None else _renumbered(result.raw, numbers, truth.labels)
    labels = replace(_renumbered(result.labels, numbers, truth.labels), problems=result.labels.problems)
    return SequenceTracks(result.name, labels, raw, result.latencies_ms, result.fps, problems)


def _renumbered(labels: Labels, numbers: np.ndarray[Any, np.dtype[np.int64]], truth: Labels) -> Labels:
    frames = numbers[labels.frames - 1]
    part = labels.select(frames > 0)
    return make_labels(
        frames[frames > 0],
        part.ids,
        part.boxes,
        part.scores,
        part.classes,
        names=part.names,
        length=truth.length,
        stamps_ns=truth.stamps_ns,
    )

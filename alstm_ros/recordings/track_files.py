"""Tracks and ground truth from whatever file they stand in: MOTChallenge text, JSON Lines, a bag."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from alstm_ros.errors import DataError
from alstm_ros.recordings.labels import Labels, make_labels
from alstm_ros.recordings.mot import read_labels, read_sequence
from alstm_ros.recordings.sparse_labels import read_sparse
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


@dataclass(slots=True)
class _Rows:
    """Boxes as they are read; ids and class names are texts until the end."""

    frames: list[int] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    boxes: list[Sequence[float]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    raw_boxes: list[Sequence[float]] = field(default_factory=list)
    raw_scores: list[float] = field(default_factory=list)

    def labels(self, length: int, stamps: Sequence[int], *, raw: bool = False) -> Labels:
        numbers = {key: int(key) if key.isdecimal() else None for key in set(self.ids)}
        if None in numbers.values():  # a prefix, or a person's own names: any numbers will do that differ
            numbers = {key: i for i, key in enumerate(dict.fromkeys(self.ids), 1)}
        names = tuple(dict.fromkeys(self.classes))
        return make_labels(
            np.array(self.frames, np.int64),
            np.array([numbers[key] for key in self.ids], np.int64),
            np.array(self.raw_boxes if raw else self.boxes, np.float64),
            np.array(self.raw_scores if raw else self.scores, np.float64),
            np.array([names.index(name) for name in self.classes], np.int64),
            names=names,
            length=length,
            stamps_ns=np.array(stamps, np.int64),
        )


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
    if path.suffix == ".json" or (info and info.parent == path.parent and "[Labels]" in info.read_text("utf-8")):
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
    rows = _Rows()
    stamps: dict[int, int] = {}
    try:
        with path.open(encoding="utf-8") as file:
            for text in file:
                line = json.loads(text)
                stamps[line["frame"]] = line["stamp_ns"]
                for item in line["tracks"]:
                    seen = item["detection"] is not None
                    if item.get("published", item["state"] == "confirmed" and seen):
                        found = line["detections"][item["detection"]] if seen else item  # a published box may coast
                        _append(rows, line["frame"], item["id"], item["class"], item["box"], item["score"])
                        rows.raw_boxes.append(found["box"])
                        rows.raw_scores.append(found["score"])
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(f"{path} is no JSON Lines file of 'alstm track': {error!r}.") from error
    length = max(stamps, default=0)
    # A frame that was left out as damaged has no line; its neighbours' time keeps the stamps ascending.
    known = np.array(sorted(stamps), np.int64)
    between = np.interp(np.arange(1, length + 1), known, [stamps[int(n)] for n in known]).tolist() if length else []
    listed = [stamps.get(n, int(time)) for n, time in enumerate(between, 1)]
    labels = rows.labels(length, listed)
    return SequenceTracks(name_of(path), labels, rows.labels(length, listed, raw=True))


def _append(rows: _Rows, frame: int, key: str, name: str, box: Sequence[float], score: float) -> None:
    rows.frames.append(frame)
    rows.ids.append(key)
    rows.classes.append(name)
    rows.boxes.append(box)
    rows.scores.append(score)


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
    rows = _Rows()
    stamps: list[int] = []
    latencies: list[float] = []
    for message in bag.read([chosen]):
        fields = bag.decode(message)
        stamp_ns = stamp_of(fields.header, message.log_ns)
        stamps.append(stamp_ns)
        latencies.append((message.log_ns - stamp_ns) / MILLISECOND)
        for item in fields.detections:
            box = _corners(item.bbox)
            best = item.results[0].hypothesis if item.results else None
            _append(rows, len(stamps), item.id, best.class_id if best else "", box, best.score if best else 1.0)
            raw_box, raw_score = raw.get((stamp_ns, item.id), (box, rows.scores[-1]))
            rows.raw_boxes.append(raw_box)
            rows.raw_scores.append(raw_score)
    if "" in rows.ids:
        raise DataError(f"Detections on {chosen} of {path} carry no id; only ones with ids can be scored as tracks.")
    labels = rows.labels(len(stamps), stamps)
    live = np.array(latencies) if any(latencies) else np.zeros(0)  # offline bags are logged at the stamps themselves
    unrefined = rows.labels(len(stamps), stamps, raw=True) if raw else None
    return SequenceTracks(name_of(path), labels, unrefined, live, problems=tuple(bag.problems))


def _raw_boxes(bag: Any, topic: str, stamp_of: Any) -> dict[tuple[int, str], tuple[Sequence[float], float]]:
    """The detector's own box and score by stamp and id."""
    found: dict[tuple[int, str], tuple[Sequence[float], float]] = {}
    for message in bag.read([topic]):
        fields = bag.decode(message)
        stamp_ns = stamp_of(fields.header, message.log_ns)
        for item in fields.tracks:
            if item.raw_bbox.size_x > 0:
                found[stamp_ns, item.id] = _corners(item.raw_bbox), item.raw_score
    return found


def _corners(box: Any) -> Sequence[float]:
    centre = box.center.position
    half_x, half_y = box.size_x / 2, box.size_y / 2
    return centre.x - half_x, centre.y - half_y, centre.x + half_x, centre.y + half_y


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
    labels = _renumbered(result.labels, numbers, truth.labels)
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

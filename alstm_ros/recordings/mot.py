"""MOTChallenge text: detections, ground truth, results, sequence facts, camera motion; `mot_sink.py` writes it.

Rows are `frame,id,left,top,width,height,score,class,visibility`, frames from 1 (https://motchallenge.net/instructions/).
Ground truth has in the place of the score whether the row counts; MOT15 has world coordinates after it.
"""

from __future__ import annotations

import configparser
import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alstm_ros.errors import DataError
from alstm_ros.recordings.frames import DetectionFrame
from alstm_ros.recordings.labels import Labels, frame_starts, make_labels
from alstm_ros.recordings.left_out import FARTHEST, MOST_FRAMES, LeftOut
from alstm_ros.recordings.number_table import NumberTable, read_table
from alstm_ros.types import SECOND, Affine, Detections, Float32, Float64

CLASSES = 13
"""MOT16's and later class numbers run from 1 (pedestrian) to 13."""
SMALLEST_SCALE = 1e-4
"""The share of an area that a camera's motion between two frames leaves at least; less is no motion of a camera."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """What `seqinfo.ini` says.

    Attributes:
        name: the sequence's name; its folder's where the file has none.
        fps: frames a second; 0 where the file does not say.
        length: number of frames; None where the file does not say.
        width: of the images, pixels; 0 where the file does not say.
        height: of the images, pixels; 0 where the file does not say.
    """

    name: str
    fps: float
    length: int | None
    width: int
    height: int


def read_sequence(path: Path) -> Sequence:
    """Reads a `seqinfo.ini`.

    Raises:
        DataError: it cannot be read, has no section `[Sequence]`, or an entry is no number that could be meant.
    """
    part = read_ini(path)
    if not part.has_section("Sequence"):
        raise DataError(f"{path} is no MOTChallenge seqinfo.ini: it has no section [Sequence].")
    facts = part["Sequence"]
    length = _entry(path, facts, "seqLength", MOST_FRAMES)
    name = facts.get("name") or path.resolve().parent.name
    if not re.fullmatch(r"[^/\\\x00-\x1f]{1,200}", name) or name in (".", ".."):  # it becomes part of files' names
        raise DataError(
            f"{path} names its sequence {name[:200]!r}; a name is no path, and has 200 letters at the most."
        )
    return Sequence(
        name,
        _entry(path, facts, "frameRate", 1e6) or 0.0,
        None if length is None else int(length),
        int(_entry(path, facts, "imWidth", 1e6) or 0),
        int(_entry(path, facts, "imHeight", 1e6) or 0),
    )


def read_ini(path: Path) -> configparser.ConfigParser:
    """Reads an ini file; `%` is a character like others.

    Raises:
        DataError: it cannot be read.
    """
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        raise DataError(f"{path} is no MOTChallenge seqinfo.ini: {error}.") from error
    return parser


def _entry(path: Path, facts: configparser.SectionProxy, name: str, most: float) -> float | None:
    """A number from 0 to `most`; None where there is no such entry."""
    text = facts.get(name, "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= most or (name != "frameRate" and value != int(value)):  # false for NaN, too
        raise DataError(f"{path} is no MOTChallenge seqinfo.ini: {name} is '{text}'.")
    return value


def read_labels(path: Path, *, truth: bool, length: int | None = None) -> Labels:
    """Reads ground truth or a tracker's results.

    Args:
        path: the file.
        truth: whether it is ground truth, whose seventh column says if a row counts.
        length: number of frames; the last frame with a row when None.

    Returns:
        Rows with ids; classes are MOTChallenge's numbers, 1 where the file has none.

    Raises:
        DataError: it cannot be read, or is no such file.
    """
    table = read_table(path, 6 if truth else 7, keyed=True)
    return table_labels(path, table, truth=truth, length=length)


def table_labels(
    path: Path, table: NumberTable, *, truth: bool, length: int | None = None, names: tuple[str, ...] = ()
) -> Labels:
    """The labels that a table holds; see read_labels.

    Args:
        path: the table's file, for sentences.
        table: from read_table.
        truth: whether it is ground truth.
        length: number of frames, or None.
        names: class names, where the eighth column counts them from 1.
    """
    columns = _columns(table.values, 8)
    faults = {
        "its frame is no number of a frame": (columns[:, 0] != np.round(columns[:, 0])) | (columns[:, 0] > MOST_FRAMES)
    }
    faults["its box is no place in an image"] = np.any(np.abs(columns[:, 2:6]) > FARTHEST, axis=1)
    classes = np.ones(len(columns))
    if names or has_classes(columns[table.good]):
        classes = columns[:, 7]
        known = f"the class numbers 1 to {len(names) or CLASSES}"
        faults[f"its class is none of {known}"] = ~np.isin(classes, np.arange(1, (len(names) or CLASSES) + 1))
    keep = _kept(table, faults)
    counted = (columns[:, 6] != 0)[keep] if truth else None  # a missing cell, NaN, counts
    corners = np.concatenate([columns[:, 2:4], columns[:, 2:4] + columns[:, 4:6]], axis=1)
    try:
        labels = make_labels(
            columns[keep, 0],
            table.ids[keep],
            corners[keep],
            np.ones(int(keep.sum())) if truth else columns[keep, 6],
            classes[keep] - 1 if names else classes[keep],
            counted=counted,
            names=names,
            length=length,
        )
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return dataclasses.replace(labels, problems=table.left_out.sentences())


def _columns(values: Float64, count: int) -> Float64:
    """At least so many columns; those that the file lacks are NaN."""
    missing = max(count - values.shape[1], 0)
    return np.pad(values, ((0, 0), (0, missing)), constant_values=np.nan)


def _kept(table: NumberTable, faults: dict[str, NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """`(R,)` bool: the good rows without a fault; the others are counted in the table's `left_out`."""
    keep: NDArray[np.bool_] = table.good.copy()
    for reason, fault in faults.items():
        for _ in range(int((keep & fault).sum())):
            table.left_out.add(reason)
        keep &= ~fault
    return keep


def has_classes(columns: Float64) -> bool:
    """Whether the eighth column holds class numbers, not MOT15's world coordinates or -1."""
    if columns.shape[1] < 8:
        return False
    column = columns[:, 7]
    known = column[np.isfinite(column) & (column != -1)]
    return len(known) > 0 and bool(np.all((known == np.round(known)) & (known >= 1) & (known <= CLASSES)))


def read_camera_motion(path: Path, length: int) -> tuple[dict[int, Affine], LeftOut]:
    """Reads `gmc.txt`: `row a b tx c d ty`, which takes pixels of the previous frame to those of a frame.

    A file with fewer rows than frames covers the last ones.

    Args:
        path: the file.
        length: number of frames of the sequence.

    Returns:
        Frame number to `(2, 3)` affine, and the rows without a motion that could be.

    Raises:
        DataError: it cannot be read, or has more rows than there are frames.
    """
    table = read_table(path, 7)
    if len(table.values) > length:
        raise DataError(f"{path} has {len(table.values)} rows for {length} frames; there can be one a frame.")
    first = length - len(table.values) + 1
    motion = table.values[:, 1:7].reshape(-1, 2, 3)
    scale = motion[:, 0, 0] * motion[:, 1, 1] - motion[:, 0, 1] * motion[:, 1, 0]
    fault = ~(np.isfinite(scale) & (scale > SMALLEST_SCALE) & (np.abs(motion) < FARTHEST).all(axis=(1, 2)))
    keep = _kept(table, {"its motion leaves nothing of the image": fault})
    return {first + i: motion[i] for i in np.flatnonzero(keep).tolist()}, table.left_out


class MotDetections:
    """A MOTChallenge detection file as a source; every frame of the sequence, those without detections too."""

    def __init__(
        self,
        detections: Path,
        sequence: Path,
        camera_motion: Path | None = None,
    ) -> None:
        """Reads the files.

        Args:
            detections: `det.txt`; ids are ignored, scores outside 0..1 are brought to the nearer end.
            sequence: `seqinfo.ini`.
            camera_motion: `gmc.txt`, or None.

        Raises:
            DataError: a file cannot be read, or does not fit the others.
        """
        self.facts = read_sequence(sequence)
        self.name = self.facts.name
        if not self.facts.fps:
            raise DataError(f"{sequence} lacks frameRate, the frames a second; without it the frames have no times.")
        table = read_table(detections, 7)
        columns = table.values
        size = {
            "its box has no size": np.any(columns[:, 4:6] <= 0, axis=1),
            "its box is no place in an image": np.any(np.abs(columns[:, 2:6]) > FARTHEST, axis=1),
        }
        rows = columns[_kept(table, size)]
        rows = rows[np.argsort(rows[:, 0], kind="stable")]
        last = self.facts.length
        if len(rows) and not (rows[0, 0] >= 1 and rows[-1, 0] <= (MOST_FRAMES if last is None else last)):
            raise DataError(
                f"{detections} has frames {rows[0, 0]:g} to {rows[-1, 0]:g}; "
                f"{sequence} allows 1 to {last or MOST_FRAMES}."
            )
        self.length = last if last is not None else int(rows[-1, 0]) if len(rows) else 0
        self.problems: list[str] = list(table.left_out.sentences())
        boxes = np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1).astype(np.float32)
        scores = self._scores(rows[:, 6], detections.name)
        self._found = Detections(boxes, scores, np.zeros(len(rows), np.int64))
        self._rows = frame_starts(rows[:, 0], self.length, first=1)
        self._motion: dict[int, Affine] = {}
        if camera_motion:
            self._motion, left_out = read_camera_motion(camera_motion, self.length)
            self.problems += left_out.sentences()

    def _scores(self, scores: Float64, name: str) -> Float32:
        """Scores in 0..1; where all are -1, which MOTChallenge writes for what is not known, they are 1."""
        if len(scores) and (scores == -1).all():
            self.problems.append(f"Every score of {name} is -1, which says that none is known; 1 is taken.")
            scores = np.ones(len(scores))
        elif len(scores) and scores.max() <= 0:
            self.problems.append(f"No score of {name} is above 0, so none of its detections is used.")
        return np.clip(scores, 0, 1).astype(np.float32)

    def __iter__(self) -> Iterator[tuple[int, DetectionFrame]]:
        """One frame after the other."""
        for number in range(1, self.length + 1):
            found = self._found[self._rows[number - 1] : self._rows[number]]
            stamp_ns = round((number - 1) * SECOND / self.facts.fps)
            yield number, DetectionFrame(found, stamp_ns, self._motion.get(number))

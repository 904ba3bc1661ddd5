"""MOTChallenge text: detections, ground truth, results, sequence facts, camera motion; `mot_sink.py` writes it.

Rows are `frame,id,left,top,width,height,score,class,visibility`, frames from 1 (https://motchallenge.net/instructions/).
Ground truth has in the place of the score whether the row counts; MOT15 has world coordinates after it.
"""

from __future__ import annotations

import configparser
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alstm_ros.errors import DataError
from alstm_ros.recordings.frames import DetectionFrame
from alstm_ros.recordings.labels import Labels, frame_starts, make_labels
from alstm_ros.types import SECOND, Affine, Detections, Float64

CLASSES = 13
"""MOT16's and later class numbers run from 1 (pedestrian) to 13."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """What `seqinfo.ini` says.

    Attributes:
        name: the sequence's name.
        fps: frames a second.
        length: number of frames.
        width: of the images, pixels.
        height: of the images, pixels.
    """

    name: str
    fps: float
    length: int
    width: int
    height: int


def read_sequence(path: Path) -> Sequence:
    """Reads a `seqinfo.ini`.

    Raises:
        DataError: it cannot be read, or lacks an entry.
    """
    parser = configparser.ConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
        part = parser["Sequence"]
        found = Sequence(
            part["name"],
            float(part["frameRate"]),
            int(part["seqLength"]),
            int(part["imWidth"]),
            int(part["imHeight"]),
        )
    except (OSError, UnicodeDecodeError, configparser.Error, KeyError, ValueError) as error:
        raise DataError(f"{path} is no MOTChallenge seqinfo.ini: {error}.") from error
    if found.fps <= 0 or found.length < 0:
        raise DataError(f"{path} gives {found.fps:g} frames a second and {found.length} frames; that cannot be.")
    return found


def read_table(path: Path, columns: int) -> Float64:
    """Reads numbers separated by commas or blanks.

    Args:
        path: the file.
        columns: how many there must at least be.

    Returns:
        `(R, columns or more)` float64.

    Raises:
        DataError: it cannot be read, or is no such table.
    """
    try:
        lines = path.read_text(encoding="utf-8").replace(",", " ").splitlines()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # numpy warns of an empty file, which is a table without rows
            table = np.loadtxt(lines, np.float64, ndmin=2)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise DataError(f"{path} is no table of numbers: {error}.") from error
    if not table.size:
        return np.zeros((0, columns))
    if table.shape[1] < columns:
        raise DataError(f"{path} has {table.shape[1]} columns; it must have at least {columns}.")
    return table


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
    table = read_table(path, 7 if not truth else 6)
    if truth and table.shape[1] == 6:  # such as a detector's teacher writes
        table = np.concatenate([table, np.ones((len(table), 1))], axis=1)
    corners = np.concatenate([table[:, 2:4], table[:, 2:4] + table[:, 4:6]], axis=1)
    try:
        return make_labels(
            table[:, 0],
            table[:, 1],
            corners,
            np.ones(len(table)) if truth else table[:, 6],
            table[:, 7] if has_classes(table) else np.ones(len(table)),
            counted=table[:, 6] != 0 if truth else None,
            length=length,
        )
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def has_classes(table: Float64) -> bool:
    """Whether the eighth column holds class numbers, not MOT15's world coordinates or -1."""
    if table.shape[1] < 8 or not len(table):
        return False
    column = table[:, 7]
    return bool(np.all((column == np.round(column)) & (column >= 1) & (column <= CLASSES)))


def read_camera_motion(path: Path, length: int) -> dict[int, Affine]:
    """Reads `gmc.txt`: `row a b tx c d ty`, which takes pixels of the previous frame to those of a frame.

    A file with fewer rows than frames covers the last ones.

    Args:
        path: the file.
        length: number of frames of the sequence.

    Returns:
        Frame number to `(2, 3)` affine.

    Raises:
        DataError: it cannot be read, or has more rows than there are frames.
    """
    table = read_table(path, 7)
    if len(table) > length:
        raise DataError(f"{path} has {len(table)} rows for {length} frames; there can be one a frame.")
    first = length - len(table) + 1
    return {first + i: row[1:7].reshape(2, 3) for i, row in enumerate(table)}


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
        self.problems: list[str] = []
        table = read_table(detections, 7)
        table = table[np.argsort(table[:, 0], kind="stable")]
        if len(table) and not (table[0, 0] >= 1 and table[-1, 0] <= self.facts.length):
            raise DataError(
                f"{detections} has frames {table[0, 0]:g} to {table[-1, 0]:g}; "
                f"{sequence} allows 1 to {self.facts.length}."
            )
        boxes = np.concatenate([table[:, 2:4], table[:, 2:4] + table[:, 4:6]], axis=1).astype(np.float32)
        self._found = Detections(boxes, np.clip(table[:, 6], 0, 1).astype(np.float32), np.zeros(len(table), np.int64))
        self._rows = frame_starts(table[:, 0], self.facts.length, first=1)
        self._motion = read_camera_motion(camera_motion, self.facts.length) if camera_motion else {}

    @property
    def length(self) -> int:
        """The number of frames."""
        return self.facts.length

    def __iter__(self) -> Iterator[tuple[int, DetectionFrame]]:
        """One frame after the other."""
        for number in range(1, self.length + 1):
            found = self._found[self._rows[number - 1] : self._rows[number]]
            stamp_ns = round((number - 1) * SECOND / self.facts.fps)
            yield number, DetectionFrame(found, stamp_ns, self._motion.get(number))

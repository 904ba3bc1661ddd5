"""Labels put together box by box from a file from outside; each cell is checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeGuard

import numpy as np

from alstm_ros.recordings.labels import Labels, make_labels
from alstm_ros.recordings.left_out import FARTHEST, MOST_FRAMES, LeftOut
from alstm_ros.recordings.number_table import distinct
from alstm_ros.types import Int64


class LabelRow(NamedTuple):
    """One box as a file has it; nothing about it is certain.

    Attributes:
        frame: the frame's number, from 1.
        key: the object's id.
        name: its class.
        box: left, top, right, bottom in pixels.
        score: in 0..1.
    """

    frame: object
    key: object
    name: object
    box: object
    score: object


@dataclass(slots=True)
class LabelRows:
    """Boxes as they are read; ids and class names are texts until the end.

    Attributes:
        left_out: rows that cannot be used.
    """

    left_out: LeftOut
    _rows: list[tuple[int, str, str, Sequence[float], float]] = field(default_factory=list)
    _raw: list[tuple[Sequence[float], float]] = field(default_factory=list)

    def add(self, row: LabelRow, place: str = "", raw: tuple[object, object] | None = None) -> None:
        """Takes one box, or counts it among those left out.

        Args:
            row: the box.
            place: where it stands in the file.
            raw: the detector's own box and score; None where they are not known.
        """
        frame, key, name, box, score = row
        raw_box, raw_score = (box, score) if raw is None else raw
        if not is_frame(frame):
            self.left_out.add("its frame is no number of a frame", place)
        elif not (isinstance(key, str) or _is_whole(key)) or key == "":
            self.left_out.add("it has no id", place)
        elif not isinstance(name, str):
            self.left_out.add("its class is no name", place)
        elif not (_is_box(box) and _is_box(raw_box)):
            self.left_out.add("its box is no place in an image", place)
        elif not (_is_number(score) and _is_number(raw_score)):
            self.left_out.add("its score is no finite number", place)
        else:
            self._rows.append((frame, str(key), name, box, score))  # type: ignore[arg-type]  # checked
            self._raw.append((raw_box, raw_score))  # type: ignore[arg-type]  # likewise

    def labels(self, length: int, stamps: Sequence[int] = (), *, raw: bool = False) -> Labels:
        """What was taken.

        Args:
            length: number of frames.
            stamps: the frames' stamps, nanoseconds; empty where unknown.
            raw: the detector's own boxes and scores instead.

        Raises:
            DataError: a frame lies beyond the length, or an id stands twice in a frame.
        """
        names = tuple(dict.fromkeys(name for _, _, name, _, _ in self._rows))
        index = {name: place for place, name in enumerate(names)}
        parts = self._raw if raw else [(box, score) for *_, box, score in self._rows]
        made = make_labels(
            np.array([row[0] for row in self._rows], np.int64),
            numbered([row[1] for row in self._rows]),
            np.array([box for box, _ in parts], np.float64),
            np.array([score for _, score in parts], np.float64),
            np.array([index[row[2]] for row in self._rows], np.int64),
            names=names,
            length=length,
            stamps_ns=np.array(stamps, np.int64),
        )
        return replace(made, problems=self.left_out.sentences())


def numbered(keys: Sequence[str]) -> Int64:
    """`(R,)` int64: ids as numbers; those that are none, or that would fall together, become 1, 2, 3 ..."""
    different = dict.fromkeys(keys)
    if all(key.isascii() and key.removeprefix("-").isdecimal() for key in different):
        values = [int(key) for key in keys]
        if len(set(values)) == len(different):
            return distinct(values)
    places = {key: place for place, key in enumerate(different, 1)}
    return np.array([places[key] for key in keys], np.int64).reshape(-1)


def is_frame(value: object) -> TypeGuard[int]:
    """Whether it can be a frame's number."""
    return _is_whole(value) and 1 <= value <= MOST_FRAMES


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_box(value: object) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and len(value) == 4
        and all(_is_number(side) and abs(side) <= FARTHEST for side in value)
    )

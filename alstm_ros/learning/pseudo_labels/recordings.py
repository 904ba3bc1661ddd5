"""Bootstrapped recordings on disk: written part by part, and read part by part as training draws from them.

A recording is one .npz file, whose arrays are those of `pairs.Pairs`, once for each part: `000000/boxes`,
`000000/scores`, ..., `000001/boxes`, ... A part stands for itself: its tracklets end with it. `index` holds, for each
part, how many frames it has and how many of them a person labelled, `(parts, 2)` int64.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from alstm_ros.errors import DataError
from alstm_ros.learning.pseudo_labels.footage import PseudoLabels
from alstm_ros.recordings.frames import DetectionFrame

FRAMES = 3000
"""Frames with which a part ends."""
DETECTIONS = 60_000
"""Detections with which a part ends that has at least LEAST frames."""
LEAST = 600
"""Frames that a part has at least before its detections end it."""
KEPT = 4
"""Parts that a process keeps in memory."""

F = TypeVar("F", bound=DetectionFrame)


class LabelSource(Protocol):
    """Pseudo-labelled frames of one camera, read part by part."""

    def __len__(self) -> int:
        """The number of frames."""
        ...

    def parts(self) -> Iterator[PseudoLabels]:
        """All parts, in their order."""
        ...

    def part(self, rng: np.random.Generator) -> PseudoLabels:
        """One part, drawn with a probability that grows with its length."""
        ...


def in_parts(frames: Iterable[tuple[int, F]]) -> Iterator[list[tuple[int, F]]]:
    """Cuts a recording's frames into parts, one of which is in memory at a time; an empty recording is one part."""
    part: list[tuple[int, F]] = []
    cut, detections = 0, 0
    for number, frame in frames:
        if len(part) >= FRAMES or (len(part) >= LEAST and detections >= DETECTIONS):
            yield part
            part, detections, cut = [], 0, cut + 1
        part.append((number, frame))
        detections += len(frame.detections)
    if part or not cut:
        yield part


def write_recording(path: Path, parts: Iterable[PseudoLabels]) -> None:
    """Writes a recording, at once or not at all; takes one part after the other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.part")
    index = []
    try:
        with zipfile.ZipFile(fresh, "w", zipfile.ZIP_DEFLATED) as archive:

            def add(name: str, array: np.ndarray) -> None:
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)

            for place, footage in enumerate(parts):
                for column in fields(PseudoLabels):
                    add(f"{place:06}/{column.name}", getattr(footage, column.name))
                index.append((len(footage), footage.labelled))
            add("index", np.array(index, np.int64).reshape(-1, 2))
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Span:
    """Some frames of a part.

    Attributes:
        place: which part.
        first: its first frame that is meant,
        last: and the one after the last.
        labelled: how many frames of the whole part a person labelled.
    """

    place: int
    first: int
    last: int
    labelled: int


@dataclass(frozen=True, slots=True)
class LabelledRecording:
    """A recording on disk, or some frames of it. Parts are read when they are asked for.

    Attributes:
        path: the file.
        age: when it was written, nanoseconds; a file that was written again is read again.
        spans: its frames.
    """

    path: Path
    age: int
    spans: tuple[Span, ...]

    @classmethod
    def open(cls, path: Path) -> LabelledRecording:
        """Opens a file and reads how long its parts are.

        Raises:
            DataError: it is no file of bootstrapped pairs.
        """
        try:
            with np.load(path) as archive:
                index = archive["index"].tolist()
            age = path.stat().st_mtime_ns
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} is no file of bootstrapped pairs: {error}.") from error
        return cls(path, age, tuple(Span(place, 0, count, told) for place, (count, told) in enumerate(index)))

    def __len__(self) -> int:
        """The number of frames."""
        return sum(span.last - span.first for span in self.spans)

    @property
    def labelled(self) -> int:
        """The number of frames that a person labelled."""
        return sum(span.labelled for span in self.spans)

    def parts(self) -> Iterator[PseudoLabels]:
        """See LabelSource."""
        for span in self.spans:
            yield _read(self.path, self.age, span)

    def part(self, rng: np.random.Generator) -> PseudoLabels:
        """See LabelSource."""
        if len(self.spans) == 1:
            return _read(self.path, self.age, self.spans[0])
        lengths = np.array([span.last - span.first for span in self.spans], np.float64)
        return _read(self.path, self.age, self.spans[int(rng.choice(len(lengths), p=lengths / lengths.sum()))])

    def split_end(self, share: float) -> tuple[LabelledRecording, LabelledRecording]:
        """Splits off the end, which holds this share of the frames; returns the beginning and the end.

        A recording with frames that a person labelled is all beginning, since that work is not to be held out.
        """
        left = len(self) if self.labelled else len(self) - round(share * len(self))
        begin, end = [], []
        for span in self.spans:
            cut = span.first + min(left, span.last - span.first)
            begin += [replace(span, last=cut)] if cut > span.first else []
            end += [replace(span, first=cut)] if cut < span.last else []
            left -= cut - span.first
        return replace(self, spans=tuple(begin)), replace(self, spans=tuple(end))


@lru_cache(maxsize=KEPT)
def _read(path: Path, _age: int, span: Span) -> PseudoLabels:
    """The frames of a span; labels of pairs are there for whole parts alone."""
    try:
        with np.load(path) as archive:
            footage = PseudoLabels(
                **{column.name: archive[f"{span.place:06}/{column.name}"] for column in fields(PseudoLabels)}
            )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is no file of bootstrapped pairs: {error}.") from error
    return footage if (span.first, span.last) == (0, len(footage)) else footage.at(np.arange(span.first, span.last))


def open_recordings(folder: Path) -> list[LabelledRecording]:
    """Every recording of a folder, in the order of their names.

    Raises:
        DataError: there is none, or one cannot be read.
    """
    paths = sorted(folder.glob("*.npz"))
    if not paths:
        raise DataError(f"{folder} holds no bootstrapped recording (.npz); 'alstm bootstrap' writes them.")
    return [LabelledRecording.open(path) for path in paths]

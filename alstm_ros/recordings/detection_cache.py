"""Detections of a recording, made once and kept on disk in pieces, so that recordings of any length can be walked."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

import numpy as np

from alstm_ros.boxes import nms
from alstm_ros.camera_motion import CameraMotion
from alstm_ros.config import Config
from alstm_ros.errors import DataError
from alstm_ros.options import replace
from alstm_ros.pipeline import Detector, Frame
from alstm_ros.recordings.detector_pool import DetectorPool
from alstm_ros.recordings.frames import AnyFrame, DetectionFrame, FrameSource
from alstm_ros.recordings.prefetch import closing_walk
from alstm_ros.recordings.progress import progress_bar
from alstm_ros.types import Detections, Image

FLOOR = 0.05
"""Detections are kept down to this score, so that higher thresholds can be tried on them."""
UNKNOWN = np.full((2, 3), np.nan)
"""Instead of the camera's motion where that is not known."""
PIECE = 1000
"""Frames of a file of the cache."""
CLASSES = "classes.json"
"""The cache's last file."""
Numbered = tuple[int, DetectionFrame]
"""A frame and its number."""


@dataclass(slots=True)
class DetectedSource:
    """A recording as its detections: from the disk where they are there, else made while it is walked, and kept.

    Memory does not grow with its length.

    Attributes:
        source: images, or detections, which are taken as they are.
        config: all parameters; the detector's threshold is lowered to FLOOR. The camera's motion is read from the
            images where the config says so.
        load: opens the detector.
        path: where the source lies; part of the key, with size and age of each of its files.
        folder: where cached detections are kept.
        quiet: show no progress.
        whole: keep what overlaps a better box, too, so that other thresholds of overlap can be tried; see `select`.
        classes: class names, by class index, of the last walk.
        images: whether the last walk's detections came from images.
        last: the last walk's last number.
    """

    source: FrameSource
    config: Config
    load: Callable[[Config], Detector]
    path: Path
    folder: Path
    quiet: bool = False
    whole: bool = False
    classes: tuple[str, ...] = field(default=("pedestrian",), init=False)
    images: bool = field(default=False, init=False)
    last: int = field(default=0, init=False)

    @property
    def name(self) -> str:
        """See FrameSource."""
        return self.source.name

    @property
    def length(self) -> int:
        """Frames of the recording that was walked, those that could not be read included."""
        return max(self.source.length or 0, self.last)

    @property
    def problems(self) -> list[str]:
        """See FrameSource."""
        return self.source.problems

    def __iter__(self) -> Generator[Numbered, None, None]:
        """See FrameSource."""
        wide = replace(self.config, {"detector.score_threshold": min(FLOOR, self.config.detector.score_threshold)})
        if self.whole:
            wide = replace(wide, {"detector.nms_threshold": 1.0, "detector.max_detections": 10000})
        kept = self.folder / _key(self.path, wide, self.config)
        if (kept / CLASSES).is_file():
            self.images, self.classes = True, tuple(json.loads((kept / CLASSES).read_text(encoding="utf-8")))
            walk: Iterator[Numbered] = _load(kept)
        else:
            walk = self._made(wide, kept)
        with closing_walk(walk) as frames:
            for self.last, frame in frames:
                yield self.last, frame

    def _made(self, wide: Config, kept: Path) -> Generator[Numbered, None, None]:
        with closing_walk(self.source) as frames:
            first = list(islice(frames, 1))
            rest = chain(first, frames)
            if not first or not isinstance(first[0][1], Frame):
                yield from ((number, _detections(frame)) for number, frame in rest)
                return
            pool = DetectorPool.open(self.load, wide)
            self.images, self.classes = True, tuple(pool.detector.classes)
            with contextlib.ExitStack() as stack:
                bar = progress_bar(f"{self.name}: detecting", self.source.length, quiet=self.quiet)
                progress = stack.enter_context(bar)
                pieces = stack.enter_context(contextlib.closing(_CacheWriter(kept)))
                for number, frame in stack.enter_context(contextlib.closing(self._detected(pool, rest))):
                    pieces.add(number, frame)
                    progress.update()
                    yield number, frame
                if not self.problems:  # damaged recordings may be repaired
                    pieces.keep(self.classes)

    def _detected(self, pool: DetectorPool, frames: Iterator[tuple[int, AnyFrame]]) -> Generator[Numbered, None, None]:
        follower = CameraMotion(self.config.motion.camera)
        with contextlib.closing(pool.walk(frames, lambda item: pool.detector([_image(item[1])])[0])) as walk:
            for (number, frame), found in walk:
                moved = follower(_image(frame), select(found, self.config).boxes, frame.stamp_ns)
                yield number, DetectionFrame(found, frame.stamp_ns, moved)


@dataclass(frozen=True, slots=True)
class CachedSource:
    """A recording of which only the detections are left, all of them in memory.

    Attributes:
        name: the source's.
        frames: numbers and detections.
        classes: class names, by class index.
        length: number of frames of the recording, those that could not be read included.
        problems: what could not be read.
        whole: whether everything above FLOOR is there, also what overlaps a better box; see `select`.
    """

    name: str
    frames: tuple[Numbered, ...]
    classes: tuple[str, ...]
    length: int
    problems: tuple[str, ...] = ()
    whole: bool = False


def detect_all(source: DetectedSource) -> CachedSource:
    """Walks a recording and keeps every frame's detections in memory."""
    frames = tuple(source)
    whole = source.whole and source.images
    return CachedSource(source.name, frames, source.classes, source.length, tuple(source.problems), whole)


def select(found: Detections, config: Config) -> Detections:
    """What the detector would have returned of the detections of a whole cache, with these parameters."""
    rest = found[found.scores >= config.detector.score_threshold]
    best = nms(rest.boxes, rest.scores, rest.classes, config.detector.nms_threshold)
    return rest[best[: config.detector.max_detections]]


def _key(path: Path, wide: Config, config: Config) -> str:
    files = sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]
    facts = [(str(item.resolve()), item.stat().st_size, item.stat().st_mtime_ns) for item in files]
    model = Path(wide.detector.model)
    age = model.stat().st_mtime_ns if model.is_file() else 0
    moved = dataclasses.asdict(config) if config.motion.camera != "none" else {}  # seen where no object was detected
    text = json.dumps([3, facts, dataclasses.asdict(wide.detector), age, moved.get("motion"), moved.get("detector")])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class _CacheWriter:
    """Writes the frames of a recording in pieces, which count once the last one is there."""

    def __init__(self, kept: Path) -> None:
        """Makes a folder for the pieces; `kept` is the one that they become."""
        self._kept = kept
        self._part = kept.with_name(f"{kept.name}.{os.getpid()}.part")
        self._part.mkdir(parents=True, exist_ok=True)
        self._waiting: list[Numbered] = []
        self._pieces = 0

    def close(self) -> None:
        """Removes what was not kept."""
        shutil.rmtree(self._part, ignore_errors=True)

    def add(self, number: int, frame: DetectionFrame) -> None:
        """Takes the next frame."""
        self._waiting.append((number, frame))
        if len(self._waiting) == PIECE:
            self._write()

    def keep(self, classes: Sequence[str]) -> None:
        """That was all; another process may have been faster."""
        self._write()
        (self._part / CLASSES).write_text(json.dumps(classes), encoding="utf-8")
        with contextlib.suppress(OSError):
            self._part.rename(self._kept)

    def _write(self) -> None:
        _save(self._part / f"{self._pieces:06}.npz", self._waiting)
        self._pieces += 1
        self._waiting = []


def _image(frame: AnyFrame) -> Image:
    if not isinstance(frame, Frame):
        raise DataError("A recording holds images first and detections later; only one of them can be read.")
    return frame.image


def _detections(frame: AnyFrame) -> DetectionFrame:
    if isinstance(frame, Frame):
        raise DataError("A recording holds detections first and images later; only one of them can be read.")
    return frame


def _save(file: Path, frames: Sequence[Numbered]) -> None:
    found = [frame.detections for _, frame in frames]
    features = [item.features for item in found if item.features is not None]
    columns = {
        "numbers": np.array([number for number, _ in frames], np.int64),
        "stamps": np.array([frame.stamp_ns for _, frame in frames], np.int64),
        "counts": np.array([len(item) for item in found], np.int64),
        "boxes": np.concatenate([np.zeros((0, 4), np.float32), *(item.boxes for item in found)]),
        "scores": np.concatenate([np.zeros(0, np.float32), *(item.scores for item in found)]),
        "classes": np.concatenate([np.zeros(0, np.int64), *(item.classes for item in found)]),
        "motion": np.array([UNKNOWN if f.camera_motion is None else f.camera_motion for _, f in frames]),
    }
    if len(features) == len(found) and features:
        columns["features"] = np.concatenate(features)
    np.savez(file, **columns)  # type: ignore[arg-type]  # its keywords are arrays, but for one


def _load(kept: Path) -> Generator[Numbered, None, None]:
    for file in sorted(kept.glob("*.npz")):
        with np.load(file) as archive:
            table = {name: archive[name] for name in archive.files}
        ends = np.cumsum(table["counts"])
        every = Detections(table["boxes"], table["scores"], table["classes"], table.get("features"))
        columns = (table["numbers"].tolist(), table["stamps"].tolist(), table["counts"].tolist(), ends.tolist())
        for number, stamp, count, end, moved in zip(*columns, table["motion"].reshape(-1, 2, 3), strict=True):
            motion = moved if np.isfinite(moved).all() else None
            yield number, DetectionFrame(every[end - count : end], stamp, motion)

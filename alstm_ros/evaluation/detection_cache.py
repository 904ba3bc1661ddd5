"""Detections of a recording, made once: in memory for one search, on disk for the next."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alstm_ros.boxes import nms
from alstm_ros.camera_motion import CameraMotion
from alstm_ros.config import Config
from alstm_ros.evaluation.progress import Progress
from alstm_ros.evaluation.sources import DetectionFrame, Source
from alstm_ros.options import replace
from alstm_ros.pipeline import Detector, Frame
from alstm_ros.types import Detections

FLOOR = 0.05
"""Detections are kept down to this score, so that higher thresholds can be tried on them."""
UNKNOWN = np.full((2, 3), np.nan)
"""Instead of the camera's motion where that is not known."""


@dataclass(frozen=True, slots=True)
class CachedSource:
    """A recording of which only the detections are left.

    Attributes:
        name: the source's.
        frames: numbers and detections.
        classes: class names, by class index.
        length: number of frames of the recording, those that could not be read included.
        problems: what could not be read.
        whole: whether everything above FLOOR is there, also what overlaps a better box; see `select`.
    """

    name: str
    frames: tuple[tuple[int, DetectionFrame], ...]
    classes: tuple[str, ...]
    length: int
    problems: tuple[str, ...] = ()
    whole: bool = False


def detect_all(  # two switches
    source: Source,
    config: Config,
    load: Callable[[Config], Detector],
    path: Path,
    folder: Path,
    *,
    quiet: bool = False,
    whole: bool = False,
) -> CachedSource:
    """Every frame's detections, from the disk where they are there.

    Args:
        source: images, or detections, which are taken as they are.
        config: all parameters; the detector's threshold is lowered to FLOOR. The camera's motion is read from the
            images where the config says so.
        load: opens the detector.
        path: where the source lies; part of the key, with size and age of each of its files.
        folder: where cached detections are kept.
        quiet: show no progress.
        whole: keep what overlaps a better box, too, so that other thresholds of overlap can be tried; see `select`.
    """
    wide = replace(config, {"detector.score_threshold": min(FLOOR, config.detector.score_threshold)})
    if whole:
        wide = replace(wide, {"detector.nms_threshold": 1.0, "detector.max_detections": 10000})
    file = folder / f"{_key(path, wide, config)}.npz"
    if file.is_file():
        return dataclasses.replace(_load(file, source), whole=whole)
    detector: Detector | None = None
    follower = CameraMotion() if config.motion.camera == "image" else None
    frames: list[tuple[int, DetectionFrame]] = []
    progress = Progress(f"{source.name}: detecting", source.length, quiet=quiet)
    for number, frame in source:
        if isinstance(frame, Frame):
            if detector is None:
                detector = load(wide)
                detector.settle()
            [found] = detector([frame.image])
            moved = None
            if follower is not None:
                moved = follower(frame.image, select(found, config).boxes, frame.stamp_ns)
            frames.append((number, DetectionFrame(found, frame.stamp_ns, moved)))
        else:
            frames.append((number, frame))
        progress.step()
    progress.close()
    length = max(source.length or 0, frames[-1][0] if frames else 0)
    names = detector.classes if detector else ("pedestrian",)
    cached = CachedSource(
        source.name, tuple(frames), names, length, tuple(source.problems), whole and detector is not None
    )
    if detector and not cached.problems:  # text is read faster than a cache; damaged recordings may be repaired
        _save(file, cached)
    return cached


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
    moved = dataclasses.asdict(config) if config.motion.camera == "image" else {}  # seen where no object was detected
    text = json.dumps([2, facts, dataclasses.asdict(wide.detector), age, moved.get("motion"), moved.get("detector")])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _save(file: Path, cached: CachedSource) -> None:
    found = [frame.detections for _, frame in cached.frames]
    features = [item.features for item in found if item.features is not None]
    columns = {
        "numbers": np.array([number for number, _ in cached.frames], np.int64),
        "stamps": np.array([frame.stamp_ns for _, frame in cached.frames], np.int64),
        "counts": np.array([len(item) for item in found], np.int64),
        "boxes": np.concatenate([np.zeros((0, 4), np.float32), *(item.boxes for item in found)]),
        "scores": np.concatenate([np.zeros(0, np.float32), *(item.scores for item in found)]),
        "classes": np.concatenate([np.zeros(0, np.int64), *(item.classes for item in found)]),
        "motion": np.array([UNKNOWN if f.camera_motion is None else f.camera_motion for _, f in cached.frames]),
        "names": np.array(cached.classes),
        "length": np.array(cached.length),
    }
    if len(features) == len(found) and features:
        columns["features"] = np.concatenate(features)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}.part.npz")
    np.savez(part, **columns)  # type: ignore[arg-type]  # its keywords are arrays, but for one
    part.replace(file)


def _load(file: Path, source: Source) -> CachedSource:
    with np.load(file) as archive:
        table = {name: archive[name] for name in archive.files}
    ends = np.cumsum(table["counts"])
    every = Detections(table["boxes"], table["scores"], table["classes"], table.get("features"))
    columns = (table["numbers"].tolist(), table["stamps"].tolist(), table["counts"].tolist(), ends.tolist())
    frames = tuple(
        (number, DetectionFrame(every[end - count : end], stamp, moved if np.isfinite(moved).all() else None))
        for number, stamp, count, end, moved in zip(*columns, table["motion"].reshape(-1, 2, 3), strict=True)
    )
    return CachedSource(source.name, frames, tuple(table["names"].tolist()), int(table["length"]))

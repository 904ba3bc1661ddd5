"""The sequences that `bench/association.py` measures on: detections frame by frame, and the truth."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from alstm_ros.config import Config
from alstm_ros.detection import load_detector
from alstm_ros.learning.clips import split_sequences
from alstm_ros.learning.simulation.detector_noise import DetectorNoise, SimulatedDetector, draw_noise
from alstm_ros.learning.simulation.scenes import Scene, read_scene
from alstm_ros.learning.simulation.world import simulate
from alstm_ros.recordings.labels import Labels, make_labels
from alstm_ros.recordings.mot import MotDetections, read_labels
from alstm_ros.types import Affine, Detections, Int64

PERSON = 0
"""Class of the package's detector."""
MOT17 = ("02", "04", "05", "09", "10", "11", "13")
SEED = 2017
"""Draws the simulated detections of DanceTrack; never used in training, whose seeds start with the run's own."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame's input to a tracker; `motion` is `(2, 3)` or None."""

    detections: Detections
    stamp_ns: int
    motion: Affine | None


@dataclass(frozen=True, slots=True)
class Case:
    """One sequence to measure on.

    Attributes:
        name: the sequence.
        benchmark: whose preprocessing TrackEval applies.
        frames: in order.
        truth: what is there, frames from 1.
        fps: frames a second of the sequence as it was filmed.
    """

    name: str
    benchmark: str
    frames: tuple[Frame, ...]
    truth: Labels
    fps: float


def mot17_half(folder: Path, *, first: bool = False) -> Iterator[Case]:
    """The second (or first) halves of MOT17's training sequences, detections of score >= 0.1, with the camera's motion.

    The camera's motion is not told of the first halves, for which not every sequence has it; and the detector was
    trained on them, so they are easier.
    """
    for number in MOT17:
        place = folder / f"MOT17-{number}"
        source = MotDetections(place / "det.txt", place / "seqinfo.ini", None if first else place / "gmc.txt")
        half = source.length // 2
        begin, end = (1, half) if first else (half + 1, source.length)
        frames = [_frame(f.detections, f.stamp_ns, f.camera_motion) for k, f in source if begin <= k <= end]
        frames = [dataclasses.replace(f, detections=f.detections[f.detections.scores >= 0.1]) for f in frames]
        truth = read_labels(place / "gt.txt", truth=True, length=source.length).window(begin, end)
        yield Case(place.name, "MOT17", tuple(frames), truth, source.facts.fps)


def mot15(folder: Path) -> Iterator[Case]:
    """The paper's five sequences with their public Faster R-CNN detections."""
    for place in sorted(path.parent for path in folder.glob("*/det.txt")):
        source = MotDetections(place / "det.txt", place / "seqinfo.ini")
        frames = tuple(_frame(f.detections, f.stamp_ns, None) for _, f in source)
        yield Case(
            place.name,
            "MOT15",
            frames,
            read_labels(place / "gt.txt", truth=True, length=source.length),
            source.facts.fps,
        )


def dancetrack(folder: Path, hold_every: int = 5, noise: DetectorNoise | None = None) -> Iterator[Case]:
    """The DanceTrack sequences that are set aside, with simulated detections of the noise model's middle values."""
    for number, place in enumerate(split_sequences(folder, hold_every)[1]):
        yield simulated(read_scene(place), noise or DetectorNoise(), SEED + number)


def streets(count: int = 16) -> Iterator[Case]:
    """Simulated scenes of people on foot with detectors drawn as in training, none of which is trained on."""
    return _drawn({"street", "hall"}, 1.0, count)


def roads(count: int = 16) -> Iterator[Case]:
    """The same of vehicles, four of five objects, and people; two objects or more in a frame on average."""
    return _drawn({"road"}, 2.0, count)


def _drawn(kinds: set[str], least: float, count: int) -> Iterator[Case]:
    """The first simulated scenes of these kinds that have at least so many objects in a frame."""
    seed = 0
    while count:
        rng = np.random.default_rng([SEED, seed])
        scene = simulate(rng, 240)
        seed += 1
        if scene.name.removeprefix("simulated-") in kinds and len(scene.ids) > least * len(scene):
            count -= 1
            scene = dataclasses.replace(scene, name=f"{scene.name}-{seed}")
            yield simulated(scene, dataclasses.replace(draw_noise(rng), floor=0.1), seed)


def vtest(truth: Path, video: Path) -> Iterator[Case]:
    """The video, detected by the package's own detector with its features."""
    reader = cv2.VideoCapture(str(video))
    detector, fps = load_detector(Config()), reader.get(cv2.CAP_PROP_FPS)
    frames: list[Frame] = []
    while reader.grab():
        frames.append(Frame(detector([reader.retrieve()[1]])[0], round(len(frames) * 1e9 / fps), None))
    yield Case("vtest", "none", tuple(frames), read_labels(truth, truth=True, length=len(frames)), fps)


def plain(case: Case) -> Case:
    """The case without appearance."""
    frames = (
        dataclasses.replace(frame, detections=dataclasses.replace(frame.detections, features=None))
        for frame in case.frames
    )
    return dataclasses.replace(case, frames=tuple(frames))


def people(case: Case) -> Case:
    """The case with the detections of people alone, for a truth that knows of nothing else."""
    frames = (
        dataclasses.replace(frame, detections=frame.detections[frame.detections.classes == PERSON])
        for frame in case.frames
    )
    return dataclasses.replace(case, frames=tuple(frames))


def simulated(scene: Scene, noise: DetectorNoise, seed: int) -> Case:
    """A scene with simulated detections."""
    detector = SimulatedDetector(scene, noise, np.random.default_rng(seed))
    affines = scene.affines if scene.affines is not None else [None] * len(scene)
    frames = tuple(
        Frame(detector(k)[0], int(stamp), affine)
        for k, (stamp, affine) in enumerate(zip(scene.stamps_ns, affines, strict=True))
    )
    truth = make_labels(
        scene.frames + 1, scene.ids, scene.boxes, np.ones(len(scene.ids)), scene.classes + 1, length=len(scene)
    )
    fps = 1e9 / float(np.median(np.diff(scene.stamps_ns)))
    return Case(scene.name, "none", frames, truth, fps)


def crowd(count: int, frames: int) -> Case:
    """A case with this many objects in every frame: several simulated scenes laid over each other."""
    layers: list[Case] = []
    seed = 0
    while sum(len(layer.frames[0].detections) for layer in layers) < count:
        scene = simulate(np.random.default_rng(seed), frames)
        seed += 1
        if len(scene.ids):
            layers.append(simulated(scene, DetectorNoise(), seed))
    merged = []
    for k in range(frames):
        parts = [layer.frames[k].detections for layer in layers]
        together = Detections(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in ("boxes", "scores", "classes"))
        )
        merged.append(Frame(together[np.arange(min(count, len(together)))], round(k * 1e9 / 30), None))
    nothing = np.zeros(0, np.int64)
    truth = make_labels(nothing, nothing, np.zeros((0, 4)), np.zeros(0), nothing, length=frames)
    return Case("crowd", "none", tuple(merged), truth, 30.0)


def thin(case: Case, keep: Int64) -> Case:
    """The case as a camera sees it that loses frames: only these 0-based ones are left, stamps stay true."""
    frames: list[Frame] = []
    wanted, total = set(keep.tolist()), np.eye(3)
    known = all(frame.motion is not None for frame in case.frames)
    for k, frame in enumerate(case.frames):
        if frame.motion is not None:
            total = np.concatenate([frame.motion, [[0.0, 0.0, 1.0]]]) @ total
        if k in wanted:
            frames.append(dataclasses.replace(frame, motion=total[:2].copy() if known else None))
            total = np.eye(3)
    place = np.full(len(case.frames) + 1, 0, np.int64)
    place[keep + 1] = np.arange(1, len(keep) + 1)
    kept = case.truth.select(place[case.truth.frames] > 0)
    truth = dataclasses.replace(kept, frames=place[kept.frames], length=len(keep))
    return dataclasses.replace(case, frames=tuple(frames), truth=truth)


def jittered(case: Case, rng: np.random.Generator, size: float = 0.01) -> Case:
    """The case as a camera beside it may see it: boxes off by this share of their height, scores by twice that.

    A few crossings decide what a short sequence scores; over several draws of this, luck evens out.
    """
    frames: list[Frame] = []
    for frame in case.frames:
        found = frame.detections
        heights = found.boxes[:, 3:] - found.boxes[:, 1:2]
        boxes = found.boxes + rng.normal(0, size, found.boxes.shape) * heights
        scores = np.clip(found.scores + rng.normal(0, 2 * size, found.scores.shape), 0.1, 1.0)
        moved = dataclasses.replace(found, boxes=boxes.astype(np.float32), scores=scores.astype(np.float32))
        frames.append(_frame(moved, frame.stamp_ns, frame.motion))
    return dataclasses.replace(case, frames=tuple(frames))


def without_motion(cases: Iterable[Case]) -> list[Case]:
    """The cases with the camera's motion unknown."""
    return [
        dataclasses.replace(case, frames=tuple(dataclasses.replace(frame, motion=None) for frame in case.frames))
        for case in cases
    ]


def _frame(detections: Detections, stamp_ns: int, motion: Affine | None) -> Frame:
    order = np.argsort(-detections.scores, kind="stable")
    return Frame(detections[order], stamp_ns, motion)

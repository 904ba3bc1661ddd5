"""What camera motion read from images is worth, on a street video that is shaken by a known hand.

    python -m bench.camera_motion --video .cache/vtest.avi --truth FOLDER/pets09-s2l1/gt.txt [--json]

There are no images of a moving camera with ground truth here, so one is made: each frame is seen through a window of
640 x 480 that shifts, turns and zooms along a smooth path, as if a person held the camera. The path is known, so the
motion that is found can be compared with it, and the ground truth moves along. The detector runs once on each video;
then the tracker runs with the motion unknown, read from the images, and known.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from alstm_ros.association.learned.associator import configured
from alstm_ros.association.tracker import IdCounter, TrackManager
from alstm_ros.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from alstm_ros.camera_motion import CameraMotion
from alstm_ros.config import Config
from alstm_ros.detection import load_detector
from alstm_ros.evaluation.trackeval_adapter import combine, evaluate, prepare_sequence, summary
from alstm_ros.options import replace
from alstm_ros.recordings.labels import Labels, make_labels
from alstm_ros.recordings.mot import read_labels
from alstm_ros.types import Affine, Detections, Float64, Image

WIDTH, HEIGHT = 640, 480
SECOND = 1_000_000_000
SHOWN = ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW")


def hand(number: int, fps: float, video: tuple[int, int]) -> Float64:
    """`(3, 3)`, pixels of the video's frame to pixels of the window: slow sway and fast tremor."""
    t = 2 * np.pi * number / fps
    right = 30 * np.sin(0.31 * t) + 12 * np.sin(0.83 * t + 1) + 2.5 * np.sin(2.9 * t)
    down = 18 * np.sin(0.23 * t + 2) + 8 * np.sin(0.71 * t) + 2.5 * np.sin(3.3 * t + 1)
    turn, zoom = 1.5 * np.sin(0.27 * t + 1) + 0.3 * np.sin(2.3 * t), 1 + 0.02 * np.sin(0.19 * t)
    affine = cv2.getRotationMatrix2D((video[0] / 2, video[1] / 2), float(turn), float(zoom))
    affine[:, 2] += (WIDTH - video[0]) / 2 + right, (HEIGHT - video[1]) / 2 + down
    return np.concatenate([affine, [[0.0, 0.0, 1.0]]])


@dataclass(frozen=True, slots=True)
class Seen:
    """One frame of a video, standing or shaken.

    Attributes:
        found: the detections.
        known: the camera's true motion since the frame before, None for the first frame and where it stands.
        read: the motion that the image shows, likewise.
        seconds: that reading it took.
        detecting: seconds that the detector took just before.
    """

    found: Detections
    known: Affine | None
    read: Affine | None
    seconds: float
    detecting: float


def frames(video: Path, count: int, *, shaken: bool) -> Iterator[tuple[Image, Float64]]:
    """The video's frames as the camera sees them, and the way from the video's pixels to the camera's."""
    capture = cv2.VideoCapture(str(video))
    fps = capture.get(cv2.CAP_PROP_FPS)
    for number in range(count):
        there, picture = capture.read()
        if not there:
            return
        if not shaken:
            yield np.asarray(picture, np.uint8), np.eye(3)
            continue
        way = hand(number, fps, (picture.shape[1], picture.shape[0]))
        yield np.asarray(cv2.warpAffine(picture, way[:2], (WIDTH, HEIGHT)), np.uint8), way


def look(video: Path, count: int, *, shaken: bool) -> tuple[list[Seen], list[Float64]]:
    """Detects in every frame and reads the camera's motion; also each frame's way from the video's pixels."""
    detector, follow = load_detector(Config()), CameraMotion("auto")
    detector.settle()
    seen, ways = list[Seen](), list[Float64]()
    for number, (image, way) in enumerate(tqdm(frames(video, count, shaken=shaken), total=count, mininterval=10)):
        before = time.perf_counter()
        found = detector([image])[0]
        begin = time.perf_counter()
        read = follow(image, found.boxes, number * SECOND // 10)
        end = time.perf_counter()
        known = (way @ np.linalg.inv(ways[-1]))[:2] if ways and shaken else None
        seen.append(Seen(found, known, read, end - begin, begin - before))
        ways.append(way)
    detector.close()
    return seen, ways


def truth_of(path: Path, ways: list[Float64], *, shaken: bool) -> Labels:
    """The ground truth as the camera sees it; what is less than half inside its window is left out."""
    truth = read_labels(path, truth=True).window(1, len(ways))
    boxes = truth.boxes.copy()
    if not shaken:
        return truth
    for k, way in enumerate(ways, 1):
        rows = truth.frames == k
        box = xyxy_to_cxcywh(boxes[rows])
        box[:, :2] = box[:, :2] @ way[:2, :2].T + way[:2, 2]
        box[:, 2:] *= np.sqrt(np.linalg.det(way[:2, :2]))
        boxes[rows] = cxcywh_to_xyxy(box)
    clipped = np.clip(boxes, 0, [WIDTH, HEIGHT, WIDTH, HEIGHT])
    area, left = (np.prod(b[:, 2:] - b[:, :2], axis=1) for b in (boxes, clipped))
    inside = left >= 0.5 * area
    kept = truth.select(inside)
    return make_labels(kept.frames, kept.ids, clipped[inside], kept.scores, kept.classes, length=len(ways))


def track(seen: list[Seen], motion: Callable[[Seen], Affine | None], config: Config, truth: Labels) -> dict[str, float]:
    """Scores of the tracker on these frames."""
    tracker, rows = TrackManager(config, IdCounter(), configured(config)()), []
    for number, frame in enumerate(seen):
        tracks = tracker.update(frame.found, number * SECOND // 10, motion(frame)).tracks
        shown = tracks.published
        count = int(shown.sum())
        rows.append((np.full(count, number + 1), tracks.ids[shown], tracks.boxes[shown], tracks.scores[shown]))
    numbers, ids, boxes, scores = (np.concatenate(column) for column in zip(*rows, strict=True))
    labels = make_labels(numbers, ids, boxes, scores, np.ones(len(ids), np.int64), length=len(seen))
    found = summary(combine({"video": evaluate(prepare_sequence(truth, labels, "none"))}))
    return {name: float(found[name]) for name in SHOWN}


def misplaced(seen: list[Seen]) -> Float64:
    """Pixels by which the picture's corners are off at most, frame by frame from the second; no answer is standing."""
    corners = np.array([[0, 0, 1], [WIDTH, 0, 1], [0, HEIGHT, 1], [WIDTH, HEIGHT, 1]], np.float64)
    still = np.eye(3)[:2]
    off = []
    for frame in seen[1:]:
        known, read = (still if a is None else a for a in (frame.known, frame.read))
        off.append(np.linalg.norm(corners @ (known - read).T, axis=1).max())
    return np.asarray(off)


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, default=Path(__file__).resolve().parents[1] / ".cache" / "vtest.avi")
    parser.add_argument("--truth", type=Path, required=True, help="the video's ground truth, gt.txt")
    parser.add_argument("--frames", type=int, default=795, help="so many frames from the start")
    parser.add_argument("--model", default="", help="association.model; empty for the rules alone")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    cv2.setNumThreads(1)
    answer: dict[str, dict[str, dict[str, float]]] = {}
    for name, shaken in (("standing", False), ("shaken", True)):
        seen, ways = look(args.video, args.frames, shaken=shaken)
        truth = truth_of(args.truth, ways, shaken=shaken)
        off, detecting = misplaced(seen), float(np.median([frame.detecting for frame in seen[1:]]))
        shares = np.array([frame.seconds for frame in seen[1:]]) / detecting
        answer[name] = {
            "reading": {
                "error_px_p50": float(np.median(off)),
                "error_px_p99": float(np.percentile(off, 99)),
                "answered": sum(frame.read is not None for frame in seen) / max(len(seen) - 1, 1),
                "detector_ms_p50": 1e3 * detecting,
                "share_of_detector_p50": float(np.median(shares)),
                "share_of_detector_mean": float(shares.mean()),
                "share_of_detector_p99": float(np.percentile(shares, 99)),
            }
        }
        for common in (False, True):
            config = replace(Config(), {"association.model": args.model, "association.common_motion": common})
            rules = ", common motion" if common else ""
            answer[name][f"none{rules}"] = track(seen, lambda _: None, config, truth)
            answer[name][f"auto{rules}"] = track(seen, lambda frame: frame.read, config, truth)
            if shaken:
                answer[name][f"known{rules}"] = track(seen, lambda frame: frame.known, config, truth)
    if args.json:
        print(json.dumps(answer, indent=1))
        return 0
    for name, rows in answer.items():
        for who, row in rows.items():
            print(f"{name:10}{who:24}" + "".join(f"{key:>14} {value:8.3f}" for key, value in row.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())

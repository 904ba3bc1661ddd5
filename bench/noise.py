"""How real detectors err, against complete labels: what `learning/simulation/detector_noise.py` takes its ranges from.

    python -m bench.noise --images FOLDER [--models FOLDER] [--videos FOLDER] [--json]

FOLDER of images holds `annotations.jsonl` (a line for each image: file, complete, boxes with box and cls) and the
images; only images with complete labels are used. Models are the package's own and the YOLOX and NanoDet-Plus exports
in a folder. Sizes are in box heights, scores are logits. How long false detections stay is measured on videos, where
what overlaps nothing that a second detector is sure of counts as false. The same numbers are printed for simulated
detections.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from alstm_ros import detection
from alstm_ros.boxes import iou
from alstm_ros.config import Config
from alstm_ros.learning.simulation.detector_noise import DUPLICATE, DetectorNoise, SimulatedDetector, draw_noise
from alstm_ros.learning.simulation.world import simulate
from alstm_ros.options import replace
from alstm_ros.types import Detections, Float32, Image

FLOOR = 0.1
"""Scores below this are not looked at; neither does the tracker."""
BINS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
Find = Callable[[Image], Detections]


@dataclass(slots=True)
class Seen:
    """One image's people and what a detector made of them.

    Attributes:
        truth: `(n, 4)` xyxy.
        found: of class person, score >= FLOOR.
        owner: `(N,)` the person of each detection, -1 for none, -2 - k for a second one of person k.
    """

    truth: Float32
    found: Detections
    owner: NDArray[np.int64]


def people_finder(path: str, size: tuple[int, int] = (0, 0)) -> Find:
    """Runs a detector on people, its low scores too; `size` is height and width of the input, 0 for the model's own."""
    given = {"detector.model": path, "detector.height": size[0], "detector.width": size[1]}
    given |= {"detector.score_threshold": FLOOR, "detector.classes": ["person"], "engine.threads": 1}
    detector = detection.load_detector(replace(Config(), given))
    return lambda image: detector([image])[0]


def detectors(models: Path | None) -> dict[str, Find]:
    """Name to detector."""
    found = {"default": people_finder("default")}
    if models is not None:
        for size in ((320, 320), (416, 416)):
            found[f"yolox-nano-{size[0]}"] = people_finder(str(models / "yolox_nano_dyn.onnx"), size)
            found[f"nanodet-plus-{size[0]}"] = people_finder(str(models / "nanodet_plus_m_dyn.onnx"), size)
    return found


def labelled(folder: Path) -> Iterator[tuple[Image, Float32]]:
    """Images with complete labels and their people."""
    for line in (folder / "annotations.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if entry["complete"]:
            boxes = [box["box"] for box in entry["boxes"] if box["cls"] == "person"]
            image: Any = cv2.imread(str(folder / entry["file"]))
            yield image, np.array(boxes, np.float32).reshape(-1, 4)


def judge(truth: Float32, found: Detections) -> Seen:
    """Best detections first: each takes the free person that it overlaps most."""
    owner = np.full(len(found), -1, np.int64)
    overlap = iou(found.boxes, truth)
    free = np.ones(len(truth), bool)
    for k in np.argsort(-found.scores).tolist():
        if not len(truth):
            break
        mine = overlap[k] * free
        if mine.max() >= 0.5:  # PASCAL VOC's
            owner[k] = int(mine.argmax())
            free[owner[k]] = False
        elif overlap[k].max() >= 0.5:
            owner[k] = DUPLICATE - int(overlap[k].argmax())
    return Seen(truth, found, owner)


def logit(score: NDArray[Any]) -> NDArray[np.float64]:
    """Of a probability."""
    clipped = np.clip(score.astype(np.float64), 1e-3, 1 - 1e-3)
    return np.asarray(np.log(clipped / (1 - clipped)))


def facts(seen: Iterable[Seen]) -> dict[str, Any]:
    """What the noise model is about."""
    people: list[tuple[float, float, float]] = []  # height, crowding, logit or NaN where missed
    errors, false, near, doubles, precise = [], [], [], [], []
    images = 0
    for one in seen:
        images += 1
        tall = one.truth[:, 3] - one.truth[:, 1]
        overlap = iou(one.truth, one.truth)
        np.fill_diagonal(overlap, 0)
        score = np.full(len(one.truth), np.nan)
        true = one.owner >= 0
        score[one.owner[true]] = logit(one.found.scores[true])
        people += list(zip(tall.tolist(), overlap.max(axis=1, initial=0).tolist(), score.tolist(), strict=True))
        mine, theirs = one.found.boxes[true], one.truth[one.owner[true]]
        scale = np.maximum(theirs[:, 3] - theirs[:, 1], 1)
        middle = (mine[:, :2] + mine[:, 2:] - theirs[:, :2] - theirs[:, 2:]) / 2 / scale[:, None]
        errors += list(np.concatenate([middle, ((mine[:, 3] - mine[:, 1]) / scale - 1)[:, None]], axis=1))
        wrong = one.owner == -1
        false += logit(one.found.scores[wrong]).tolist()
        near += (iou(one.found.boxes[wrong], one.truth).max(axis=1, initial=0) > 0).tolist()
        doubles += logit(one.found.scores[one.owner < -1]).tolist()
        precise += list(zip(one.found.scores.tolist(), true.tolist(), strict=True))
    table, error = np.array(people).reshape(-1, 3), np.array(errors).reshape(-1, 3)
    hit, tall, crowd = np.isfinite(table[:, 2]), table[:, 0], table[:, 1]
    scores = np.array(precise).reshape(-1, 2)
    size, touch = np.digitize(tall, (32, 64, 128)), np.digitize(crowd, (0.1, 0.3))
    return {
        "people an image": round(len(table) / max(images, 1), 2),
        "recall": round(float(hit.mean()), 3),
        "recall by height (<32, <64, <128, more)": shares(hit, size, 4),
        "recall by IoU with a neighbour (<.1, <.3, more)": shares(hit, touch, 3),
        "logit of true ones (mean, sd)": spread(table[hit, 2]),
        "logit of true ones by height": [spread(table[hit & (size == k), 2]) for k in range(4)],
        "logit of true ones by neighbour": [spread(table[hit & (touch == k), 2]) for k in range(3)],
        "error x, y, height: half of them below (heights)": np.median(np.abs(error), axis=0).round(4).tolist(),
        "error: 95 % below (heights)": np.percentile(np.abs(error), 95, axis=0).round(4).tolist() if len(error) else [],
        "doubles a true one": round(len(doubles) / max(int(hit.sum()), 1), 3),
        "logit of doubles (mean, sd)": spread(np.array(doubles)),
        "false an image": round(len(false) / max(images, 1), 2),
        "false a true one": round(len(false) / max(int(hit.sum()), 1), 2),
        "false that overlap somebody": round(float(np.mean(near)) if near else 0.0, 3),
        "logit of false ones (mean, sd)": spread(np.array(false)),
        f"true among scores {BINS}": shares(scores[:, 1] > 0, np.digitize(scores[:, 0], BINS) - 1, len(BINS) - 1),
    }  # fmt: skip


def shares(flags: NDArray[np.bool_], groups: NDArray[Any], count: int) -> list[float | None]:
    """The share of true flags in each group."""
    return [round(float(flags[groups == k].mean()), 3) if (groups == k).any() else None for k in range(count)]


def spread(values: NDArray[Any]) -> list[float]:
    """Mean and standard deviation."""
    return [round(float(values.mean()), 2), round(float(values.std()), 2)] if len(values) else []


def lasting(video: Path, find: Find, sure: Find, every: int) -> dict[str, Any]:
    """How false detections last in a video: what overlaps nothing that another detector gives a score of 0.2."""
    reader, before, stays, total, scores, count = cv2.VideoCapture(str(video)), None, 0, 0, [], 0
    rate = reader.get(cv2.CAP_PROP_FPS) / every
    while reader.grab():
        count += 1
        if count % every:
            continue
        image = reader.retrieve()[1]
        found, known = find(image), sure(image)
        known = known[known.scores >= 0.2]
        wrong = found[iou(found.boxes, known.boxes).max(axis=1, initial=0) < 0.3]
        scores += logit(wrong.scores).tolist()
        if before is not None:
            total += len(before)
            stays += int((iou(before.boxes, wrong.boxes).max(axis=1, initial=0) >= 0.5).sum())
        before = wrong
    stay = round(stays / max(total, 1), 3)
    return {
        "frames a second": round(rate, 1),
        "false": len(scores),
        "stay until the next frame": stay,
        "logit": spread(np.array(scores)),
    }


def simulated(draw: Callable[[np.random.Generator], DetectorNoise], scenes: int) -> Iterator[Seen]:
    """What the noise model makes of simulated scenes, every 20th frame."""
    for seed in range(scenes):
        rng = np.random.default_rng([99, seed])
        scene = simulate(rng, 100)
        detector, rows = SimulatedDetector(scene, draw(rng), rng), scene.rows()
        for k in range(len(scene)):
            found, truth = detector(k)
            if k % 20 == 19 and rows[k + 1] > rows[k]:
                people = slice(rows[k], rows[k + 1])
                del truth  # judged as real ones are
                yield judge(scene.boxes[people], found)


def show(answer: Mapping[str, Mapping[str, Any]], *, as_json: bool) -> None:
    """Prints what was found of each set."""
    if as_json:
        print(json.dumps(answer, indent=1))
        return
    for name, rows in answer.items():
        print(name)
        for key, value in rows.items():
            print(f"  {key:52} {value}")


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder with annotations.jsonl")
    parser.add_argument("--models", type=Path, help="folder with yolox_nano_dyn.onnx and nanodet_plus_m_dyn.onnx")
    parser.add_argument("--videos", type=Path, nargs="*", default=[], help="videos of which no truth is known")
    parser.add_argument("--scenes", type=int, default=60, help="simulated scenes to compare with")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    answer: dict[str, Any] = {}
    if args.images:
        found = detectors(args.models)
        images = list(labelled(args.images))
        for name, find in found.items():
            answer[name] = facts(judge(people, find(image)) for image, people in images)
        names = list(found)
        for video in args.videos:
            for name in names[:3]:
                sure = found[names[-1] if name != names[-1] else names[0]]
                answer.setdefault(video.stem, {})[name] = lasting(video, found[name], sure, 2)
    answer["simulated, drawn"] = facts(simulated(draw_noise, args.scenes))
    answer["simulated, middle"] = facts(simulated(lambda _: DetectorNoise(), args.scenes))
    show(answer, as_json=args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

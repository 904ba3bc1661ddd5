"""How real detectors err on sequences with ground truth, beside what the noise model makes of simulated ones.

    python -m bench.noise_sequences --data FOLDER [--scenes 16] [--json]

FOLDER holds `mot17` and `mot15`. Of MOT17 the first halves are read, never the second ones. For each set, per 100 true
objects and by score: how many detections are an object, a second one of it, a part of one, or something else. And of
the pairs that the rules like best for a weak detection, how many are right: a learned association must know that.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from alstm_ros.boxes import iou
from alstm_ros.config import Config
from alstm_ros.learning.rollout import Rollout, record_scene
from alstm_ros.learning.simulation.detector_noise import DUPLICATE, FALSE, SimulatedDetector, draw_noise
from alstm_ros.learning.simulation.scenes import Scene, visible_share
from alstm_ros.learning.simulation.world import simulate
from alstm_ros.options import replace
from alstm_ros.types import Detections, Float32, Float64, Int64
from bench.association_data import Case, mot15, mot17_half
from bench.noise import show

BINS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.01)
_WEAK = 0.6
_PART = 0.5
"""A detection of which this share lies inside an object is a part of it."""


@dataclass(slots=True)
class Detected:
    """A scene and what was detected in it: detections and their truth (see SimulatedDetector), frame by frame."""

    scene: Scene
    found: list[tuple[Detections, Int64]]


def real(case: Case) -> Detected:
    """The detections of a case against its truth; what lies on somebody who does not count is left out."""
    truth = case.truth.select(case.truth.counted)
    order = np.lexsort((truth.ids, truth.frames))
    frames, boxes = truth.frames[order] - 1, truth.boxes[order].astype(np.float32)
    rows = np.searchsorted(frames, np.arange(len(case.frames) + 1))
    visible = [visible_share(boxes[a:b]) for a, b in pairwise(rows)]
    wide, high = boxes[:, 2:].max(axis=0)
    stamps = np.array([f.stamp_ns for f in case.frames], np.int64)
    scene = Scene(
        case.name, (int(wide), int(high)), stamps, frames.astype(np.int64),
        truth.ids[order].astype(np.int64), np.zeros(len(frames), np.int64), boxes, np.concatenate(visible),
    )  # fmt: skip
    others = case.truth.select(~case.truth.counted)
    found = []
    for k, frame in enumerate(case.frames):
        some = frame.detections[np.flatnonzero(frame.detections.scores >= BINS[0])]
        some = some[np.argsort(-some.scores, kind="stable")]
        owner = owners(some.boxes, boxes[rows[k] : rows[k + 1]], int(rows[k]))
        on = iou(some.boxes, others.boxes[others.frames == k + 1].astype(np.float32)).max(axis=1, initial=0)
        keep = np.flatnonzero((owner != FALSE) | (on < _PART))
        found.append((some[keep], owner[keep]))
    return Detected(scene, found)


def owners(boxes: Float32, truth: Float32, start: int) -> Int64:
    """Best detections first, each takes the free object that it overlaps most; `(N,)` as SimulatedDetector tells it."""
    owner, free = np.full(len(boxes), FALSE, np.int64), np.ones(len(truth), bool)
    overlap = iou(boxes, truth)
    for k in range(len(boxes) if len(truth) else 0):
        mine = overlap[k] * free
        if mine.max() >= 0.5:  # PASCAL VOC's
            owner[k] = start + int(mine.argmax())
            free[owner[k] - start] = False
        elif overlap[k].max() >= 0.5:
            owner[k] = DUPLICATE - start - int(overlap[k].argmax())
    return owner


def drawn(scenes: int) -> Iterator[Detected]:
    """Simulated scenes of people on foot with detectors drawn as in training."""
    seed = 0
    while scenes:
        rng = np.random.default_rng([98, seed])
        scene, seed = simulate(rng, 240), seed + 1
        if scene.name.removeprefix("simulated-") in {"street", "hall"} and len(scene.ids) > len(scene):
            scenes -= 1
            detector = SimulatedDetector(scene, draw_noise(rng), rng)
            yield Detected(scene, [detector(k) for k in range(len(scene))])


def facts(sequences: Iterable[Detected]) -> dict[str, Any]:
    """What the noise model is about."""
    counts, objects = np.zeros((4, len(BINS) - 1)), 0
    pairs = np.zeros((2, 2, 2))  # seen or lost, by cost, wrong or right
    for one in sequences:
        objects += len(one.scene.ids)
        rows = one.scene.rows()
        for k, (found, owner) in enumerate(one.found):
            bins = np.clip(np.digitize(found.scores, BINS) - 1, 0, len(BINS) - 2)
            kind = np.where(owner >= 0, 0, np.where(owner <= DUPLICATE, 1, 3))
            inside = shares(found.boxes, one.scene.boxes[rows[k] : rows[k + 1]]) > _PART
            kind[(kind == 3) & inside] = 2
            np.add.at(counts, (kind, bins), 1)
        pairs += liked(one)
    table = (100 * counts / max(objects, 1)).round(2).tolist()
    right = (pairs[..., 1] / np.maximum(pairs.sum(axis=2), 1)).round(3).tolist()
    return {
        "objects": objects,
        "true": table[0],
        "second ones": table[1],
        "parts": table[2],
        "others": table[3],
        "right, weak and seen (cost <.6, <.85)": right[0],
        "right, weak and lost (cost <.6, <.85)": right[1],
    }


def shares(boxes: Float32, truth: Float32) -> Float32:
    """`(N,)` the largest share of each box inside one of the others."""
    if not len(truth) or not len(boxes):
        return np.zeros(len(boxes), np.float32)
    size = np.minimum(boxes[:, None, 2:], truth[:, 2:]) - np.maximum(boxes[:, None, :2], truth[:, :2])
    inner = np.maximum(size, 0).prod(axis=2)
    return np.asarray((inner / (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)[:, None]).max(axis=1), np.float32)


def liked(one: Detected) -> Float64:
    """`(2, 2, 2)` pairs that the rules like best for a weak detection: seen or lost, cheap or dear, wrong or right."""
    config = replace(Config(), {"association.model": ""})
    tape = record_scene(one.scene, lambda k: one.found[k], np.random.default_rng(0), Rollout(config))
    counts = np.zeros((2, 2, 2))
    for a, b in pairwise(np.searchsorted(tape.pairs.frame, np.arange(tape.frames + 1))):
        part = slice(a, b)
        cost, row, column = tape.pairs.cost[part], tape.pairs.row[part], tape.pairs.column[part]
        g, label = tape.pairs.g[part].astype(np.float64), tape.pairs.truth.label[part]
        by_row, by_column = np.full((2, int(max(row.max(initial=0), column.max(initial=0))) + 1), np.inf)
        np.minimum.at(by_row, row, cost)
        np.minimum.at(by_column, column, cost)
        first = (cost <= by_row[row]) & (cost <= by_column[column]) & (cost < 0.85) & (g[:, 13] < _WEAK) & (label >= 0)
        lost = np.expm1(g[:, 16]) > 1.5 * g[:, 18]  # tenths of a second
        np.add.at(counts, (lost[first].astype(int), (cost[first] >= 0.6).astype(int), label[first].astype(int)), 1)
    return counts


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with mot17 and mot15")
    parser.add_argument("--scenes", type=int, default=16, help="simulated scenes to compare with")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(arguments)
    answer = {}
    if args.data is not None:
        answer["MOT17, first halves"] = facts(map(real, mot17_half(args.data / "mot17", first=True)))
        answer["MOT15"] = facts(map(real, mot15(args.data / "mot15")))
    answer["simulated"] = facts(drawn(args.scenes))
    show(answer, as_json=args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Labels of objects that walk, as arrays and as files, and `alstm evaluate` on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from alstm_ros import cli
from alstm_ros.recordings.labels import Labels, make_labels


def walk(length: int, ids: dict[int, tuple[int, int]], shift: float = 0.0, height: float = 80.0) -> Labels:
    """Objects that walk to the right, each in frames first..last of `ids`, 100 pixels apart."""
    rows = [(f, key, 100.0 * key + f + shift) for key, (a, b) in ids.items() for f in range(a, b + 1)]
    frames, keys, lefts = (np.array(column) for column in zip(*rows, strict=True))
    boxes = np.stack([lefts, np.full(len(lefts), 50.0), lefts + 40, np.full(len(lefts), 50 + height)], axis=1)
    return make_labels(frames, keys, boxes, np.ones(len(frames)), np.ones(len(frames)), length=length)


def renamed(labels: Labels, changes: dict[tuple[int, int], int]) -> Labels:
    """Ids changed: (id, from this frame on) -> new id."""
    ids = labels.ids.copy()
    for (key, first), new in changes.items():
        ids[(labels.ids == key) & (labels.frames >= first)] = new
    return make_labels(labels.frames, ids, labels.boxes, labels.scores, labels.classes, length=labels.length)


def write_text(path: Path, labels: Labels, *, truth: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tail = "1,1,1" if truth else "0.9,-1,-1,-1"
    rows = zip(labels.frames, labels.ids, labels.boxes, strict=True)
    lines = [f"{f},{key},{a},{b},{c - a},{d - b},{tail}" for f, key, (a, b, c, d) in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def evaluate(*arguments: object) -> int:
    return cli.main(["evaluate", *map(str, arguments)])

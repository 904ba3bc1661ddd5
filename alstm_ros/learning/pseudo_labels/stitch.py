"""Strict tracklets joined in hindsight: who ends here and who begins there is one object where all evidence agrees.

The live tracker must decide at once; a recording is known to its end. A tracklet that ends is led on, one that begins
is led back, each as it moved. Where each meets the other, and no other detection comes near, they are one object.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from alstm_ros.boxes import iou
from alstm_ros.learning.pseudo_labels.pairs import SAME, Pairs
from alstm_ros.types import Float32, Float64, Int64


@dataclass(frozen=True, slots=True)
class Stitching:
    """When two tracklets are one object.

    Attributes:
        longest: seconds from the end of the one to the beginning of the other, at most.
        least: detections of either, at least.
        overlap: smallest IoU of where the one is led to and where the other is, both ways.
        margin: how much less any other detection of that frame overlaps.
        past: seconds over which a tracklet's motion is measured.
        grown: the taller of both boxes is at most so many times as tall as the other.
        passes: what was joined makes more clear, so often.
    """

    longest: float = 0.6
    least: int = 2
    overlap: float = 0.5
    margin: float = 0.3
    past: float = 0.7
    grown: float = 1.2
    passes: int = 3


Links = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Tracklet:
    """The rows of a tracklet and how it moves at both ends, `(4,)` pixels a second of its box."""

    rows: Int64
    early: Float64
    late: Float64


def stitch(pairs: Pairs, how: Stitching | None = None) -> Pairs:
    """Joins tracklets; a detection that lies where the object should be in between is given to it, too.

    Args:
        pairs: a recording or a part of it.
        how: when two tracklets are one object.

    Returns:
        The same with longer tracklets; the joined ends are pairs that are the same.
    """
    how = how or Stitching()
    for _ in range(how.passes):
        tracklets, links = _once(pairs, how)
        ends = np.array(links, np.int64).reshape(-1, 2)
        pairs = replace(
            pairs,
            tracklets=tracklets,
            first=np.concatenate([pairs.first, ends[:, 0]]),
            second=np.concatenate([pairs.second, ends[:, 1]]),
            labels=np.concatenate([pairs.labels, np.full(len(ends), SAME, np.int8)]),
        )
        if not links:
            break
    return pairs


def _once(pairs: Pairs, how: Stitching) -> tuple[Int64, Links]:
    """The tracklets after one pass, and the rows of the ends that it joined."""
    starts = np.searchsorted(pairs.frames, np.arange(len(pairs.numbers) + 1))
    seconds = pairs.stamps_ns / 1e9
    known = _tracklets(pairs, seconds, how)
    next_of: dict[int, int] = {}
    taken: set[int] = set()
    for old, new in _near(pairs, seconds, known, how):
        if old not in next_of and new not in taken and _one(pairs, seconds, starts, known[old], known[new], how):
            next_of[old] = new
            taken.add(new)
    tracklets, links = pairs.tracklets.copy(), []
    head: dict[int, int] = {}
    for old in sorted(next_of, key=lambda key: int(known[key].rows[-1])):
        new = next_of[old]
        head[new] = head.get(old, old)
        last, first = int(known[old].rows[-1]), int(known[new].rows[0])
        tracklets[known[new].rows] = head[new]
        tracklets[_amid(pairs, seconds, starts, last, first, how)] = head[new]
        links.append((last, first))
    return tracklets, links


def _tracklets(pairs: Pairs, seconds: Float64, how: Stitching) -> dict[int, _Tracklet]:
    order = np.argsort(pairs.tracklets, kind="stable")
    keys, first = np.unique(pairs.tracklets[order], return_index=True)
    return {
        key: _Tracklet(rows, _motion(pairs, seconds, rows, how.past), _motion(pairs, seconds, rows[::-1], how.past))
        for key, rows in zip(keys.tolist(), np.split(order, first[1:]), strict=True)
        if key >= 0 and len(rows) >= how.least
    }


def _near(pairs: Pairs, seconds: Float64, known: dict[int, _Tracklet], how: Stitching) -> Iterator[tuple[int, int]]:
    """Tracklets of which one ends not long before the other begins: the earliest beginning, then the latest end."""
    ends: dict[int, list[int]] = defaultdict(list)
    for key, tracklet in known.items():
        ends[int(pairs.frames[tracklet.rows[-1]])].append(key)
    for new in sorted(known, key=lambda key: int(known[key].rows[0])):
        frame = int(pairs.frames[known[new].rows[0]])
        low = int(np.searchsorted(seconds, seconds[frame] - how.longest))
        for before in range(frame - 1, low - 1, -1):
            yield from ((old, new) for old in ends.get(before, ()))


def _one(pairs: Pairs, seconds: Float64, starts: Int64, old: _Tracklet, new: _Tracklet, how: Stitching) -> bool:
    """Whether two tracklets are one object."""
    last, first = int(old.rows[-1]), int(new.rows[0])
    heights = pairs.boxes[[last, first], 3] - pairs.boxes[[last, first], 1]
    if pairs.classes[last] != pairs.classes[first] or heights.max() > how.grown * heights.min():
        return False
    apart = float(seconds[pairs.frames[first]] - seconds[pairs.frames[last]])
    onward, back = pairs.boxes[last] + apart * old.late, pairs.boxes[first] - apart * new.early
    return _alone(pairs, starts, onward, how, first) >= 0 and _alone(pairs, starts, back, how, last) >= 0


def _alone(pairs: Pairs, starts: Int64, expected: Float64, how: Stitching, row: int, frame: int = -1) -> int:
    """The detection that alone lies where one is expected, -1 for none.

    Args:
        pairs: the recording.
        starts: of each frame's rows.
        expected: `(4,)` box.
        how: what is alone.
        row: that it must be; negative where any of the frame will do.
        frame: in which to look, where it may be any.
    """
    frame = int(pairs.frames[row]) if row >= 0 else frame
    begin, end = int(starts[frame]), int(starts[frame + 1])
    if begin == end:
        return -1
    overlaps = iou(expected.astype(np.float32)[None], pairs.boxes[begin:end])[0]
    best = int(overlaps.argmax())
    rival = float(np.delete(overlaps, best).max(initial=0))
    good = overlaps[best] >= how.overlap and overlaps[best] - rival >= how.margin and row in (-1, begin + best)
    return begin + best if good else -1


def _amid(pairs: Pairs, seconds: Float64, starts: Int64, last: int, first: int, how: Stitching) -> list[int]:
    """Detections of no tracklet that lie on the straight way from one end to the other."""
    a, b = int(pairs.frames[last]), int(pairs.frames[first])
    found = []
    for frame in range(a + 1, b):
        way = (seconds[frame] - seconds[a]) / (seconds[b] - seconds[a])
        expected: Float32 = (1 - way) * pairs.boxes[last] + way * pairs.boxes[first]
        row = _alone(pairs, starts, np.asarray(expected, np.float64), how, -1, frame)
        if row >= 0 and pairs.tracklets[row] < 0:
            found.append(row)
    return found


def _motion(pairs: Pairs, seconds: Float64, rows: Int64, past: float) -> Float64:
    """`(4,)` how the boxes of the first rows move, pixels a second; their size is taken for constant."""
    times = seconds[pairs.frames[rows]]
    near = np.abs(times - times[0]) <= past
    times, boxes = times[near] - times[near].mean(), pairs.boxes[rows][near].astype(np.float64)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    slope = (times[:, None] * (centres - centres.mean(axis=0))).sum(axis=0) / max(float((times**2).sum()), 1e-9)
    return np.concatenate([slope, slope])

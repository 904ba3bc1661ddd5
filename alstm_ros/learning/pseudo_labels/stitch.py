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
from alstm_ros.learning.pseudo_labels.footage import SAME, PseudoLabels
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


@dataclass(frozen=True, slots=True)
class _Tracklet:
    """The rows of a tracklet and how it moves at both ends, `(4,)` pixels a second of its box."""

    rows: Int64
    early: Float64
    late: Float64


def stitch(footage: PseudoLabels, how: Stitching | None = None) -> PseudoLabels:
    """Joins tracklets; a detection that lies where the object should be in between is given to it, too.

    Args:
        footage: a recording or a part of it.
        how: when two tracklets are one object.

    Returns:
        The same with longer tracklets; the joined ends are pairs that are the same.
    """
    how = how or Stitching()
    for _ in range(how.passes):
        tracklets, ends = _Pass(footage, how).joined()
        footage = replace(
            footage,
            tracklets=tracklets,
            first=np.concatenate([footage.first, ends[:, 0]]),
            second=np.concatenate([footage.second, ends[:, 1]]),
            labels=np.concatenate([footage.labels, np.full(len(ends), SAME, np.int8)]),
        )
        if not len(ends):
            break
    return footage


class _Pass:
    """One look at all tracklets of a recording."""

    def __init__(self, footage: PseudoLabels, how: Stitching) -> None:
        self._footage, self._how = footage, how
        self._rows = footage.rows().tolist()
        self._seconds = footage.stamps_ns / 1e9
        self._known = self._tracklets()

    def joined(self) -> tuple[Int64, Int64]:
        """`(D,)` the tracklets after the pass, and `(L, 2)` the rows of the ends that it joined."""
        known = self._known
        next_of: dict[int, int] = {}
        taken: set[int] = set()
        for old, new in self._successions():
            if old not in next_of and new not in taken and self._are_one(known[old], known[new]):
                next_of[old] = new
                taken.add(new)
        tracklets, links = self._footage.tracklets.copy(), []
        head: dict[int, int] = {}
        for old in sorted(next_of, key=lambda key: int(known[key].rows[-1])):
            new = next_of[old]
            head[new] = head.get(old, old)
            last, first = int(known[old].rows[-1]), int(known[new].rows[0])
            tracklets[known[new].rows] = head[new]
            tracklets[self._amid(last, first)] = head[new]
            links.append((last, first))
        return tracklets, np.array(links, np.int64).reshape(-1, 2)

    def _tracklets(self) -> dict[int, _Tracklet]:
        """Those that are long enough, by their number."""
        order = np.argsort(self._footage.tracklets, kind="stable")
        keys, first = np.unique(self._footage.tracklets[order], return_index=True)
        return {
            key: _Tracklet(rows, self._motion(rows), self._motion(rows[::-1]))
            for key, rows in zip(keys.tolist(), np.split(order, first[1:]), strict=True)
            if key >= 0 and len(rows) >= self._how.least
        }

    def _successions(self) -> Iterator[tuple[int, int]]:
        """Tracklets of which one ends not long before the other begins: the earliest beginning, then the latest end."""
        frames, known = self._footage.frames, self._known
        ends: dict[int, list[int]] = defaultdict(list)
        for key, tracklet in known.items():
            ends[int(frames[tracklet.rows[-1]])].append(key)
        for new in sorted(known, key=lambda key: int(known[key].rows[0])):
            frame = int(frames[known[new].rows[0]])
            low = int(np.searchsorted(self._seconds, self._seconds[frame] - self._how.longest))
            for before in range(frame - 1, low - 1, -1):
                yield from ((old, new) for old in ends.get(before, ()))

    def _are_one(self, old: _Tracklet, new: _Tracklet) -> bool:
        """Whether two tracklets are one object."""
        footage, last, first = self._footage, int(old.rows[-1]), int(new.rows[0])
        heights = footage.boxes[[last, first], 3] - footage.boxes[[last, first], 1]
        if footage.classes[last] != footage.classes[first] or heights.max() > self._how.grown * heights.min():
            return False
        before, after = int(footage.frames[last]), int(footage.frames[first])
        apart = float(self._seconds[after] - self._seconds[before])
        onward, back = footage.boxes[last] + apart * old.late, footage.boxes[first] - apart * new.early
        return self._alone(after, onward) == first and self._alone(before, back) == last

    def _alone(self, frame: int, expected: Float64) -> int:
        """The row of the frame's detection that alone lies where a box `(4,)` is expected, -1 for none."""
        begin, end = self._rows[frame], self._rows[frame + 1]
        if begin == end:
            return -1
        overlaps = iou(expected.astype(np.float32)[None], self._footage.boxes[begin:end])[0]
        best = int(overlaps.argmax())
        rival = float(np.delete(overlaps, best).max(initial=0))
        good = overlaps[best] >= self._how.overlap and overlaps[best] - rival >= self._how.margin
        return begin + best if good else -1

    def _amid(self, last: int, first: int) -> list[int]:
        """Detections of no tracklet that lie on the straight way from one end to the other."""
        footage, seconds = self._footage, self._seconds
        a, b = int(footage.frames[last]), int(footage.frames[first])
        found = []
        for frame in range(a + 1, b):
            way = (seconds[frame] - seconds[a]) / (seconds[b] - seconds[a])
            expected: Float32 = (1 - way) * footage.boxes[last] + way * footage.boxes[first]
            row = self._alone(frame, np.asarray(expected, np.float64))
            if row >= 0 and footage.tracklets[row] < 0:
                found.append(row)
        return found

    def _motion(self, rows: Int64) -> Float64:
        """`(4,)` how the boxes of the first rows move, pixels a second; their size is taken for constant."""
        times = self._seconds[self._footage.frames[rows]]
        near = np.abs(times - times[0]) <= self._how.past
        times, boxes = times[near] - times[near].mean(), self._footage.boxes[rows][near].astype(np.float64)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        slope = (times[:, None] * (centres - centres.mean(axis=0))).sum(axis=0) / max(float((times**2).sum()), 1e-9)
        return np.concatenate([slope, slope])

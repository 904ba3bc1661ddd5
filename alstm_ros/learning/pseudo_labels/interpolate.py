"""Who is who between frames that a person labelled: an object that is in both moves from the one to the other.

What tracks are lost in is just what lies between: crossings, where no strict tracklet holds.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from alstm_ros.boxes import iou
from alstm_ros.learning.pseudo_labels.footage import NOT_LABELLED, PseudoLabels
from alstm_ros.types import Float32, Int64

LONGEST = 1_100_000_000
"""Nanoseconds between two labelled frames, at most: a person walks straight on for no longer."""
OVERLAP = 0.6
"""Smallest IoU of a detection and the box where the object should be."""
MARGIN = 0.2
"""By so much IoU the best match of a detection, and of an object, is better than its runner-up."""


def join_tracklets(footage: PseudoLabels) -> PseudoLabels:
    """Strict tracklets that hold one labelled object, or lie where it should be, become one, with whatever else does.

    A tracklet that would be two objects stays as it is.
    """
    told = np.where(footage.objects != NOT_LABELLED, footage.objects, interpolated(footage))
    said = (footage.objects != NOT_LABELLED) | (told >= 0)
    count = int(footage.tracklets.max(initial=-1)) + 1
    least, most = np.full(count, np.iinfo(np.int64).max), np.full(count, -1)
    inside = said & (footage.tracklets >= 0)
    np.minimum.at(least, footage.tracklets[inside], told[inside])
    np.maximum.at(most, footage.tracklets[inside], told[inside])
    known, places = np.unique(told, return_inverse=True)
    new = np.where((least == most) & (most >= 0), count + np.searchsorted(known, most), np.arange(count))
    alone = np.where(told >= 0, count + places.reshape(-1), -1)
    return replace(footage, tracklets=np.where(footage.tracklets >= 0, new[footage.tracklets] if count else -1, alone))


def interpolated(footage: PseudoLabels) -> Int64:
    """`(D,)` the labelled object that each detection of an unlabelled frame is, by where that should be; -1 unknown."""
    found = np.full(len(footage.frames), -1, np.int64)
    told = np.unique(footage.frames[footage.objects != NOT_LABELLED])
    starts = footage.rows()
    stamps = footage.stamps_ns
    for before, after in pairwise(told.tolist()):
        if stamps[after] - stamps[before] > LONGEST:
            continue
        old, new = (np.arange(starts[frame], starts[frame + 1]) for frame in (before, after))
        old, new = old[footage.objects[old] >= 0], new[footage.objects[new] >= 0]
        both, i, j = np.intersect1d(footage.objects[old], footage.objects[new], return_indices=True)
        for frame in range(before + 1, after):
            way = float(stamps[frame] - stamps[before]) / float(stamps[after] - stamps[before])
            rows = np.arange(starts[frame], starts[frame + 1])
            # where the detector saw it, not where a person drew it: its boxes err alike in all frames
            expected = (1 - way) * footage.boxes[old[i]] + way * footage.boxes[new[j]]
            objects, columns = _clear(iou(expected, footage.boxes[rows]))
            found[rows[columns]] = both[objects]
    return found


def _clear(overlaps: Float32) -> tuple[Int64, Int64]:
    """Rows and columns that are each other's best by a margin."""
    if not overlaps.size:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    rows = np.arange(len(overlaps))
    best = overlaps.argmax(axis=1)
    value = overlaps[rows, best]
    rest = overlaps.copy()
    rest[rows, best] = -1
    rival = np.maximum(rest.max(axis=1), rest.max(axis=0)[best])
    good = (value >= OVERLAP) & (value - rival >= MARGIN)
    return rows[good], best[good]

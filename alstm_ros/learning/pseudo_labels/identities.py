"""Who is who in a recording: strict tracklets, joined and cut by what a person labelled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from alstm_ros.boxes import iou
from alstm_ros.learning.pseudo_labels.interpolate import joined
from alstm_ros.learning.pseudo_labels.pairs import NOBODY_LOOKED, NOTHING, Pairs
from alstm_ros.recordings.sparse_labels import SparseLabels
from alstm_ros.types import Float64, Int64


def identities(pairs: Pairs) -> Int64:
    """The object behind each detection, `(D,)`: a number from 0, or -1 where nobody knows.

    Tracklets that hold one labelled object are that object. A tracklet of which a person said two things is none.
    """
    count = int(pairs.tracklets.max(initial=-1)) + 1
    tracked, named = pairs.tracklets >= 0, pairs.objects >= 0
    owner = np.arange(count)  # what a tracklet is: itself, or `count` + a labelled object
    for tracklet in np.unique(pairs.tracklets[tracked & (pairs.objects != NOBODY_LOOKED)]).tolist():
        said = np.unique(pairs.objects[(pairs.tracklets == tracklet) & (pairs.objects != NOBODY_LOOKED)])
        owner[tracklet] = count + said[0] if len(said) == 1 and said[0] >= 0 else -1
    who = np.full(len(pairs.frames), -1, np.int64)
    who[tracked] = owner[pairs.tracklets[tracked]]
    who[named] = count + pairs.objects[named]
    who[pairs.objects == NOTHING] = -1
    # an object is found once a frame; of two, neither is believed unless a person named it
    order = np.lexsort((~named, who, pairs.frames))
    again = np.zeros(len(who), bool)
    twice = (np.diff(who[order]) == 0) & (np.diff(pairs.frames[order]) == 0)
    again[order[1:][twice]] = True
    again[order[:-1][twice] if len(order) else order] |= ~named[order[:-1][twice]]
    who[again] = -1
    known, places = np.unique(who, return_inverse=True)
    return np.asarray(places - 1 if len(known) and known[0] == -1 else places, np.int64).reshape(-1)


def attach(pairs: Pairs, sparse: SparseLabels, overlap: float = 0.5, near: float = 0.3) -> Pairs:
    """Adds what a person labelled to what was bootstrapped.

    Args:
        pairs: of the recording, or of a part of it.
        sparse: the recording's labels; they name frames by the same numbers.
        overlap: smallest IoU at which a detection is a labelled object.
        near: IoU with a labelled box above which an unmatched detection may be a second one of it.
    """
    chosen = np.flatnonzero(np.isin(pairs.numbers, sparse.frames))
    objects, truths = pairs.objects.copy(), pairs.truths.copy()
    rows = sparse.labels.rows()
    for frame in chosen.tolist():
        number = int(pairs.numbers[frame])
        part = slice(*np.searchsorted(pairs.frames, [frame, frame + 1]).tolist())
        theirs = slice(rows[number - 1], rows[number]) if number <= sparse.labels.length else slice(0, 0)
        boxes, counted = sparse.labels.boxes[theirs], sparse.labels.counted[theirs]
        overlaps = iou(pairs.boxes[part].astype(np.float64), boxes)
        objects[part] = np.where(overlaps.max(axis=1, initial=0) > near, NOBODY_LOOKED, NOTHING)
        mine, found = matched(overlaps, overlap)
        mine, found = mine[counted[found]], found[counted[found]]
        objects[part][mine] = sparse.labels.ids[theirs][found]
        truths[part][mine] = boxes[found]
    return joined(replace(pairs, objects=objects, truths=truths))


def matched(overlaps: Float64, least: float) -> tuple[Int64, Int64]:
    """The best matching of boxes by their IoU `(N, M)`: rows and columns that overlap by `least` or more."""
    rows, columns = linear_sum_assignment(-overlaps)
    good = overlaps[rows, columns] >= least
    return rows[good], columns[good]

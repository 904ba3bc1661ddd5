"""Who is who in a recording: strict tracklets, joined and cut by what a person labelled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from alstm_ros.boxes import iou
from alstm_ros.learning.pseudo_labels.footage import NO_OBJECT, NOT_LABELLED, PseudoLabels
from alstm_ros.learning.pseudo_labels.interpolate import join_tracklets
from alstm_ros.recordings.sparse_labels import SparseLabels
from alstm_ros.types import Float64, Int64


def identities(footage: PseudoLabels) -> Int64:
    """The object behind each detection, `(D,)`: a number from 0, or -1 where nobody knows.

    Tracklets that hold one labelled object are that object. A tracklet of which a person said two things is none.
    """
    count = int(footage.tracklets.max(initial=-1)) + 1
    tracked, named = footage.tracklets >= 0, footage.objects >= 0
    owner = np.arange(count)  # what a tracklet is: itself, or `count` + a labelled object
    for tracklet in np.unique(footage.tracklets[tracked & (footage.objects != NOT_LABELLED)]).tolist():
        said = np.unique(footage.objects[(footage.tracklets == tracklet) & (footage.objects != NOT_LABELLED)])
        owner[tracklet] = count + said[0] if len(said) == 1 and said[0] >= 0 else -1
    who = np.full(len(footage.frames), -1, np.int64)
    who[tracked] = owner[footage.tracklets[tracked]]
    who[named] = count + footage.objects[named]
    who[footage.objects == NO_OBJECT] = -1
    # an object is found once a frame; of two, neither is believed unless a person named it
    order = np.lexsort((~named, who, footage.frames))
    again = np.zeros(len(who), bool)
    twice = (np.diff(who[order]) == 0) & (np.diff(footage.frames[order]) == 0)
    again[order[1:][twice]] = True
    again[order[:-1][twice] if len(order) else order] |= ~named[order[:-1][twice]]
    who[again] = -1
    known, places = np.unique(who, return_inverse=True)
    return np.asarray(places - 1 if len(known) and known[0] == -1 else places, np.int64).reshape(-1)


def attach_labels(footage: PseudoLabels, sparse: SparseLabels, overlap: float = 0.5, near: float = 0.3) -> PseudoLabels:
    """Adds what a person labelled to what was bootstrapped.

    Args:
        footage: of the recording, or of a part of it.
        sparse: the recording's labels; they name frames by the same numbers.
        overlap: smallest IoU at which a detection is a labelled object.
        near: IoU with a labelled box above which an unmatched detection may be a second one of it.
    """
    chosen = np.flatnonzero(np.isin(footage.numbers, sparse.frames))
    objects, truths = footage.objects.copy(), footage.truths.copy()
    mine_of, theirs_of = footage.rows().tolist(), sparse.labels.rows().tolist()
    for frame in chosen.tolist():
        number = int(footage.numbers[frame])
        part = slice(mine_of[frame], mine_of[frame + 1])
        theirs = slice(theirs_of[number - 1], theirs_of[number]) if number <= sparse.labels.length else slice(0, 0)
        boxes, counted = sparse.labels.boxes[theirs], sparse.labels.counted[theirs]
        overlaps = iou(footage.boxes[part].astype(np.float64), boxes)
        objects[part] = np.where(overlaps.max(axis=1, initial=0) > near, NOT_LABELLED, NO_OBJECT)
        mine, found = matched(overlaps, overlap)
        mine, found = mine[counted[found]], found[counted[found]]
        objects[part][mine] = sparse.labels.ids[theirs][found]
        truths[part][mine] = boxes[found]
    return join_tracklets(replace(footage, objects=objects, truths=truths))


def matched(overlaps: Float64, least: float) -> tuple[Int64, Int64]:
    """The best matching of boxes by their IoU `(N, M)`: rows and columns that overlap by `least` or more."""
    rows, columns = linear_sum_assignment(-overlaps)
    good = overlaps[rows, columns] >= least
    return rows[good], columns[good]

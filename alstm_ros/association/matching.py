"""One assignment of detections to tracks."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from alstm_ros.types import Float64, Int64


def assign(rows: Int64, columns: Int64, costs: Float64, limit: float) -> Int64:
    """The partial matching whose sum of (cost - limit) is smallest.

    Capping at the limit makes a forced pair as good as none, so the best full matching holds the best partial one. A
    pair that competes with no other is matched without asking.

    Args:
        rows: `(P,)` each pair's track, ascending.
        columns: `(P,)` its detection.
        costs: `(P,)` its cost.
        limit: a pair that costs this or more is never matched, and neither is one that is not listed.

    Returns:
        `(K,)` int64, places of the chosen pairs, ascending.
    """
    good = (costs < limit).nonzero()[0]
    rows, columns = rows[good], columns[good]
    alone = (np.bincount(rows)[rows] == 1) & (np.bincount(columns)[columns] == 1)  # nobody else wants either
    if alone.all():
        return good
    rest = good[~alone]
    first, second = _dense(rows[~alone]), _dense(columns[~alone])
    shape = int(first.max()) + 1, int(second.max()) + 1
    capped, where = np.full(shape, limit), np.full(shape, -1)
    capped[first, second], where[first, second] = costs[rest], rest
    chosen = where[linear_sum_assignment(capped)]
    return np.sort(np.concatenate([good[alone], chosen[chosen >= 0]]))


def margins(rows: Int64, columns: Int64, costs: Float64, chosen: Int64, apart: float) -> Float64:
    """By how much each match is cheaper than the best rival in its row and in its column.

    Args:
        rows: `(P,)` each pair's track.
        columns: `(P,)` its detection.
        costs: `(P,)` its cost.
        chosen: `(K,)` places of the matches.
        apart: what a pair that is not listed costs at least; a rival counts as no dearer than this.

    Returns:
        `(K, 2)`, at most 1.
    """
    own, others = costs[chosen], costs.copy()
    others[chosen] = np.inf
    out = np.empty((len(chosen), 2))
    for side, index in enumerate((rows, columns)):
        rival = np.full(int(index.max(initial=-1)) + 1, apart)
        np.minimum.at(rival, index, others)
        out[:, side] = rival[index[chosen]] - own
    return out.clip(-1, 1, out=out)


def _dense(index: Int64) -> Int64:
    """The same groups, numbered from 0 without gaps, in the same order."""
    used = np.zeros(int(index.max()) + 1, np.int64)
    used[index] = 1
    return np.asarray((np.cumsum(used) - 1)[index])

"""One assignment of detections to tracks."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from alstm_ros.association.workspace import Workspace
from alstm_ros.types import Float64, Int64


def assign(cost: Float64, limit: float, room: Workspace) -> tuple[Int64, Int64]:
    """The partial matching whose sum of (cost - limit) is smallest.

    Capping at the limit makes a forced pair as good as none, so the best full matching holds the best partial one. A
    pair that competes with no other is matched without asking.

    Args:
        cost: `(T, N)`.
        limit: a pair that costs this or more is never matched.
        room: memory to work in.

    Returns:
        Rows `(K,)` ascending and their columns `(K,)`, int64.
    """
    rows, columns = np.nonzero(cost < limit)
    tracks, detections = np.bincount(rows, minlength=cost.shape[0]), np.bincount(columns, minlength=cost.shape[1])
    alone = (tracks[rows] == 1) & (detections[columns] == 1)  # nobody else wants either
    some, others = np.unique(rows[~alone]), np.unique(columns[~alone])
    capped = room.matrix("capped", len(some), len(others))
    np.minimum(cost[np.ix_(some, others)], limit, out=capped)
    first, second = linear_sum_assignment(capped)
    good = capped[first, second] < limit
    rows = np.concatenate([rows[alone], some[first[good]]])
    columns = np.concatenate([columns[alone], others[second[good]]])
    order = np.argsort(rows)
    return rows[order].astype(np.int64), columns[order].astype(np.int64)

"""One assignment of detections to tracks."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from alstm_ros.association.workspace import Workspace
from alstm_ros.types import Float64, Int64


def assign(cost: Float64, limit: float, room: Workspace) -> tuple[Int64, Int64]:
    """The partial matching whose sum of (cost - limit) is smallest.

    Capping at the limit makes a forced pair as good as none, so the best full matching holds the best partial one.

    Args:
        cost: `(T, N)`.
        limit: a pair that costs this or more is never matched.
        room: memory to work in.

    Returns:
        Rows `(K,)` ascending and their columns `(K,)`, int64.
    """
    capped = np.minimum(cost, limit, out=room.matrix("capped", *cost.shape))
    rows, columns = linear_sum_assignment(capped)
    good = capped[rows, columns] < limit
    return rows[good].astype(np.int64), columns[good].astype(np.int64)

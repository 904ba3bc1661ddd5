"""A bound on the work of one frame, whatever a detector says."""

from __future__ import annotations

import numpy as np

from alstm_ros.boxes import nms
from alstm_ros.types import Detections

USUAL = 300
"""Up to so many detections, none is left out; busier scenes than those of MOT20 have no more."""
MOST = 1000
"""At most so many detections are tracked in one frame, the best ones."""
PILE = 0.8
"""Where there are more than `USUAL`, a detection goes that overlaps a better one by more than this IoU, of any class.

Each pair of boxes on one spot is priced, so that a pile of n costs n squared; objects this close cannot be told apart.
"""


def limit_crowd(detections: Detections) -> Detections:
    """The detections that are tracked: all, unless they are so many that the frame's work would have no bound."""
    if len(detections) <= USUAL:
        return detections
    one_class = np.zeros(len(detections), np.int64)
    return detections[np.sort(nms(detections.boxes, detections.scores, one_class, PILE, MOST))]

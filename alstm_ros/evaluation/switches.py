"""Which track follows which object, frame by frame, and where that changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from alstm_ros.evaluation.trackeval_adapter import Prepared
from alstm_ros.types import Float64


@dataclass(frozen=True, slots=True)
class Switch:
    """An object whose track changed.

    Attributes:
        frame: the first frame with the new track.
        object_id: the ground truth's id.
        before: the track's id before.
        after: the track's id now.
        last_frame: the last frame with the old track.
        box: `(4,)` the object's box in `frame`, xyxy.
    """

    frame: int
    object_id: int
    before: int
    after: int
    last_frame: int
    box: Float64


@dataclass(frozen=True, slots=True)
class Timeline:
    """A sequence's matches.

    Attributes:
        followed: ground truth id to (frame, track id) pairs, frames ascending; a frame without match has track id -1.
        switches: in the order of frames.
    """

    followed: dict[int, list[tuple[int, int]]]
    switches: tuple[Switch, ...]


def timeline(sequence: Prepared, threshold: float = 0.5) -> Timeline:
    """Matches as CLEAR MOT does (Bernardin and Stiefelhagen 2008): what was matched in the last frame stays matched.

    The same rule as TrackEval's, which tells only the number of switches; a test compares the two.

    Args:
        sequence: after the benchmark's preprocessing.
        threshold: the smallest IoU of a match.
    """
    followed: dict[int, list[tuple[int, int]]] = {}
    switches: list[Switch] = []
    ever: dict[int, tuple[int, int]] = {}  # object -> last track and its last frame
    previous: dict[int, int] = {}  # object -> track in the last frame that had both
    for i, (objects, tracks, overlaps) in enumerate(zip(sequence.gt_ids, sequence.ids, sequence.overlaps, strict=True)):
        frame = i + 1
        matched: dict[int, int] = {}
        if len(objects) and len(tracks):
            stays = np.array([previous.get(int(key), -1) for key in objects])[:, None] == tracks[None, :]
            value = np.where(overlaps < threshold - np.finfo(float).eps, 0.0, 1000.0 * stays + overlaps)
            for row, column in zip(*linear_sum_assignment(-value), strict=True):
                if value[row, column] > np.finfo(float).eps:
                    matched[row] = int(tracks[column])
            previous = {int(objects[row]): track for row, track in matched.items()}
        for row, key in enumerate(objects.tolist()):
            track = matched.get(row, -1)
            followed.setdefault(key, []).append((frame, track))
            if track < 0:
                continue
            if key in ever and ever[key][0] != track:
                before, last_frame = ever[key]
                switches.append(Switch(frame, key, before, track, last_frame, sequence.gt_boxes[i][row]))
            ever[key] = (track, frame)
    return Timeline(followed, tuple(switches))

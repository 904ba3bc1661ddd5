"""What the learned association is shown: numbers without units, so that size, resolution and frame rate cancel.

The same functions serve the running tracker and the training, which records what they return.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alstm_ros.association.associator import Candidates, Decision
from alstm_ros.association.learned.competition import FAR, ambiguity, candidate_margins, crowding, paired_iou, place_of
from alstm_ros.boxes import xyxy_to_cxcywh
from alstm_ros.types import Float32

APPEARANCE = 49
"""Length of the appearance vector, the paper's 7 x 7."""
PAIR = 39
"""Length of a pair's features."""
AMBIGUITY = PAIR - 1
"""Where a pair's features hold how far the rules leave it open."""
GEOMETRY = 35
"""Length of the part of a step's features that is not appearance."""
STEP = GEOMETRY + APPEARANCE + 1
"""Length of a step's features: geometry, appearance, and whether there is any."""
_WEAK = 0.6
"""Scores below this are counted as weak."""
_MOMENT = 1e-3
"""Seconds that do not count."""
_FREE = 2.0
"""Seconds; for longer than this, nothing is told of how long a detection has been free."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """What both kinds of features need of a frame, computed once.

    Attributes:
        candidates: the frame.
        corners: `(2, T, 4)` xyxy of the tracks, predicted and observed.
        origins: `(2, T, 4)` cxcywh, the same.
        boxes: `(N, 4)` cxcywh of the detections.
        track_crowd: `(T,)` the largest IoU of each predicted box with another.
        crowd: `(N,)` the same of the detections.
        covered: `(N,)` the largest share of each detection inside one of a better score.
        unseen: `(T,)` seconds since the last detection.
        age: `(T,)` log of one plus the age in seconds.
        speeds: `(T, 4)` heights a second.
        appearance: `(N, APPEARANCE)` unit vectors of the detections, None where the detector offers none.
        seen: `(T, APPEARANCE)` running mean of the same of the tracks; zeros where nothing is known.
        free: `(N,)` seconds for which a detection has been there without belonging to a track.
        frame_statistics: `(3,)` what kind of detections there are: log ratio of weak to strong ones, the share that no
            track claimed in the last frame, log of how many tracks there are.
    """

    candidates: Candidates
    corners: Float32
    origins: Float32
    boxes: Float32
    track_crowd: Float32
    crowd: Float32
    covered: Float32
    unseen: Float32
    age: Float32
    speeds: Float32
    appearance: Float32 | None
    seen: Float32 | None
    free: Float32
    frame_statistics: Float32

    @classmethod
    def of(
        cls, candidates: Candidates, appearance: Float32 | None, seen: Float32 | None, free: Float32, left: float
    ) -> Geometry:
        """Computes it; `left` is the share of detections that the last frame left over."""
        tracks, found = candidates.tracks, candidates.detections
        corners, known = np.concatenate([tracks.predicted, tracks.observed, found.boxes]), 2 * len(tracks)
        shapes = xyxy_to_cxcywh(corners)
        origins = shapes[:known].reshape(2, -1, 4)
        crowd, covered = crowding(found.boxes, found.scores)
        weak = int((found.scores < _WEAK).sum())
        frame_statistics = [np.log((weak + 1) / (len(found) - weak + 1)), left, np.log1p(len(tracks)) - 2]
        return cls(
            candidates=candidates,
            corners=corners[:known].reshape(2, -1, 4),
            origins=origins,
            boxes=shapes[known:],
            track_crowd=crowding(tracks.predicted)[0],
            crowd=crowd,
            covered=covered,
            unseen=(tracks.unseen_ns / 1e9).astype(np.float32),
            age=np.log1p(tracks.ages_ns / 1e9).astype(np.float32),
            speeds=(tracks.speeds / np.maximum(origins[0, :, 3:], 1)).clip(-4, 4),
            appearance=appearance,
            seen=seen,
            free=free,
            frame_statistics=np.array(frame_statistics, np.float32),
        )


def pair_features(frame: Geometry) -> Float32:
    """What is known of each candidate pair: `(P, PAIR)` float32."""
    candidates = frame.candidates
    tracks, found = candidates.tracks, candidates.detections
    rows, columns, costs = candidates.rows, candidates.columns, candidates.costs
    out = np.zeros((len(rows), PAIR), np.float32)
    if not len(rows):
        return out
    origins = frame.origins.take(rows, 1)  # (2, P, 4)
    height = np.maximum(origins[0, :, 3], 1)
    out[:, 0:4], out[:, 4:8] = offset(frame.boxes.take(columns, 0), origins, height)
    out[:, 8] = costs
    out[:, 9:11] = candidate_margins(candidates, costs)
    out[:, 11], out[:, 12] = paired_iou(frame.corners.take(rows, 1), found.boxes.take(columns, 0))
    out[:, 13] = scores = found.scores[columns]
    out[:, 14] = before = tracks.scores[rows]
    out[:, 15] = (scores - before) * 2
    out[:, 16] = np.log1p(frame.unseen * 10)[rows]
    out[:, 17] = frame.age[rows]
    out[:, 18] = candidates.dt_ns / 1e8
    out[:, 19] = tracks.confirmed[rows]
    out[:, 20] = frame.crowd[columns]
    out[:, 21] = frame.track_crowd[rows]
    out[:, 22:26] = frame.speeds.take(rows, 0)
    out[:, 26] = np.log(height / 100)
    free, unseen = frame.free[columns], frame.unseen[rows]
    out[:, 31] = np.log1p(free * 10)
    out[:, 32] = (free > 0) & (free >= unseen - _MOMENT)  # it stood there while the track had something else
    out[:, 33] = np.where(free > 0, (free - unseen).clip(-_FREE, _FREE), -_FREE)
    out[:, 34] = frame.covered[columns]
    out[:, 35:38] = frame.frame_statistics
    out[:, AMBIGUITY] = ambiguity(candidates)
    appearance, seen = frame.appearance, frame.seen
    if appearance is not None and seen is not None:
        theirs = seen.take(rows, 0)
        known = np.abs(theirs).max(axis=1) > 0
        likeness = (appearance.take(columns, 0) * theirs).sum(axis=1)
        rivals = -candidate_margins(candidates, -likeness)  # how much less alike than the best rival
        out[:, 27], out[:, 28] = known, known * (likeness - 0.5)
        out[:, 29:31] = known[:, None] * np.where(np.abs(rivals) < FAR, rivals, 0)
    return out


def step_features(frame: Geometry, decision: Decision) -> Float32:
    """What a track learns from the detection that it was given; what a newborn one knows.

    Args:
        frame: the frame.
        decision: what was decided in it.

    Returns:
        `(M + B, STEP)` float32, matched tracks first.
    """
    tracks, found = frame.candidates.tracks, frame.candidates.detections
    rows, which = decision.rows, decision.found
    out = np.zeros((len(which), STEP), np.float32)
    if not len(which):
        return out
    m = len(rows)
    boxes = frame.boxes.take(which, 0)
    height = np.maximum(boxes[:, 3], 1)
    out[:, 0] = np.log(height / 100)
    out[:, 1] = np.log(np.maximum(boxes[:, 2], 1) / height)
    out[:, 2] = found.scores[which]
    out[:, 3] = frame.crowd[which]
    out[:, 4] = frame.candidates.dt_ns / 1e8
    out[m:, 5] = 1
    out[:, 30] = np.log1p(frame.free[which] * 10)
    out[:, 31] = frame.covered[which]
    out[:, 32:35] = frame.frame_statistics
    if m:
        origins = frame.origins.take(rows, 1)  # (2, M, 4)
        unseen = np.maximum(frame.unseen[rows], 1e-3)
        innovation, moved = offset(boxes[:m], origins, np.maximum(origins[0, :, 3], 1))
        out[:m, 6:10] = innovation * 4
        out[:m, 10:14] = moved * 4
        out[:m, 14:18] = (moved / unseen[:, None]).clip(-4, 4)  # heights a second
        out[:m, 18:22] = frame.speeds.take(rows, 0)
        out[:m, 22] = tracks.scores[rows]
        out[:m, 23] = np.log1p(unseen * 10)
        out[:m, 24] = frame.age[rows]
        out[:m, 25] = tracks.confirmed[rows]
        out[:m, 26:29] = _matched(decision)
        out[:m, 29] = frame.track_crowd[rows]
    if frame.appearance is not None:
        out[:, GEOMETRY:-1] = frame.appearance[which]
        out[:, -1] = 1
    return out


def offset(boxes: Float32, origins: Float32, height: Float32) -> Float32:
    """From some boxes to others: shifts in heights, log ratios of sizes.

    Args:
        boxes: `(P, 4)` cxcywh.
        origins: `(2, P, 4)` cxcywh.
        height: `(P,)` pixels.

    Returns:
        `(2, P, 4)`, within -3..3.
    """
    out = np.empty_like(origins)
    out[..., :2] = (boxes[:, :2] - origins[..., :2]) / height[:, None]
    out[..., 2:] = np.log(np.maximum(boxes[:, 2:], 1) / np.maximum(origins[..., 2:], 1))
    return out.clip(-3, 3, out=out)


def _matched(decision: Decision) -> Float32:
    """`(M, 3)`: the corrected cost of each match and its margins; the limit and 0 for a match that is no candidate."""
    candidates, rows, totals = decision.candidates, decision.rows, decision.totals
    if not len(candidates.rows):
        return np.tile(np.array([candidates.limit, 0, 0], np.float32), (len(rows), 1))
    pairs, there = place_of(candidates, rows, decision.columns)
    rivals = candidate_margins(candidates, totals)
    known = np.concatenate([totals[pairs][:, None], rivals.take(pairs, 0)], axis=1)
    return np.where(there[:, None] > 0, known, np.array([candidates.limit, 0, 0])).astype(np.float32)

"""What the learned association is shown: numbers without units, so that size, resolution and frame rate cancel.

The same functions serve the running tracker and the training, which records what they return.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alstm_ros.association.associator import Candidates
from alstm_ros.boxes import iou, xyxy_to_cxcywh
from alstm_ros.types import Detections, Float32, Int64

APPEARANCE = 49
"""Length of the appearance vector, the paper's 7 x 7."""
PAIR = 32
"""Length of a pair's features."""
DOUBT = PAIR - 1
"""Where a pair's features hold how far the rules leave it open."""
STEP = 30 + APPEARANCE + 1
"""Length of a step's features: geometry, appearance, and whether there is any."""
_TEMPERATURE = 0.1
"""Costs that differ by this much are e times as likely, by the rules."""
_FAR = 1.0
"""The margin where there is no rival."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """What both kinds of features need of a frame, computed once.

    Attributes:
        candidates: the frame.
        predicted: `(T, 4)` cxcywh.
        observed: `(T, 4)` cxcywh.
        boxes: `(N, 4)` cxcywh of the detections.
        track_crowd: `(T,)` the largest IoU of each predicted box with another.
        crowd: `(N,)` the same of the detections.
        unseen: `(T,)` seconds since the last detection.
        age: `(T,)` log of one plus the age in seconds.
        speeds: `(T, 4)` heights a second.
    """

    candidates: Candidates
    predicted: Float32
    observed: Float32
    boxes: Float32
    track_crowd: Float32
    crowd: Float32
    unseen: Float32
    age: Float32
    speeds: Float32

    @classmethod
    def of(cls, candidates: Candidates) -> Geometry:
        """Computes it."""
        tracks, found = candidates.tracks, candidates.detections
        predicted = xyxy_to_cxcywh(tracks.predicted)
        return cls(
            candidates=candidates,
            predicted=predicted,
            observed=xyxy_to_cxcywh(tracks.observed),
            boxes=xyxy_to_cxcywh(found.boxes),
            track_crowd=crowd(tracks.predicted),
            crowd=crowd(found.boxes),
            unseen=(tracks.unseen_ns / 1e9).astype(np.float32),
            age=np.log1p(tracks.ages_ns / 1e9).astype(np.float32),
            speeds=np.clip(tracks.speeds / np.maximum(predicted[:, 3:], 1), -4, 4),
        )


def pair_features(frame: Geometry, looks: Float32 | None, seen: Float32 | None) -> Float32:
    """What is known of each candidate pair.

    Args:
        frame: the frame.
        looks: `(N, APPEARANCE)` unit vectors of the detections, None where the detector offers none.
        seen: `(T, APPEARANCE)` running mean of the same of the tracks; zeros where nothing is known.

    Returns:
        `(P, PAIR)` float32.
    """
    candidates = frame.candidates
    tracks, found = candidates.tracks, candidates.detections
    rows, columns, costs = candidates.rows, candidates.columns, candidates.costs
    out = np.zeros((len(rows), PAIR), np.float32)
    if not len(rows):
        return out
    predicted, box = frame.predicted[rows], frame.boxes[columns]
    height = np.maximum(predicted[:, 3], 1)
    out[:, 0:4] = offset(box, predicted, height)
    out[:, 4:8] = offset(box, frame.observed[rows], height)
    out[:, 8] = costs
    out[:, 9:11] = margins(len(tracks), len(found), rows, columns, costs)
    corners = found.boxes[columns]
    out[:, 11] = paired_iou(tracks.predicted[rows], corners)
    out[:, 12] = paired_iou(tracks.observed[rows], corners)
    out[:, 13] = scores = found.scores[columns]
    out[:, 14] = before = tracks.scores[rows]
    out[:, 15] = (scores - before) * 2
    out[:, 16] = np.log1p(frame.unseen * 10)[rows]
    out[:, 17] = frame.age[rows]
    out[:, 18] = candidates.dt_ns / 1e8
    out[:, 19] = tracks.confirmed[rows]
    out[:, 20] = frame.crowd[columns]
    out[:, 21] = frame.track_crowd[rows]
    out[:, 22:26] = frame.speeds[rows]
    out[:, 26] = np.log(height / 100)
    out[:, DOUBT] = doubt(candidates)
    if looks is not None and seen is not None:
        known = np.abs(seen[rows]).max(axis=1) > 0
        likeness = (looks[columns] * seen[rows]).sum(axis=1)
        rivals = -margins(len(tracks), len(found), rows, columns, -likeness)  # how much less alike than the best rival
        out[:, 27], out[:, 28] = known, known * (likeness - 0.5)
        out[:, 29:31] = known[:, None] * np.where(np.abs(rivals) < _FAR, rivals, 0)
    return out


def step_features(
    frame: Geometry, totals: Float32, rows: Int64, columns: Int64, born: Int64, looks: Float32 | None
) -> Float32:
    """What a track learns from the detection that it was given; what a newborn one knows.

    Args:
        frame: the frame.
        totals: `(P,)` the pairs' corrected costs.
        rows: `(M,)` matched tracks.
        columns: `(M,)` their detections.
        born: `(B,)` detections of newborn tracks.
        looks: `(N, APPEARANCE)` unit vectors of the detections or None.

    Returns:
        `(M + B, STEP)` float32, matched tracks first.
    """
    tracks, found = frame.candidates.tracks, frame.candidates.detections
    which = np.concatenate([columns, born])
    out = np.zeros((len(which), STEP), np.float32)
    if not len(which):
        return out
    m = len(rows)
    boxes = frame.boxes[which]
    height = np.maximum(boxes[:, 3], 1)
    out[:, 0] = np.log(height / 100)
    out[:, 1] = np.log(np.maximum(boxes[:, 2], 1) / height)
    out[:, 2] = found.scores[which]
    out[:, 3] = frame.crowd[which]
    out[:, 4] = frame.candidates.dt_ns / 1e8
    out[m:, 5] = 1
    if m:
        predicted = frame.predicted[rows]
        scale = np.maximum(predicted[:, 3], 1)
        unseen = np.maximum(frame.unseen[rows], 1e-3)
        out[:m, 6:10] = offset(boxes[:m], predicted, scale) * 4  # innovation
        moved = offset(boxes[:m], frame.observed[rows], scale)
        out[:m, 10:14] = moved * 4
        out[:m, 14:18] = np.clip(moved / unseen[:, None], -4, 4)  # heights a second
        out[:m, 18:22] = frame.speeds[rows]
        out[:m, 22] = tracks.scores[rows]
        out[:m, 23] = np.log1p(unseen * 10)
        out[:m, 24] = frame.age[rows]
        out[:m, 25] = tracks.confirmed[rows]
        out[:m, 26:29] = _matched(frame.candidates, totals, rows, columns)
        out[:m, 29] = frame.track_crowd[rows]
    if looks is not None:
        out[:, 30:-1] = looks[which]
        out[:, -1] = 1
    return out


def offset(boxes: Float32, origin: Float32, height: Float32) -> Float32:
    """From one box to another: shifts in heights, log ratios of sizes; `(N, 4)` cxcywh each, `(N,)` to `(N, 4)`."""
    out = np.empty_like(boxes)
    out[:, :2] = (boxes[:, :2] - origin[:, :2]) / height[:, None]
    out[:, 2:] = np.log(np.maximum(boxes[:, 2:], 1) / np.maximum(origin[:, 2:], 1))
    return np.clip(out, -3, 3, out=out)


def doubt(candidates: Candidates) -> Float32:
    """How far the rules leave a pair open, `(P,)` in 0..1.

    Two times the chance, at a softmax over the pair's row or column and "none", that the rules' own favourite there is
    wrong, at most 1. What the rules are sure of is not touched: nearly all of it is right.
    """
    chance = np.exp(np.minimum((candidates.limit - candidates.costs) / _TEMPERATURE, 30))
    open_by = np.zeros(len(chance))
    sides = ((candidates.rows, len(candidates.tracks)), (candidates.columns, len(candidates.detections)))
    for index, count in sides:
        mass = 1 + np.bincount(index, chance, count)
        best = np.ones(count)
        np.maximum.at(best, index, chance)
        open_by = np.maximum(open_by, (1 - best / mass)[index])
    return np.minimum(2 * open_by, 1).astype(np.float32)


def paired_iou(a: Float32, b: Float32) -> Float32:
    """IoU of each box with the one in the same row: `(P, 4)` xyxy each to `(P,)`."""
    size = np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0)
    inner = size[:, 0] * size[:, 1]
    outer = np.prod(a[:, 2:] - a[:, :2], axis=1) + np.prod(b[:, 2:] - b[:, :2], axis=1) - inner
    return np.asarray(inner / np.maximum(outer, 1e-6), np.float32)


def crowd(boxes: Float32) -> Float32:
    """The largest IoU of each box with another one: `(N,)`."""
    overlap = iou(boxes, boxes)
    np.fill_diagonal(overlap, 0)
    return np.asarray(overlap.max(axis=1, initial=0), np.float32)


def margins(tracks: int, detections: int, rows: Int64, columns: Int64, costs: Float32) -> Float32:
    """How much cheaper each pair is than its best rival in its row and in its column: `(P, 2)`, capped at one."""
    table = np.full((tracks, detections), np.inf, np.float32)
    table[rows, columns] = costs
    out = np.empty((len(rows), 2), np.float32)
    for side, (axis, index) in enumerate(((1, rows), (0, columns))):
        if table.shape[axis] < 2:
            out[:, side] = _FAR
            continue
        least = np.partition(table, 1, axis=axis)[:2] if axis == 0 else np.partition(table, 1, axis=axis)[:, :2].T
        best, second = least[0][index], least[1][index]
        rival = np.where(costs <= best, second, best)
        out[:, side] = np.clip(rival - costs, -_FAR, _FAR)
    return out


def appearance(detections: Detections, projection: Float32) -> Float32 | None:
    """The detections' own features as unit vectors of the length that the network takes.

    Args:
        detections: of a frame.
        projection: `(C, APPEARANCE)`, from the detector's features; used where the widths differ.

    Returns:
        `(N, APPEARANCE)` float32, or None where the detector offers none or features of another width.
    """
    features = detections.features
    if features is None or features.shape[1] == 0:
        return None
    if features.shape[1] != APPEARANCE:
        if features.shape[1] != projection.shape[0]:
            return None
        features = features @ projection
    return np.asarray(features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-6), np.float32)


def _matched(candidates: Candidates, totals: Float32, rows: Int64, columns: Int64) -> Float32:
    """`(M, 3)`: the corrected cost of each match and its margins."""
    place = np.full((len(candidates.tracks), len(candidates.detections)), -1, np.int64)
    place[candidates.rows, candidates.columns] = np.arange(len(candidates.rows))
    pairs = place[rows, columns]
    rivals = margins(*place.shape, candidates.rows, candidates.columns, totals)
    return np.concatenate([totals[pairs, None], rivals[pairs]], axis=1)

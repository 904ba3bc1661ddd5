"""One frame's decision: which detection continues which track."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alstm_ros.association.associator import Associator, Candidates, TrackView
from alstm_ros.association.cost import base_cost, class_mismatch, overlap
from alstm_ros.association.matching import assign
from alstm_ros.association.scene import SceneMotion
from alstm_ros.association.table import TrackTable
from alstm_ros.association.workspace import Workspace
from alstm_ros.boxes import cxcywh_to_xyxy
from alstm_ros.config import Config
from alstm_ros.types import Detections, Float32, Float64, Int64, TrackState

SECOND = 1_000_000_000
_APART = 1.0
"""What a pair without overlap costs at least."""
_LOGIT = np.array([1.4, 2.9, 5.5, -0.8])
"""Of a match being right: constant, margin in the row, in the column, log(1 + 10 seconds lost).

Fitted by `python -m bench.confidence` on simulated detections of DanceTrack's training sequences.
"""
_SECOND_THOUGHT = 0.6
"""A learned correction is asked for pairs that overlap and cost up to this much more than the limit,"""
_REACH = 0.5
"""and for pairs whose centres are at most so many heights apart, and one more for each second unseen,"""
_ALIKE = 0.5
"""and whose heights differ by at most this in their logarithm,"""
_MOST = 8
"""and for so many pairs of a detection at most, the cheapest and nearest."""
_LONG = 3.0
"""Seconds after which a lost track costs no more for being lost longer."""


@dataclass(frozen=True, slots=True)
class Match:
    """What was decided.

    Attributes:
        rows: `(K,)` int64 ascending, rows of the table.
        columns: `(K,)` int64, their detections.
        confidences: `(K,)` float32 in 0..1, that the detection is the same object, by the rules.
        shift: `(M, 2)` pixels by which each track moves with the scene; None where the scene does not move.
        candidates: what the associator was asked, None where there is none.
        corrections: what it answered.
    """

    rows: Int64
    columns: Int64
    confidences: Float32
    shift: Float64 | None
    candidates: Candidates | None
    corrections: Float32


def match(
    table: TrackTable,
    detections: Detections,
    stamp_ns: int,
    dt_ns: int,
    config: Config,
    associator: Associator | None,
    scene: SceneMotion,
    room: Workspace,
) -> Match:
    """Decides which detection continues which track.

    Args:
        table: the living tracks, predicted to this frame.
        detections: of this frame, usable ones.
        stamp_ns: of this frame.
        dt_ns: since the previous frame.
        config: `association` and `tracks` are used.
        associator: corrects the rules' costs; None for the rules alone.
        scene: finds what all tracks do at once, where `association.common_motion` asks for it.
        room: memory to work in.
    """
    limit = config.association.max_cost
    predicted = cxcywh_to_xyxy(table.motion.value)
    cost = rule_cost(table, predicted, detections, stamp_ns, dt_ns, config, room)
    shift = None
    if config.association.common_motion:
        rows, columns = assign(cost, limit, room)
        shift = scene.find(table, predicted, rows, detections.boxes[columns].astype(np.float64))
        if shift is not None:
            predicted = predicted + np.tile(shift, 2)
            cost = rule_cost(table, predicted, detections, stamp_ns, dt_ns, config, room)
    candidates, corrections = None, np.zeros(0, np.float32)
    if associator is not None:
        candidates = find_candidates(table, predicted, detections, cost, limit, stamp_ns, dt_ns, room)
        corrections = associator.correct(candidates) * np.float32(config.association.trust)
        cost[candidates.rows, candidates.columns] += corrections
    if not config.association.common_motion or associator is not None or shift is not None:
        rows, columns = assign(cost, limit, room)
    away = (stamp_ns - table.seen_ns[rows] - dt_ns) / SECOND
    confidences = confidence(margins(cost, rows, columns), away)
    return Match(rows, columns, confidences, shift, candidates, corrections)


def margins(cost: Float64, rows: Int64, columns: Int64) -> Float64:
    """By how much each match is cheaper than the best rival in its row and in its column.

    Args:
        cost: `(T, N)` of all pairs; those of the matches are overwritten.
        rows: `(K,)` of the matches.
        columns: `(K,)` of the matches.

    Returns:
        `(K, 2)`, at most 1; boxes that do not even overlap are no rivals.
    """
    own = cost[rows, columns]
    cost[rows, columns] = np.inf
    rivals = np.stack([cost.min(axis=1, initial=_APART)[rows], cost.min(axis=0, initial=_APART)[columns]], axis=1)
    return np.asarray(np.clip(rivals - own[:, None], -1, 1))


def confidence(margin: Float64, away: Float64) -> Float32:
    """How likely a match is right.

    Args:
        margin: `(K, 2)` from `margins`.
        away: `(K,)` seconds for which the track was lost.

    Returns:
        `(K,)` float32 in 0..1.
    """
    logit = _LOGIT[0] + margin @ _LOGIT[1:3] + _LOGIT[3] * np.log1p(10 * np.maximum(away, 0))
    return np.asarray(1 / (1 + np.exp(-logit)), np.float32)


def rule_cost(
    table: TrackTable,
    predicted: Float64,
    detections: Detections,
    stamp_ns: int,
    dt_ns: int,
    config: Config,
    room: Workspace,
) -> Float64:
    """The rules' cost of every pair, `(T, N)`; infinite for detections that no track may take."""
    association, tracks = config.association, config.tracks
    scores = detections.scores.astype(np.float64)
    margin = association.margin * dt_ns / SECOND * (predicted[:, 3] - predicted[:, 1])
    away = np.clip((stamp_ns - table.seen_ns - dt_ns) / SECOND, 0, _LONG)
    rows = association.lost_penalty * (table.states == TrackState.LOST) + association.lost_growth * away
    columns = np.where(scores < tracks.high_score, association.low_score_penalty, 0.0)
    columns[scores < tracks.low_score] = np.inf
    similar = overlap(predicted, detections.boxes.astype(np.float64), margin)
    cost = base_cost(similar, table.scores, scores, (rows, columns), association.score_weight, room)
    differ = class_mismatch(table.classes, detections.classes)
    if differ is not None:
        cost += association.class_penalty * differ
    return cost


def find_candidates(
    table: TrackTable,
    predicted: Float64,
    detections: Detections,
    cost: Float64,
    limit: float,
    stamp_ns: int,
    dt_ns: int,
    room: Workspace,
) -> Candidates:
    """The pairs worth a second thought: near the limit, or near one another and alike; the best few of a detection."""
    unseen = stamp_ns - table.seen_ns
    boxes = detections.boxes.astype(np.float64)
    heights = np.maximum(predicted[:, 3] - predicted[:, 1], 1)
    centres, found = (predicted[:, :2] + predicted[:, 2:]) / 2, (boxes[:, :2] + boxes[:, 2:]) / 2
    reach = (_REACH + unseen / SECOND) * heights
    off = np.subtract(centres[:, :1], found[:, 0], out=room.matrix("off", *cost.shape))
    close = min(limit + _SECOND_THOUGHT, _APART)
    rows, columns = np.nonzero((np.abs(off, out=off) < reach[:, None]) | (cost < close))
    costs = cost[rows, columns]
    away = (np.square(off[rows, columns]) + np.square(centres[rows, 1] - found[columns, 1])) / np.square(reach)[rows]
    tall = np.log(heights)[rows] - np.log(boxes[:, 3] - boxes[:, 1])[columns]
    # what reaches the limit even with the largest correction needs none
    good = (away < 1) & (np.abs(tall) < _ALIKE) & (costs < limit + _SECOND_THOUGHT)
    good |= costs < close
    rows, columns, costs = rows[good], columns[good], costs[good]
    few = best_of_each(columns, costs + np.minimum(away[good], 1), len(boxes), _MOST)
    rows, columns, costs = rows[few], columns[few], costs[few]
    view = TrackView(
        slots=table.slots,
        predicted=predicted.astype(np.float32),
        observed=table.observed.astype(np.float32),
        speeds=table.motion.speed.astype(np.float32),
        scores=table.scores.astype(np.float32),
        ages_ns=stamp_ns - table.born_ns,
        unseen_ns=unseen,
        confirmed=table.states != TrackState.TENTATIVE,
    )
    pairs = rows.astype(np.int64), columns.astype(np.int64), costs.astype(np.float32)
    return Candidates(view, detections, *pairs, limit, dt_ns)


def best_of_each(groups: Int64, values: Float64, count: int, most: int) -> Int64:
    """Where the smallest values of each group are, at most so many of it.

    Args:
        groups: `(P,)` each value's group, 0..count - 1.
        values: `(P,)`.
        count: of groups.
        most: so many are kept of each.

    Returns:
        `(Q,)` ascending places.
    """
    sizes = np.bincount(groups, minlength=count)
    if sizes.max(initial=0) <= most:
        return np.arange(len(groups))
    order = np.lexsort((values, groups))
    rank = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(order[rank < most])

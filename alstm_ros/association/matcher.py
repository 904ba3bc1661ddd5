"""One frame's decision: which detection continues which track."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alstm_ros.association.associator import Associator, Candidates
from alstm_ros.association.candidates import Pairs, find_candidates, neighbours, reach, second_thoughts
from alstm_ros.association.common_motion import SceneMotion
from alstm_ros.association.cost import APART, base_cost, overlap
from alstm_ros.association.matching import assign, margins
from alstm_ros.association.near import touching
from alstm_ros.association.track_table import TrackTable
from alstm_ros.boxes import cxcywh_to_xyxy
from alstm_ros.config import Config
from alstm_ros.types import Detections, Float32, Float64, Int64

SECOND = 1_000_000_000
_LOGIT = np.array([1.4, 2.9, 5.5, -0.8])
"""Of a match being right: constant, margin in the row, in the column, log(1 + 10 seconds lost).

Fitted by `python -m bench.confidence` on simulated detections of DanceTrack's training sequences.
"""
_OUTWARDS = np.array([-1.0, -1.0, 1.0, 1.0])
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
    """
    limit = config.association.max_cost
    far = associator is not None
    predicted = cxcywh_to_xyxy(table.motion.value)
    pairs = price(table, predicted, detections, stamp_ns, dt_ns, config, far=far)
    shift = None
    if config.association.common_motion:
        chosen = assign(pairs.rows, pairs.columns, pairs.costs, limit)
        detected = detections.boxes.take(pairs.columns[chosen], 0).astype(np.float64)
        shift = scene.find(table, predicted, pairs.rows[chosen], detected)
        if shift is not None:
            predicted = predicted + np.tile(shift, 2)
            pairs = price(table, predicted, detections, stamp_ns, dt_ns, config, far=far)
    rows, columns, costs = pairs.rows, pairs.columns, pairs.costs
    candidates, corrections = None, np.zeros(0, np.float32)
    if associator is not None:
        candidates, place = find_candidates(table, predicted, detections, pairs, limit, stamp_ns, dt_ns)
        corrections = associator.correct(candidates) * np.float32(config.association.trust)
        costs[place] += corrections
    if not config.association.common_motion or associator is not None or shift is not None:
        chosen = assign(rows, columns, costs, limit)
    away = (stamp_ns - table.seen_ns[rows[chosen]] - dt_ns) / SECOND
    confidences = confidence(margins(rows, columns, costs, chosen, APART), away)
    return Match(rows[chosen], columns[chosen], confidences, shift, candidates, corrections)


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


def price(
    table: TrackTable,
    predicted: Float64,
    detections: Detections,
    stamp_ns: int,
    dt_ns: int,
    config: Config,
    *,
    far: bool,
) -> Pairs:
    """The rules' costs of the pairs that are near one another.

    Args:
        table: the living tracks.
        predicted: `(T, 4)` xyxy, where they are expected.
        detections: of this frame.
        stamp_ns: of this frame.
        dt_ns: since the previous frame.
        config: `association` and `tracks` are used.
        far: whether pairs that do not overlap are wanted, too.

    Returns:
        The pairs; one that is not listed costs at least 1, and the cost is infinite for detections that no track may
        take. Where far ones are not wanted, `away` and `close` are empty.
    """
    association, tracks = config.association, config.tracks
    scores, boxes = detections.scores.astype(np.float64), detections.boxes.astype(np.float64)
    margin = association.margin * dt_ns / SECOND * (predicted[:, 3] - predicted[:, 1])
    grown = predicted + 2 * margin[:, None] * _OUTWARDS
    off = reach(table, predicted, stamp_ns) if far else margin
    rows, columns = neighbours(grown, predicted, boxes, off) if far else touching(grown, boxes)
    similar = overlap(predicted, boxes, margin, rows, columns)
    space, close = np.zeros(0), np.zeros(0, bool)
    if far:
        space, close = second_thoughts(predicted, boxes, rows, columns, off)
        keep = ((similar > 0) | close).nonzero()[0]
        rows, columns, similar = rows.take(keep), columns.take(keep), similar.take(keep)
        space, close = space.take(keep), close.take(keep)
    away = ((stamp_ns - table.seen_ns - dt_ns) / SECOND).clip(0, _LONG)
    lost = association.lost_penalty * table.lost + association.lost_growth * away
    weak = np.where(scores < tracks.high_score, association.low_score_penalty, 0.0)
    weak[scores < tracks.low_score] = np.inf
    penalties = lost.take(rows), weak.take(columns)
    costs = base_cost(similar, table.scores.take(rows), scores.take(columns), penalties, association.score_weight)
    costs += association.class_penalty * (table.classes.take(rows) != detections.classes.take(columns))
    return Pairs(rows, columns, costs, space, close)

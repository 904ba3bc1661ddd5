"""One frame's decision: which detection continues which track."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from scipy.optimize import linear_sum_assignment

from alstm_ros.association.associator import Associator, Candidates
from alstm_ros.association.common_motion import CommonMotion
from alstm_ros.association.cost import APART, pair_costs
from alstm_ros.association.frame import FrameContext, GatedPairs
from alstm_ros.association.gating import open_pairs, overlapping_pairs, reachable_pairs
from alstm_ros.types import Float32, Float64, Int64

P = TypeVar("P", bound=GatedPairs)

_LOGIT = np.array([1.4, 2.9, 5.5, -0.8])
"""The logit of a match being right is the sum of these times 1, margin in the row, in the column, log(1 + 10 s lost).

Fitted by `python -m bench.confidence` on simulated detections of DanceTrack's training sequences.
"""


@dataclass(frozen=True, slots=True)
class Match:
    """What was decided.

    Attributes:
        rows: `(K,)` int64 ascending, rows of the table.
        columns: `(K,)` int64, their detections.
        confidences: `(K,)` float32 in 0..1, that the detection is the same object, by the rules.
        shift: `(T, 2)` pixels by which each track moves with the scene; None where the scene does not move.
        candidates: what the associator was asked, None where there is none.
        corrections: what it answered.
    """

    rows: Int64
    columns: Int64
    confidences: Float32
    shift: Float64 | None
    candidates: Candidates | None
    corrections: Float32


@dataclass(frozen=True, slots=True)
class _Priced(Generic[P]):
    """What the rules say of a frame.

    Attributes:
        frame: the frame; where the scene moved, its tracks are expected where that takes them.
        pairs: those that were gated in.
        costs: `(P,)` theirs.
        shift: see Match.
        chosen: `(K,)` the best assignment at these costs, where it is known already.
    """

    frame: FrameContext
    pairs: P
    costs: Float64
    shift: Float64 | None
    chosen: Int64 | None


def match(frame: FrameContext, associator: Associator | None, common_motion: CommonMotion) -> Match:
    """Decides which detection continues which track.

    Args:
        frame: the frame.
        associator: corrects the rules' costs; None for the rules alone.
        common_motion: finds what all tracks do at once, where `association.common_motion` asks for it.
    """
    if associator is None:
        return _decide(_by_rules(frame, overlapping_pairs, common_motion), None, np.zeros(0, np.float32))
    priced = _by_rules(frame, reachable_pairs, common_motion)
    candidates, place = open_pairs(priced.frame, priced.pairs, priced.costs)
    corrections = associator.correct(candidates) * np.float32(frame.config.association.trust)
    priced.costs[place] += corrections
    return _decide(dataclasses.replace(priced, chosen=None), candidates, corrections)


def _by_rules(frame: FrameContext, gate: Callable[[FrameContext], P], common_motion: CommonMotion) -> _Priced[P]:
    """Gates and prices the pairs, twice where the scene as a whole has moved."""
    pairs = gate(frame)
    costs = pair_costs(frame, pairs)
    options = frame.config.association
    if not options.common_motion:
        return _Priced(frame, pairs, costs, None, None)
    chosen = best_assignment(pairs.rows, pairs.columns, costs, options.max_cost)
    shift = common_motion.find(frame, pairs.rows[chosen], pairs.columns[chosen])
    if shift is None:
        return _Priced(frame, pairs, costs, None, chosen)
    frame = frame.shifted(shift)
    pairs = gate(frame)
    return _Priced(frame, pairs, pair_costs(frame, pairs), shift, None)


def _decide(priced: _Priced[P], candidates: Candidates | None, corrections: Float32) -> Match:
    """Solves the assignment, and says how sure each match is."""
    rows, columns, costs, chosen = priced.pairs.rows, priced.pairs.columns, priced.costs, priced.chosen
    if chosen is None:
        chosen = best_assignment(rows, columns, costs, priced.frame.config.association.max_cost)
    matched = rows[chosen]
    confidences = confidence(match_margins(rows, columns, costs, chosen), priced.frame.lost_seconds[matched])
    return Match(matched, columns[chosen], confidences, priced.shift, candidates, corrections)


def confidence(margin: Float64, lost_seconds: Float64) -> Float32:
    """How likely a match is right.

    Args:
        margin: `(K, 2)` from `match_margins`.
        lost_seconds: `(K,)` for which the track was lost.

    Returns:
        `(K,)` float32 in 0..1.
    """
    logit = _LOGIT[0] + margin @ _LOGIT[1:3] + _LOGIT[3] * np.log1p(10 * np.maximum(lost_seconds, 0))
    return np.asarray(1 / (1 + np.exp(-logit)), np.float32)


def best_assignment(rows: Int64, columns: Int64, costs: Float64, limit: float) -> Int64:
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


def match_margins(rows: Int64, columns: Int64, costs: Float64, chosen: Int64) -> Float64:
    """By how much each match is cheaper than the best rival in its row and in its column.

    A rival counts as no dearer than a pair that is not listed costs at least.

    Args:
        rows: `(P,)` each pair's track.
        columns: `(P,)` its detection.
        costs: `(P,)` its cost.
        chosen: `(K,)` places of the matches.

    Returns:
        `(K, 2)`, at most 1.
    """
    own, others = costs[chosen], costs.copy()
    others[chosen] = np.inf
    out = np.empty((len(chosen), 2))
    for side, index in enumerate((rows, columns)):
        rival = np.full(int(index.max(initial=-1)) + 1, APART)
        np.minimum.at(rival, index, others)
        out[:, side] = rival[index[chosen]] - own
    return out.clip(-1, 1, out=out)


def _dense(index: Int64) -> Int64:
    """The same groups, numbered from 0 without gaps, in the same order."""
    used = np.zeros(int(index.max()) + 1, np.int64)
    used[index] = 1
    return np.asarray((np.cumsum(used) - 1)[index])

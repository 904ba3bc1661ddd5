"""Which pairs are priced and which the learned association is asked about: nothing that could matter is left out."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from alstm_ros.association.assignment import best_assignment
from alstm_ros.association.cost import pair_costs
from alstm_ros.association.frame import FrameContext
from alstm_ros.association.gating import open_pairs, overlapping_pairs, reachable_pairs
from alstm_ros.association.track_table import TrackTable
from alstm_ros.boxes import iou
from alstm_ros.config import Config
from alstm_ros.types import Detections

SECOND = 1_000_000_000
BOUND = 0.6
"""Largest correction of a cost."""


def people(rng: np.random.Generator, count: int) -> Detections:
    """So many people in a small picture."""
    height = rng.uniform(20, 80, count)
    size = np.stack([0.4 * height, height], axis=1)
    low = rng.uniform(0, 150, (count, 2))
    boxes = np.concatenate([low, low + size], axis=1).astype(np.float32)
    return Detections(boxes, rng.uniform(0.05, 1, count).astype(np.float32), rng.integers(0, 2, count))


def scene(seed: int, tracks: int, detections: int, dt_ns: int) -> FrameContext:
    """Tracks seen up to two seconds ago, and detections."""
    rng, now = np.random.default_rng(seed), 3 * SECOND
    ids = np.arange(tracks, dtype=np.int64)
    table = TrackTable.start(ids, ids, people(rng, tracks), 0, 0)
    table.seen_ns[:] = now - rng.integers(1, 2 * SECOND, tracks)
    return FrameContext.of(table, people(rng, detections), now, dt_ns, Config())


@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.integers(0, 40), st.sampled_from([0, SECOND // 30, SECOND]))
@settings(max_examples=40)
def test_who_is_not_priced_is_far(seed: int, tracks: int, detections: int, dt_ns: int) -> None:
    """What is left out neither overlaps nor is near and alike; what overlaps costs the same with the far ones."""
    frame = scene(seed, tracks, detections, dt_ns)
    near, pairs = overlapping_pairs(frame), reachable_pairs(frame)
    near_costs, costs = pair_costs(frame, near), pair_costs(frame, pairs)
    priced = np.full((tracks, detections), np.nan)
    priced[pairs.rows, pairs.columns] = costs
    overlap = near_costs < 1  # others may be listed, too
    np.testing.assert_array_equal(priced[near.rows, near.columns][overlap], near_costs[overlap])
    assert (np.diff(pairs.rows * max(detections, 1) + pairs.columns) > 0).all()

    left = np.isnan(priced)
    predicted, boxes = frame.predicted, frame.boxes
    height, tall = predicted[:, 3] - predicted[:, 1], boxes[:, 3] - boxes[:, 1]
    margin = Config().association.margin * dt_ns / SECOND * height
    grown = predicted + 2 * margin[:, None] * np.array([-1, -1, 1, 1])
    assert not (iou(grown, boxes)[left] > 0).any()
    away = np.linalg.norm((predicted[:, None, :2] + predicted[:, None, 2:] - boxes[:, :2] - boxes[:, 2:]) / 2, axis=2)
    close = away < ((0.5 + (frame.stamp_ns - frame.table.seen_ns) / SECOND) * height)[:, None]
    alike = np.abs(np.log(height)[:, None] - np.log(tall)) < 0.5
    assert not (close & alike)[left].any()


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=40)
def test_candidates_are_few_and_could_be_matched(seed: int, tracks: int, detections: int) -> None:
    """At most eight a detection, its cheapest match by the rules among them, and each within a correction's reach."""
    frame, limit = scene(seed, tracks, detections, SECOND // 30), Config().association.max_cost
    pairs = reachable_pairs(frame)
    costs = pair_costs(frame, pairs)
    candidates, place = open_pairs(frame, pairs, costs)
    assert (np.diff(place) > 0).all()
    np.testing.assert_array_equal(candidates.rows, pairs.rows[place])
    np.testing.assert_array_equal(candidates.columns, pairs.columns[place])
    np.testing.assert_allclose(candidates.costs, costs[place], rtol=1e-6)
    assert (costs[place] < limit + BOUND).all()
    assert np.bincount(candidates.columns, minlength=detections).max(initial=0) <= 8
    if np.bincount(pairs.columns, minlength=detections).max(initial=0) <= 8:  # then nothing is cut off
        chosen = best_assignment(pairs.rows, pairs.columns, costs, limit)
        assert set(chosen.tolist()) <= set(place.tolist())

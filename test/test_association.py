"""Motion, cost and matching: what must hold for any boxes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from alstm_ros.association import gating
from alstm_ros.association.assignment import best_assignment, confidence, match_margins
from alstm_ros.association.common_motion import common_shift, median
from alstm_ros.association.cost import height_modulated_iou, pair_costs
from alstm_ros.association.frame import FrameContext, GatedPairs
from alstm_ros.association.gating import best_of_each, boxes_that_meet, closeness, neighbours, overlapping_pairs
from alstm_ros.association.kalman import Motion
from alstm_ros.association.track_table import TrackTable
from alstm_ros.boxes import cxcywh_to_xyxy, iou
from alstm_ros.config import Config
from alstm_ros.options import replace
from alstm_ros.types import Detections, Float64, Int64, TrackState

SEEDS = st.integers(0, 2**32 - 1)


def some_boxes(rng: np.random.Generator, count: int) -> Float64:
    """`(count, 4)` xyxy, people of any size in a small picture, so that many overlap."""
    size = rng.uniform(5, 80, (count, 2))
    low = rng.uniform(-20, 120, (count, 2))
    return np.concatenate([low, low + size], axis=1)


def all_pairs(tracks: int, detections: int) -> tuple[Int64, Int64]:
    rows, columns = np.indices((tracks, detections)).reshape(2, -1)
    return rows.astype(np.int64), columns.astype(np.int64)


@given(SEEDS, st.integers(0, 6), st.integers(0, 6))
def test_overlap_is_iou_times_height_iou(seed: int, tracks: int, detections: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = some_boxes(rng, tracks), some_boxes(rng, detections)
    found = height_modulated_iou(a, b, np.zeros(tracks), *all_pairs(tracks, detections))
    tall_a, tall_b = a.copy(), b.copy()
    tall_a[:, [0, 2]] = tall_b[:, [0, 2]] = (0, 1)  # of equal width and place, so that only heights count
    np.testing.assert_allclose(found, (iou(a, b) * iou(tall_a, tall_b)).ravel(), atol=1e-12)


@given(SEEDS, st.floats(0, 50))
def test_margin_grows_both_boxes(seed: int, margin: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = some_boxes(rng, 4), some_boxes(rng, 5)
    grow = np.array([-margin, -margin, margin, margin])
    with_margin = height_modulated_iou(a, b, np.full(4, margin), *all_pairs(4, 5))
    grown = height_modulated_iou(a + grow, b + grow, np.zeros(4), *all_pairs(4, 5))
    np.testing.assert_allclose(with_margin, grown, atol=1e-9)


@given(SEEDS, st.integers(0, 30), st.integers(0, 30))
def test_those_that_touch_are_found(seed: int, tracks: int, detections: int) -> None:
    """Every pair that overlaps is there, in order, and none that is three pixels apart or more."""
    rng = np.random.default_rng(seed)
    a, b = some_boxes(rng, tracks), some_boxes(rng, detections)
    rows, columns = boxes_that_meet(a, b)
    found = list(zip(rows.tolist(), columns.tolist(), strict=True))
    assert found == sorted(set(found))
    assert set(found) >= set(map(tuple, np.argwhere(iou(a, b) > 0).tolist()))
    assert (np.maximum(a[rows, :2], b[columns, :2]) < np.minimum(a[rows, 2:], b[columns, 2:]) + 3).all()


def test_a_large_table_gives_the_same_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking at it a second time leaves out none that touches or is close."""
    rng = np.random.default_rng(0)
    tracks, boxes, far = some_boxes(rng, 60), some_boxes(rng, 50), rng.uniform(5, 60, 60)

    def kept(rows: Int64, columns: Int64) -> list[tuple[int, int]]:
        close = closeness(tracks, boxes, (rows, columns), far)[1]
        keep = close | (height_modulated_iou(tracks, boxes, np.zeros(60), rows, columns) > 0)
        return list(zip(rows[keep].tolist(), columns[keep].tolist(), strict=True))

    everything = kept(*all_pairs(60, 50))
    assert kept(*neighbours(tracks, tracks, boxes, far)) == everything
    monkeypatch.setattr(gating, "_LARGE", 0)
    assert kept(*neighbours(tracks, tracks, boxes, far)) == everything


def test_cost_adds_up() -> None:
    """Overlap, scores that differ, a track lost for half a second, a weak detection, another class."""
    boxes = np.array([[0, 0, 40, 80], [0, 0, 40, 80]], np.float32)
    seen = Detections(boxes, np.array([0.9, 0.5], np.float32), np.array([3, 3]))
    table = TrackTable.start(np.array([1, 2]), np.array([0, 1]), seen, 0, 0)
    table.states[:] = TrackState.LOST
    found = Detections(boxes, np.array([0.4, 0.8], np.float32), np.array([3, 7]))
    changes = {"score_weight": 0.5, "lost_penalty": 0.05, "lost_growth": 0.1}
    changes |= {"low_score_penalty": 0.2, "class_penalty": 0.3}
    config = replace(Config(), {f"association.{name}": value for name, value in changes.items()})
    pairs = GatedPairs(np.array([0, 1]), np.array([0, 1]), np.array([0.75, 0.0]))
    frame = FrameContext.of(table, found, 600_000_000, 100_000_000, config)
    np.testing.assert_allclose(pair_costs(frame, pairs), [1 - 0.75 + 0.25 + 0.1 + 0.2, 1 + 0.15 + 0.1 + 0.3], rtol=1e-6)


def test_another_class_costs_more() -> None:
    """Both detections are where the track is; the one of its class is taken, and the other costs the penalty more."""
    boxes = np.array([[0, 0, 40, 80], [0, 0, 40, 80]], np.float32)
    found = Detections(boxes, np.full(2, 0.9, np.float32), np.array([7, 3]))
    table = TrackTable.start(np.array([1]), np.array([0]), found[np.array([1])], 0, 0)
    config = replace(Config(), {"association.class_penalty": 0.25})
    frame = FrameContext.of(table, found, 0, 0, config)
    pairs = overlapping_pairs(frame)
    assert (pairs.rows.tolist(), pairs.columns.tolist()) == ([0, 0], [0, 1])
    costs = pair_costs(frame, pairs)
    assert costs[0] - costs[1] == pytest.approx(0.25)


def best_by_trying(cost: Float64, limit: float) -> float:
    """The smallest sum of (cost - limit) over all partial matchings."""
    rows, columns = cost.shape
    best = 0.0
    for size in range(1, min(rows, columns) + 1):
        for chosen in itertools.combinations(range(rows), size):
            for order in itertools.permutations(range(columns), size):
                best = min(best, sum(cost[r, c] - limit for r, c in zip(chosen, order, strict=True)))
    return best


def assigned(cost: Float64, limit: float) -> tuple[Int64, Int64]:
    """The assignment of a full table."""
    rows, columns = all_pairs(*cost.shape)
    chosen = best_assignment(rows, columns, cost.ravel(), limit)
    return rows[chosen], columns[chosen]


@given(SEEDS, st.integers(0, 4), st.integers(0, 5), st.floats(0, 1))
def test_assignment_is_the_best_there_is(seed: int, tracks: int, detections: int, limit: float) -> None:
    rng = np.random.default_rng(seed)
    cost = rng.uniform(0, 1.2, (tracks, detections))
    cost[rng.random(cost.shape) < 0.2] = np.inf
    rows, columns = assigned(cost, limit)
    assert len(set(columns.tolist())) == len(columns)
    assert (np.diff(rows) > 0).all()
    assert (cost[rows, columns] < limit).all()
    assert (cost[rows, columns] - limit).sum() == pytest.approx(best_by_trying(cost, limit))


@given(SEEDS, st.floats(0.02, 0.3))
@settings(max_examples=30)
def test_assignment_of_many_is_that_of_all_at_once(seed: int, crowding: float) -> None:
    """Pairs without rivals are matched without asking; that changes nothing."""
    rng, limit = np.random.default_rng(seed), 0.85
    cost = rng.uniform(0, 1, (60, 50))
    cost[rng.random(cost.shape) > crowding] = 1.2
    rows, columns = assigned(cost, limit)
    capped = np.minimum(cost, limit)
    whole = linear_sum_assignment(capped)
    good = capped[whole] < limit
    assert rows.tolist() == whole[0][good].tolist()
    assert columns.tolist() == whole[1][good].tolist()


@given(SEEDS, st.integers(1, 9))
def test_medians(seed: int, count: int) -> None:
    values = np.random.default_rng(seed).normal(0, 1, (count, 3))
    assert median(values).tobytes() == np.median(values, axis=0).tobytes()
    assert median(values[:, 0]) == np.median(values[:, 0])


def started(rng: np.random.Generator, count: int) -> Motion:
    size = rng.uniform(20, 200, (count, 2))
    motion = Motion.start(np.concatenate([rng.uniform(0, 1000, (count, 2)), size], axis=1))
    motion.speed[:, :2] = rng.normal(0, 100, (count, 2))
    return motion


def full_matrix(motion: Motion, row: int, axis: int) -> tuple[Float64, Float64]:
    mean = np.array([motion.value[row, axis], motion.speed[row, axis]])
    off = motion.pv[row, axis]
    return mean, np.array([[motion.pp[row, axis], off], [off, motion.vv[row, axis]]])


@given(SEEDS, st.floats(0, 1), st.floats(0.1, 1))
def test_correction_is_the_kalman_filters(seed: int, dt: float, score: float) -> None:
    """Against the textbook's matrices, for each axis."""
    rng = np.random.default_rng(seed)
    motion = started(rng, 2)
    motion.predict(0.1 + dt)
    before = [full_matrix(motion, 1, axis) for axis in range(4)]
    measured = motion.value[1:] + rng.normal(0, 10, (1, 4))
    measured[:, 2:] = np.abs(measured[:, 2:]) + 5
    motion.correct(np.array([1]), measured, np.array([score]))
    observe = np.array([[1.0, 0.0]])
    noise = (0.05 * (1 + 1.5 * (0.8 - min(score, 0.8))) * measured[0, 3]) ** 2
    for axis, (mean, covariance) in enumerate(before):
        gain = covariance @ observe.T / (observe @ covariance @ observe.T + noise)
        wanted = mean + (gain * (measured[0, axis] - mean[0])).ravel()
        left = (np.eye(2) - gain @ observe) @ covariance
        got, got_covariance = full_matrix(motion, 1, axis)
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(got_covariance, left, rtol=1e-7, atol=1e-9)


@given(SEEDS, st.lists(st.floats(0, 0.5), min_size=1, max_size=6))
def test_many_small_steps_are_one_large_one(seed: int, steps: list[float]) -> None:
    """Where frames fall does not matter for where a box is expected, nor for how sure its place is."""
    whole, parts = started(np.random.default_rng(seed), 3), started(np.random.default_rng(seed), 3)
    whole.predict(sum(steps))
    for step in steps:
        parts.predict(step)
    np.testing.assert_allclose(parts.value, whole.value, atol=1e-6)
    np.testing.assert_allclose(parts.speed, whole.speed, atol=1e-6)
    for name in ("pp", "pv", "vv"):
        np.testing.assert_allclose(getattr(parts, name)[:, :2], getattr(whole, name)[:, :2], rtol=1e-9, atol=1e-12)


@given(SEEDS, st.floats(-0.3, 0.3), st.floats(0.8, 1.2))
def test_camera_motion_moves_what_stands_still(seed: int, angle: float, zoom: float) -> None:
    """A point that rests in the world is expected where the camera's motion takes it, and back again."""
    rng = np.random.default_rng(seed)
    motion = started(rng, 4)
    centres, values, speeds = motion.value[:, :2].copy(), motion.value.copy(), motion.speed.copy()
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    affine = np.concatenate([turn, rng.normal(0, 30, (2, 1))], axis=1)
    motion.warp(affine)
    np.testing.assert_allclose(motion.value[:, :2], centres @ turn.T + affine[:, 2], atol=1e-9)
    np.testing.assert_allclose(motion.value[:, 2:], values[:, 2:] * zoom, atol=1e-9)
    back = np.linalg.inv(turn)
    motion.warp(np.concatenate([back, -back @ affine[:, 2:]], axis=1))
    np.testing.assert_allclose(motion.value, values, atol=1e-6)
    np.testing.assert_allclose(motion.speed, speeds, atol=1e-6)


def test_common_shift_needs_agreement() -> None:
    rng = np.random.default_rng(0)
    boxes = some_boxes(rng, 20)
    moved = boxes + rng.normal(0, 0.3, (20, 1)) + np.tile([12.0, 0.0], 2)
    moved[0] += 300  # one wrong match does not matter
    shift = common_shift(boxes, moved)
    assert shift[0] == pytest.approx(12, abs=0.5)
    assert shift[1] == 0
    assert not common_shift(boxes[:4], moved[:4]).any()  # too few to tell
    assert not common_shift(boxes, boxes + rng.normal(0, 40, (20, 4))).any()  # everyone goes somewhere else


def test_margins_and_confidence() -> None:
    cost = np.array([0.1, 0.3, 5.0, 0.4, 0.2, np.inf])
    margin = match_margins(*all_pairs(2, 3), cost, np.array([0, 4]))
    np.testing.assert_allclose(margin, [[0.2, 0.3], [0.2, 0.1]])
    alone = match_margins(*all_pairs(1, 1), np.array([0.25]), np.array([0]))
    np.testing.assert_allclose(alone, [[0.75, 0.75]])
    sure = confidence(np.array([[0.8, 0.8], [0.05, 0.8], [0.8, 0.8]]), np.array([0.0, 0.0, 0.9]))
    assert sure[0] > sure[1]
    assert sure[0] > sure[2]
    assert ((sure > 0) & (sure < 1)).all()


def test_boxes_stay_boxes_when_their_size_shrinks() -> None:
    motion = Motion.start(np.array([[100.0, 100, 30, 60]]))
    motion.speed[0, 2:] = -5000
    motion.predict(2.0)
    box = cxcywh_to_xyxy(motion.value)[0]
    assert box[2] > box[0]
    assert box[3] > box[1]


def test_only_the_best_few_of_each_group_are_kept() -> None:
    rng = np.random.default_rng(0)
    groups, values = rng.integers(0, 5, 60), rng.random(60)
    kept = best_of_each(groups, values, 6, 4)
    assert (np.diff(kept) > 0).all()
    for group in range(6):
        assert set(values[kept][groups[kept] == group]) == set(np.sort(values[groups == group])[:4])
    np.testing.assert_array_equal(best_of_each(groups, values, 6, 60), np.arange(60))

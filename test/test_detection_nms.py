"""Suppression of overlapping boxes, checked against its definition."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alstm_ros.association.crowding_limit import MOST, PILE, USUAL, limit_crowd
from alstm_ros.boxes import iou, nms
from alstm_ros.types import Detections, Float32, Int64

Boxes = tuple[Float32, Float32, Int64]


@st.composite
def crowds(draw: st.DrawFn) -> Boxes:
    count = draw(st.integers(0, 25))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    low = rng.random((count, 2)) * 40
    boxes = np.concatenate([low, low + rng.random((count, 2)) * 40], axis=1).astype(np.float32)
    scores = (rng.integers(0, draw(st.sampled_from([3, 1000])), count) / 1000).astype(np.float32)
    return boxes, scores, rng.integers(0, 3, count)


@given(crowds(), st.floats(0, 1))
def test_what_stays_and_what_goes(crowd: Boxes, threshold: float) -> None:
    boxes, scores, classes = crowd
    keep = nms(boxes, scores, classes, threshold)
    same = classes[:, None] == classes[None, :]
    near = (iou(boxes, boxes) > threshold) & same
    assert len(set(keep.tolist())) == len(keep)
    assert (np.diff(scores[keep]) <= 0).all()
    rank = np.empty(len(boxes), int)
    rank[np.argsort(-scores, kind="stable")] = np.arange(len(boxes))
    assert not np.triu(near[np.ix_(keep, keep)], 1).any()
    for gone in set(range(len(boxes))) - set(keep.tolist()):
        assert any(near[gone, kept] and rank[kept] < rank[gone] for kept in keep)


@given(crowds(), st.floats(0, 1))
def test_a_second_time_changes_nothing(crowd: Boxes, threshold: float) -> None:
    boxes, scores, classes = crowd
    keep = nms(boxes, scores, classes, threshold)
    again = nms(boxes[keep], scores[keep], classes[keep], threshold)
    np.testing.assert_array_equal(again, np.arange(len(keep)))


@given(crowds(), st.floats(0, 1))
def test_classes_do_not_touch_one_another(crowd: Boxes, threshold: float) -> None:
    boxes, scores, classes = crowd
    together = nms(boxes, scores, classes, threshold)
    for one in range(3):
        rows = np.flatnonzero(classes == one)
        alone = rows[nms(boxes[rows], scores[rows], classes[rows], threshold)]
        np.testing.assert_array_equal(together[classes[together] == one], alone)


@given(crowds(), st.floats(0, 1), st.integers(1, 30), st.integers(1, 7))
def test_blocks_and_a_limit_change_nothing_else(crowd: Boxes, threshold: float, most: int, block: int) -> None:
    whole = nms(*crowd, threshold)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("alstm_ros.boxes._BLOCK", block)
        np.testing.assert_array_equal(nms(*crowd, threshold), whole)
        np.testing.assert_array_equal(nms(*crowd, threshold, most), whole[:most])


def test_memory_does_not_grow_with_the_square_of_the_boxes() -> None:
    rng = np.random.default_rng(0)
    boxes = np.tile(np.array([[100, 100, 150, 220]], np.float32), (20000, 1)) + rng.normal(0, 1, (20000, 4)).astype(
        np.float32
    )
    tracemalloc.start()
    nms(boxes, rng.random(20000).astype(np.float32), np.zeros(20000, np.int64), 0.6)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50e6


@given(st.integers(0, 400))
def test_no_usual_crowd_is_limited(count: int) -> None:
    rng = np.random.default_rng(count)
    low = rng.random((count, 2)) * 1000
    boxes = np.concatenate([low, low + 30], axis=1).astype(np.float32)
    crowd = Detections(boxes, rng.random(count).astype(np.float32), np.zeros(count, np.int64))
    limited = limit_crowd(crowd)
    if count <= USUAL:
        assert limited is crowd
    else:
        overlaps = np.triu(iou(boxes, boxes), 1)
        assert len(limited) >= count - int((overlaps > PILE).sum())


def test_a_pile_is_one_object_and_a_frame_has_at_most_so_many() -> None:
    pile = np.tile(np.array([[100, 100, 150, 220]], np.float32), (5000, 1))
    assert len(limit_crowd(Detections(pile, np.ones(5000, np.float32), np.zeros(5000, np.int64)))) == 1
    left = np.arange(5000, dtype=np.float32)[:, None] * 100
    spread = np.concatenate([left, left * 0, left + 50, left * 0 + 50], axis=1)
    scores = np.linspace(0, 1, 5000, dtype=np.float32)
    kept = limit_crowd(Detections(spread, scores, np.zeros(5000, np.int64)))
    assert len(kept) == MOST
    np.testing.assert_array_equal(np.sort(kept.scores), scores[-MOST:])

"""Suppression of overlapping boxes, checked against its definition."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from alstm_ros.boxes import iou, nms
from alstm_ros.types import Float32, Int64

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

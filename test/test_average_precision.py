"""Average precision: by hand, by its properties, and against pycocotools."""

from __future__ import annotations

import contextlib
import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alstm_ros.errors import DataError
from alstm_ros.evaluation.average_precision import average_precision
from alstm_ros.types import Float32

BOX = np.array([[0, 0, 10, 10]], np.float32)
FAR = BOX + 100


def scores(*values: float) -> Float32:
    return np.array(values, np.float32)


def test_by_hand() -> None:
    # Falling scores hit, miss, hit, of three that are there: precision 1, 1/2, 2/3 at recall 1/3, 1/3, 2/3.
    curve = average_precision(
        [np.concatenate([BOX, FAR]), BOX], [scores(0.9, 0.8), scores(0.7)], [BOX, np.concatenate([BOX, FAR])]
    )
    np.testing.assert_allclose(curve.precision, [1, 1 / 2, 2 / 3])
    np.testing.assert_allclose(curve.recall, [1 / 3, 1 / 3, 2 / 3])
    assert curve.average_precision == pytest.approx(1 / 3 + 1 / 3 * 2 / 3)
    assert curve.best_f1() == pytest.approx((2 / 3, 0.7))


def test_a_second_detection_of_one_object_is_wrong() -> None:
    curve = average_precision([np.concatenate([BOX, BOX])], [scores(0.9, 0.8)], [BOX])
    np.testing.assert_allclose(curve.precision, [1, 0.5])
    assert curve.average_precision == 1


def test_an_overlap_at_the_threshold_counts() -> None:
    half = np.array([[0, 0, 10, 5]], np.float32)
    assert average_precision([half], [scores(0.5)], [BOX], 0.5).average_precision == 1
    assert average_precision([half], [scores(0.5)], [BOX], 0.51).average_precision == 0


def test_nothing_found_and_nothing_there() -> None:
    none, empty = np.zeros((0, 4), np.float32), scores()
    missed = average_precision([none], [empty], [BOX])
    assert missed.average_precision == 0
    assert missed.best_f1() == (0, 1)
    assert math.isnan(average_precision([BOX], [scores(0.9)], [none]).average_precision)
    assert math.isnan(average_precision([], [], []).average_precision)


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="boxes of 1, scores of 1 and truths of 2 images"):
        average_precision([BOX], [scores(0.9)], [BOX, BOX])


def crowd(seed: int, images: int) -> tuple[list[Float32], list[Float32], list[Float32]]:
    """Ground truth, and detections that shift, miss and invent some of it."""
    rng = np.random.default_rng(seed)
    found, marks, truths = [], [], []
    for _ in range(images):
        low = rng.random((rng.integers(0, 8), 2)) * 100
        truth = np.concatenate([low, low + 10 + rng.random(low.shape) * 30], axis=1).astype(np.float32)
        seen = np.repeat(truth, rng.integers(0, 3, len(truth)), axis=0)
        seen = np.concatenate([seen + rng.normal(0, 3, seen.shape), rng.random((2, 4)) * 50 + [0, 0, 50, 50]])
        found.append(seen.astype(np.float32))
        marks.append(
            rng.permutation(len(seen)).astype(np.float32) / 100 + rng.random(len(seen)).astype(np.float32) / 1e3
        )
        truths.append(truth)
    return found, marks, truths


@given(st.integers(0, 2**32), st.integers(1, 6))
def test_more_to_find_never_helps_and_a_wrong_box_never_does(seed: int, images: int) -> None:
    boxes, marks, truths = crowd(seed, images)
    curve = average_precision(boxes, marks, truths)
    if not any(map(len, truths)):
        return
    assert 0 <= curve.average_precision <= 1
    more = average_precision(boxes, marks, [*truths[:-1], np.concatenate([truths[-1], FAR + 900])])
    assert more.average_precision <= curve.average_precision + 1e-9
    wrong = [np.concatenate([boxes[0], FAR + 500]), *boxes[1:]]
    lower = average_precision(wrong, [np.append(marks[0], np.float32(2)), *marks[1:]], truths)
    assert lower.average_precision <= curve.average_precision + 1e-9


@given(st.integers(0, 2**32))
def test_perfect_detections(seed: int) -> None:
    truths = crowd(seed, 3)[2]
    marks = [np.linspace(0.1, 0.9, len(t)).astype(np.float32) for t in truths]
    if sum(map(len, truths)):
        assert average_precision(truths, marks, truths).average_precision == pytest.approx(1)


@pytest.mark.parametrize("seed", range(3))
def test_it_is_that_of_pycocotools(seed: int) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    evaluate = pytest.importorskip("pycocotools.cocoeval")
    boxes, marks, truths = crowd(seed, 60)

    def wide(box: Float32) -> list[float]:
        return [float(v) for v in (*box[:2], *(box[2:] - box[:2]))]

    reference = coco.COCO()
    reference.dataset = {
        "images": [{"id": i + 1} for i in range(60)],
        "categories": [{"id": 1}],
        "annotations": [
            {"id": 100 * i + j + 1, "image_id": i + 1, "category_id": 1, "iscrowd": 0, "area": 1.0, "bbox": wide(box)}
            for i, image in enumerate(truths)
            for j, box in enumerate(image)
        ],
    }
    found = [
        {"image_id": i + 1, "category_id": 1, "score": float(score), "bbox": wide(box)}
        for i, (image, values) in enumerate(zip(boxes, marks, strict=True))
        for box, score in zip(image, values, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        reference.createIndex()
        judge = evaluate.COCOeval(reference, reference.loadRes(found), "bbox")
        judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
        judge.params.iouThrs = np.array([0.5])
        judge.evaluate()
        judge.accumulate()
    sampled = float(judge.eval["precision"][0, :, 0, 0, -1].mean())
    # COCO reads 101 points off the curve: each of at most one recall step's width away from the area below it.
    assert average_precision(boxes, marks, truths).average_precision == pytest.approx(sampled, abs=0.01)

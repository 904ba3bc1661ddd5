"""Fitting images into a batch and bringing boxes back."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from imaging import noise

from alstm_ros.detection.letterbox import FILL, Canvas, Fit
from alstm_ros.errors import ImageError
from alstm_ros.types import Image

CANVAS = Canvas(height=96, width=128, multiple=32, minimum=64)
sides = st.integers(1, 400)
shapes = st.tuples(sides, sides)


@given(shapes, shapes)
def test_a_fit_keeps_the_aspect_to_the_pixel_and_fills_the_canvas(size: tuple[int, int], most: tuple[int, int]) -> None:
    fit = Fit.of(*size, *most)
    scale = min(most[0] / size[0], most[1] / size[1])
    assert 1 <= fit.fitted_width <= most[0]
    assert 1 <= fit.fitted_height <= most[1]
    assert fit.fitted_width == most[0] or fit.fitted_height == most[1]
    assert fit.fitted_width == 1 or abs(fit.fitted_width - size[0] * scale) <= 0.5
    assert fit.fitted_height == 1 or abs(fit.fitted_height - size[1] * scale) <= 0.5


@given(shapes, st.integers(0, 2**32))
def test_boxes_come_back_to_where_they_were(size: tuple[int, int], seed: int) -> None:
    width, height = size
    fit = Fit.of(width, height, 640, 480)
    corners = np.random.default_rng(seed).random((5, 2, 2)) * size
    boxes = np.concatenate([corners.min(1), corners.max(1)], axis=1).astype(np.float32)
    scale = np.array([fit.fitted_width / width, fit.fitted_height / height] * 2)
    there = (boxes * scale).astype(np.float32)
    assert (there >= 0).all()
    assert (there[:, [0, 2]] <= fit.fitted_width + 1e-3).all()
    assert (there[:, [1, 3]] <= fit.fitted_height + 1e-3).all()
    np.testing.assert_allclose(fit.to_source(there), boxes, rtol=1e-5, atol=1e-3)


def test_the_whole_fitted_area_is_the_whole_image() -> None:
    fit = Fit.of(1921, 1079, 640, 480)
    whole = np.array([[0, 0, fit.fitted_width, fit.fitted_height]], np.float32)
    np.testing.assert_allclose(fit.to_source(whole), [[0, 0, 1921, 1079]], rtol=1e-6)
    beyond = np.array([[-10, -10, 700, 500]], np.float32)
    np.testing.assert_allclose(fit.to_source(beyond), [[0, 0, 1921, 1079]], rtol=1e-6)


@given(st.lists(shapes, min_size=1, max_size=4))
def test_a_batch_is_as_large_as_its_images_need(sizes: list[tuple[int, int]]) -> None:
    images = [noise(*size, seed=i) for i, size in enumerate(sizes)]
    batch, fits = CANVAS.letterbox(images)
    count, height, width, _ = batch.shape
    assert count == len(images)
    for room, most, needed in (
        (height, CANVAS.height, max(fit.fitted_height for fit in fits)),
        (width, CANVAS.width, max(fit.fitted_width for fit in fits)),
    ):
        assert room % CANVAS.multiple == 0
        assert max(needed, CANVAS.minimum) <= room <= most
        assert room - max(needed, CANVAS.minimum) < CANVAS.multiple
    for image, fit, row in zip(images, fits, batch, strict=True):
        inside = row[: fit.fitted_height, : fit.fitted_width]
        np.testing.assert_array_equal(inside, cv2.resize(image, (fit.fitted_width, fit.fitted_height)))
        outside = np.ones(row.shape[:2], bool)
        outside[: fit.fitted_height, : fit.fitted_width] = False
        assert (row[outside] == FILL).all()


@pytest.mark.parametrize(
    "view",
    [
        lambda image: image[:, ::-1],
        lambda image: image[::-1],
        lambda image: image[..., ::-1],
        lambda image: image[::2, ::3],
        lambda image: image[10:50, 20:90],
        lambda image: image.transpose(1, 0, 2),
        lambda image: np.broadcast_to(image[:1, :1], image.shape),
    ],
    ids=["mirrored", "flipped", "rgb", "every second", "cut out", "turned", "one pixel"],
)
def test_strided_views_are_read_as_their_copies(view: object) -> None:
    image = view(noise(90, 120))  # type: ignore[operator]
    before = image.copy()
    batch, _ = CANVAS.letterbox([image])
    np.testing.assert_array_equal(batch, CANVAS.letterbox([before])[0])
    np.testing.assert_array_equal(image, before)


def test_a_read_only_image_is_read() -> None:
    image = noise(90, 120)
    image.flags.writeable = False
    CANVAS.letterbox([image])


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (np.zeros((4, 4), np.uint8), r"shape \(4, 4\) and dtype uint8"),
        (np.zeros((4, 4, 4), np.uint8), r"shape \(4, 4, 4\)"),
        (np.zeros((4, 4, 3), np.float32), "dtype float32"),
        (np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\).*at least one pixel"),
    ],
)
def test_what_is_no_image_is_refused(image: Image, found: str) -> None:
    with pytest.raises(ImageError, match=found):
        CANVAS.letterbox([noise(5, 5), image])

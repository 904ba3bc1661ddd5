"""One training image from one or four: scaled, cut, flipped, recoloured, blurred and compressed."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from alstm_ros.types import Float32, Image

Rng = np.random.Generator
Region = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""

VISIBLE = 0.4
"""An object of which less is left, or whose smaller side has fewer pixels than SMALL, is no longer asked for."""
SMALL = 5.0
DOUBT = 0.2
"""Score of a label that is no longer asked for: below losses.SURE, above losses.DOUBTFUL."""


@dataclass(frozen=True, slots=True)
class Item:
    """One image with its labels.

    Attributes:
        image: `(H, W, 3)` uint8 BGR.
        labels: `(N, 6)` float32: xyxy in pixels, score in 0..1, class index.
        share: how often it is drawn, relative to the others.
    """

    image: Image
    labels: Float32
    share: float = 1.0


def compose(rng: Rng, items: list[Item], height: int, width: int) -> tuple[Image, Float32]:
    """Places one image, or four around a point, on a canvas.

    Args:
        rng: what is drawn.
        items: one or four.
        height: of the canvas.
        width: of the canvas.

    Returns:
        `(height, width, 3)` uint8 and the labels in it, `(N, 6)`.
    """
    canvas = np.full((height, width, 3), rng.integers(90, 140), np.uint8)
    regions = [(0, 0, width, height)]
    if len(items) > 1:
        x, y = int(width * rng.uniform(0.3, 0.7)), int(height * rng.uniform(0.3, 0.7))
        regions = [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)]
    labels = [place(rng, canvas, region, item) for region, item in zip(regions, items, strict=True)]
    return canvas, np.concatenate(labels)


def place(rng: Rng, canvas: Image, region: Region, item: Item) -> Float32:
    """Scales an image, mostly down so that objects are small, and puts a part of it into a region of the canvas.

    Returns:
        Its labels there, `(N, 6)`.
    """
    left, top, right, bottom = region
    wide, high = right - left, bottom - top
    height, width = item.image.shape[:2]
    if rng.random() < 0.8:
        scale = max(wide / width, high / height) * np.exp(rng.uniform(-0.9, 0.45))
    else:
        scale = min(wide / width, high / height)
    stretch = np.exp(rng.uniform(-0.12, 0.12))
    size = max(int(width * scale * stretch), 8), max(int(height * scale / stretch), 8)
    scaled = cv2.resize(item.image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    flip = rng.random() < 0.5
    if flip:
        scaled = scaled[:, ::-1]
    x, y = (int(rng.integers(min(0, room), max(0, room) + 1)) for room in (wide - size[0], high - size[1]))
    begin, end = (max(0, x), max(0, y)), (min(wide, x + size[0]), min(high, y + size[1]))
    part = scaled[begin[1] - y : end[1] - y, begin[0] - x : end[0] - x]
    canvas[top + begin[1] : top + end[1], left + begin[0] : left + end[0]] = part
    labels = item.labels.copy()
    if flip:
        labels[:, [0, 2]] = width - labels[:, [2, 0]]
    labels[:, [0, 2]] = labels[:, [0, 2]] * (size[0] / width) + x
    labels[:, [1, 3]] = labels[:, [1, 3]] * (size[1] / height) + y
    whole = (labels[:, 2] - labels[:, 0]) * (labels[:, 3] - labels[:, 1])
    labels[:, [0, 2]] = labels[:, [0, 2]].clip(begin[0], end[0]) + left
    labels[:, [1, 3]] = labels[:, [1, 3]].clip(begin[1], end[1]) + top
    sides = labels[:, 2:4] - labels[:, :2]
    seen, least = sides.prod(axis=1) / np.maximum(whole, 1e-3), sides.min(axis=1)
    hidden = (seen < VISIBLE) | (least < SMALL)
    labels[hidden, 4] = np.minimum(labels[hidden, 4], DOUBT)
    return np.asarray(labels[(seen > 0.08) & (least > 1.5)])


def disturb(rng: Rng, image: Image) -> Image:
    """What cameras and their compression do: exposure, colour, blur, low resolution, blocks and noise."""
    height, width = image.shape[:2]
    if rng.random() < 0.7:
        hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(np.float32)
        hsv[..., 0] = (hsv[..., 0] + rng.uniform(-8, 8)) % 180
        hsv[..., 1] *= rng.uniform(0.4, 1.5)
        hsv[..., 2] = 255 * (hsv[..., 2] / 255) ** np.exp(rng.uniform(-0.5, 0.5)) * rng.uniform(0.7, 1.25)
        image = cv2.cvtColor(hsv.clip(0, 255).astype(np.uint8), cv2.COLOR_HSV2BGR)
    kind = rng.random()
    if kind < 0.15:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.3))
    elif kind < 0.30:
        factor = rng.uniform(0.5, 0.9)
        image = cv2.resize(cv2.resize(image, None, fx=factor, fy=factor), (width, height))
    elif kind < 0.36:  # motion
        length = int(rng.integers(3, 8))
        kernel = np.zeros((length, length), np.float32)
        kernel[length // 2] = 1 / length
        image = cv2.filter2D(image, -1, kernel if rng.random() < 0.6 else kernel.T)
    if rng.random() < 0.4:
        quality = int(rng.integers(20, 80))
        image = _compressed(image, quality)
        if rng.random() < 0.4:  # a video's blocks are coded again and again, and roll with the image
            shift = int(rng.integers(1, 8))
            rolled = np.roll(image, shift, axis=(0, 1))
            image = np.roll(_compressed(rolled, quality), -shift, axis=(0, 1))
    if rng.random() < 0.2:
        noise = rng.normal(0, rng.uniform(2, 9), image.shape)
        image = (image + noise).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(image)


def _compressed(image: Image, quality: int) -> Image:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)

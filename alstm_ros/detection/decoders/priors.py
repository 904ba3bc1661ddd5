"""The anchors of torchvision's SSD models, for exports that carry only the heads' outputs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from alstm_ros.types import Float32


@lru_cache(maxsize=4)
def priors(size: tuple[int, int], count: int) -> Float32 | None:
    """The anchors of the model that has so many at this size.

    Args:
        size: height and width of the input in pixels.
        count: of anchors.

    Returns:
        `(count, 4)` float32 xyxy in pixels, or None where no model is known that has so many.
    """
    for made in (_ssdlite320(size), _ssd300(size)):
        if len(made) == count:
            made.flags.writeable = False  # it is shared
            return made
    return None


def _ssdlite320(size: tuple[int, int]) -> Float32:
    """Six maps halved from stride 16; two ratios and their inverses on each; the paper's scales from 0.2 to 0.95."""
    scales = [0.2 + 0.15 * i for i in range(6)] + [1.0]
    maps = [(-(-size[0] // (16 << i)), -(-size[1] // (16 << i))) for i in range(6)]
    steps = [(float(rows), float(columns)) for rows, columns in maps]
    return _anchors(size, maps, steps, scales, [(2, 3)] * 6)


def _ssd300(size: tuple[int, int]) -> Float32:
    """VGG's six maps of 38, 19, 10, 5, 3 and 1 cells, with steps that do not quite divide the input."""
    scales = [0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05]
    maps = [(cells, cells) for cells in (38, 19, 10, 5, 3, 1)]
    steps = [(size[0] / step, size[1] / step) for step in (8, 16, 32, 64, 100, 300)]
    return _anchors(size, maps, steps, scales, [(2,), (2, 3), (2, 3), (2, 3), (2,), (2,)])


def _anchors(
    size: tuple[int, int],
    maps: Sequence[tuple[int, int]],
    steps: Sequence[tuple[float, float]],
    scales: Sequence[float],
    ratios: Sequence[Sequence[int]],
) -> Float32:
    """Row by row, cell by cell, then the anchors of a cell: two squares, then each ratio and its inverse.

    Sizes are cut at the input's, as torchvision's `DefaultBoxGenerator` does.
    """
    levels = []
    for level, ((rows, columns), (down, across)) in enumerate(zip(maps, steps, strict=True)):
        scale, between = scales[level], float(np.sqrt(scales[level] * scales[level + 1]))
        pairs = [(scale, scale), (between, between)]
        for ratio in ratios[level]:
            root = float(np.sqrt(ratio))
            pairs += [(scale * root, scale / root), (scale / root, scale * root)]
        sides = np.clip(np.array(pairs), 0, 1)
        y, x = np.mgrid[:rows, :columns].reshape(2, -1)
        centres = np.stack([(x + 0.5) / across, (y + 0.5) / down], axis=1)[:, None]  # (cells, 1, 2)
        halves = np.broadcast_to(sides / 2, (len(centres), len(pairs), 2))
        levels.append(np.concatenate([centres - halves, centres + halves], axis=2).reshape(-1, 4))
    boxes = np.concatenate(levels) * np.array([size[1], size[0]] * 2)
    return np.asarray(boxes, np.float32)

"""CenterNet (Zhou et al., "Objects as Points", 2019): peaks of a heat map."""

from __future__ import annotations

from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from alstm_ros.detection.decoders.layout import (
    ByNames,
    Proposals,
    Sample,
    Size,
    corners,
    logit,
    sigmoid,
    within_unit,
)
from alstm_ros.detection.preprocess import Preprocess


class CenterNetDecoder(ByNames):
    """A heat map for each class, sizes, and where in its cell a centre lies."""

    expects: ClassVar[str] = (
        "three maps of the input's size over 4: hm ?xCxhxw, wh ?x2xhxw in cells, reg ?x2xhxw in cells (in this order "
        "where they have other names)"
    )
    preprocess: ClassVar[Preprocess] = Preprocess("bgr", "centre", 0, "centernet")

    @staticmethod
    def names(sample: Sample) -> tuple[str, str, str] | None:
        """Names of the heat map, the sizes and the moves."""
        shapes = {name: spec.shape for name, spec in sample.outputs.items()}
        names = list(shapes) if not {"hm", "wh", "reg"} <= shapes.keys() else ["hm", "wh", "reg"]
        if len(names) != 3 or any(len(shapes[name]) != 4 for name in names):
            return None
        if sample.size != (0, 0):
            cells = (sample.size[0] // 4, sample.size[1] // 4)
            if any(shapes[name][2:] != cells for name in names):
                return None
        if [shapes[name][1] for name in names[1:]] != [2, 2]:
            return None
        return names[0], names[1], names[2]

    def __init__(self, sample: Sample) -> None:
        super().__init__(sample)
        heat = self.parts[0]
        self.classes = sample.outputs[heat].shape[1] or 0
        self._raw = not within_unit(sample.values[heat])

    def read(self, image: tuple[NDArray[Any], ...], size: Size, threshold: float, /) -> Proposals:
        """Cells that are the highest of their neighbours, for each class."""
        heat, sizes, moves = image
        lowest = logit(threshold) if self._raw else threshold
        stride = size[0] / heat.shape[1]
        peaks = np.zeros(heat.shape, bool)
        for index in np.flatnonzero(heat.max(axis=(1, 2)) >= lowest):
            plane = np.ascontiguousarray(heat[index], np.float32)
            peaks[index] = (plane >= lowest) & (plane == cv2.dilate(plane, np.ones((3, 3), np.uint8)))
        classes, rows, columns = np.nonzero(peaks)
        scores = heat[classes, rows, columns].astype(np.float32)
        centres = np.stack([columns, rows], axis=1) + moves[:, rows, columns].T
        boxes = corners(centres * stride, sizes[:, rows, columns].T * stride)
        return Proposals(boxes, sigmoid(scores) if self._raw else scores, classes.astype(np.int64))

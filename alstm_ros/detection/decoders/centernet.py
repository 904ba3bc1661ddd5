"""CenterNet (Zhou et al., "Objects as Points", 2019): peaks of a heat map."""

from __future__ import annotations

from typing import ClassVar

import cv2
import numpy as np

from alstm_ros.detection.decoders.layout import (
    ByNames,
    Outputs,
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
        self._heat, self._sizes, self._moves = self.names(sample) or ("", "", "")
        self.classes = sample.outputs[self._heat].shape[1] or 0
        self._raw = not within_unit(sample.values[self._heat])

    def __call__(self, outputs: Outputs, size: Size, threshold: float) -> list[Proposals]:
        """Cells that are the highest of their neighbours, for each class."""
        found = []
        lowest = logit(threshold) if self._raw else threshold
        for heat, sizes, moves in zip(*(outputs[n] for n in (self._heat, self._sizes, self._moves)), strict=True):
            stride = size[0] / heat.shape[1]
            peaks = np.zeros(heat.shape, bool)
            for index in np.flatnonzero(heat.max(axis=(1, 2)) >= lowest):
                plane = np.ascontiguousarray(heat[index], np.float32)
                peaks[index] = (plane >= lowest) & (plane == cv2.dilate(plane, np.ones((3, 3), np.uint8)))
            classes, rows, columns = np.nonzero(peaks)
            scores = heat[classes, rows, columns].astype(np.float32)
            centres = np.stack([columns, rows], axis=1) + moves[:, rows, columns].T
            boxes = corners(centres * stride, sizes[:, rows, columns].T * stride)
            found.append(Proposals(boxes, sigmoid(scores) if self._raw else scores, classes.astype(np.int64)))
        return found

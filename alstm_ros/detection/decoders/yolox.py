"""YOLOX (Ge et al., 2021), as its exporter leaves it and decoded, and YOLOv5, whose rows look alike."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from alstm_ros.detection.decoders.layout import (
    Outputs,
    Proposals,
    Sample,
    Size,
    best,
    corners,
    counts,
    grid,
    within_unit,
)
from alstm_ros.detection.preprocess import Preprocess


class YoloxDecoder:
    """One row a cell: centre, size, objectness, class scores; the sigmoids applied."""

    expects: ClassVar[str] = (
        "one output ?xNx(5+C), a row for each cell of strides 8, 16, 32: centre and size (in cells and logarithms, or "
        "in pixels where the file was exported with decoding), objectness, C class scores"
    )
    preprocess: ClassVar[Preprocess] = Preprocess("bgr", "corner", 114, "none")
    anchors: ClassVar[int] = 1

    @classmethod
    def fits(cls, sample: Sample) -> bool:
        """Whether there is a row for each cell whose scores are in 0..1."""
        shape = sample.first()
        if len(shape) != 3 or len(sample.outputs) != 1 or not shape[2] or shape[2] < 6:
            return False
        rows = cls.anchors * sum(counts(sample.size))
        return shape[1] == rows and (not sample.values or within_unit(sample.value()[..., 4:]))

    def __init__(self, sample: Sample) -> None:
        self.classes = (sample.first()[2] or 5) - 5
        # Offsets within cells are near 0 to 1; centres in pixels spread over the input.
        self.decoded = bool(np.median(np.abs(sample.value()[..., :2])) > 4)

    def __call__(self, outputs: Outputs, size: Size, threshold: float) -> list[Proposals]:
        """Rows whose objectness alone is too low are left out before anything is computed of them."""
        found = []
        for rows in next(iter(outputs.values())):
            likely = np.flatnonzero(rows[:, 4] >= threshold)
            some = rows[likely].astype(np.float32)
            keep, scores, classes = best(some[:, 5:] * some[:, 4:5], threshold)
            some, likely = some[keep], likely[keep]
            centres, sizes = some[:, :2], some[:, 2:4]
            if not self.decoded:
                cells = grid(size)[likely]
                centres = (centres + cells[:, :2]) * cells[:, 2:]
                sizes = np.exp(np.minimum(sizes, 20)) * cells[:, 2:]
            found.append(Proposals(corners(centres, sizes), scores, classes))
        return found


class Yolov5Decoder(YoloxDecoder):
    """Three anchors a cell, in pixels; another preprocessing."""

    expects: ClassVar[str] = (
        "one output ?x3Nx(5+C), three rows for each cell of strides 8, 16, 32: centre and size in pixels, objectness, "
        "C class scores"
    )
    preprocess: ClassVar[Preprocess] = Preprocess("rgb", "centre", 114, "unit")
    anchors: ClassVar[int] = 3

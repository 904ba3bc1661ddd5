"""YOLOX (Ge et al., 2021), as its exporter leaves it and decoded, and YOLOv5, whose rows look alike."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from alstm_ros.detection.decoders.layout import (
    STRIDES,
    WITH_64,
    FirstOutput,
    Proposals,
    Sample,
    Size,
    best,
    corners,
    grid,
    listed,
    strides_of,
    within_unit,
)
from alstm_ros.detection.decoders.yolo import COCO
from alstm_ros.detection.preprocess import Preprocess

FARTHEST_OFFSET = 8.0
"""The largest offset, in cells, of a centre from its cell in a file that leaves boxes undecoded."""


class YoloxDecoder(FirstOutput):
    """One row a cell: centre, size, objectness, class scores; the sigmoids applied."""

    expects: ClassVar[str] = (
        "one output ?xNx(5+C), a row for each cell of strides 8, 16, 32: centre and size (in cells and logarithms, or "
        "in pixels where the file was exported with decoding), objectness, C class scores"
    )
    preprocess: ClassVar[Preprocess] = Preprocess("bgr", "corner", 114, "none")
    anchors: ClassVar[int] = 1

    @classmethod
    def evidence(cls, sample: Sample) -> str:
        """A row for each anchor, in columns that no other layout of as many rows explains."""
        shape = sample.first()
        maps = all(len(spec.shape) == 5 for spec in list(sample.outputs.values())[1:])  # YOLOv5's training outputs
        if len(shape) != 3 or not maps or not shape[2] or shape[2] < 6:
            return ""
        strides = cls._strides(sample)
        if not strides or (sample.values and not within_unit(sample.value()[..., 4:])):
            return ""
        if not sample.named and shape[2] == 4 + (len(sample.names) or COCO):
            return ""
        return (
            f"{shape[1]} rows, {cls.anchors} for each cell of strides {listed(strides)}, of 5 and {shape[2] - 5} "
            "columns, all but the first four in 0..1"
        )

    @classmethod
    def _strides(cls, sample: Sample) -> tuple[int, ...]:
        rows = sample.first()[1]
        return strides_of((rows or 0) // cls.anchors, sample.size, (STRIDES, WITH_64)) if rows else ()

    def __init__(self, sample: Sample) -> None:
        super().__init__(sample)
        self.classes = (sample.first()[2] or 5) - 5
        self.strides = self._strides(sample) or STRIDES
        self.decoded = self.is_decoded(sample)

    @staticmethod
    def is_decoded(sample: Sample, /) -> bool:
        """Whether centres and sizes are pixels: sizes are below 0 nowhere, as logarithms are, and centres go far."""
        boxes = sample.value()[..., :4]
        return bool(boxes[..., 2:].min() >= 0 and np.abs(boxes[..., :2]).max() > FARTHEST_OFFSET)

    def read(self, image: tuple[NDArray[Any], ...], size: Size, threshold: float, /) -> Proposals:
        """Rows whose objectness alone is too low are left out before anything is computed of them."""
        [rows] = image
        likely = np.flatnonzero(rows[:, 4] >= threshold)
        some = rows[likely].astype(np.float32)
        keep, scores, classes = best(some[:, 5:] * some[:, 4:5], threshold)
        some, likely = some[keep], likely[keep]
        centres, sizes = some[:, :2], some[:, 2:4]
        if not self.decoded:
            cells = grid(size, self.strides)[likely]
            centres = (centres + cells[:, :2]) * cells[:, 2:]
            sizes = np.exp(np.minimum(sizes, 20)) * cells[:, 2:]
        return Proposals(corners(centres, sizes), scores, classes)


class Yolov5Decoder(YoloxDecoder):
    """Three anchors a cell, in pixels; another preprocessing."""

    expects: ClassVar[str] = (
        "a first output ?x3Nx(5+C), three rows for each cell of strides 8, 16, 32 (and 64): centre and size in pixels, "
        "objectness, C class scores"
    )
    preprocess: ClassVar[Preprocess] = Preprocess("rgb", "centre", 114, "unit")
    anchors: ClassVar[int] = 3

    @classmethod
    def _strides(cls, sample: Sample) -> tuple[int, ...]:
        return super()._strides(sample) if (sample.first()[1] or 0) % cls.anchors == 0 else ()

    @staticmethod
    def is_decoded(_sample: Sample, /) -> bool:
        """They are pixels in every export."""
        return True

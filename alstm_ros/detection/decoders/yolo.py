"""What Ultralytics' YOLOv8 and later give before suppression: a column or a row for each cell, boxes in the graph."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from alstm_ros.detection.decoders.layout import (
    STRIDES,
    WITH_4,
    WITH_64,
    ByNames,
    FirstOutput,
    Proposals,
    Sample,
    Size,
    are_normalised,
    best,
    corners,
    listed,
    sensible_centres,
    sensible_corners,
    strides_of,
    to_pixels,
    within_unit,
)
from alstm_ros.detection.preprocess import Preprocess

LETTERBOX = Preprocess("rgb", "centre", 114, "unit")
"""What Ultralytics' networks are trained on."""
KNOWN_STRIDES = (STRIDES, WITH_4, WITH_64)
"""Strides in pixels of the maps of the families' usual networks, of those for small objects, and of P6 networks."""
COCO = 80
"""The number of COCO's classes, by which rows of 5 + C and of 4 + C are told apart where no names do."""
RIGHT_ANGLE = float(np.pi / 2)
"""A quarter turn in radians."""


class YoloDecoder(FirstOutput):
    """A column for each cell."""

    expects: ClassVar[str] = (
        "a first output ?x(4+C)xN, a column for each cell of strides 8, 16, 32 (or 4 to 32, or 8 to 64): centre and "
        "size in pixels, C class scores; more rows (masks, keypoints) may follow where `names`, with `kpt_shape` or a "
        "second output of masks, explain them"
    )
    preprocess: ClassVar[Preprocess] = LETTERBOX

    @classmethod
    def evidence(cls, sample: Sample) -> str:
        """A column for each cell, whose class scores are in 0..1."""
        shape = sample.first()
        if len(shape) != 3 or oriented(sample) or not strides_of(shape[2], sample.size, KNOWN_STRIDES):
            return ""
        count = cls._count(sample)
        if count < 1 or (sample.values and not within_unit(sample.value()[:, 4 : 4 + count])):
            return ""
        strides = strides_of(shape[2], sample.size, KNOWN_STRIDES)
        return f"{shape[2]} columns, one for each cell of strides {listed(strides)}, of 4 rows and {count} in 0..1"

    @staticmethod
    def _count(sample: Sample) -> int:
        """Classes; rows that are neither masks nor keypoints are classes too, so that missing names are noticed."""
        shapes = [spec.shape for spec in sample.outputs.values()]
        rows = (shapes[0][1] or 0) - 4
        masks = next((shape[1] or 0 for shape in shapes[1:] if len(shape) == 4), 0)
        return rows - masks - (keypoints(sample) if rows - masks != len(sample.names) else 0)

    def __init__(self, sample: Sample) -> None:
        super().__init__(sample)
        self.classes = self._count(sample)
        self.strides = strides_of(sample.first()[2], sample.size, KNOWN_STRIDES) or STRIDES

    def read(self, image: tuple[NDArray[Any], ...], _size: Size, threshold: float, /) -> Proposals:
        """Boxes of the columns that reach the threshold."""
        [columns] = image
        scores = columns[4 : 4 + self.classes]
        likely = np.flatnonzero(scores.max(axis=0) >= threshold)
        _, top, classes = best(scores[:, likely].T, threshold)
        boxes = columns[:4, likely].T
        return Proposals(corners(boxes[:, :2], boxes[:, 2:]), top, classes)


def keypoints(sample: Sample) -> int:
    """Numbers that a pose network says of each box beside the box, as `kpt_shape` in the metadata tells."""
    parts = sample.metadata.get("kpt_shape", "").strip("[]() ").split(",")
    if len(parts) != 2 or not all(part.strip().isdecimal() and len(part.strip()) < 5 for part in parts):
        return 0
    return int(parts[0]) * int(parts[1])


def oriented(sample: Sample) -> bool:
    """Whether a network says at which angle its boxes lie: its task is `obb`, or its last row is angles, not scores."""
    if task := sample.metadata.get("task", ""):
        return task == "obb"
    if not sample.values or len(sample.first()) != 3 or len(sample.outputs) > 1 or (sample.first()[1] or 0) < 6:
        return False
    scores, angles = sample.value()[:, 4:-1], sample.value()[:, -1]
    turned = bool(angles.min() < 0 or angles.max() > 1)
    return within_unit(scores) and turned and angles.min() >= -RIGHT_ANGLE and angles.max() <= 2 * RIGHT_ANGLE


class YoloOrientedDecoder(YoloDecoder):
    """Boxes at an angle; what comes out is the upright box around each."""

    expects: ClassVar[str] = (
        "one output ?x(4+C+1)xN, a column for each cell of strides 8, 16, 32: centre and size in pixels, C class "
        "scores, and the angle in radians; upright boxes are put around them"
    )

    @classmethod
    def evidence(cls, sample: Sample) -> str:
        """A column for each cell, the task or a last row of angles."""
        shape = sample.first()
        columns = len(shape) == 3 and bool(strides_of(shape[2], sample.size, KNOWN_STRIDES)) and (shape[1] or 0) > 5
        if not columns or not (sample.named or oriented(sample)):
            return ""
        by = "its task 'obb'" if sample.metadata.get("task") == "obb" else "a last row in -pi/2..pi"
        return f"{shape[2]} columns, one for each cell, and {by}"

    @staticmethod
    def _count(sample: Sample) -> int:
        return (sample.first()[1] or 0) - 5

    def read(self, image: tuple[NDArray[Any], ...], _size: Size, threshold: float, /) -> Proposals:
        """Upright boxes around those of the columns that reach the threshold."""
        [columns] = image
        rows, top, classes = best(columns[4 : 4 + self.classes].T, threshold)
        return Proposals(upright(columns[:4, rows].T, columns[-1, rows]), top, classes)


def upright(boxes: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """The upright boxes `(K, 4)` xyxy around boxes `(K, 4)` of centre and size that are turned by angles `(K,)`."""
    across, down = np.abs(np.cos(angles))[:, None], np.abs(np.sin(angles))[:, None]
    width, height = boxes[:, 2:3], boxes[:, 3:4]
    return corners(boxes[:, :2], np.concatenate([width * across + height * down, width * down + height * across], 1))


class YoloRowsDecoder(FirstOutput):
    """A row for each cell or query: box and class scores, without objectness."""

    expects: ClassVar[str] = (
        "one output ?xNx(4+C), a row for each cell of strides 8, 16, 32 or for each of at most 1000 queries: centre "
        "and size in pixels or as parts of the input, C class scores"
    )
    preprocess: ClassVar[Preprocess] = LETTERBOX
    queries: ClassVar[int] = 1000

    @classmethod
    def evidence(cls, sample: Sample) -> str:
        """Rows that are boxes by centre and size, and columns in 0..1 that are no classes' numbers."""
        shape = sample.first()
        if len(shape) != 3 or len(sample.outputs) != 1 or not shape[1] or not shape[2] or shape[2] < 5:
            return ""
        if not strides_of(shape[1], sample.size, KNOWN_STRIDES) and shape[1] > cls.queries:
            return ""
        if not sample.named and not cls._plausible(sample, shape[2] - 4):
            return ""
        by = ", as many as there are names" if len(sample.names) == shape[2] - 4 else ""
        return f"{shape[1]} rows of centre, size and {shape[2] - 4} columns in 0..1{by}"

    @staticmethod
    def _plausible(sample: Sample, classes: int) -> bool:
        """Whether values, names and task agree with rows of box and class scores."""
        if not sample.values or sample.metadata.get("task", "detect") != "detect":
            return False
        if len(sample.names) not in {0, classes} or (not sample.names and classes == 1 + COCO):
            return False
        boxes, scores = np.split(sample.value(), [4], axis=2)
        numbers = (scores == np.round(scores)) & (scores.max(axis=(0, 1)) >= 1)
        likely = within_unit(scores) and not numbers.all(axis=(0, 1)).any()
        return likely and bool(boxes.any()) and sensible_centres(boxes, sample.size)

    def __init__(self, sample: Sample) -> None:
        super().__init__(sample)
        self.classes = (sample.first()[2] or 4) - 4
        self._normalised = are_normalised(sample.value()[..., :4])

    def read(self, image: tuple[NDArray[Any], ...], size: Size, threshold: float, /) -> Proposals:
        """Boxes of the rows that reach the threshold."""
        [values] = image
        rows, top, classes = best(values[:, 4:], threshold)
        boxes = to_pixels(values[rows, :4], size, parts=self._normalised)
        return Proposals(corners(boxes[:, :2], boxes[:, 2:]), top, classes)


class YoloNasDecoder(ByNames):
    """Boxes and class scores of every cell in two outputs."""

    expects: ClassVar[str] = (
        "two outputs with a row for each cell of strides 8, 16, 32: boxes ?xNx4 (xyxy in pixels) and scores ?xNxC in "
        "0..1, whose names end in 'bboxes' and 'scores' where C is 4"
    )
    preprocess: ClassVar[Preprocess] = LETTERBOX

    @classmethod
    def evidence(cls, sample: Sample) -> str:
        """A row for each cell in both outputs, which are boxes and scores."""
        names = cls.names(sample)
        if names is None:
            return ""
        boxes, scores = (sample.values.get(name) for name in names)
        if boxes is not None and scores is not None and not sample.named:
            pixels = not are_normalised(boxes) and sensible_corners(boxes)
            if not pixels or not within_unit(scores):
                return ""
        return f"its outputs {names[0]} and {names[1]}, with a row for each cell of strides {listed(STRIDES)}"

    @staticmethod
    def names(sample: Sample) -> tuple[str, str] | None:
        """Names of the boxes and of the scores."""
        shapes = {name: spec.shape for name, spec in sample.outputs.items()}
        if len(shapes) != 2 or any(len(shape) != 3 for shape in shapes.values()):
            return None
        if any(not strides_of(shape[1], sample.size, (STRIDES,)) for shape in shapes.values()):
            return None
        boxes = [name for name, shape in shapes.items() if shape[2] == 4]
        if len(boxes) == 2:
            boxes = [name for name in boxes if name.lower().endswith("boxes")]
        others = [name for name in shapes if name not in boxes]
        return (boxes[0], others[0]) if len(boxes) == len(others) == 1 else None

    def __init__(self, sample: Sample) -> None:
        super().__init__(sample)
        self.classes = sample.outputs[self.parts[1]].shape[2] or 0

    def read(self, image: tuple[NDArray[Any], ...], _size: Size, threshold: float, /) -> Proposals:
        """Boxes of the rows that reach the threshold."""
        boxes, scores = image
        rows, top, classes = best(scores, threshold)
        return Proposals(boxes[rows].astype(np.float32), top, classes)

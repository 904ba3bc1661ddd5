"""One output with a row for each box that was chosen inside: which column means what differs by family."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from alstm_ros.detection.decoders.layout import (
    FirstOutput,
    Outputs,
    Proposals,
    Sample,
    Size,
    are_normalised,
    corners,
    inside_as_centres,
    sensible_centres,
    sensible_corners,
    to_pixels,
    whole,
)
from alstm_ros.detection.decoders.yolo import LETTERBOX, keypoints, upright
from alstm_ros.detection.preprocess import Preprocess
from alstm_ros.types import Float32

MOST = 1000
"""Rows at most that a network gives which has chosen its boxes."""


def chosen_rows(sample: Sample, columns: int) -> NDArray[Any] | None:
    """Rows of `?xKx6` and more, if that is what a model gives: those that hold anything, `(N, columns)`.

    Args:
        sample: the model.
        columns: that every row needs; more may be masks' coefficients or keypoints.
    """
    shape = sample.first()
    if len(shape) != 3 or not shape[1] or not shape[2] or shape[1] > MOST or len(sample.outputs) > 2:
        return None
    masks = any(len(spec.shape) == 4 for spec in sample.outputs.values())
    if shape[2] != columns and not (shape[2] > columns and (masks or shape[2] == columns + keypoints(sample))):
        return None
    if not sample.values:
        return np.zeros((0, columns), np.float32)
    rows = sample.value().reshape(-1, shape[2])[:, :columns]
    return rows[rows.any(axis=1)]


def scores_and_classes(scores: NDArray[Any], classes: NDArray[Any]) -> bool:
    """Whether these columns can be scores and classes' numbers."""
    return bool((scores >= 0).all() and (scores <= 1).all()) and whole(classes)


class EndToEndDecoder(FirstOutput):
    """Corners, score and class."""

    expects: ClassVar[str] = (
        "a first output ?xKx6 of at most 1000 rows: xyxy in pixels or as parts of the input, score, class (more "
        "columns for masks or keypoints may follow)"
    )
    preprocess: ClassVar[Preprocess] = LETTERBOX
    centres: ClassVar[bool] = False
    """Whether boxes are centre and size."""

    @classmethod
    def evidence(cls, sample: Sample) -> str:
        """Rows that end in a score and a whole number, and boxes that make sense in this order."""
        rows = chosen_rows(sample, 6)
        if rows is None or oriented_rows(sample) or not scores_and_classes(rows[:, 4], rows[:, 5]):
            return ""
        if sample.named:
            return "its shape"
        if head := sample.metadata.get("head", ""):
            return f"its head '{head}'" if ("RTDETR" in head.upper()) == cls.centres else ""
        boxes = rows[:, :4]
        as_corners = sensible_corners(boxes)
        as_centres = sensible_centres(boxes, sample.size) and (not as_corners or inside_as_centres(boxes, sample.size))
        if as_corners and as_centres and (sample.metadata.keys() & {"task", "names"}):
            # Ultralytics' YOLOs give corners; its RT-DETR says so by its head.
            return "" if cls.centres else "rows of score and class, with the metadata of Ultralytics"
        if cls.centres:
            return "rows of score and class, whose boxes make sense as centre and size" if as_centres else ""
        return "rows of score and class, whose boxes make sense as corners" if as_corners else ""

    def __init__(self, sample: Sample) -> None:
        super().__init__(sample)
        self.classes = len(sample.names)
        rows = chosen_rows(sample, 6)
        self._normalised = None if rows is None or not len(rows) else are_normalised(rows[:, :4])

    def read(self, image: tuple[NDArray[Any], ...], size: Size, threshold: float, /) -> Proposals:
        """Rows that reach the threshold."""
        [rows] = image
        kept = rows[rows[:, 4] >= threshold].astype(np.float32)
        boxes = to_pixels(kept[:, :4], size, parts=self._normalised)
        if self.centres:
            boxes = corners(boxes[:, :2], boxes[:, 2:])
        return Proposals(boxes, kept[:, 4], kept[:, 5].astype(np.int64))


class RtDetrEndToEndDecoder(EndToEndDecoder):
    """Centre and size, score and class."""

    expects: ClassVar[str] = (
        "a first output ?xKx6 of at most 1000 rows: centre and size as parts of the input or in pixels, score, class"
    )
    preprocess: ClassVar[Preprocess] = Preprocess("rgb", "stretch", 0, "unit")
    centres: ClassVar[bool] = True


def oriented_rows(sample: Sample) -> bool:
    """Whether boxes are told at an angle: the metadata say so."""
    return sample.metadata.get("task") == "obb"


class OrientedEndToEndDecoder(FirstOutput):
    """Boxes at an angle, score and class; what comes out is the upright box around each."""

    expects: ClassVar[str] = (
        "one output ?xKx7 of at most 1000 rows: centre and size in pixels, score, class, angle in radians; upright "
        "boxes are put around them"
    )
    preprocess: ClassVar[Preprocess] = LETTERBOX

    @classmethod
    def evidence(cls, sample: Sample) -> str:
        """Rows of seven columns, and the task."""
        rows = chosen_rows(sample, 7)
        fits = rows is not None and scores_and_classes(rows[:, 4], rows[:, 5])
        return "rows of seven columns and its task 'obb'" if fits and (sample.named or oriented_rows(sample)) else ""

    def __init__(self, sample: Sample) -> None:
        super().__init__(sample)
        self.classes = len(sample.names)

    def read(self, image: tuple[NDArray[Any], ...], _size: Size, threshold: float, /) -> Proposals:
        """Upright boxes around those of the rows that reach the threshold."""
        [rows] = image
        kept = rows[rows[:, 4] >= threshold].astype(np.float32)
        return Proposals(upright(kept[:, :4], kept[:, 6]), kept[:, 4], kept[:, 5].astype(np.int64))


class _NumberedRows:
    """Rows of all images one below the other, each with its image's number."""

    preprocess: ClassVar[Preprocess] = LETTERBOX
    single: bool = True
    score: ClassVar[int]
    kind: ClassVar[int]

    @staticmethod
    def rows(sample: Sample) -> NDArray[Any] | None:
        """Rows of seven columns, if that is what a model gives."""
        if len(sample.outputs) != 1 or len(sample.first()) != 2 or sample.first()[1] != 7:
            return None
        return sample.value() if sample.values else np.zeros((0, 7), np.float32)

    def __init__(self, sample: Sample) -> None:
        self.classes = len(sample.names)

    def __call__(self, outputs: Outputs, _size: Size, threshold: float, /) -> list[Proposals]:
        """Rows of the one image that reach the threshold."""
        rows = next(iter(outputs.values()))
        kept = rows[rows[:, self.score] >= threshold].astype(np.float32)
        return [Proposals(kept[:, 1:5], kept[:, self.score], kept[:, self.kind].astype(np.int64))]


class Yolov7EndToEndDecoder(_NumberedRows):
    """YOLOv7's export for ONNX Runtime."""

    expects: ClassVar[str] = "one output Kx7: number of the image, xyxy in pixels, class, score"
    score: ClassVar[int] = 6
    kind: ClassVar[int] = 5

    @classmethod
    def evidence(cls, sample: Sample) -> str:
        """Seven columns without a batch, in this order."""
        rows = cls.rows(sample)
        if rows is None or any("flat" in name for name in sample.outputs):
            return ""
        return "an output Kx7 that ends in class and score" if scores_and_classes(rows[:, 6], rows[:, 5]) else ""


class FlatPredictionsDecoder(_NumberedRows):
    """YOLO-NAS's and its relatives' export in the format `flat`."""

    expects: ClassVar[str] = "one output Kx7 (flat_predictions): number of the image, xyxy in pixels, score, class"
    score: ClassVar[int] = 5
    kind: ClassVar[int] = 6

    @classmethod
    def evidence(cls, sample: Sample) -> str:
        """Seven columns without a batch, in the other order."""
        rows = cls.rows(sample)
        if rows is None or not scores_and_classes(rows[:, 5], rows[:, 6]):
            return ""
        if any("flat" in name for name in sample.outputs) or sample.named:
            return "its output of seven columns that is called flat" if not sample.named else "its shape"
        decided = len(rows) > 0 and not scores_and_classes(rows[:, 6], rows[:, 5])
        return "an output Kx7 that ends in score and class" if decided else ""


class PaddleDecoder:
    """PaddleDetection's networks with suppression: PP-YOLOE, PicoDet and their RT-DETR."""

    expects: ClassVar[str] = (
        "an output Kx6: class, score, xyxy in pixels; beside it, where there is more than one image, how many of the K "
        "rows each image has"
    )
    preprocess: ClassVar[Preprocess] = Preprocess("rgb", "stretch", 0, "imagenet")
    single: bool = False

    @classmethod
    def evidence(cls, sample: Sample) -> str:
        """Six columns without a batch, in this order."""
        names = cls.names(sample)
        if names is None:
            return ""
        rows = sample.values.get(names[0], np.zeros((0, 6), np.float32))
        rows = rows[rows[:, 0] >= 0]  # -1 where nothing was found
        fits = scores_and_classes(rows[:, 1], rows[:, 0])
        return "an output Kx6 that begins with class and score" + (" and a count" if names[1] else "") if fits else ""

    @staticmethod
    def names(sample: Sample) -> tuple[str, str] | None:
        """Names of the rows and of the count; the latter may be empty."""
        shapes = {name: spec.shape for name, spec in sample.outputs.items()}
        rows = [name for name, shape in shapes.items() if len(shape) == 2 and shape[1] == 6]
        counts = [name for name in shapes if len(shapes[name]) == 1 and sample.outputs[name].dtype.kind in "iu"]
        if len(rows) != 1 or len(rows) + len(counts) != len(shapes) or len(counts) > 1:
            return None
        return rows[0], counts[0] if counts else ""

    def __init__(self, sample: Sample) -> None:
        self._rows, self._count = self.names(sample) or ("", "")
        self.classes = len(sample.names)

    def __call__(self, outputs: Outputs, _size: Size, threshold: float, /) -> list[Proposals]:
        """Rows that reach the threshold."""
        rows = outputs[self._rows].astype(np.float32)
        ends: list[int] = np.cumsum(outputs[self._count])[:-1].tolist() if self._count else []
        return [self._kept(part, threshold) for part in np.split(rows, ends)]

    @staticmethod
    def _kept(rows: Float32, threshold: float) -> Proposals:
        kept = rows[(rows[:, 1] >= threshold) & (rows[:, 0] >= 0)]
        return Proposals(kept[:, 2:6], kept[:, 1], kept[:, 0].astype(np.int64))

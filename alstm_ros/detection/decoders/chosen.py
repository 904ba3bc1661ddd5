"""Boxes, scores and classes in outputs of their own, after everything."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from alstm_ros.detection.decoders.layout import (
    ByNames,
    Outputs,
    Proposals,
    Sample,
    Size,
    are_normalised,
    to_pixels,
    whole,
)
from alstm_ros.detection.decoders.yolo import LETTERBOX
from alstm_ros.detection.preprocess import Preprocess

LABEL_WORDS = ("label", "class", "cls")
"""Parts of names by which an output of whole numbers in floats is known to be classes."""


class BoxesDecoder(ByNames):
    """Boxes, labels and scores, as torchvision's detectors and the exports of RT-DETR, D-FINE and DEIM give them."""

    expects: ClassVar[str] = (
        "three outputs, in any order: boxes Kx4 (xyxy in pixels or as parts of the input), labels K (whole numbers) "
        "and scores K, each with a batch in front or without"
    )
    preprocess: ClassVar[Preprocess] = Preprocess("rgb", "stretch", 0, "unit")

    @staticmethod
    def names(sample: Sample) -> tuple[str, str, str] | None:
        """Names of boxes, labels and scores."""
        if len(sample.outputs) != 3:
            return None
        labels = [name for name, spec in sample.outputs.items() if spec.dtype.kind in "iu"] or [
            name for name in sample.outputs if any(word in name.lower() for word in LABEL_WORDS)
        ]
        floats = [(name, spec.shape) for name, spec in sample.outputs.items() if name not in labels]
        if len(labels) != 1 or len(floats) != 2 or not whole(sample.values.get(labels[0], np.zeros(0))):
            return None
        (one, first), (other, second) = sorted(floats, key=lambda item: len(item[1]))  # scores, boxes
        rank = len(sample.outputs[labels[0]].shape)
        if rank not in {1, 2} or len(first) != rank or len(second) != rank + 1 or second[-1] not in {4, None}:
            return None
        return other, labels[0], one

    def __init__(self, sample: Sample) -> None:
        super().__init__(sample)
        boxes, labels, _ = self.parts
        self._batched = len(sample.outputs[labels].shape) == 2
        self.single = not self._batched
        # torchvision counts COCO's ids with the background in front; with a batch it is RT-DETR, which counts its own.
        self.classes = 0 if self._batched else 91
        self._normalised = are_normalised(sample.values[boxes]) if boxes in sample.values else None

    def __call__(self, outputs: Outputs, size: Size, threshold: float, /) -> list[Proposals]:
        """Reads a batch, or the one image of an answer without a batch."""
        batch = outputs if self._batched else {name: outputs[name][None] for name in self.parts}
        return super().__call__(batch, size, threshold)

    def read(self, image: tuple[NDArray[Any], ...], size: Size, threshold: float, /) -> Proposals:
        """Rows that reach the threshold."""
        boxes, labels, scores = image
        keep = scores >= threshold
        placed = to_pixels(boxes[keep], size, parts=self._normalised)
        return Proposals(placed, scores[keep].astype(np.float32), labels[keep].astype(np.int64))


class EfficientNmsDecoder(ByNames):
    """A count, boxes, scores and classes, as TensorRT's EfficientNMS gives them, and YOLO-NAS in the format `batch`."""

    expects: ClassVar[str] = (
        "four outputs: how many boxes each image has ?x1 (whole numbers), boxes ?xKx4 (xyxy in pixels or as parts of "
        "the input), scores ?xK, and classes ?xK (whole numbers)"
    )
    preprocess: ClassVar[Preprocess] = LETTERBOX

    @staticmethod
    def names(sample: Sample) -> tuple[str, str, str, str] | None:
        """Names of the count, the boxes, the scores and the classes."""
        specs = sample.outputs
        whole_ones = [name for name, spec in specs.items() if spec.dtype.kind in "iu" and len(spec.shape) == 2]
        floats = [name for name, spec in specs.items() if spec.dtype.kind == "f"]
        boxes = [name for name in floats if len(specs[name].shape) == 3 and specs[name].shape[2] == 4]
        scores = [name for name in floats if len(specs[name].shape) == 2]
        if len(specs) != 4 or (len(whole_ones), len(boxes), len(scores)) != (2, 1, 1):
            return None
        counts = [name for name in whole_ones if specs[name].shape[1] == 1 or "num" in name.lower()]
        if len(counts) == 2:
            counts = [name for name in counts if "num" in name.lower()]
        classes = [name for name in whole_ones if name not in counts]
        return (counts[0], boxes[0], scores[0], classes[0]) if len(counts) == len(classes) == 1 else None

    def __init__(self, sample: Sample) -> None:
        super().__init__(sample)
        self.classes = 0
        boxes = self.parts[1]
        self._normalised = are_normalised(sample.values[boxes]) if boxes in sample.values else None

    def read(self, image: tuple[NDArray[Any], ...], size: Size, threshold: float, /) -> Proposals:
        """Rows that reach the threshold, of as many as the image has."""
        count, boxes, scores, classes = image
        keep = (scores >= threshold) & (np.arange(len(scores)) < count[0])
        placed = to_pixels(boxes[keep], size, parts=self._normalised)
        return Proposals(placed, scores[keep].astype(np.float32), classes[keep].astype(np.int64))


class MmdetectionDecoder(ByNames):
    """Boxes with their scores, and labels, as MMDetection's networks (RTMDet among them) leave MMDeploy."""

    expects: ClassVar[str] = "dets ?xKx5 (xyxy in pixels, score) and labels ?xK (whole numbers); masks may follow"
    preprocess: ClassVar[Preprocess] = Preprocess("bgr", "corner", 114, "imagenet")

    @staticmethod
    def names(sample: Sample) -> tuple[str, str] | None:
        """Names of the boxes and of the labels."""
        shapes = {name: spec.shape for name, spec in sample.outputs.items()}
        boxes = [name for name, shape in shapes.items() if len(shape) == 3 and shape[2] == 5]
        labels = [name for name, shape in shapes.items() if len(shape) == 2]
        rest = [name for name, shape in shapes.items() if len(shape) != 4 and name not in boxes + labels]
        if len(boxes) != 1 or len(labels) != 1 or rest or sample.outputs[labels[0]].dtype.kind not in "iu":
            return None
        return boxes[0], labels[0]

    def __init__(self, sample: Sample) -> None:
        super().__init__(sample)
        self.classes = 0

    def read(self, image: tuple[NDArray[Any], ...], _size: Size, threshold: float, /) -> Proposals:
        """Rows that reach the threshold."""
        boxes, labels = image
        keep = (boxes[:, 4] >= threshold) & (labels >= 0)
        kept = boxes[keep].astype(np.float32)
        return Proposals(kept[:, :4], kept[:, 4], labels[keep].astype(np.int64))

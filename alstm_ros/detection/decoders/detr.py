"""DETR (Carion et al., 2020) and RT-DETR (Zhao et al., 2023): a row for each query, boxes as parts of the input."""

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
    best,
    corners,
    logit,
    sigmoid,
    softmax,
    within_unit,
)
from alstm_ros.detection.preprocess import Preprocess
from alstm_ros.types import Float32, Int64


def _no_object_last(sample: Sample) -> bool:
    """Whether the last class means that there is nothing: on noise, most queries say so."""
    names = RtDetrDecoder.names(sample)
    if names is None or not sample.values:
        return False
    logits = sample.values[names[0]]
    classes = logits.shape[2]
    if classes in {80, 92}:  # COCO's used ids; all its ids, and one for nothing
        return bool(classes == 92)
    nothing = (logits.argmax(axis=2) == classes - 1).mean()
    return bool(classes > 1 and nothing > 0.5)


class RtDetrDecoder(ByNames):
    """Sigmoid scores."""

    expects: ClassVar[str] = (
        "pred_logits or logits ?xQxC, a sigmoid score for each class, and pred_boxes ?xQx4: centre and size as parts "
        "of the input"
    )
    preprocess: ClassVar[Preprocess] = Preprocess("rgb", "stretch", 0, "unit")

    @staticmethod
    def names(sample: Sample) -> tuple[str, str] | None:
        """Names of the logits and of the boxes."""
        shapes = {name: spec.shape for name, spec in sample.outputs.items() if len(spec.shape) == 3}
        logits = [name for name in shapes if name.removeprefix("pred_") in {"logits", "scores"}]
        boxes = [name for name in shapes if name.removeprefix("pred_") == "boxes" and shapes[name][2] == 4]
        if len(logits) != 1 or len(boxes) != 1 or shapes[logits[0]][1] != shapes[boxes[0]][1]:
            return None
        outside = bool(sample.values) and not within_unit(sample.values[boxes[0]])
        if outside:
            return None
        return logits[0], boxes[0]

    def __init__(self, sample: Sample) -> None:
        self.logits, self.boxes = self.names(sample) or ("", "")
        self.classes = sample.outputs[self.logits].shape[2] or 0

    def __call__(self, outputs: Outputs, size: Size, threshold: float) -> list[Proposals]:
        """Queries that reach the threshold."""
        found = []
        for logits, boxes in zip(outputs[self.logits], outputs[self.boxes], strict=True):
            rows, scores, classes = self.best(logits, threshold)
            scaled = boxes[rows] * np.array([size[1], size[0]] * 2, np.float32)
            found.append(Proposals(corners(scaled[:, :2], scaled[:, 2:]), scores, classes))
        return found

    @staticmethod
    def best(logits: NDArray[Any], threshold: float) -> tuple[Int64, Float32, Int64]:
        """Rows that reach the threshold, their scores and classes, of logits `(Q, C)`."""
        rows, top, classes = best(logits, logit(threshold))
        return rows, sigmoid(top), classes


class DetrDecoder(RtDetrDecoder):
    """Softmax scores, the last class meaning that there is nothing."""

    expects: ClassVar[str] = (
        "pred_logits or logits ?xQx(C+1), the last class for no object, and pred_boxes ?xQx4: centre and size as parts "
        "of the input"
    )
    preprocess: ClassVar[Preprocess] = Preprocess("rgb", "corner", 0, "imagenet")

    @classmethod
    def fits(cls, sample: Sample) -> bool:
        """Whether the names and shapes are these, and there is a class for nothing."""
        return super().fits(sample) and _no_object_last(sample)

    def __init__(self, sample: Sample) -> None:
        super().__init__(sample)
        self.classes -= 1

    @staticmethod
    def best(logits: NDArray[Any], threshold: float) -> tuple[Int64, Float32, Int64]:
        """The same of logits `(Q, C + 1)`."""
        return best(softmax(logits)[:, :-1], threshold)

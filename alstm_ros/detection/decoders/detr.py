"""DETR (Carion et al., 2020) and RT-DETR (Zhao et al., 2023): a row for each query, boxes as parts of the input."""

from __future__ import annotations

from typing import Any, ClassVar

from numpy.typing import NDArray

from alstm_ros.detection.decoders.layout import (
    ByNames,
    Proposals,
    Sample,
    Size,
    are_normalised,
    best,
    corners,
    logit,
    sigmoid,
    softmax,
    to_pixels,
    within_unit,
)
from alstm_ros.detection.preprocess import Preprocess
from alstm_ros.types import Float32, Int64

COCO_IDS = 91
"""The number of COCO's ids, 0 included, which nothing has."""


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

    @classmethod
    def evidence(cls, sample: Sample) -> str:
        """The names, and no class for nothing."""
        return "" if not sample.named and _no_object_last(sample) else super().evidence(sample)

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
        super().__init__(sample)
        self.classes = sample.outputs[self.parts[0]].shape[2] or 0

    def read(self, image: tuple[NDArray[Any], ...], size: Size, threshold: float, /) -> Proposals:
        """Queries that reach the threshold."""
        logits, boxes = image
        rows, scores, classes = self.best(self.kept(logits), threshold)
        scaled = to_pixels(boxes[rows], size, parts=True)
        return Proposals(corners(scaled[:, :2], scaled[:, 2:]), scores, classes)

    def kept(self, logits: NDArray[Any]) -> NDArray[Any]:
        """The columns `(Q, C)` that scores are made of."""
        return logits

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
    def evidence(cls, sample: Sample) -> str:
        """The names, and that most queries say the last class of noise."""
        known = cls.names(sample) and (sample.named or _no_object_last(sample))
        return f"its outputs {', '.join(cls.names(sample) or ())}, whose last class is for no object" if known else ""

    def __init__(self, sample: Sample) -> None:
        super().__init__(sample)
        self.classes -= 1

    @staticmethod
    def best(logits: NDArray[Any], threshold: float) -> tuple[Int64, Float32, Int64]:
        """The same of logits `(Q, C + 1)`."""
        return best(softmax(logits)[:, :-1], threshold)


class RfDetrDecoder(RtDetrDecoder):
    """Sigmoid scores under other names; the last column is for no object, but for COCO's 91, which are its ids."""

    expects: ClassVar[str] = (
        "labels ?xQx(C+1), a logit for each class and one for no object (91 are COCO's ids), and dets ?xQx4: centre "
        "and size as parts of the input; masks may follow"
    )
    preprocess: ClassVar[Preprocess] = Preprocess("rgb", "stretch", 0, "imagenet")

    @classmethod
    def evidence(cls, sample: Sample) -> str:
        """The names and that boxes are parts of the input."""
        return "its outputs dets and labels" if cls.names(sample) else ""

    @staticmethod
    def names(sample: Sample) -> tuple[str, str] | None:
        """Names of the logits and of the boxes."""
        shapes = {name: spec.shape for name, spec in sample.outputs.items()}
        logits, boxes = shapes.get("labels", ()), shapes.get("dets", ())
        if len(logits) != 3 or len(boxes) != 3 or boxes[2] != 4 or logits[1] != boxes[1] or (logits[2] or 0) < 2:
            return None
        if any(len(shape) != 4 for name, shape in shapes.items() if name not in {"labels", "dets"}):
            return None
        if sample.values and not are_normalised(sample.values["dets"]):
            return None
        return "labels", "dets"

    def __init__(self, sample: Sample) -> None:
        super().__init__(sample)
        self.classes -= self.classes != COCO_IDS

    def kept(self, logits: NDArray[Any]) -> NDArray[Any]:
        """The columns `(Q, C)` that are classes."""
        return logits[:, : self.classes]

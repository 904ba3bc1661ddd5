"""The YOLOv8/11 family of Ultralytics: one-to-many heads that need suppression, and end-to-end ones that do not."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from alstm_ros.detection.decoders.layout import Outputs, Proposals, Sample, Size, best, corners, counts
from alstm_ros.detection.preprocess import Preprocess

LETTERBOX = Preprocess("rgb", "centre", 114, "unit")


def class_names(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """What `names` in the metadata of an Ultralytics export says, such as `{0: 'person'}`; empty if nothing."""
    text = metadata.get("names", "")
    if len(text) > LONGEST_NAMES:
        return ()
    try:
        names = ast.literal_eval(text)
        if isinstance(names, Mapping):
            names = [names[key] for key in sorted(names)]
    except (
        ValueError,
        SyntaxError,
        TypeError,
        MemoryError,
        RecursionError,
    ):  # what a file may bring Python's parser to
        return ()
    return tuple(map(str, names)) if isinstance(names, list | tuple) else ()


LONGEST_NAMES = 500_000
"""How many characters are read of a file's class names; the 1203 of LVIS have 30,000."""


class YoloDecoder:
    """A column for each cell."""

    expects: ClassVar[str] = (
        "a first output ?x(4+C)xN, a column for each cell of strides 8, 16, 32: centre and size in pixels, C class "
        "scores; more rows (masks, keypoints) may follow where the metadata holds `names` or a second output the masks"
    )
    preprocess: ClassVar[Preprocess] = LETTERBOX

    @classmethod
    def fits(cls, sample: Sample) -> bool:
        """Whether there is a column for each cell, with at least one class."""
        shape = sample.first()
        return len(shape) == 3 and shape[2] == sum(counts(sample.size)) and cls._count(sample) > 0

    @staticmethod
    def _count(sample: Sample) -> int:
        if names := class_names(sample.metadata):
            return len(names)
        shapes = [spec.shape for spec in sample.outputs.values()]
        masks = next((shape[1] or 0 for shape in shapes[1:] if len(shape) == 4), 0)
        return (shapes[0][1] or 0) - 4 - masks

    def __init__(self, sample: Sample) -> None:
        self.classes = self._count(sample)

    def __call__(self, outputs: Outputs, size: Size, threshold: float) -> list[Proposals]:  # noqa: ARG002  # Decoder
        """Boxes of the columns that reach the threshold."""
        found = []
        for columns in next(iter(outputs.values())):
            scores = columns[4 : 4 + self.classes]
            likely = np.flatnonzero(scores.max(axis=0) >= threshold)
            _, top, classes = best(scores[:, likely].T, threshold)
            boxes = columns[:4, likely].T
            found.append(Proposals(corners(boxes[:, :2], boxes[:, 2:]), top, classes))
        return found


class EndToEndDecoder:
    """The best boxes, chosen inside."""

    expects: ClassVar[str] = (
        "a first output ?xKx6 of at most 1000 rows: xyxy in pixels, score, class (more columns for masks may follow)"
    )
    preprocess: ClassVar[Preprocess] = LETTERBOX
    most: ClassVar[int] = 1000

    @classmethod
    def fits(cls, sample: Sample) -> bool:
        """Whether rows end in a score and a whole number."""
        shape = sample.first()
        if len(shape) != 3 or not shape[1] or not shape[2] or shape[1] > cls.most or len(sample.outputs) > 2:
            return False
        masks = any(len(spec.shape) == 4 for spec in sample.outputs.values())
        if shape[2] != 6 and not (masks and shape[2] > 6):
            return False
        if not sample.values:
            return True
        scores, classes = np.moveaxis(sample.value()[..., 4:6], -1, 0)
        return bool((scores >= 0).all() and (scores <= 1).all() and (classes == np.round(classes)).all())

    def __init__(self, sample: Sample) -> None:
        self.classes = len(class_names(sample.metadata))

    def __call__(self, outputs: Outputs, size: Size, threshold: float) -> list[Proposals]:  # noqa: ARG002  # Decoder
        """Rows that reach the threshold."""
        found = []
        for rows in next(iter(outputs.values())):
            kept = rows[rows[:, 4] >= threshold].astype(np.float32)
            found.append(Proposals(kept[:, :4], kept[:, 4], kept[:, 5].astype(np.int64)))
        return found

"""What decoders take and give, and the arithmetic that several of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from alstm_ros.detection.preprocess import Preprocess
from alstm_ros.engines import TensorSpec
from alstm_ros.types import Float32, Int64

Outputs = Mapping[str, NDArray[Any]]
Size = tuple[int, int]
"""Height and width in pixels of the network's input."""

STRIDES = (8, 16, 32)
"""Strides in pixels of the maps that most families predict from."""
WITH_64 = (8, 16, 32, 64)
"""Strides in pixels of the maps of NanoDet-Plus, and of what is trained for large inputs."""
WITH_4 = (4, 8, 16, 32)
"""Strides in pixels of the maps of what is trained for small objects."""


@dataclass(frozen=True, slots=True)
class Proposals:
    """What a network proposes for one image, before suppression.

    Attributes:
        boxes: `(K, 4)` float32, xyxy in pixels of the network's input.
        scores: `(K,)` float32 in 0..1.
        classes: `(K,)` int64, index into the class names.
        features: `(K, C)` float32, features of the cell that proposed the box, or None.
    """

    boxes: Float32
    scores: Float32
    classes: Int64
    features: Float32 | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """A model as a decoder sees it when it is chosen.

    Attributes:
        outputs: name to shape and type, of one real answer where `values` holds it.
        size: height and width of the input that was answered; (0, 0) where none was.
        metadata: what the file says about itself.
        values: an answer to noise; empty for a file that names its decoder itself.
        names: of the classes, where the file or somebody tells them.
        named: whether somebody said which layout it is, so that values decide nothing that shapes leave open.
    """

    outputs: Mapping[str, TensorSpec]
    size: Size = (0, 0)
    metadata: Mapping[str, str] = field(default_factory=dict)
    values: Outputs = field(default_factory=dict)
    names: tuple[str, ...] = ()
    named: bool = False

    def first(self) -> tuple[int | None, ...]:
        """Shape of the first output."""
        return next(iter(self.outputs.values())).shape

    def value(self) -> NDArray[Any]:
        """The first output's answer."""
        return next(iter(self.values.values()))


class Decoder(Protocol):
    """A layout of outputs, and how boxes are read from it."""

    expects: ClassVar[str]
    """The outputs it reads, in words."""
    preprocess: ClassVar[Preprocess]
    """What such networks were trained on."""

    @classmethod
    def evidence(cls, sample: Sample) -> str:
        """By what a model's outputs are known to be of this layout, in words; empty where they are of another."""
        ...

    def __init__(self, sample: Sample) -> None:
        """Takes over what the sample shows of a model that is of this layout."""
        ...

    @property
    def single(self) -> bool:
        """Whether an answer is of one image only, so that images go in one by one."""
        ...

    @property
    def classes(self) -> int:
        """How many classes the outputs tell apart; 0 where they do not show it."""
        ...

    def __call__(self, outputs: Outputs, size: Size, threshold: float, /) -> list[Proposals]:
        """Reads a batch.

        Args:
            outputs: what the engine gave.
            size: height and width of the network's input.
            threshold: candidates below this score may be left out.

        Returns:
            One for each image of the batch.
        """
        ...


class PerImage(ABC):
    """Part of a decoder: the outputs have a batch in front, and each image is read by itself.

    Attributes:
        parts: names of the outputs that are read.
    """

    single: bool = False
    parts: tuple[str, ...]

    def __call__(self, outputs: Outputs, size: Size, threshold: float, /) -> list[Proposals]:
        """Reads a batch; see `Decoder`."""
        images = zip(*(outputs[name] for name in self.parts), strict=True)
        return [self.read(image, size, threshold) for image in images]

    @abstractmethod
    def read(self, image: tuple[NDArray[Any], ...], size: Size, threshold: float, /) -> Proposals:
        """Reads one image.

        Args:
            image: its part of each output in `parts`, without the batch.
            size: height and width of the network's input.
            threshold: candidates below this score may be left out.
        """


class FirstOutput(PerImage):
    """Part of a decoder: all that counts is in the first output."""

    def __init__(self, sample: Sample) -> None:
        self.parts = (next(iter(sample.outputs)),)


class ByNames(PerImage):
    """Part of a decoder: the layout is known by which output plays which part."""

    def __init__(self, sample: Sample) -> None:
        self.parts = self.names(sample) or ()

    @staticmethod
    @abstractmethod
    def names(sample: Sample) -> tuple[str, ...] | None:
        """Names of the outputs in the order that the decoder wants; None where they are of another layout."""

    @classmethod
    def evidence(cls, sample: Sample) -> str:
        """The outputs that play the parts."""
        return "its outputs " + ", ".join(filter(None, cls.names(sample) or ())) if cls.names(sample) else ""


def counts(size: Size, strides: Sequence[int] = STRIDES) -> list[int]:
    """How many cells each stride's map has; a part of a cell counts as one."""
    return [-(-size[0] // stride) * -(-size[1] // stride) for stride in strides]


def strides_of(cells: int | None, size: Size, known: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The first of the known strides whose maps have so many cells at this size; empty where none has."""
    return next((strides for strides in known if cells == sum(counts(size, strides))), ())


def listed(strides: Sequence[int]) -> str:
    """Such as `8, 16, 32`."""
    return ", ".join(map(str, strides))


def grid(size: Size, strides: Sequence[int] = STRIDES) -> Float32:
    """Column, row and stride of every cell, finest map first, row by row: `(N, 3)`."""
    maps = []
    for stride in strides:
        rows, columns = -(-size[0] // stride), -(-size[1] // stride)
        y, x = np.mgrid[:rows, :columns].reshape(2, -1)
        maps.append(np.stack([x, y, np.full(len(x), stride)], axis=1))
    return np.concatenate(maps).astype(np.float32)


def best(scores: NDArray[Any], threshold: float) -> tuple[Int64, Float32, Int64]:
    """The anchors whose best class reaches the threshold.

    Args:
        scores: `(N, C)`.
        threshold: see `Decoder.__call__`.

    Returns:
        Rows `(K,)`, their scores `(K,)` and classes `(K,)`.
    """
    top = scores.max(axis=1)
    rows = np.flatnonzero(top >= threshold)
    return rows, top[rows].astype(np.float32), scores[rows].argmax(axis=1)


def sigmoid(x: NDArray[Any]) -> Float32:
    """The logistic function, without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * np.asarray(x, np.float32))), np.float32)


def softmax(x: NDArray[Any]) -> Float32:
    """Along the last axis."""
    raised = np.exp(np.asarray(x, np.float32) - x.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True), np.float32)


def logit(threshold: float) -> float:
    """The number whose sigmoid is the threshold, so that raw scores can be compared before they are converted."""
    if threshold <= 0:
        return -np.inf
    return np.inf if threshold >= 1 else float(np.log(threshold / (1 - threshold)))


def corners(centres: NDArray[Any], sizes: NDArray[Any]) -> Float32:
    """Centre and size, `(K, 2)` each, to xyxy `(K, 4)`."""
    half = sizes / 2
    return np.concatenate([centres - half, centres + half], axis=-1).astype(np.float32)


def within_unit(values: NDArray[Any]) -> bool:
    """Whether all are in 0..1, as probabilities are and raw scores are not."""
    return bool(values.size and values.min() >= 0 and values.max() <= 1)


PARTS_AT_MOST = 1.5
"""The largest coordinate of boxes that are parts of the input, in sides of it; boxes in pixels of any use go beyond."""
BEYOND = 0.1
"""How far a sensible box may lie over the border of the input, in sides of it."""
MOST_ARE = 0.95
"""Share of rows that must be sensible boxes under a reading of their columns for that reading to be possible."""


def are_normalised(boxes: NDArray[Any]) -> bool | None:
    """Whether boxes `(..., 4)` are parts of the input rather than pixels; None where there are none to tell by."""
    finite = boxes[np.isfinite(boxes).all(axis=-1)]
    if not finite.any():
        return None
    return bool(np.abs(finite).max() <= PARTS_AT_MOST)


def to_pixels(boxes: NDArray[Any], size: Size, *, parts: bool | None) -> Float32:
    """Boxes `(K, 4)` in pixels of the input; where nobody knows whether they are parts of it, they tell themselves."""
    scaled = are_normalised(boxes) if parts is None else parts
    factor = np.array([size[1], size[0]] * 2, np.float32) if scaled else np.float32(1)
    return np.asarray(boxes * factor, np.float32)


def sensible_corners(boxes: NDArray[Any]) -> bool:
    """Whether rows `(..., 4)` can be xyxy: nearly all are in order."""
    rows = _filled(boxes)
    return _most((rows[:, 2:] >= rows[:, :2]).all(axis=1))


def sensible_centres(boxes: NDArray[Any], size: Size) -> bool:
    """Whether rows `(..., 4)` can be centre and size: nearly all centres lie in the input, no size is below 0."""
    rows = _filled(boxes)
    sides = _sides(rows, size)
    middle = rows[:, :2] / sides
    return _most(((rows[:, 2:] >= 0) & (middle >= -BEYOND) & (middle <= 1 + BEYOND)).all(axis=1))


def inside_as_centres(boxes: NDArray[Any], size: Size) -> bool:
    """Whether nearly all rows `(..., 4)` lie in the input if they are centre and size; few xyxy rows would."""
    rows = _filled(boxes)
    sides = _sides(rows, size)
    low, high = (rows[:, :2] + part * rows[:, 2:] / 2 for part in (-1, 1))
    return _most(((low / sides >= -BEYOND) & (high / sides <= 1 + BEYOND)).all(axis=1))


def _filled(boxes: NDArray[Any]) -> NDArray[np.float64]:
    """The rows that are not all zero."""
    rows = boxes.reshape(-1, 4).astype(np.float64)
    return rows[rows.any(axis=1)]


def _sides(rows: NDArray[np.float64], size: Size) -> NDArray[np.float64]:
    """Width and height of the input in the rows' unit."""
    return np.array([1.0, 1.0] if are_normalised(rows) else [size[1], size[0]])


def _most(good: Any) -> bool:
    """Whether a rule holds for nearly all rows `(N,)`."""
    return bool(np.mean(good) >= MOST_ARE) if len(good) else True


def whole(values: NDArray[Any]) -> bool:
    """Whether all are whole numbers, as classes are."""
    return bool((values == np.round(values)).all())

"""NanoDet and NanoDet-Plus: box sides as distributions over distances (Li et al., "Generalized Focal Loss", 2020)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from alstm_ros.detection.decoders.layout import (
    STRIDES,
    WITH_64,
    Outputs,
    Proposals,
    Sample,
    Size,
    best,
    counts,
    grid,
    listed,
    logit,
    sigmoid,
    softmax,
    strides_of,
    within_unit,
)
from alstm_ros.detection.preprocess import Preprocess
from alstm_ros.types import Float32

BINS = 8
"""Distances a side may have, 0 to 7 strides; the mean over them is taken."""
SIDES = 4 * BINS


class _Distances:
    """What both releases share once scores and bins lie in rows."""

    centre: ClassVar[float]
    """Where in its cell a point lies from which the sides are measured, in cells."""
    preprocess: ClassVar[Preprocess] = Preprocess("bgr", "centre", 0, "imagenet")
    single: bool = False

    def __init__(self, classes: int, strides: tuple[int, ...], *, raw: bool) -> None:
        self.classes, self.strides, self.raw = classes, strides, raw

    def read(self, scores: NDArray[Any], bins: NDArray[Any], size: Size, threshold: float) -> Proposals:
        """Scores `(N, C)`, bins `(N, 32)`."""
        rows, top, classes = best(scores, logit(threshold) if self.raw else threshold)
        return Proposals(self.boxes(bins[rows], grid(size, self.strides)[rows]), self._scores(top), classes)

    def _scores(self, top: Float32) -> Float32:
        return sigmoid(top) if self.raw else top

    def boxes(self, bins: NDArray[Any], cells: Float32) -> Float32:
        """Bins `(K, 32)` of cells `(K, 3)` to xyxy `(K, 4)`."""
        sides = softmax(bins.reshape(-1, 4, BINS)) @ np.arange(
            BINS, dtype=np.float32
        )  # (K, 4): left, top, right, bottom
        sides *= cells[:, 2:]
        points = (cells[:, :2] + np.float32(self.centre)) * cells[:, 2:]
        return np.concatenate([points - sides[:, :2], points + sides[:, 2:]], axis=1)


class NanodetDecoder(_Distances):
    """A pair of outputs for each stride."""

    expects: ClassVar[str] = (
        "for each of the strides 8, 16, 32 an output ?xNxC of class scores and one ?xNx32 of box sides, 4 of 8 bins"
    )
    centre: ClassVar[float] = 0.5

    @classmethod
    def evidence(cls, sample: Sample) -> str:
        """The pairs of the strides."""
        pairs = cls._pairs(sample)
        return f"a pair of scores and {SIDES} box bins for each of the strides 8, 16, 32" if pairs else ""

    @staticmethod
    def _pairs(sample: Sample) -> list[tuple[str, str]] | None:
        """Names of the scores and the sides of each stride."""
        cells = counts(sample.size)
        shapes = {name: spec.shape for name, spec in sample.outputs.items()}
        if len(shapes) != 2 * len(cells) or any(len(shape) != 3 for shape in shapes.values()):
            return None
        pairs = []
        for count in cells:
            names = [name for name, shape in shapes.items() if shape[1] == count]
            if len(names) != 2:
                return None
            if shapes[names[1]][2] != SIDES:
                names.reverse()
            if shapes[names[1]][2] != SIDES:
                return None
            pairs.append((names[0], names[1]))
        return pairs

    def __init__(self, sample: Sample) -> None:
        self.names = self._pairs(sample) or []
        scores = [sample.values[name] for name, _ in self.names]
        raw = not all(map(within_unit, scores))
        super().__init__(int(scores[0].shape[2]), STRIDES, raw=raw)

    def __call__(self, outputs: Outputs, size: Size, threshold: float, /) -> list[Proposals]:
        """Strides one below the other."""
        scores, bins = (np.concatenate([outputs[pair[i]] for pair in self.names], axis=1) for i in (0, 1))
        return [self.read(s, b, size, threshold) for s, b in zip(scores, bins, strict=True)]


class NanodetPlusDecoder(_Distances):
    """One output for all strides."""

    expects: ClassVar[str] = (
        "one output ?xNx(C+32), a row for each cell of strides 8, 16, 32, 64: C class scores or logits, box sides as "
        "4 of 8 bins"
    )
    centre: ClassVar[float] = 0.0

    @classmethod
    def evidence(cls, sample: Sample) -> str:
        """A row for each cell of four strides, or three, whose last columns are no probabilities."""
        shape = sample.first()
        if len(shape) != 3 or len(sample.outputs) != 1 or not shape[2] or shape[2] <= SIDES:
            return ""
        strides = cls._strides(sample)
        if not strides or (not sample.named and sample.values and within_unit(sample.value()[..., -SIDES:])):
            return ""
        return f"{shape[1]} rows, as many as there are cells of strides {listed(strides)}, and raw box bins"

    @staticmethod
    def _strides(sample: Sample) -> tuple[int, ...]:
        return strides_of(sample.first()[1], sample.size, (STRIDES, WITH_64))

    def __init__(self, sample: Sample) -> None:
        shape = sample.first()
        classes = (shape[2] or SIDES) - SIDES
        raw = not within_unit(sample.value()[..., :classes])
        super().__init__(classes, self._strides(sample), raw=raw)

    def __call__(self, outputs: Outputs, size: Size, threshold: float, /) -> list[Proposals]:
        """Rows that reach the threshold."""
        rows = next(iter(outputs.values()))
        return [self.read(row[:, : self.classes], row[:, self.classes :], size, threshold) for row in rows]

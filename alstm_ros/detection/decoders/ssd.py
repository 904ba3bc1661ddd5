"""SSD (Liu et al., 2016) in torchvision's layout: the heads' raw outputs."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from alstm_ros.detection.decoders.layout import ByNames, Outputs, Proposals, Sample, Size, best, corners, softmax
from alstm_ros.detection.decoders.priors import priors
from alstm_ros.detection.preprocess import Preprocess
from alstm_ros.types import Float32

MOVES = 10.0
"""Weight of the encoding of centres: they are in tenths of the anchor's size."""
GROWTHS = 5.0
"""Weight of the encoding of sizes: their logarithms are in fifths."""
MOST_GROWTH = float(np.log(1000 / 16))
"""Logarithm of the most that a box may be larger than its anchor, as torchvision has it."""


class SsdDecoder(ByNames):
    """Box encodings and logits of every anchor, the first class meaning background."""

    expects: ClassVar[str] = (
        "two outputs ?xNx4 (encodings) and ?xNx(1+C) (logits, background first), and the anchors (Nx4 or ?xNx4, xyxy "
        "in pixels of the input) as a third; without a third N must be that of torchvision's ssdlite320 (3234 at "
        "320x320) or ssd300 (8732 at 300x300)"
    )
    preprocess: ClassVar[Preprocess] = Preprocess("rgb", "stretch", 0, "signed")

    @staticmethod
    def names(sample: Sample) -> tuple[str, str, str] | None:
        """Names of encodings, logits and anchors; the last may be empty."""
        shapes = {name: spec.shape for name, spec in sample.outputs.items()}
        if len(shapes) not in {2, 3} or any("pred_" in name for name in shapes):
            return None
        fours = [name for name, shape in shapes.items() if len(shape) in {2, 3} and shape[-1] == 4]
        named = [name for name in fours if any(word in name.lower() for word in ("anchor", "prior", "default"))]
        anchors = named or [name for name in fours if len(shapes[name]) == 2]
        fours = [name for name in fours if name not in anchors and len(shapes[name]) == 3]
        others = [name for name in shapes if name not in fours and name not in anchors and len(shapes[name]) == 3]
        if len(fours) == 2 and not others:  # three classes and background are four columns too
            others = [fours.pop(0 if any(word in fours[0].lower() for word in ("cls", "logit", "conf")) else 1)]
        if (len(fours), len(others), len(anchors)) != (1, 1, len(shapes) - 2):
            return None
        rows = shapes[fours[0]][1]
        if rows != shapes[others[0]][1] or (anchors and shapes[anchors[0]][-2] != rows):
            return None
        if not anchors and (rows is None or priors(sample.size, rows) is None):
            return None
        return fours[0], others[0], anchors[0] if anchors else ""

    def __init__(self, sample: Sample) -> None:
        super().__init__(sample)
        self.encodings, self.logits, self.anchors = self.parts
        shape = sample.outputs[self.logits].shape
        self.count, self.classes = shape[1] or 0, (shape[2] or 1) - 1

    def boxes_of_anchors(self, outputs: Outputs, size: Size) -> Float32:
        """The anchors, `(N, 4)` xyxy in pixels."""
        if self.anchors:
            return np.asarray(outputs[self.anchors], np.float32).reshape(-1, 4)[: outputs[self.logits].shape[1]]
        known = priors(size, outputs[self.logits].shape[1])
        return np.zeros((0, 4), np.float32) if known is None else known

    def __call__(self, outputs: Outputs, size: Size, threshold: float, /) -> list[Proposals]:
        """Reads a batch; every image has the same anchors."""
        anchors = self.boxes_of_anchors(outputs, size)
        shape = (len(outputs[self.logits]), *anchors.shape)
        return super().__call__({**outputs, self.parts[2]: np.broadcast_to(anchors, shape)}, size, threshold)

    def read(self, image: tuple[NDArray[Any], ...], _size: Size, threshold: float, /) -> Proposals:
        """Anchors that reach the threshold."""
        encodings, logits, anchors = image
        rows, top, classes = best(softmax(logits)[:, 1:], threshold)
        code, placed = encodings[rows].astype(np.float32), anchors[rows]
        sides = placed[:, 2:] - placed[:, :2]
        centres = placed[:, :2] + sides / 2 + code[:, :2] / MOVES * sides
        sizes = sides * np.exp(np.minimum(code[:, 2:] / GROWTHS, MOST_GROWTH))
        return Proposals(corners(centres, sizes), top, classes)

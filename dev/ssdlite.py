"""SSDLite on MobileNetV2 as an ONNX graph: uint8 images in, the best boxes with scores, classes and features out.

The network is that of Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (CVPR 2018), section
6.2, with the anchors of Liu et al., "SSD: Single Shot MultiBox Detector" (ECCV 2016), as TensorFlow's object detection
library trained it at 300x300. It runs at any larger size: see `Definition.anchors`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from onnx_graph import GraphWriter

Array = NDArray[np.float32]
Fold = Callable[[str], tuple[Array, Array]]
"""Name of a convolution to its weight `(out, in / groups, k, k)` and bias `(out,)`, batch normalisation folded in."""

TRAINED_SIZE = 300
CANDIDATES = 512
"""Boxes that leave the graph for each image."""

# Expansion, output channels, repeats and first stride of each group of blocks: the paper's table 2.
BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
# The layers after the backbone: name of the 1x1 convolution, name of the 3x3 that halves the map.
EXTRAS = tuple(
    (f"layer_19_1_Conv2d_{i}_1x1_{narrow}", f"layer_19_2_Conv2d_{i}_3x3_s2_{wide}")
    for i, narrow, wide in ((2, 256, 512), (3, 128, 256))
)
# The block whose output tells people apart best: colour and texture are still there, at a stride of 8 pixels.
APPEARANCE_BLOCK, APPEARANCE_CHANNELS, APPEARANCE_STRIDE = 3, 32, 8
# Where it is read in a box, as parts of its width and height: the middle, four samples across, four down each half.
ACROSS = 0.25 + 0.5 * (np.arange(4) + 0.5) / 4
DOWN = 0.12 + 0.76 * (np.arange(8) + 0.5) / 8
# The finest scale is what block 13 expands its input to, before it halves it.
FIRST_SCALE_BLOCK, FIRST_STRIDE = 13, 16
# Cells along a side of each scale at 300x300. Two more scales follow in the original, of 2 and 1 cells: all that these
# saw in training is the image's border, and on a larger input they report people where there are none.
TRAINED_CELLS = (19, 10, 5, 3)


def trained_anchors() -> list[Array]:
    """Width and height in pixels of each scale's anchors: arrays `(A, 2)`, in the order of the network's outputs.

    Sizes 0.2 to 0.95 of 300 pixels over six scales, aspect ratios 1, 2, 1/2, 3, 1/3, and one of a size between this
    scale and the next; the first scale has only one of half its size and two of the ratios.
    """
    scales = [0.2 + 0.15 * i for i in range(6)] + [1.0]
    levels = []
    for i, scale in enumerate(scales[: len(TRAINED_CELLS)]):
        pairs = [(scale, ratio) for ratio in (1.0, 2.0, 0.5, 3.0, 0.3333)] + [(np.sqrt(scale * scales[i + 1]), 1.0)]
        if i == 0:
            pairs = [(0.1, 1.0), (scale, 2.0), (scale, 0.5)]
        sides = [(size * np.sqrt(ratio), size / np.sqrt(ratio)) for size, ratio in pairs]
        levels.append(np.array(sides, np.float32) * TRAINED_SIZE)
    return levels


class Definition(GraphWriter):
    """Writes the network."""

    def __init__(self, fold: Fold) -> None:
        """Starts an empty graph.

        Args:
            fold: where the constants come from.
        """
        super().__init__()
        self._fold = fold

    def conv(self, x: str, name: str, *, stride: int = 1, pad: tuple[int, int] = (0, 0), relu6: bool = True) -> str:
        """A convolution with folded batch normalisation, then ReLU6 where wanted.

        Args:
            x: name of its input.
            name: name of its constants.
            stride: of both axes.
            pad: rows above and below, and columns left and right.
            relu6: whether ReLU6 follows.
        """
        weight, bias = self._fold(name)
        groups = weight.shape[0] if weight.shape[1] == 1 else 1
        weights, biases = self.const(weight, f"{name}/weight"), self.const(bias, f"{name}/bias")
        pads = [pad[0], pad[0], pad[1], pad[1]]
        shape: dict[str, Any] = {
            "kernel_shape": weight.shape[2:],
            "strides": [stride] * 2,
            "pads": pads,
            "group": groups,
        }
        x = self.op("Conv", x, weights, biases, name=name, **shape)
        return self.op("Clip", x, self.const(0.0), self.const(6.0), name=f"{name}/relu6") if relu6 else x

    def preprocess(self, images: str) -> str:
        """`(B, H, W, 3)` uint8 to `(B, 3, H, W)` float32 around zero; the first weights hold scale and colour order."""
        x = self.op("Transpose", images, perm=[0, 3, 1, 2])
        x = self.op("Cast", x, to=TensorProto.FLOAT)
        return self.op("Sub", x, self.const(float(np.float32(1) / np.float32(0.00784314))))

    def maps(self, x: str) -> tuple[list[str], str]:
        """The network's body.

        Returns:
            The maps that boxes are predicted from, finest first, each of ceil(size / stride) cells along a side, and
            the map that appearance is read from.
        """
        padding = Padding()
        x = self.conv(x, "FeatureExtractor/MobilenetV2/Conv", stride=2, pad=padding.next())
        maps, index, channels, look = [], 0, 32, ""
        for expansion, wide, repeats, first_stride in BLOCKS:
            for repeat in range(repeats):
                stride = first_stride if repeat == 0 else 1
                name = "FeatureExtractor/MobilenetV2/expanded_conv" + (f"_{index}" if index else "")
                inner = self.conv(x, f"{name}/expand") if expansion > 1 else x
                if index == FIRST_SCALE_BLOCK:
                    maps.append(inner)
                inner = self.conv(
                    inner, f"{name}/depthwise", stride=stride, pad=padding.next() if stride == 2 else (1, 1)
                )
                inner = self.conv(inner, f"{name}/project", relu6=False)
                x = self.op("Add", inner, x, name=f"{name}/add") if stride == 1 and channels == wide else inner
                if index == APPEARANCE_BLOCK:
                    look = x
                index, channels = index + 1, wide
        x = self.conv(x, "FeatureExtractor/MobilenetV2/Conv_1")
        maps.append(x)
        for narrow, halve in EXTRAS:
            x = self.conv(x, f"FeatureExtractor/MobilenetV2/{narrow}")
            x = self.conv(x, f"FeatureExtractor/MobilenetV2/{halve}_depthwise", stride=2, pad=padding.next())
            x = self.conv(x, f"FeatureExtractor/MobilenetV2/{halve}")
            maps.append(x)
        return maps, look

    def head(self, x: str, level: int, kind: str, width: int) -> str:
        """What one scale predicts for its anchors: `(B, h * w * A, width)`."""
        name = f"BoxPredictor_{level}/{kind}"
        x = self.conv(x, f"{name}_depthwise", pad=(1, 1))
        x = self.conv(x, name, relu6=False)  # (B, A * width, h, w)
        x = self.op("Transpose", x, perm=[0, 2, 3, 1])
        return self.op("Reshape", x, self.const([0, -1, width]))

    def anchors(self, maps: Sequence[str]) -> str:
        """The anchors of every scale for the size of the images: `(N, 4)`, centre and size in pixels.

        Sizes are those of 300x300, in pixels. There the anchors of a row lie 300 / n pixels apart, centred in the
        image, although the fields of view of its n cells lie a full stride apart. On longer rows the anchors lie a
        stride apart, and seen from their cells where they lay on average in training:

            centre(i) = 300 / 2 + stride * (n - n300) / 2 + (i - (n - 1) / 2) * (300 / n if n == n300 else stride)
        """
        return self.op("Concat", *(self._grid(x, level) for level, x in enumerate(maps)), axis=0, name="anchors")

    def _grid(self, x: str, level: int) -> str:
        shape = self.op("Shape", x)
        stride, trained = float(FIRST_STRIDE << level), TRAINED_CELLS[level]
        axes = []
        for axis in (2, 3):
            cells = self.op("Gather", shape, self.const(axis))
            count = self.op("Cast", cells, to=TensorProto.FLOAT)
            steps = self.op("Range", self.const(0), cells, self.const(1))
            steps = self.op("Cast", steps, to=TensorProto.FLOAT)
            half = self.op("Mul", self.op("Sub", count, self.const(1.0)), self.const(0.5))
            as_trained = self.op("Equal", cells, self.const(trained))
            pitch = self.op("Where", as_trained, self.const(TRAINED_SIZE / trained), self.const(stride))
            offsets = self.op("Mul", self.op("Sub", steps, half), pitch)
            grown = self.op("Mul", self.op("Sub", count, self.const(float(trained))), self.const(stride / 2))
            middle = self.op("Add", grown, self.const(TRAINED_SIZE / 2))
            axes.append(self.op("Add", offsets, middle))
        sizes = trained_anchors()[level]
        ys = self.op("Reshape", axes[0], self.const([-1, 1, 1, 1]))
        xs = self.op("Reshape", axes[1], self.const([1, -1, 1, 1]))
        full = self.op("Concat", *(self.op("Shape", y) for y in axes), self.const([len(sizes), 1]), axis=0)
        parts = [self.op("Expand", part, full) for part in (xs, ys)]  # (h, w, A, 1)
        pair = self.op("Slice", full, self.const([0]), self.const([3]))
        tall = self.op("Concat", pair, self.const([2]), axis=0)
        parts.append(self.op("Expand", self.const(sizes, f"anchor_sizes_{level}"), tall))  # (h, w, A, 2)
        return self.op("Reshape", self.op("Concat", *parts, axis=3), self.const([-1, 4]))

    def candidates(self, scores: str, encodings: str, anchors: str) -> tuple[str, str, str]:
        """The best boxes of each image.

        Args:
            scores: `(B, N, C)`, a score for each class.
            encodings: `(B, N, 4)`, dy, dx, log h, log w, in units of the anchor's size over 10, 10, 5, 5.
            anchors: `(N, 4)`, centre and size.

        Returns:
            Names of three tensors: `(B, K, 4)` xyxy in pixels of the input, `(B, K)` scores, `(B, K)` class indices.
        """
        best = self.op("ReduceMax", scores, axes=[2], keepdims=0)  # (B, N)
        top = self.op("TopK", best, self.const([CANDIDATES]), axis=1, outputs=2, name="scores")  # (B, K)
        rows = f"{top}_1"
        kinds = self.op("ArgMax", scores, axis=2, keepdims=0)  # (B, N)
        classes = self.op("GatherElements", kinds, rows, axis=1, name="classes")  # (B, K)
        column = self.op("Unsqueeze", rows, self.const([2]))  # (B, K, 1)
        chosen = self.op("GatherND", encodings, column, batch_dims=1)  # (B, K, 4)
        placed = self.op("Gather", anchors, rows, axis=0)  # (B, K, 4)
        centres, sizes = (self._columns(placed, begin, begin + 2) for begin in (0, 2))
        moves, growths = (self._columns(chosen, begin, begin - 2) for begin in (1, 3))  # (x, y) of (y, x)
        centres = self.op("Add", centres, self.op("Mul", self.op("Mul", moves, self.const(0.1)), sizes))
        growths = self.op("Exp", self.op("Mul", growths, self.const(0.2)))
        halves = self.op("Mul", self.op("Mul", growths, sizes), self.const(0.5))
        corners = [self.op(kind, centres, halves) for kind in ("Sub", "Add")]
        return self.op("Concat", *corners, axis=2, name="boxes"), top, classes

    def appearance(self, look: str, boxes: str) -> str:
        """What each box's content looks like: the mean of a shallow map over its upper and its lower half.

        Each channel is taken relative to its mean and spread over the whole image, so that light and camera cancel out.

        Args:
            look: `(B, C, h, w)`, the map.
            boxes: `(B, K, 4)` xyxy in pixels of the images.

        Returns:
            Name of `(B, K, 2C)`, each vector of length 1.
        """
        mean = self.op("ReduceMean", look, axes=[2, 3])
        moved = self.op("Sub", look, mean)
        power = self.op("ReduceMean", self.op("Mul", moved, moved), axes=[2, 3])
        even = self.op("Div", moved, self.op("Sqrt", self.op("Add", power, self.const(1e-6))))
        cells = self.op("Transpose", even, perm=[0, 2, 3, 1])  # (B, h, w, C)
        shape = self.op("Shape", look)
        columns, rows = (self.op("Slice", shape, self.const([i]), self.const([i + 1])) for i in (3, 2))
        flat = self.op("Reshape", cells, self.const([0, -1, APPEARANCE_CHANNELS]))  # (B, h * w, C)
        low, high = self._columns(boxes, 0, 2), self._columns(boxes, 2, 4)
        size = self.op("Sub", high, low)
        places = []
        for axis, parts, count in ((0, ACROSS, columns), (1, DOWN, rows)):
            start, side = (self._columns(x, axis, axis + 1) for x in (low, size))  # (B, K, 1)
            pixels = self.op("Add", start, self.op("Mul", side, self.const(parts.astype(np.float32))))  # (B, K, P)
            cell = self.op("Cast", self.op("Mul", pixels, self.const(1 / APPEARANCE_STRIDE)), to=TensorProto.INT64)
            last = self.op("Sub", count, self.const([1]))
            places.append(self.op("Min", self.op("Max", cell, self.const([0])), last))
        lines = self.op("Unsqueeze", self.op("Mul", places[1], columns), self.const([3]))  # (B, K, 8, 1)
        index = self.op("Add", lines, self.op("Unsqueeze", places[0], self.const([2])))  # (B, K, 8, 4)
        index = self.op("Reshape", index, self.const([0, -1, 1]))
        samples = self.op("GatherND", flat, index, batch_dims=1)  # (B, K * 32, C)
        halves = self.op(
            "Reshape", samples, self.const([0, CANDIDATES, 2, len(ACROSS) * len(DOWN) // 2, APPEARANCE_CHANNELS])
        )
        means = self.op("ReduceMean", halves, axes=[3], keepdims=0)  # (B, K, 2, C)
        vectors = self.op("Reshape", means, self.const([0, 0, -1]))
        return self.op("LpNormalization", vectors, axis=2, p=2, name="features")

    def _columns(self, x: str, begin: int, end: int) -> str:
        """Columns of a `(B, K, 4)` tensor; backwards where the end lies before the beginning."""
        step = 1 if end > begin else -1
        stop = end if end >= 0 else -5  # one before the first
        return self.op("Slice", x, self.const([begin]), self.const([stop]), self.const([2]), self.const([step]))


class Padding:
    """Rows and columns added before each halving 3x3 convolution in turn.

    TensorFlow's SAME pads an odd map on both sides and an even one at its end alone, so the maps would shift against
    the image as its size changes. Here the side before is padded as it was at 300x300, whatever the size, and the side
    after so that no row is lost; at 300x300 that is SAME to the last pixel.
    """

    def __init__(self) -> None:
        self._size = TRAINED_SIZE

    def next(self) -> tuple[int, int]:
        """Padding before and after of the next halving."""
        before = self._size % 2
        self._size = (self._size + 1) // 2
        return before, 2 - before

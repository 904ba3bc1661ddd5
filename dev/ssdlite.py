"""SSDLite on MobileNetV2 as an ONNX graph: uint8 images in, the best boxes with scores and classes out.

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
# The four layers after the backbone: name of the 1x1 convolution, name of the 3x3 that halves the map.
EXTRAS = tuple(
    (f"layer_19_1_Conv2d_{i}_1x1_{narrow}", f"layer_19_2_Conv2d_{i}_3x3_s2_{wide}")
    for i, narrow, wide in ((2, 256, 512), (3, 128, 256), (4, 128, 256), (5, 64, 128))
)
FIRST_STRIDE = 16
# Cells along a side of each scale at 300x300.
TRAINED_CELLS = (19, 10, 5, 3, 2, 1)


def trained_anchors() -> list[Array]:
    """Width and height in pixels of each scale's anchors: six arrays `(A, 2)`, in the order of the network's outputs.

    Scales 0.2 to 0.95 of 300 pixels, aspect ratios 1, 2, 1/2, 3, 1/3 and one box of the next scale between; the first
    scale has only one of half its size and two of the ratios.
    """
    scales = [0.2 + 0.15 * i for i in range(6)] + [1.0]
    levels = []
    for i, scale in enumerate(scales[:6]):
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

    def features(self, x: str) -> list[str]:
        """The six maps that boxes are predicted from, finest first.

        A strided convolution's padding is that of TensorFlow's SAME at 300x300 and stays so at every size. SAME itself
        would pad by the parity of each map's size, and so shift the maps against the image as the size changes.
        """
        padding = Padding()
        x = self.conv(x, "FeatureExtractor/MobilenetV2/Conv", stride=2, pad=padding.next())
        maps, index, channels = [], 0, 32
        for expansion, wide, repeats, first_stride in BLOCKS:
            for repeat in range(repeats):
                stride = first_stride if repeat == 0 else 1
                name = "FeatureExtractor/MobilenetV2/expanded_conv" + (f"_{index}" if index else "")
                inner = self.conv(x, f"{name}/expand") if expansion > 1 else x
                if index == 13:
                    maps.append(inner)
                inner = self.conv(
                    inner, f"{name}/depthwise", stride=stride, pad=padding.next() if stride == 2 else (1, 1)
                )
                inner = self.conv(inner, f"{name}/project", relu6=False)
                x = self.op("Add", inner, x, name=f"{name}/add") if stride == 1 and channels == wide else inner
                index, channels = index + 1, wide
        x = self.conv(x, "FeatureExtractor/MobilenetV2/Conv_1")
        maps.append(x)
        for narrow, halve in EXTRAS:
            x = self.conv(x, f"FeatureExtractor/MobilenetV2/{narrow}")
            x = self.conv(x, f"FeatureExtractor/MobilenetV2/{halve}_depthwise", stride=2, pad=padding.next())
            x = self.conv(x, f"FeatureExtractor/MobilenetV2/{halve}")
            maps.append(x)
        return maps

    def head(self, x: str, level: int, kind: str, width: int) -> str:
        """What one scale predicts for its anchors: `(B, h * w * A, width)`."""
        name = f"BoxPredictor_{level}/{kind}"
        x = self.conv(x, f"{name}_depthwise", pad=(1, 1))
        x = self.conv(x, name, relu6=False)  # (B, A * width, h, w)
        return self.flat(x, width)

    def flat(self, x: str, width: int) -> str:
        """`(B, A * width, h, w)` to `(B, h * w * A, width)`."""
        x = self.op("Transpose", x, perm=[0, 2, 3, 1])
        return self.op("Reshape", x, self.const([0, -1, width]))

    def anchors(self, maps: Sequence[str], images: str) -> str:
        """The anchors of every scale for the size of the images: `(N, 4)`, centre and size in pixels.

        Sizes are those of 300x300, in pixels. There a cell lies H / n pixels from the next (n cells in a row), the row
        centred in the image, although the cells' fields of view lie a full stride apart. This keeps both: it is the
        trained grid at 300x300, and where H is a multiple of the stride the anchors lie a stride apart and, seen from
        their cells, where they lay on average in training:

            centre(i) = 300 / 2 + stride * (n - n300) / 2 + (i - (n - 1) / 2) * H / n
        """
        shape = self.op("Cast", self.op("Shape", images), to=TensorProto.FLOAT)
        sides = [self.op("Gather", shape, self.const(axis)) for axis in (1, 2)]
        return self.op("Concat", *(self._grid(x, level, sides) for level, x in enumerate(maps)), axis=0)

    def _grid(self, x: str, level: int, sides: Sequence[str]) -> str:
        shape = self.op("Shape", x)
        axes = []
        for axis, side in zip((2, 3), sides, strict=True):
            cells = self.op("Gather", shape, self.const(axis))
            count = self.op("Cast", cells, to=TensorProto.FLOAT)
            steps = self.op("Range", self.const(0), cells, self.const(1))
            steps = self.op("Cast", steps, to=TensorProto.FLOAT)
            half = self.op("Mul", self.op("Sub", count, self.const(1.0)), self.const(0.5))
            offsets = self.op("Mul", self.op("Sub", steps, half), self.op("Div", side, count))
            stride = float(FIRST_STRIDE << level)
            grown = self.op(
                "Mul", self.op("Sub", count, self.const(float(TRAINED_CELLS[level]))), self.const(stride / 2)
            )
            middle = self.op("Add", grown, self.const(TRAINED_SIZE / 2))
            axes.append(self.op("Add", offsets, middle))
        sizes = trained_anchors()[level]
        ys = self.op("Reshape", axes[0], self.const([-1, 1, 1, 1]))
        xs = self.op("Reshape", axes[1], self.const([1, -1, 1, 1]))
        full = self.op("Concat", *(self.op("Shape", y) for y in axes), self.const([len(sizes), 1]), axis=0)
        parts = [self.op("Expand", part, full) for part in (xs, ys)]  # (h, w, A, 1)
        pair = self.op("Slice", full, self.const([0]), self.const([3]))
        tall = self.op("Concat", pair, self.const([2]), axis=0)
        parts.append(self.op("Expand", self.const(sizes, f"anchors_{level}"), tall))  # (h, w, A, 2)
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

    def _columns(self, x: str, begin: int, end: int) -> str:
        """Columns of a `(B, K, 4)` tensor; backwards where the end lies before the beginning."""
        step = 1 if end > begin else -1
        stop = end if end >= 0 else -5  # one before the first
        return self.op("Slice", x, self.const([begin]), self.const([stop]), self.const([2]), self.const([step]))


class Padding:
    """Rows and columns that SAME adds to each halving 3x3 convolution in turn at 300x300."""

    def __init__(self) -> None:
        self._size = TRAINED_SIZE

    def next(self) -> tuple[int, int]:
        """Padding before and after of the next halving; an odd map is padded on both sides, an even one at its end."""
        odd = self._size % 2
        self._size = (self._size + 1) // 2
        return odd, 1

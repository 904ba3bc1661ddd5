"""Writes the detector as one self-describing ONNX file: uint8 images in, the best boxes of each image out.

The graph is written node by node, batch normalisation folded: what is scaled, decoded and chosen is named, so that the
FP16 variant can halve the convolutions alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto
from torch import nn

from alstm_ros.detection.exporting.features import AppearanceMap, write_appearance
from alstm_ros.errors import ConfigError
from alstm_ros.learning.detector.model import MIDDLE, STRIDES, TAPS, Block, Conv, DetectorNet
from alstm_ros.onnx_graph import GraphWriter, rename
from alstm_ros.types import Float32

SHALLOW = 3
"""The block whose output tells people apart best: colour and texture are still there."""
SHALLOW_MAP = (32, 8)
"""Channels of that output, and pixels of the image for each of its cells."""
CANDIDATES = 300
"""Boxes that leave the graph for each image."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What makes a logit mean a chance: `score = sigmoid(scale * logit + shift)`."""

    scale: float = 1.0
    shift: float = 0.0


class _Writer(GraphWriter):
    """The network's layers as nodes."""

    def conv(self, x: str, layer: nn.Conv2d, weight: Float32, bias: Float32, name: str) -> str:
        shape: dict[str, Any] = {
            "kernel_shape": list(weight.shape[2:]),
            "strides": [layer.stride[0]] * 2,
            "pads": [int(layer.padding[0])] * 4,
            "group": layer.groups,
        }
        weights, biases = self.const(weight, f"{name}.weight"), self.const(bias, f"{name}.bias")
        return self.op("Conv", x, weights, biases, name=name, **shape)

    def layer(self, x: str, layer: nn.Module, name: str) -> str:
        """A module of model.py that maps one tensor to one."""
        if isinstance(layer, nn.Identity):
            return x
        if isinstance(layer, Conv):
            y = self.conv(x, layer.conv, *folded(layer), name)
            return self.op("Clip", y, self.const(0.0), self.const(6.0), name=f"{name}.relu6") if layer.act else y
        if isinstance(layer, Block):
            y = x
            for part in ("expand", "depthwise", "project"):
                y = self.layer(y, getattr(layer, part), f"{name}.{part}")
            return self.op("Add", y, x, name=f"{name}.add") if layer.residual else y
        if isinstance(layer, nn.Sequential):
            for i, inner in enumerate(layer):
                x = self.layer(x, inner, f"{name}.{i}")
            return x
        raise TypeError(f"There is no way to write a {type(layer).__name__}.")

    def twice(self, x: str, name: str) -> str:
        """Every cell as four."""
        scales = self.const(np.array([1, 1, 2, 2], np.float32))
        how: dict[str, Any] = {
            "mode": "nearest",
            "coordinate_transformation_mode": "asymmetric",
            "nearest_mode": "floor",
        }
        return self.op("Resize", x, "", scales, name=name, **how)

    def cells(self, level: str, stride: int) -> str:
        """A map's cells as `(h * w, 3)`: centre in pixels and stride."""
        shape = self.op("Shape", level)
        axes = []
        for axis, view in ((3, [1, -1, 1]), (2, [-1, 1, 1])):
            count = self.op("Gather", shape, self.const(axis))
            steps = self.op("Cast", self.op("Range", self.const(0), count, self.const(1)), to=TensorProto.FLOAT)
            middle = self.op("Mul", self.op("Add", steps, self.const(0.5)), self.const(float(stride)))
            axes.append(self.op("Reshape", middle, self.const(view)))
        size = self.op("Slice", shape, self.const([2]), self.const([4]))
        full = self.op("Concat", size, self.const([1]), axis=0)
        parts = [self.op("Expand", part, full) for part in (*axes, self.const(np.array([[[stride]]], np.float32)))]
        return self.op("Reshape", self.op("Concat", *parts, axis=2), self.const([-1, 3]))


def folded(layer: Conv) -> tuple[Float32, Float32]:
    """Weight and bias of a convolution with the normalisation that follows it."""
    state = {name: value.double() for name, value in layer.state_dict().items()}
    weight = state["conv.weight"]
    if isinstance(layer.norm, nn.BatchNorm2d):
        scale = state["norm.weight"] / (state["norm.running_var"] + layer.norm.eps).sqrt()
        bias = state["norm.bias"] - state["norm.running_mean"] * scale
        weight = weight * scale[:, None, None, None]
    else:
        bias = state["conv.bias"]
    return weight.float().cpu().numpy(), bias.float().cpu().numpy()


def build(
    net: DetectorNet, offered: Sequence[str], metadata: Mapping[str, str], calibration: Calibration | None = None
) -> onnx.ModelProto:
    """The detector as an ONNX model.

    Args:
        net: trained.
        offered: the classes that the file offers, some of the network's.
        metadata: what the file says of itself beside what follows from the network.
        calibration: of the scores.

    Raises:
        ConfigError: a class is not the network's.
    """
    known = net.config.classes
    if unknown := [name for name in offered if name not in known]:
        raise ConfigError(f"'offered' names {', '.join(unknown)}; the network knows {', '.join(known)}.")
    columns, tune, g = [known.index(name) for name in offered], calibration or Calibration(), _Writer()
    x = g.op("Cast", g.op("Transpose", "images", perm=[0, 3, 1, 2]), to=TensorProto.FLOAT)
    x = g.layer(g.op("Sub", x, g.const(MIDDLE)), net.stem, "stem")
    taps, look = [], ""
    for i, block in enumerate(net.blocks):
        x = g.layer(x, block, f"blocks.{i}")
        look = x if i == SHALLOW else look
        if i in TAPS:
            taps.append(x)
    fine, middle, coarse = (g.layer(tap, net.lateral[i], f"lateral.{i}") for i, tap in enumerate(taps))
    middle = g.layer(g.op("Add", middle, g.twice(coarse, "coarse.twice")), net.down[0], "down.0")
    fine = g.layer(g.op("Add", fine, g.twice(middle, "middle.twice")), net.down[1], "down.1")
    middle = g.layer(g.op("Add", middle, g.layer(fine, net.halve[0], "halve.0")), net.up[0], "up.0")
    coarse = g.layer(g.op("Add", coarse, g.layer(middle, net.halve[1], "halve.1")), net.up[1], "up.1")
    said, cells = [], []
    for i, level in enumerate((fine, middle, coarse)):
        y = g.layer(level, net.tower[i], f"tower.{i}")
        score, sides = (head.state_dict() for head in (net.score[i], net.sides[i]))
        weight = torch.cat([tune.scale * score["weight"][columns], sides["weight"]])
        bias = torch.cat([tune.scale * score["bias"][columns] + tune.shift, sides["bias"]])
        y = g.conv(y, nn.Conv2d(1, 1, 1), weight.float().numpy(), bias.float().numpy(), f"head.{i}")
        y = g.op("Transpose", y, perm=[0, 2, 3, 1])
        said.append(g.op("Reshape", y, g.const([0, -1, len(offered) + 4])))  # (B, h * w, C + 4)
        cells.append(g.cells(level, STRIDES[i]))
    boxes, scores, classes = _candidates(g, g.op("Concat", *said, axis=1), g.op("Concat", *cells, axis=0), len(offered))
    vectors, width = write_appearance(g, AppearanceMap(look, *SHALLOW_MAP), boxes, CANDIDATES)
    rename(g.graph, vectors, "features")
    outputs: dict[str, tuple[int, Sequence[int | str]]] = {
        boxes: (TensorProto.FLOAT, ["batch", CANDIDATES, 4]),
        scores: (TensorProto.FLOAT, ["batch", CANDIDATES]),
        classes: (TensorProto.INT64, ["batch", CANDIDATES]),
        "features": (TensorProto.FLOAT, ["batch", CANDIDATES, width]),
    }
    images: dict[str, tuple[int, Sequence[int | str]]] = {
        "images": (TensorProto.UINT8, ["batch", "height", "width", 3])
    }
    layout = {"kind": "detector", "decoder": "candidates", "classes": "\n".join(offered), "multiple": "32"}
    layout |= {"minimum": "192", "color": "bgr", "preprocess": "letterbox"}
    return g.model("alstm_detector", images, outputs, dict(sorted((layout | dict(metadata)).items())))


def _candidates(g: _Writer, said: str, cells: str, count: int) -> tuple[str, str, str]:
    """The best cells of each image: names of boxes `(B, K, 4)`, scores `(B, K)` and classes `(B, K)`."""
    logits = g.op("Slice", said, g.const([0]), g.const([count]), g.const([2]))  # (B, N, C)
    sides = g.op("Slice", said, g.const([count]), g.const([count + 4]), g.const([2]))  # (B, N, 4)
    best = g.op("ReduceMax", logits, axes=[2], keepdims=0)  # (B, N)
    top = g.op("TopK", best, g.const([CANDIDATES]), axis=1, outputs=2, name="best")  # (B, K)
    rows = f"{top}_1"
    scores = g.op("Sigmoid", top, name="scores")
    column = g.op("Unsqueeze", rows, g.const([2]))  # (B, K, 1)
    chosen = g.op("GatherND", logits, column, batch_dims=1)  # (B, K, C)
    classes = g.op("ArgMax", chosen, axis=2, keepdims=0, name="classes")  # (B, K)
    reach = g.op("Softplus", g.op("GatherND", sides, column, batch_dims=1))  # (B, K, 4)
    placed = g.op("Gather", cells, rows, axis=0)  # (B, K, 3)
    centre = g.op("Slice", placed, g.const([0]), g.const([2]), g.const([2]))
    stride = g.op("Slice", placed, g.const([2]), g.const([3]), g.const([2]))
    reach = g.op("Mul", reach, stride)
    low = g.op("Slice", reach, g.const([0]), g.const([2]), g.const([2]))
    high = g.op("Slice", reach, g.const([2]), g.const([4]), g.const([2]))
    corners = [g.op("Sub", centre, low), g.op("Add", centre, high)]
    return g.op("Concat", *corners, axis=2, name="boxes"), scores, classes


def export(
    net: DetectorNet,
    path: Path,
    offered: Sequence[str],
    metadata: Mapping[str, str],
    calibration: Calibration | None = None,
) -> None:
    """Writes the ONNX file; a file of that name is replaced at once or not at all.

    Raises:
        ConfigError: a class is not the network's.
    """
    fresh = path.with_suffix(".part")
    with torch.no_grad():
        model = build(net, offered, metadata, calibration)
    fresh.write_bytes(model.SerializeToString(deterministic=True))
    fresh.replace(path)

"""What tells objects apart, found inside a detector that was made by somebody else.

Two places are known. *Appearance*: the last map of stride 4, where colour and texture are still there, averaged over
the upper and the lower half of each box; each channel is taken relative to its mean and spread over the image, so that
light and camera cancel out. *Cells*: the tensors that feed the last convolutions of each scale, at the anchor that made
the box; they say more of what a thing is than of which one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.onnx_ml_pb2 import GraphProto, NodeProto

from alstm_ros.detection.decoders.layout import Size
from alstm_ros.onnx_graph import GraphWriter

STRIDE = 4
"""Stride in pixels of the map that appearance is read from in third-party detectors."""
ACROSS = 0.25 + 0.5 * (np.arange(4, dtype=np.float32) + 0.5) / 4
"""Where appearance is read in a box, as parts of its width: four samples across the middle half."""
DOWN = 0.12 + 0.76 * (np.arange(8, dtype=np.float32) + 0.5) / 8
"""Where appearance is read in a box, as parts of its height: four samples down each half."""
WIDEST = 128
"""Longer vectors are projected to this length by a fixed random matrix, which keeps their angles nearly."""
SMALLEST_STRIDE = 8
"""Stride in pixels of the finest map whose cells propose boxes."""
LARGEST_STRIDE = 512
"""Stride in pixels of the coarsest map whose cells propose boxes."""

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class AppearanceMap:
    """A map inside a detector, in which colour and texture are still there.

    Attributes:
        tensor: its name; `(B, channels, h, w)`.
        channels: of it.
        stride: pixels of the input for each of its cells.
    """

    tensor: str
    channels: int
    stride: int


@dataclass(frozen=True, slots=True)
class Level:
    """The cells of one scale.

    Attributes:
        rows: of its map.
        columns: of its map.
        tensors: names of the maps that feed its last convolutions, `(B, C, rows, columns)` each.
        anchors: boxes that each cell proposes.
    """

    rows: int
    columns: int
    tensors: tuple[str, ...]
    anchors: int


def maps_inside(graph: GraphProto) -> list[str]:
    """Tensors whose shapes have to be known: what convolutions, poolings and products take and give."""
    wanted = [node for node in graph.node if node.op_type in {"Conv", "MaxPool", "AveragePool", "Gemm", "MatMul"}]
    names = [name for node in wanted for name in (node.input[0], node.output[0])]
    weights = {weight.name for weight in graph.initializer} | {value.name for value in graph.input}
    return [name for name in dict.fromkeys(names) if name not in weights]


def appearance_map(graph: GraphProto, shapes: Shapes, size: Size) -> str:
    """The last map of stride 4: what the first halving to stride 8 takes; empty where there is none."""
    four, eight = ((size[0] // stride, size[1] // stride) for stride in (STRIDE, 2 * STRIDE))
    for node in graph.node:
        taken, given = (shapes.get(name, ()) for name in (node.input[0] if node.input else "", node.output[0]))
        if len(taken) == len(given) == 4 and taken[2:] == four and given[2:] == eight:
            return str(node.input[0])
    return ""


def cell_levels(graph: GraphProto, outputs: Sequence[str], shapes: Shapes, size: Size, anchors: int) -> list[Level]:
    """Walks back from the outputs to the last convolutions of each scale.

    Args:
        graph: the model's.
        outputs: those that scores and boxes are read from.
        shapes: of tensors inside, at this size.
        size: height and width of the input.
        anchors: how many there are at this size.

    Returns:
        Finest scale first; empty where the scales found do not account for the anchors.
    """
    makers = {name: node for node in graph.node for name in node.output}
    found: dict[tuple[int, int], dict[str, None]] = {}
    for name in _feeding(makers, outputs, lambda node: _is_grid(shapes.get(node.input[0], ()), size)):
        found.setdefault((shapes[name][2], shapes[name][3]), {})[name] = None
    sides = sorted(found, key=lambda side: -side[0] * side[1])
    cells = [rows * columns for rows, columns in sides]
    per_cell = _anchors_per_cell(cells, anchors)
    return [
        Level(*side, tuple(sorted(found[side])), count) for side, count in zip(sides, per_cell, strict=False) if count
    ]


def row_tensor(graph: GraphProto, output: str, shapes: Shapes, anchors: int) -> str:
    """What the last product before an output takes where it has a row for each box, as DETR's queries; else empty."""
    makers = {name: node for node in graph.node for name in node.output}
    products = {"Gemm", "MatMul"}
    for name in _feeding(makers, [output], lambda node: node.op_type in products):
        shape = shapes.get(name, ())
        if len(shape) == 3 and shape[1] == anchors:
            return name
    return ""


def _feeding(makers: Mapping[str, NodeProto], outputs: Sequence[str], stops: Any) -> list[str]:
    """First inputs of the nodes at which a walk back from the outputs ends."""
    found: dict[str, None] = {}
    waiting, seen = list(outputs), set(outputs)
    while waiting:
        node = makers.get(waiting.pop())
        if node is None:
            continue
        if node.op_type in {"Conv", "Gemm", "MatMul"} and stops(node):
            found[node.input[0]] = None
            continue
        new = [name for name in node.input if name and name not in seen]
        seen.update(new)
        waiting.extend(new)
    return list(found)


def _is_grid(shape: tuple[int, ...], size: Size) -> bool:
    """Whether a map's cells are those of one stride from 8 on, of at least two channels."""
    if len(shape) != 4 or shape[1] < 2:
        return False
    strides = [-(-pixels // cells) for pixels, cells in zip(size, shape[2:], strict=True)]
    near = abs(np.log2(size[0] / shape[2]) - np.log2(size[1] / shape[3])) < 0.5
    return bool(near and all(SMALLEST_STRIDE - 2 <= stride <= LARGEST_STRIDE for stride in strides))


def _anchors_per_cell(cells: Sequence[int], anchors: int) -> list[int]:
    """How many anchors each scale's cells have: as many everywhere, or torchvision's 4 where 6 are too many."""
    total = sum(cells)
    if total and anchors % total == 0:
        return [anchors // total] * len(cells)
    vgg = [4, 6, 6, 6, 4, 4]
    if len(cells) == len(vgg) and sum(c * a for c, a in zip(cells, vgg, strict=True)) == anchors:
        return vgg
    return []


def write_appearance(w: GraphWriter, look: AppearanceMap, boxes: str, count: int) -> tuple[str, int]:
    """Writes what each box's content looks like, `(B, count, D)`, each vector of length 1.

    Each channel is taken relative to its mean and spread over the whole image, so that light and camera cancel out.

    Args:
        w: of the graph.
        look: where it is read.
        boxes: `(B, count, 4)` xyxy in pixels of the input.
        count: of boxes.

    Returns:
        Its name, and D.
    """
    x, channels = w.floats(look.tensor), look.channels
    moved = w.op("Sub", x, w.reduce("ReduceMean", x, [2, 3], keep=True))
    power = w.reduce("ReduceMean", w.op("Mul", moved, moved), [2, 3], keep=True)
    even = w.op("Div", moved, w.op("Sqrt", w.op("Add", power, w.const(1e-6))))
    flat = w.reshape(w.op("Transpose", even, perm=[0, 2, 3, 1]), [0, -1, channels])  # (B, h * w, C)
    shape = w.op("Shape", x)
    lines, rows = (w.columns(shape, axis, axis + 1, axis=0) for axis in (3, 2))  # cells in a row, in a column
    places = []
    for axis, parts, cells in ((0, ACROSS, lines), (1, DOWN, rows)):
        start = w.columns(boxes, axis, axis + 1)
        side = w.op("Sub", w.columns(boxes, axis + 2, axis + 3), start)
        pixels = w.op("Add", start, w.op("Mul", side, w.const(parts)))  # (B, K, P)
        cell = w.op("Cast", w.op("Mul", pixels, w.const(1 / look.stride)), to=TensorProto.INT64)
        places.append(w.op("Min", w.op("Max", cell, w.const([0])), w.op("Sub", cells, w.const([1]))))
    down = w.op("Unsqueeze", w.op("Mul", places[1], lines), w.const([3]))  # (B, K, 8, 1)
    index = w.op("Add", down, w.op("Unsqueeze", places[0], w.const([2])))  # (B, K, 8, 4)
    samples = w.rows(flat, w.reshape(index, [0, -1, 1]))  # (B, K * 32, C)
    halves = w.reshape(samples, [0, count, 2, len(ACROSS) * len(DOWN) // 2, channels])
    vectors = w.reshape(w.reduce("ReduceMean", halves, [3]), [0, 0, 2 * channels])
    return _finish(w, vectors, 2 * channels)


def write_cells(w: GraphWriter, levels: Sequence[Level], shapes: Shapes, index: str, *, tiled: bool) -> tuple[str, int]:
    """Writes the features of each kept anchor's cell, `(B, K, D)`, each vector of length 1.

    Args:
        w: of the graph.
        levels: finest first.
        shapes: of the maps.
        index: `(B, K, 1)`, the kept anchors.
        tiled: a scale's anchors stand kind by kind, each for all cells, not cell by cell.

    Returns:
        Its name, and D.
    """
    widths = [sum(shapes[name][1] for name in level.tensors) for level in levels]
    scales = []
    for level, width in zip(levels, widths, strict=True):
        maps = [w.floats(name) for name in level.tensors]
        joined = w.op("Concat", *maps, axis=1) if len(maps) > 1 else maps[0]
        rows = w.op("Transpose", w.reshape(joined, [0, width, -1]), perm=[0, 2, 1])  # (B, cells, C)
        scales.append(rows if len(set(widths)) == 1 else w.op("MatMul", rows, w.const(_projection(width, WIDEST))))
    cells = w.op("Concat", *scales, axis=1) if len(scales) > 1 else scales[0]
    if any(level.anchors > 1 for level in levels):
        index = w.op("Gather", w.const(_cell_of_anchor(levels, tiled=tiled)), index, axis=0)
    return _finish(w, w.rows(cells, index), widths[0] if len(set(widths)) == 1 else WIDEST)


def _cell_of_anchor(levels: Sequence[Level], *, tiled: bool) -> NDArray[np.int64]:
    """The cell that each anchor belongs to, counted over all scales: `(N,)`."""
    parts, first = [], 0
    for level in levels:
        cells = first + np.arange(level.rows * level.columns)
        parts.append(np.tile(cells, level.anchors) if tiled else np.repeat(cells, level.anchors))
        first += len(cells)
    return np.concatenate(parts)


def write_rows(w: GraphWriter, tensor: str, width: int, index: str) -> tuple[str, int]:
    """Writes the features of each kept row, `(B, K, D)`, each vector of length 1; returns their name and D."""
    return _finish(w, w.rows(w.floats(tensor), index), width)


def _finish(w: GraphWriter, vectors: str, width: int) -> tuple[str, int]:
    if width > WIDEST:
        vectors = w.op("MatMul", vectors, w.const(_projection(width, WIDEST)))
    return w.op("LpNormalization", vectors, axis=2, p=2), min(width, WIDEST)


def _projection(width: int, narrow: int) -> NDArray[np.float32]:
    """`(width, narrow)`, the same whenever the widths are."""
    draw = np.random.default_rng(width).standard_normal((width, narrow))
    return np.asarray(draw / np.sqrt(narrow), np.float32)

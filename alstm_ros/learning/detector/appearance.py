"""What each box's content looks like, as nodes of the detector's graph: a vector to tell objects in view apart by."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from alstm_ros.onnx_graph import GraphWriter

# The block whose output tells people apart best: colour and texture are still there, at a stride of 8 pixels.
SHALLOW, CHANNELS, STRIDE = 3, 32, 8
WIDTH = 2 * CHANNELS
"""Length of a vector."""
# Where it is read in a box, as parts of its width and height: the middle, four samples across, four down each half.
ACROSS = 0.25 + 0.5 * (np.arange(4) + 0.5) / 4
DOWN = 0.12 + 0.76 * (np.arange(8) + 0.5) / 8


def appearance(g: GraphWriter, look: str, boxes: str, count: int) -> str:
    """The mean of a shallow map over the upper and the lower half of each box.

    Each channel is taken relative to its mean and spread over the whole image, so that light and camera cancel out.

    Args:
        g: the graph.
        look: `(B, C, h, w)`, the map.
        boxes: `(B, K, 4)` xyxy in pixels of the images.
        count: K.

    Returns:
        Name of `(B, K, 2C)`, each vector of length 1.
    """
    mean = g.op("ReduceMean", look, axes=[2, 3])
    moved = g.op("Sub", look, mean)
    power = g.op("ReduceMean", g.op("Mul", moved, moved), axes=[2, 3])
    spread = g.op("Sqrt", g.op("Add", power, g.const(1e-6)))
    cells = g.op("Transpose", g.op("Div", moved, spread), perm=[0, 2, 3, 1])  # (B, h, w, C)
    shape = g.op("Shape", look)
    columns, rows = (g.op("Slice", shape, g.const([i]), g.const([i + 1])) for i in (3, 2))
    flat = g.op("Reshape", cells, g.const([0, -1, CHANNELS]))  # (B, h * w, C)
    places = []
    for axis, parts, limit in ((0, ACROSS, columns), (1, DOWN, rows)):
        low, high = (g.op("Slice", boxes, g.const([i]), g.const([i + 1]), g.const([2])) for i in (axis, axis + 2))
        side = g.op("Sub", high, low)  # (B, K, 1)
        pixels = g.op("Add", low, g.op("Mul", side, g.const(parts.astype(np.float32))))  # (B, K, P)
        cell = g.op("Cast", g.op("Mul", pixels, g.const(1 / STRIDE)), to=TensorProto.INT64)
        last = g.op("Sub", limit, g.const([1]))
        places.append(g.op("Min", g.op("Max", cell, g.const([0])), last))
    lines = g.op("Unsqueeze", g.op("Mul", places[1], columns), g.const([3]))  # (B, K, 8, 1)
    index = g.op("Add", lines, g.op("Unsqueeze", places[0], g.const([2])))  # (B, K, 8, 4)
    samples = g.op("GatherND", flat, g.op("Reshape", index, g.const([0, -1, 1])), batch_dims=1)  # (B, K * 32, C)
    half = len(ACROSS) * len(DOWN) // 2
    samples = g.op("Reshape", samples, g.const([0, count, 2, half, CHANNELS]))
    vectors = g.op("Reshape", g.op("ReduceMean", samples, axes=[3], keepdims=0), g.const([0, 0, -1]))
    return g.op("LpNormalization", vectors, axis=2, p=2, name="features")

"""Evaluates nodes of a TensorFlow graph with NumPy, operation by operation: the importer's independent reference.

The semantics are those of TensorFlow's documentation of each raw operation (https://www.tensorflow.org/api_docs/python/tf/raw_ops),
for the operations that a frozen SSD has between its resized image and its suppression of overlaps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Node(Protocol):
    """What `dev/tf_graph.py` reads."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: dict[str, Any]


def _windows(x: Array, kernel: tuple[int, int], node: Node) -> Array:
    """`(B, h, w, C, kh, kw)` views of the input under each place of the kernel, with SAME padding."""
    assert node.attributes["padding"] == b"SAME"
    assert node.attributes["dilations"] == [1, 1, 1, 1]
    pads = [(0, 0)]
    for size, side, stride in zip(x.shape[1:3], kernel, node.attributes["strides"][1:3], strict=True):
        total = max((math.ceil(size / stride) - 1) * stride + side - size, 0)
        pads.append((total // 2, total - total // 2))
    x = np.pad(x, [*pads, (0, 0)])
    _, down, right, _ = node.attributes["strides"]
    return np.lib.stride_tricks.sliding_window_view(x, kernel, (1, 2))[:, ::down, ::right]


def _conv(node: Node, x: Array, weight: Array) -> Array:
    kernel = weight.shape[:2]
    return np.asarray(np.einsum("bhwcij,ijco->bhwo", _windows(x, kernel, node), weight, optimize=True))


def _depthwise(node: Node, x: Array, weight: Array) -> Array:
    assert weight.shape[3] == 1
    return np.asarray(np.einsum("bhwcij,ijc->bhwc", _windows(x, weight.shape[:2], node), weight[..., 0], optimize=True))


def _batch_norm(node: Node, x: Array, scale: Array, offset: Array, mean: Array, variance: Array) -> Array:
    assert not node.attributes["is_training"]
    return np.asarray((x - mean) / np.sqrt(variance + node.attributes["epsilon"]) * scale + offset)


def _strided_slice(node: Node, x: Array, begin: Array, end: Array, step: Array) -> Array:
    assert not any(node.attributes.get(f"{name}_mask") for name in ("begin", "end", "ellipsis", "new_axis"))
    key = tuple(slice(*part) for part in zip(begin, end, step, strict=True))
    shrink = node.attributes.get("shrink_axis_mask", 0)
    return x[tuple(part.start if shrink >> i & 1 else part for i, part in enumerate(key))]


def _slice(_: Node, x: Array, begin: Array, size: Array) -> Array:
    ends = (n if s < 0 else b + s for b, s, n in zip(begin, size, x.shape, strict=True))
    return x[tuple(slice(b, e) for b, e in zip(begin, ends, strict=True))]


def _squeeze(node: Node, x: Array) -> Array:
    return np.squeeze(x, tuple(node.attributes.get("squeeze_dims") or ()) or None)


CASTS = {1: np.float32, 3: np.int32}
OPERATIONS: dict[str, Callable[..., Any]] = {
    "Add": lambda _, a, b: a + b,
    "BiasAdd": lambda _, a, b: a + b,
    "Cast": lambda node, a: a.astype(CASTS[node.attributes["DstT"]]),
    "ConcatV2": lambda _, *parts: np.concatenate(parts[:-1], int(parts[-1])),
    "Const": lambda node: node.attributes["value"],
    "Conv2D": _conv,
    "DepthwiseConv2dNative": _depthwise,
    "Exp": lambda _, a: np.exp(a),
    "ExpandDims": lambda _, a, axis: np.expand_dims(a, int(np.asarray(axis).item())),
    "Fill": lambda _, shape, value: np.full(tuple(shape), value),
    "FusedBatchNorm": _batch_norm,
    "Identity": lambda _, a: a,
    "Minimum": lambda _, a, b: np.minimum(a, b),
    "Mul": lambda _, a, b: a * b,
    "Pack": lambda node, *parts: np.stack(parts, node.attributes["axis"]),
    "Range": lambda _, start, limit, delta: np.arange(start, limit, delta, dtype=start.dtype),
    "Rank": lambda _, a: np.int32(a.ndim),
    "RealDiv": lambda _, a, b: a / b,
    "Relu6": lambda _, a: np.clip(a, 0, 6),
    "Reshape": lambda _, a, shape: np.reshape(a, tuple(shape)),
    "Shape": lambda _, a: np.array(a.shape, np.int32),
    "Sigmoid": lambda _, a: 1 / (1 + np.exp(-a)),
    "Slice": _slice,
    "Sqrt": lambda _, a: np.sqrt(a),
    "Squeeze": _squeeze,
    "StridedSlice": _strided_slice,
    "Sub": lambda _, a, b: a - b,
    "Tile": lambda _, a, counts: np.tile(a, tuple(counts)),
    "Transpose": lambda _, a, order: np.transpose(a, tuple(order)),
    "Unpack": lambda node, a: list(np.moveaxis(a, node.attributes["axis"], 0)),
}


def evaluate(nodes: Mapping[str, Any], fed: Mapping[str, Array], wanted: list[str]) -> list[Array]:
    """The values of some tensors.

    Args:
        nodes: the graph.
        fed: values of nodes that are not computed.
        wanted: names of nodes.

    Returns:
        One array for each of `wanted`.
    """
    values: dict[str, Any] = dict(fed)
    pending = list(wanted)
    while pending:
        node = nodes[pending[-1]]
        parts = [name.partition(":") for name in node.inputs if not name.startswith("^")]
        missing = [name for name, _, _ in parts if name not in values]
        if node.name not in values and missing:
            pending += missing
            continue
        pending.pop()
        if node.name not in values:
            inputs = [
                values[name][int(i)] if nodes[name].op == "Unpack" and i else _first(values[name])
                for name, _, i in parts
            ]
            values[node.name] = OPERATIONS[node.op](node, *inputs)
    return [values[name] for name in wanted]


def _first(value: Any) -> Array:
    return np.asarray(value[0] if isinstance(value, list) else value)

"""Adds nodes and constants to a graph that exists; the same calls give the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.onnx_ml_pb2 import GraphProto

PREFIX = "alstm/"
"""Of every name that is added, so that none is taken already."""
AXES_AS_INPUT = 18
"""From this opset on reductions take their axes as an input."""


class Writer:
    """What is written stands behind what is there, except where `front` says otherwise."""

    def __init__(self, graph: GraphProto, opset: int) -> None:
        self.graph, self._opset, self._count = graph, opset, 0
        self._front = 0
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def op(self, kind: str, *inputs: str, name: str = "", outputs: int = 1, front: bool = False, **about: Any) -> str:
        """Adds an operation and returns the name of its first output; others end in their number.

        Args:
            kind: ONNX's name of the operation.
            *inputs: names of tensors.
            name: of the first output; made up when empty.
            outputs: how many.
            front: before everything that was there.
            **about: attributes.
        """
        self._count += 1
        first = name or f"{PREFIX}{kind}_{self._count}"
        names = [first, *(f"{first}_{i}" for i in range(1, outputs))]
        node = helper.make_node(kind, list(inputs), names, name=f"{PREFIX}{self._count}", **about)
        if front:
            self.graph.node.insert(self._front, node)
            self._front += 1
        else:
            self.graph.node.append(node)
        return first

    def const(self, value: NDArray[Any] | Sequence[int] | float) -> str:
        """Adds a constant, whole numbers as int64 and others as float32; equal ones once. Returns its name."""
        array = np.asarray(value)
        array = np.ascontiguousarray(array.astype(np.float32 if array.dtype.kind == "f" else np.int64))
        key = (array.dtype.str, np.shape(value), array.tobytes())
        if key not in self._known:
            self._known[key] = f"{PREFIX}constant_{len(self._known)}"
            self.graph.initializer.append(numpy_helper.from_array(array.reshape(np.shape(value)), self._known[key]))
        return self._known[key]

    def reduce(self, kind: str, x: str, axes: Sequence[int], *, keep: bool = False) -> str:
        """`ReduceMax` or `ReduceMean` over axes."""
        if self._opset >= AXES_AS_INPUT:
            return self.op(kind, x, self.const(list(axes)), keepdims=int(keep))
        return self.op(kind, x, axes=list(axes), keepdims=int(keep))

    def columns(self, x: str, begin: int, end: int, axis: int = 2) -> str:
        """A part of one axis."""
        return self.op("Slice", x, self.const([begin]), self.const([end]), self.const([axis]))

    def floats(self, x: str) -> str:
        """The tensor in FP32."""
        return self.op("Cast", x, to=TensorProto.FLOAT)

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        """0 keeps an axis, -1 is what remains."""
        return self.op("Reshape", x, self.const(list(shape)))

    def rows(self, x: str, index: str) -> str:
        """Rows `(B, K, ...)` of `(B, N, ...)` at indices `(B, K, 1)`."""
        return self.op("GatherND", x, index, batch_dims=1)

    def output(self, name: str, tensor: str, kind: int, shape: Sequence[int | str]) -> None:
        """Makes a tensor an output of this name; whatever had the name before gets another."""
        rename(self.graph, name, f"{PREFIX}taken/{name}")
        self.op("Identity", tensor, name=name)
        self.graph.output.append(helper.make_tensor_value_info(name, kind, list(shape)))


def rename(graph: GraphProto, old: str, new: str) -> None:
    """Gives a tensor another name wherever it is made or used, but for the graph's own inputs and outputs."""
    for node in graph.node:
        for names in (node.input, node.output):
            if old in names:
                names[:] = [new if name == old else name for name in names]
    for weight in graph.initializer:
        if weight.name == old:
            weight.name = new

"""Writes ONNX graphs, new ones or into ones that exist; the same calls give the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, checker, helper, numpy_helper
from onnx.onnx_ml_pb2 import GraphProto, ModelProto

OPSET = 17
"""The version of ONNX's operations that new graphs use."""
IR_VERSION = 8
"""The file version of new graphs, which ONNX Runtime 1.14 and TensorRT 8.6, the oldest that we run on, both read."""
AXES_AS_INPUT = 18
"""From this opset on, `ReduceMax` and `ReduceMean` take their axes as an input."""

Values = Mapping[str, tuple[int, Sequence[int | str]]]
"""Name of an input or output to its element type and shape, a text standing for a free size."""


@dataclass(frozen=True, slots=True)
class Naming:
    """How what is added without a name is called.

    Each is a pattern for `str.format`, which is given `n`, how many operations or constants there were before, and for
    an operation `kind`, ONNX's name of it, and `output`, the name of its first output.

    Attributes:
        tensor: of an operation's first output.
        node: of the operation itself.
        constant: of a constant.
        first: number of the first operation.
        shared: whether equal constants are stored once.
    """

    tensor: str = "{kind}_{n}"
    node: str = "{output}"
    constant: str = "constant_{n}"
    first: int = 0
    shared: bool = True


NAMING = Naming()


class GraphWriter:
    """The operations and constants of a graph that is being written.

    Where the writer does not know a wanted operation, call `op`; the other methods are short forms of it.
    """

    def __init__(self, graph: GraphProto | None = None, opset: int = OPSET, naming: Naming = NAMING) -> None:
        """Starts a graph or goes on with one.

        Args:
            graph: to go on with; what is written stands behind what is there, except where `front` says otherwise.
            opset: the version of ONNX's operations that the graph uses.
            naming: how what is added is called.
        """
        self.graph = GraphProto() if graph is None else graph
        self._opset, self._naming = opset, naming
        self._operations, self._constants, self._front = naming.first, 0, 0
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def op(
        self, kind: str, *inputs: str, name: str = "", outputs: int = 1, front: bool = False, **attributes: Any
    ) -> str:
        """Adds an operation.

        Args:
            kind: ONNX's name of the operation.
            *inputs: names of the tensors that it takes.
            name: of its first output; made up when empty.
            outputs: how many outputs; the name of one after the first ends in its number.
            front: whether it stands before everything that was there.
            **attributes: the operation's attributes.

        Returns:
            The name of the first output.
        """
        first = name or self._naming.tensor.format(kind=kind, n=self._operations)
        self._add(kind, inputs, [first, *(f"{first}_{i}" for i in range(1, outputs))], attributes, front=front)
        return first

    def split(self, value: str, sizes: Sequence[int], axis: int) -> list[str]:
        """Parts of a tensor along an axis, which have these sizes: their names."""
        base = self._naming.tensor.format(kind="Split", n=self._operations)
        names = [f"{base}_{i}" for i in range(len(sizes))]
        self._add("Split", [value, self.const(list(sizes))], names, {"axis": axis}, front=False)
        return names

    def _add(
        self, kind: str, inputs: Sequence[str], outputs: list[str], attributes: Mapping[str, Any], *, front: bool
    ) -> None:
        name = self._naming.node.format(kind=kind, n=self._operations, output=outputs[0])
        node = helper.make_node(kind, list(inputs), outputs, name=name, **attributes)
        self._operations += 1
        if front:
            self.graph.node.insert(self._front, node)
            self._front += 1
        else:
            self.graph.node.append(node)

    def const(self, value: NDArray[Any] | Sequence[int] | float, name: str = "") -> str:
        """Adds a constant of the value's rank: an array as it is, else whole numbers as int64 and others as float32.

        Returns:
            Its name.
        """
        array = np.asarray(value, order="C")
        if not isinstance(value, np.ndarray):
            array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        key = (array.dtype.str, array.shape, array.tobytes())
        if not name and self._naming.shared and key in self._known:
            return self._known[key]
        stored = name or self._naming.constant.format(n=self._constants)
        if not name:
            self._known[key] = stored
        self._constants += 1
        self.graph.initializer.append(numpy_helper.from_array(array, stored))
        return stored

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
        """The tensor in another shape; 0 keeps an axis, -1 is what remains."""
        return self.op("Reshape", x, self.const(list(shape)))

    def rows(self, x: str, index: str) -> str:
        """Rows `(B, K, ...)` of `(B, N, ...)` at indices `(B, K, 1)`."""
        return self.op("GatherND", x, index, batch_dims=1)

    def model(self, name: str, inputs: Values, outputs: Values, metadata: Mapping[str, str]) -> ModelProto:
        """The finished model of a graph that was started here.

        Args:
            name: the graph's name.
            inputs: what it takes.
            outputs: what it gives.
            metadata: key to value, in the order in which they are stored.

        Raises:
            onnx.checker.ValidationError: the graph breaks ONNX's rules.
        """
        self.graph.name = name
        for side, values in ((self.graph.input, inputs), (self.graph.output, outputs)):
            side.extend(helper.make_tensor_value_info(key, kind, list(shape)) for key, (kind, shape) in values.items())
        opsets = [helper.make_opsetid("", self._opset)]
        model = helper.make_model(self.graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="alstm_ros")
        helper.set_model_props(model, dict(metadata))
        checker.check_model(model, full_check=True)
        return model


def rename(graph: GraphProto, old: str, new: str) -> None:
    """Gives a tensor another name wherever it is made or used, but for the graph's own inputs and outputs."""
    for node in graph.node:
        for names in (node.input, node.output):
            if old in names:
                names[:] = [new if name == old else name for name in names]
    for weight in graph.initializer:
        if weight.name == old:
            weight.name = new

"""Writes an ONNX graph, one operation after another; the same calls give the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

OPSET = 17
IR_VERSION = 8
"""What ONNX Runtime 1.14 and TensorRT 8.6, the oldest that we run on, both read."""


class GraphWriter:
    """The nodes and constants of a graph that is being written."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._unnamed: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def op(self, kind: str, *inputs: str, name: str = "", outputs: int = 1, **attributes: Any) -> str:
        """Adds an operation.

        Args:
            kind: ONNX's name of the operation.
            *inputs: names of the tensors that it takes.
            name: name of the operation and its output; made up when empty.
            outputs: how many outputs; the name of one after the first ends in its number.
            **attributes: the operation's attributes.

        Returns:
            The name of the first output.
        """
        output = name or f"{kind}_{len(self._nodes)}"
        names = [output, *(f"{output}_{i}" for i in range(1, outputs))]
        self._nodes.append(helper.make_node(kind, list(inputs), names, name=output, **attributes))
        return output

    def const(self, value: NDArray[Any] | Sequence[int] | int | float, name: str = "") -> str:  # noqa: PYI041  # see below
        """Adds a constant, a whole number as int64 and any other as float32; equal unnamed ones are stored once.

        Returns:
            Its name.
        """
        array = np.asarray(value)
        if not isinstance(value, np.ndarray):
            array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        key = (array.dtype.str, array.shape, array.tobytes())
        if not name:
            name = self._unnamed.setdefault(key, f"constant_{len(self._unnamed)}")
        self._constants.setdefault(name, numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def model(
        self,
        name: str,
        inputs: Mapping[str, tuple[int, Sequence[int | str]]],
        outputs: Mapping[str, tuple[int, Sequence[int | str]]],
        metadata: Mapping[str, str],
    ) -> onnx.ModelProto:
        """The finished, checked model.

        Args:
            name: the graph's name.
            inputs: name to element type and shape, a text standing for a free size.
            outputs: likewise.
            metadata: key to value.
        """
        taken, given = (
            [helper.make_tensor_value_info(key, kind, list(shape)) for key, (kind, shape) in side.items()]
            for side in (inputs, outputs)
        )
        graph = helper.make_graph(self._nodes, name, taken, given, initializer=list(self._constants.values()))
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="alstm_ros")
        helper.set_model_props(model, dict(sorted(metadata.items())))
        onnx.checker.check_model(model, full_check=True)
        return model

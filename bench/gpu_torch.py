"""An ONNX file as a torch module through onnx2torch, so that torch runs the network that TensorRT and ONNX Runtime run.

Two operations of the shipped detector are unknown to onnx2torch 1.5.15; their converters are here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import onnx2torch
import torch
from onnx import helper
from onnx2torch.node_converters.registry import add_converter
from onnx2torch.utils.common import OperationConverterResult, onnx_mapping_from_node
from torch import Tensor, nn

_DOMAIN = "bench"
"""The operators' domain under which our converters are found: onnx2torch has one GatherND that refuses batch axes."""


class OnnxModule(nn.Module):
    """A model file's network, with its tensors by name."""

    def __init__(self, path: Path) -> None:
        """Converts a model file.

        Raises:
            NotImplementedError: onnx2torch does not know one of its operations.
        """
        super().__init__()
        model = onnx.load(str(path))
        self._inputs = [value.name for value in model.graph.input]
        self._outputs = [value.name for value in model.graph.output]
        for node in model.graph.node:
            if node.op_type in {"LpNormalization", "GatherND"}:
                node.domain = _DOMAIN
        model.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
        self.network = onnx2torch.convert(model)

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Runs it: tensors by input name to tensors by output name."""
        found = self.network(*(inputs[name] for name in self._inputs))
        return dict(zip(self._outputs, found if len(self._outputs) > 1 else [found], strict=True))


class _LpNormalization(nn.Module):
    def __init__(self, power: int, axis: int) -> None:
        super().__init__()
        self._power, self._axis = power, axis

    def forward(self, x: Tensor) -> Tensor:
        length: Tensor = torch.linalg.vector_norm(x, self._power, self._axis, keepdim=True)
        return x / length


class _GatherND(nn.Module):
    """With at most one batch axis, which is all that the detectors use."""

    def __init__(self, batch_axes: int) -> None:
        super().__init__()
        if batch_axes > 1:
            raise NotImplementedError("GatherND with two batch axes")
        self._batch_axes = batch_axes

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        places = index.unbind(-1)
        if self._batch_axes:
            rows = torch.arange(x.shape[0], device=x.device).reshape(-1, *[1] * (index.ndim - 2))
            places = (rows, *places)
        return x[places]


@add_converter(operation_type="LpNormalization", version=1, domain=_DOMAIN)  # type: ignore[untyped-decorator]  # no types
def _lp_normalization(node: Any, graph: Any) -> OperationConverterResult:  # noqa: ARG001  # onnx2torch's signature
    module = _LpNormalization(node.attributes.get("p", 2), node.attributes.get("axis", -1))
    return OperationConverterResult(module, onnx_mapping_from_node(node))


@add_converter(operation_type="GatherND", version=1, domain=_DOMAIN)  # type: ignore[untyped-decorator]  # likewise
def _gather_nd(node: Any, graph: Any) -> OperationConverterResult:  # noqa: ARG001  # onnx2torch's signature
    return OperationConverterResult(_GatherND(node.attributes.get("batch_dims", 0)), onnx_mapping_from_node(node))

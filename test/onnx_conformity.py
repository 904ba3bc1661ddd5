"""What the ONNX standard asks of a file beyond what ONNX Runtime asks; other parsers, TensorRT's too, take no less.

The shapes are those of the operators' pages, https://onnx.ai/onnx/operators/ . `onnx.checker` does not look at them
where a shape is not known, and ONNX Runtime takes a tensor of one element for a scalar; TensorRT 8.6 dies of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper
from onnx.reference import ReferenceEvaluator

SCALAR, LINE = 0, 1
RANKS: dict[str, dict[int, int]] = {
    "Clip": {1: SCALAR, 2: SCALAR},
    "ConstantOfShape": {0: LINE},
    "CumSum": {1: SCALAR},
    "Expand": {1: LINE},
    "NonMaxSuppression": {0: 3, 1: 3},
    "OneHot": {2: LINE},
    "Pad": {1: LINE, 2: SCALAR},
    "Range": {0: SCALAR, 1: SCALAR, 2: SCALAR},
    "ReduceSum": {1: LINE},
    "Reshape": {1: LINE},
    "Resize": {1: LINE, 2: LINE, 3: LINE},
    "Slice": {1: LINE, 2: LINE, 3: LINE, 4: LINE},
    "Split": {1: LINE},
    "Squeeze": {1: LINE},
    "Tile": {1: LINE},
    "TopK": {1: LINE},
    "Trilu": {1: SCALAR},
    "Unsqueeze": {1: LINE},
    "Upsample": {1: LINE},
}
"""Operator to input to the number of dimensions that it must have."""
NEWEST_OPSET, NEWEST_IR = 17, 8
"""Of ONNX 1.12, which the parser of TensorRT 8.6 was built with."""
INT32 = np.iinfo(np.int32)
ENDLESS = (np.iinfo(np.int64).max, np.iinfo(np.int64).min)
"""What exporters write for "to the end" in Slice; TensorRT clamps these."""


def faults(model: ModelProto) -> list[str]:
    """A sentence for each place where the file is not as the standard says, or unknown to TensorRT 8.6."""
    try:
        onnx.checker.check_model(model, full_check=True)
        inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        return [str(error)]
    return [*_too_new(model), *_wrong_ranks(inferred), *_too_large(model)]


def _too_new(model: ModelProto) -> Iterator[str]:
    for entry in model.opset_import:
        if entry.domain in {"", "ai.onnx"} and entry.version > NEWEST_OPSET:
            yield f"opset {entry.version} is newer than {NEWEST_OPSET}"
    if model.ir_version > NEWEST_IR:
        yield f"IR version {model.ir_version} is newer than {NEWEST_IR}"
    for node in model.graph.node:
        if node.domain not in {"", "ai.onnx"}:
            yield f"{node.name}: {node.domain}.{node.op_type} is not of the standard"


def _wrong_ranks(inferred: ModelProto) -> Iterator[str]:
    ranks = dict(_ranks(inferred))
    for node in inferred.graph.node:
        for place, rank in RANKS.get(node.op_type, {}).items():
            name = node.input[place] if place < len(node.input) else ""
            if name and name not in ranks:
                yield f"{node.name}: the shape of {node.op_type}'s input {place} cannot be inferred"
            elif name and ranks[name] != rank:
                yield f"{node.name}: {node.op_type}'s input {place} has rank {ranks[name]}, not {rank}"


def _too_large(model: ModelProto) -> Iterator[str]:
    for name, values in _constants(model):
        if values.dtype == np.int64 and values.size:
            large = values[(values > INT32.max) | (values < INT32.min)]
            if not np.isin(large, ENDLESS).all():
                yield f"{name} holds {int(large[0])}, which TensorRT cuts to 32 bits"


def _ranks(model: ModelProto) -> Iterator[tuple[str, int]]:
    graph = model.graph
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.type.tensor_type.HasField("shape"):
            yield value.name, len(value.type.tensor_type.shape.dim)
    for tensor in graph.initializer:
        yield tensor.name, len(tensor.dims)
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    yield node.output[0], len(attribute.t.dims)


def _constants(model: ModelProto) -> Iterator[tuple[str, NDArray[Any]]]:
    for tensor in model.graph.initializer:
        yield tensor.name, numpy_helper.to_array(tensor)
    for node in model.graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    yield node.output[0], numpy_helper.to_array(attribute.t)


def reference(model: ModelProto, feed: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """The answers of ONNX's own evaluator, which computes as the standard says."""
    return [np.asarray(answer) for answer in ReferenceEvaluator(model).run(None, feed)]

"""A model file as TensorRT takes it: named free axes, weights that are no inputs, casts in front, FP16 where asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from alstm_ros.engines.failures import UnsupportedModelError
from alstm_ros.errors import DependencyError, ModelError

if TYPE_CHECKING:
    from onnx.onnx_ml_pb2 import GraphProto, ModelProto, ValueInfoProto

    from alstm_ros.engines.profiles import Dims

RECIPE = "1"
"""Part of every cached engine's key: raise it whenever `prepare` makes another model of the same file."""

_UINT8_SAFE = {"Transpose": (0,), "Reshape": (0,), "Squeeze": (0,), "Unsqueeze": (0,), "Identity": (0,), "Slice": (0,)}
"""Operations that only move their input's elements, so that they may follow the cast instead of leading to it."""


@dataclass(frozen=True, slots=True)
class PreparedModel:
    """A model ready to be built.

    Attributes:
        onnx: the serialised model.
        inputs: name to axes, free ones by name.
        outputs: name to axes, free ones by name.
        metadata: what the file says of itself.
        precision: `fp32` or `fp16`, what it is to be built in.
    """

    onnx: bytes
    inputs: Mapping[str, Dims]
    outputs: Mapping[str, Dims]
    metadata: Mapping[str, str]
    precision: str


def read(path: Path) -> ModelProto:
    """Reads a model file.

    Raises:
        DependencyError: the `onnx` package is missing.
        ModelError: there is no such file or it is no ONNX model.
    """
    try:
        import onnx  # noqa: PLC0415  # only who builds engines needs it
    except ImportError as error:
        raise DependencyError(
            f"Building TensorRT engines needs the package onnx; install it with 'pip install onnx' ({error})."
        ) from error
    try:
        model: ModelProto = onnx.load(str(path))
    except FileNotFoundError as error:
        raise ModelError(f"There is no model file {path}.") from error
    except Exception as error:  # protobuf's errors have no base class that onnx names
        raise ModelError(f"The model file {path} cannot be read as ONNX: {error}") from error
    if not model.graph.output:
        raise ModelError(f"The model file {path} is no ONNX model, or one without outputs.")
    return model


def axes(model: ModelProto) -> tuple[dict[str, Dims], dict[str, Dims]]:
    """Every input's and output's axes; unnamed free ones are named after tensor and place."""
    weights = {weight.name for weight in model.graph.initializer}
    inputs = {value.name: _dims(value) for value in model.graph.input if value.name not in weights}
    return inputs, {value.name: _dims(value) for value in model.graph.output}


def metadata(model: ModelProto) -> dict[str, str]:
    """What the file says of itself."""
    return {entry.key: entry.value for entry in model.metadata_props}


def prepare(model: ModelProto, precision: str) -> PreparedModel:
    """Turns a model into what TensorRT builds.

    Args:
        model: as read; not changed.
        precision: `fp32` or `fp16`.

    Raises:
        UnsupportedModelError: an 8-bit input goes into an operation that TensorRT has no 8-bit version of.
        ModelError: the model is invalid.
    """
    from onnx.onnx_ml_pb2 import ModelProto as Message  # noqa: PLC0415  # only who builds engines needs it

    from alstm_ros.engines import precision as lowering  # noqa: PLC0415  # imports onnx

    ready = Message()
    ready.CopyFrom(model)
    lowering.hide_weights(ready.graph)
    for value in ready.graph.input:
        cast_first(ready.graph, value)
    if precision == "fp16":
        ready = lowering.half(ready)
    inputs, outputs = axes(ready)
    return PreparedModel(ready.SerializeToString(), inputs, outputs, metadata(model), precision)


def _dims(value: ValueInfoProto) -> Dims:
    return tuple(
        dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or f"{value.name}.{place}")
        for place, dim in enumerate(value.type.tensor_type.shape.dim)
    )


def cast_first(graph: GraphProto, value: ValueInfoProto) -> None:
    """Casts an 8-bit input before anything else, since TensorRT knows no other operation on UINT8.

    The casts that stood behind follow a tensor that is float already and do nothing any more.
    """
    from onnx import TensorProto, helper  # noqa: PLC0415  # only who builds engines needs it

    if value.type.tensor_type.elem_type != TensorProto.UINT8:
        return
    small = _eight_bit(graph, value.name)
    floats = f"{value.name}__float"
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == value.name:
                node.input[place] = floats
    graph.node.insert(0, helper.make_node("Cast", [value.name], [floats], to=TensorProto.FLOAT))
    for info in [info for info in graph.value_info if info.name in small]:
        graph.value_info.remove(info)


def _eight_bit(graph: GraphProto, name: str) -> set[str]:
    """The tensors that carry this input's elements before any cast.

    Raises:
        UnsupportedModelError: one goes into an operation that does more than move elements.
    """
    small = {name}
    for node in graph.node:
        touched = tuple(place for place, tensor in enumerate(node.input) if tensor in small)
        if not touched or node.op_type in {"Cast", "Shape", "Size"}:
            continue
        if touched != _UINT8_SAFE.get(node.op_type):
            raise UnsupportedModelError(
                f"The model's 8-bit input '{name}' goes into {node.op_type}; TensorRT can only cast it. "
                "Put a Cast to float in front."
            )
        small.update(node.output)
    return small

"""A third-party graph made ready: a current opset, any number of images, uint8 images in front."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, version_converter
from onnx.onnx_ml_pb2 import GraphProto, ModelProto, NodeProto

from alstm_ros.config import EngineConfig
from alstm_ros.detection.decoders.layout import Size
from alstm_ros.detection.port import Port
from alstm_ros.detection.preprocess import Preprocess
from alstm_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from alstm_ros.engines.precision import hide_weights
from alstm_ros.errors import ModelError
from alstm_ros.onnx_graph import IR_VERSION, OPSET, GraphWriter, Naming, rename

PREFIX = "alstm/"
"""The beginning of every name that is added, so that none is taken already."""
NAMING = Naming(f"{PREFIX}{{kind}}_{{n}}", f"{PREFIX}{{n}}", f"{PREFIX}constant_{{n}}", first=1)
"""The names of what is written into a third-party graph."""
IMAGES = "images"
"""The name of the exported file's input."""


def writer_into(model: ModelProto) -> GraphWriter:
    """What goes on with a model's graph."""
    return GraphWriter(model.graph, opset_of(model), NAMING)


def add_output(w: GraphWriter, name: str, tensor: str, kind: int, shape: Sequence[int | str]) -> None:
    """Makes a tensor an output of this name; whatever had the name before gets another."""
    rename(w.graph, name, f"{PREFIX}taken/{name}")
    w.op("Identity", tensor, name=name)
    w.graph.output.append(helper.make_tensor_value_info(name, kind, list(shape)))


def opset_of(model: ModelProto) -> int:
    """The version of ONNX's own operations that a model uses."""
    return next((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), 0)


def open_graph(model: ModelProto, port: Port, size: Size, name: str) -> ModelProto:
    """A copy in a current opset, with every batch size allowed as far as constants go.

    Args:
        model: as read.
        port: its input.
        size: height and width that it takes.
        name: the file's name, for the sentences.

    Raises:
        ModelError: its opset cannot be converted.
    """
    opened = ModelProto()
    opened.CopyFrom(model)
    hide_weights(opened.graph)
    if opset_of(opened) < OPSET:
        try:
            opened = version_converter.convert_version(opened, OPSET)
        except Exception as error:  # the converter's errors have no public base class
            raise ModelError(
                f"The model file {name} is of ONNX opset {opset_of(model)} and cannot be converted to {OPSET}: {error}"
            ) from error
    opened.ir_version = max(opened.ir_version, IR_VERSION)
    del opened.graph.value_info[:]
    _sort(opened.graph)
    _free_reshapes(opened, port, size)
    _free_resizes(opened, port, size)
    return opened


def _sort(graph: GraphProto) -> None:
    """Puts every node behind those that it needs, as ONNX asks and not every exporter does."""
    makers = {name: index for index, node in enumerate(graph.node) for name in node.output}
    nodes = list(graph.node)
    order: list[int] = []
    done: set[int] = set()
    for start in range(len(nodes)):
        waiting = [start]
        while waiting:
            index = waiting[-1]
            needs = [makers[name] for name in nodes[index].input if name in makers and makers[name] not in done]
            if needs and index not in done:
                waiting.extend(needs)
                continue
            waiting.pop()
            if index not in done:
                done.add(index)
                order.append(index)
    copies = [NodeProto.FromString(nodes[index].SerializeToString()) for index in order]
    del graph.node[:]
    graph.node.extend(copies)


def _constants(graph: GraphProto) -> dict[str, NDArray[Any]]:
    """Name to value of everything that is fixed."""
    known = {weight.name: numpy_helper.to_array(weight) for weight in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            known[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return known


def _free_reshapes(model: ModelProto, port: Port, size: Size) -> None:
    """Lets reshapes to a batch of 1 keep the batch that comes in, where their shape begins with a constant.

    Only where what comes in begins with an axis of 1 too: a grid of `(W,)` that becomes `(1, W)` has no batch.
    """
    graph = model.graph
    known = _constants(graph)
    makers = {name: node for node in graph.node for name in node.output}
    begins: list[tuple[NodeProto, NodeProto, int, NDArray[Any]]] = []
    for node in [node for node in graph.node if node.op_type == "Reshape"]:
        if any(attribute.name == "allowzero" and attribute.i for attribute in node.attribute):
            continue
        maker = makers.get(node.input[1])
        joined = maker is not None and maker.op_type == "Concat"
        holder, place = (maker, 0) if joined and maker is not None else (node, 1)
        shape = known.get(holder.input[place])
        if shape is not None and shape.ndim == 1 and shape[0] == 1 and (len(shape) >= 2 or joined):
            begins.append((node, holder, place, shape))
    if not begins:
        return
    noise = port.feed(np.zeros((1, *size, 3), np.uint8), Preprocess())
    values = run_once(model, noise, [node.input[0] for node, *_ in begins])
    fixed = {holder.output[0] for node, holder, *_ in begins if values[node.input[0]].shape[:1] != (1,)}
    for node, holder, place, shape in begins:
        if holder.output[0] not in fixed:
            name = f"{PREFIX}reshape/{node.output[0]}"
            graph.initializer.append(numpy_helper.from_array(np.concatenate([[0], shape[1:]]), name))
            holder.input[place] = name


def _free_resizes(model: ModelProto, port: Port, size: Size) -> None:
    """Turns the fixed sizes of resizes into factors, so that other batches and sizes can go through."""
    known = _constants(model.graph)
    fixed = [
        node
        for node in model.graph.node
        if node.op_type == "Resize" and len(node.input) == 4 and len(known.get(node.input[3], ())) == 4
    ]
    if not fixed:
        return
    noise = port.feed(np.zeros((1, *size, 3), np.uint8), Preprocess())
    shapes = run_once(model, noise, [node.input[0] for node in fixed])
    for node in fixed:
        factors = known[node.input[3]] / np.array(shapes[node.input[0]].shape)
        factors[:2] = 1
        name = f"{PREFIX}resize/{node.output[0]}"
        model.graph.initializer.append(numpy_helper.from_array(factors.astype(np.float32), name))
        node.input[:] = [*node.input[:2], name]


def put_images_in_front(writer: GraphWriter, port: Port, preprocess: Preprocess, shape: Sequence[int | str]) -> None:
    """Replaces the model's input by uint8 BGR images.

    Args:
        writer: of the model's graph.
        port: the input.
        preprocess: what the network wants.
        shape: of the new input, `(B, H, W, 3)`.
    """
    graph = writer.graph
    inner = f"{PREFIX}input"
    rename(graph, port.name, inner)
    rename(graph, IMAGES, f"{PREFIX}taken/{IMAGES}")
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info(IMAGES, TensorProto.UINT8, list(shape)))
    kind = helper.np_dtype_to_tensor_dtype(port.spec.dtype)
    x = writer.op("Cast", IMAGES, to=TensorProto.FLOAT, front=True)
    if preprocess.color == "rgb":
        x = writer.op("Gather", x, writer.const([2, 1, 0]), axis=3, front=True)
    if preprocess.normalise != "none" and port.spec.dtype != np.uint8:
        mean, deviation = preprocess.constants()
        if mean.any():
            x = writer.op("Sub", x, writer.const(mean), front=True)
        x = writer.op("Div", x, writer.const(deviation), front=True)
    if port.planes:
        x = writer.op("Transpose", x, perm=[0, 3, 1, 2], front=True)
    writer.op("Cast", x, to=kind, name=inner, front=True)


def run_once(
    model: ModelProto, inputs: Mapping[str, NDArray[Any]], also: Sequence[str] = ()
) -> dict[str, NDArray[Any]]:
    """Runs a model on the processor.

    Args:
        model: any.
        inputs: name to tensor.
        also: tensors inside that are wanted beside the outputs.

    Raises:
        ModelError: ONNX Runtime cannot load or run it.
    """
    shown = ModelProto()
    shown.CopyFrom(model)
    there = {value.name for value in shown.graph.output}
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(also) if name not in there)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(shown, path)
        engine = OnnxRuntimeEngine(path, EngineConfig(threads=1))
    try:
        return engine(inputs)
    finally:
        engine.close()

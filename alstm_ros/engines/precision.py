"""A model file in half precision: convolutions and matrix products in FP16, what needs range or memory in FP32.

TensorRT 11 and TensorRT-RTX compute in the types that the file says, so the precision lives in the file. Chosen by what
a rounding does:

- `Conv`, `ConvTranspose`, `Gemm` and `MatMul` compute in FP16; they are nearly all the work.
- Plain operations between two of them (activations, sums, concatenation, pooling, resizing) stay in FP16.
- What leads to a recurrent state (an output `X_next` to an input `X`), and what comes after the last product (softmax,
  box decoding, top-k), is FP32: a state sums its own roundings up over a track's life, and a box at 1000 pixels has no
  half-pixel in FP16.
- Exponentials, roots, divisions, reductions and everything unlisted are FP32.

Inputs and outputs keep their types, so both files serve the same callers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from onnx import TensorProto, helper, numpy_helper, shape_inference
from onnx.onnx_ml_pb2 import GraphProto, ModelProto, NodeProto

from alstm_ros.engines.profiles import states
from alstm_ros.errors import ModelError

PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
PLAIN = frozenset(
    {
        *("Add", "Sub", "Mul", "Neg", "Min", "Max"),
        *("Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh"),
        *("AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool", "BatchNormalization", "Resize", "Upsample"),
        *("Concat", "Split", "Slice", "Gather", "Pad", "SpaceToDepth", "DepthToSpace"),
        *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Dropout"),
    }
)
_FLOAT_ONLY = {"Resize": (0,), "Upsample": (0,), "Slice": (0,), "Pad": (0, 2), "Reshape": (0,), "Gather": (0,)}
"""Where only some inputs are data; scales, sizes and indices keep their types."""
_HALF_MAX = float(np.finfo(np.float16).max)


def half(model: ModelProto) -> ModelProto:
    """The FP16 version of an FP32 model.

    Args:
        model: opset 11 or later; not changed.

    Returns:
        A new model with the same inputs, outputs and metadata, and the key `precision` set to `fp16`.

    Raises:
        ModelError: it is no valid model, or is of an older opset.
    """
    opset = next((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), 0)
    if opset < 11:
        raise ModelError(
            f"The model is of ONNX opset {opset}; an FP16 version is made from opset 11 on. Export it anew."
        )
    lowered = ModelProto()
    lowered.CopyFrom(model)
    hide_weights(lowered.graph)
    try:
        typed = shape_inference.infer_shapes(lowered)
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"The model's tensor types cannot be inferred: {error}") from error
    _Lowering(lowered.graph, _types(typed.graph)).run()
    _set_metadata(lowered, "precision", "fp16")
    return lowered


@dataclass(slots=True)
class _Lowering:
    """One graph on its way to FP16."""

    graph: GraphProto
    types: dict[str, int]
    weights: dict[str, TensorProto] = field(default_factory=dict)
    lowered: set[int] = field(default_factory=set)

    def run(self) -> None:
        """Chooses the nodes, then rewires them."""
        self.weights = {weight.name: weight for weight in self.graph.initializer}
        for node in self.graph.node:
            if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].name == "value":
                self.weights[node.output[0]] = node.attribute[0].t
        self._choose()
        self._rewire()

    def _choose(self) -> None:
        nodes = list(self.graph.node)
        kept = self._leading_to_states(nodes)
        fed = self._leading_to_products(nodes)
        halves: set[str] = set()  # tensors that are FP16 after the rewiring
        for index, node in enumerate(nodes):
            data = [name for name in self._data(node) if name not in self.weights]
            if not self._floats(node) or not self._fit(node):
                continue
            product = node.op_type in PRODUCTS and bool(data)
            between = (
                node.op_type in PLAIN
                and index not in kept
                and index in fed
                and bool(data)
                and all(name in halves for name in data)
            )
            if product or between:
                self.lowered.add(index)
                halves.update(node.output)

    def _leading_to_states(self, nodes: list[NodeProto]) -> set[int]:
        """Nodes from which a recurrent state is reached without another product between."""
        wanted = set(
            states((value.name for value in self.graph.input), (value.name for value in self.graph.output)).values()
        )
        kept: set[int] = set()
        for index in reversed(range(len(nodes))):
            if nodes[index].op_type not in PRODUCTS and wanted.intersection(nodes[index].output):
                kept.add(index)
                wanted.update(nodes[index].input)
        return kept

    def _leading_to_products(self, nodes: list[NodeProto]) -> set[int]:
        """Nodes whose result a product takes, at once or through plain operations."""
        wanted: set[str] = set()
        fed: set[int] = set()
        for index in reversed(range(len(nodes))):
            node = nodes[index]
            if wanted.intersection(node.output):
                fed.add(index)
            if node.op_type in PRODUCTS or (index in fed and node.op_type in PLAIN):
                wanted.update(self._data(node))
        return fed

    def _data(self, node: NodeProto) -> list[str]:
        """The inputs that carry data, not sizes or indices."""
        places = _FLOAT_ONLY.get(node.op_type, range(len(node.input)))
        return [node.input[place] for place in places if place < len(node.input) and node.input[place]]

    def _floats(self, node: NodeProto) -> bool:
        names = [*self._data(node), *(name for name in node.output if name)]
        return all(self._type(name) == TensorProto.FLOAT for name in names)

    def _type(self, name: str) -> int:
        weight = self.weights.get(name)
        return weight.data_type if weight is not None else self.types.get(name, 0)

    def _fit(self, node: NodeProto) -> bool:
        """Whether all its weights are within FP16's range."""
        arrays = (numpy_helper.to_array(self.weights[name]) for name in self._data(node) if name in self.weights)
        return all(float(np.abs(array).max(initial=0)) <= _HALF_MAX for array in arrays)

    def _rewire(self) -> None:
        """Puts casts where FP16 and FP32 meet, one for each tensor, and stores the lowered weights in FP16."""
        nodes, taken = list(self.graph.node), {value.name for value in self.graph.output}
        made: dict[str, str] = {}  # FP32 tensor to its FP16 twin
        new: list[NodeProto] = []
        users = {name for index, node in enumerate(nodes) if index not in self.lowered for name in _used(node)} | taken
        for index, node in enumerate(nodes):
            if index not in self.lowered:
                new.append(node)
                continue
            data = set(self._data(node))
            for place, name in enumerate(node.input):
                if name in data:
                    if name not in made:
                        made[name] = f"{name}__fp16"
                        new.extend(self._lower_input(name, made[name]))
                    node.input[place] = made[name]
            new.append(node)
            for place, name in enumerate(node.output):
                if name:
                    node.output[place] = made[name] = f"{name}__fp16"
                    if name in users:
                        new.append(helper.make_node("Cast", [made[name]], [name], to=TensorProto.FLOAT))
        del self.graph.node[:]
        self.graph.node.extend(new)
        self._drop_unused()
        del self.graph.value_info[:]  # types have changed; every runtime infers them itself

    def _lower_input(self, name: str, twin: str) -> Iterator[NodeProto]:
        weight = self.weights.get(name)
        if weight is None:
            yield helper.make_node("Cast", [name], [twin], to=TensorProto.FLOAT16)
            return
        self.graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), twin))

    def _drop_unused(self) -> None:
        used = {value.name for value in self.graph.output}.union(*(_used(node) for node in self.graph.node))
        kept = [weight for weight in self.graph.initializer if weight.name in used]
        nodes = [n for n in self.graph.node if n.op_type != "Constant" or used.intersection(n.output)]
        del self.graph.initializer[:], self.graph.node[:]
        self.graph.initializer.extend(kept)
        self.graph.node.extend(nodes)


def _used(node: NodeProto) -> set[str]:
    """Every tensor that a node reads, also inside its branches and loops."""
    names = set(node.input)
    for attribute in node.attribute:
        for graph in [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]:
            names.update(value.name for value in graph.output)
            names.update(*(_used(inner) for inner in graph.node))
    return names


def hide_weights(graph: GraphProto) -> None:
    """Drops weights from the inputs, where exports before ONNX 1.4 list them too as if callers could replace them."""
    weights = {weight.name for weight in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    del graph.input[:]
    graph.input.extend(inputs)


def _types(graph: GraphProto) -> dict[str, int]:
    values = [*graph.input, *graph.output, *graph.value_info]
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return types | {weight.name: weight.data_type for weight in graph.initializer}


def _set_metadata(model: ModelProto, key: str, value: str) -> None:
    for entry in model.metadata_props:
        if entry.key == key:
            entry.value = value
            return
    model.metadata_props.add(key=key, value=value)

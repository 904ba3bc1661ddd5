"""Writes the network as one self-describing ONNX file: one step and the pairs' corrections, no loop.

Constants bear the names of the network's parameters; `weights` reads them back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from alstm_ros.association.learned.associator import KIND, STATES, VERSION
from alstm_ros.association.learned.features import AMBIGUITY, APPEARANCE, GEOMETRY, PAIR, STEP
from alstm_ros.learning.network.model import AssociationLstm, LstmConfig
from alstm_ros.learning.network.variants import network_description
from alstm_ros.types import Float32

OPSET = 17
"""Version of the ONNX operators that the file uses."""


class _Graph:
    """Nodes and constants under construction; every method returns the name of a value."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def constant(self, values: np.ndarray, name: str = "") -> str:
        name = name or f"w{len(self.constants)}"
        self.constants[name] = numpy_helper.from_array(np.asarray(values, order="C"), name)
        return name

    def add(self, op: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        name = name or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def split(self, value: str, sizes: Sequence[int]) -> list[str]:
        names = [f"v{len(self.nodes)}_{k}" for k in range(len(sizes))]
        parts = self.constant(np.array(sizes, np.int64))
        self.nodes.append(helper.make_node("Split", [value, parts], names, axis=1))
        return names

    def linear(self, value: str, weight: np.ndarray, bias: np.ndarray, layer: str) -> str:
        """`value @ weight.T + bias`."""
        b = self.constant(bias, f"{layer}.bias")
        return self.add("Gemm", value, self.constant(weight, f"{layer}.weight"), b, transB=1)

    def times(self, value: str, factor: float) -> str:
        return self.add("Mul", value, self.constant(np.float32(factor)))

    def affine(self, value: str, scale: np.ndarray, shift: np.ndarray, layer: str) -> str:
        scaled = self.add("Mul", value, self.constant(scale, f"{layer}.scale"))
        return self.add("Add", scaled, self.constant(shift, f"{layer}.shift"))


def network_graph(model: AssociationLstm, about: Mapping[str, str]) -> onnx.ModelProto:
    """The network as an ONNX model.

    Args:
        model: trained.
        about: what the metadata says beside the layout: licence, training data, version.

    Returns:
        The checked model.
    """
    config, g, weights = model.config, _Graph(), model.weights()

    x = _standard(g, "x", model.norm_step, "norm_step")
    geometry, _ = g.split(x, [GEOMETRY, STEP - GEOMETRY])
    _, appearance = g.split("x", [GEOMETRY, STEP - GEOMETRY])  # not standardised
    appearance = g.times(appearance, APPEARANCE**0.5 if config.appearance else 0)
    z = g.add("Concat", geometry, appearance, axis=1)
    h1 = _cell(g, weights, 1, z)
    h2 = _cell(g, weights, 2, _between(g, weights, model, "norm1", h1))
    y = _between(g, weights, model, "norm2", h2)

    hidden = g.add("Relu", _linear(g, weights, "head", g.add("Concat", y, geometry, axis=1)))
    box = g.add("Tanh", _linear(g, weights, "box", hidden))
    g.add("Mul", box, g.constant(np.array([1] * 4 + [config.shift] * 4, np.float32)), name="box")
    flat = g.constant(np.array([-1], np.int64))
    same = g.add("Sigmoid", _linear(g, weights, "same", hidden))
    g.add("Reshape", same, flat, name="same")
    lift = g.add("Mul", g.add("Tanh", _linear(g, weights, "score", hidden)), g.constant(np.float32(config.lift)))
    g.add("Reshape", lift, flat, name="lift")
    none, trust = g.split(_linear(g, weights, "trust", y), [1, 1])
    feature, reliability = g.add("Tanh", _linear(g, weights, "embed", y)), g.add("Sigmoid", trust)
    g.add("Concat", feature, none, reliability, axis=1, name="key")

    feature, none, trust = g.split("keys", [config.embedding, 1, 1])
    p = g.add("Concat", _standard(g, "pairs", model.norm_pair, "norm_pair", clip=False), feature, axis=1)
    p = g.add("Relu", _linear(g, weights, "pair1", p))
    p = g.add("Relu", _linear(g, weights, "pair2", p))
    p = g.add("Tanh", g.add("Add", _linear(g, weights, "pair3", p), none))
    _, doubt = g.split("pairs", [AMBIGUITY, 1])
    doubt = g.add("Clip", doubt, g.constant(np.float32(0)), g.constant(np.float32(1)))
    p = g.add("Mul", g.add("Mul", p, g.times(doubt, config.bound)), trust)
    g.add("Reshape", p, flat, name="correction")

    inputs, outputs = _interface(config)
    graph = helper.make_graph(g.nodes, "association_lstm", inputs, outputs, list(g.constants.values()))
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="alstm_ros")
    proto.ir_version = 8
    sizes = {"hidden": config.hidden, "second": config.last, "embedding": config.embedding, "bound": config.bound}
    sizes |= {"step": STEP, "pair": PAIR}
    metadata = {"kind": KIND, "layout": VERSION, "sizes": json.dumps(sizes), "precision": "fp32"}
    metadata["network"] = json.dumps(network_description(config))
    helper.set_model_props(proto, metadata | dict(about))
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _interface(config: LstmConfig) -> tuple[list[onnx.ValueInfoProto], list[onnx.ValueInfoProto]]:
    """The graph's inputs and outputs."""

    def value(name: str, first: str, width: int | None) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [first] if width is None else [first, width])

    wide = {name: config.hidden if name.endswith("1") else config.last for name in STATES}
    inputs = [value("x", "n", STEP), *(value(name, "n", wide[name]) for name in STATES)]
    inputs += [value("pairs", "p", PAIR), value("keys", "p", config.embedding + 2)]
    outputs = [value("box", "n", 8), value("lift", "n", None), value("same", "n", None)]
    outputs += [value("key", "n", config.embedding + 2), value("correction", "p", None)]
    outputs += [value(f"{name}_next", "n", wide[name]) for name in STATES]
    return inputs, outputs


def write_network(model: AssociationLstm, path: Path, about: Mapping[str, str]) -> None:
    """Writes the ONNX file; a file of that name is replaced at once or not at all."""
    fresh = path.with_suffix(".part")
    fresh.write_bytes(network_graph(model, about).SerializeToString(deterministic=True))
    fresh.replace(path)


def _linear(g: _Graph, weights: Mapping[str, Float32], name: str, value: str) -> str:
    return g.linear(value, weights[f"{name}.weight"], weights[f"{name}.bias"], name)


def _standard(g: _Graph, value: str, norm: nn.BatchNorm1d, name: str, *, clip: bool = True) -> str:
    """Batch normalisation with its running statistics, and the network's clamp."""
    state = norm.state_dict()
    mean, variance = (state[name].cpu().numpy().astype(np.float64) for name in ("running_mean", "running_var"))
    scale = 1 / np.sqrt(variance + norm.eps)
    z = g.affine(value, scale.astype(np.float32), (-mean * scale).astype(np.float32), name)
    return g.add("Clip", z, g.constant(np.float32(-6)), g.constant(np.float32(6))) if clip else z


def _between(g: _Graph, weights: Mapping[str, Float32], model: AssociationLstm, name: str, value: str) -> str:
    """Normalises a layer's output, as the model does."""
    layer = model.get_submodule(name)
    if isinstance(layer, nn.BatchNorm1d):
        return _standard(g, value, layer, name, clip=False)
    return _norm(g, weights, name, value)


def _norm(g: _Graph, weights: Mapping[str, Float32], name: str, value: str) -> str:
    scale = g.constant(weights[f"{name}.weight"], f"{name}.weight")
    shift = g.constant(weights[f"{name}.bias"], f"{name}.bias")
    return g.add("LayerNormalization", value, scale, shift, axis=-1, epsilon=1e-5)


def _cell(g: _Graph, weights: Mapping[str, Float32], layer: int, x: str) -> str:
    """One recurrent step; names the next states as outputs and returns h."""
    name, h, c = f"lstm{layer}", f"h{layer}", f"c{layer}"
    w = np.concatenate([weights[f"{name}.weight_ih_l0"], weights[f"{name}.weight_hh_l0"]], axis=1)
    b = weights[f"{name}.bias_ih_l0"] + weights[f"{name}.bias_hh_l0"]
    gates = g.linear(g.add("Concat", x, h, axis=1), w, b, name)
    i, f, new, o = g.split(gates, [len(b) // 4] * 4)
    kept = g.add("Mul", g.add("Sigmoid", f), c)
    taken = g.add("Mul", g.add("Sigmoid", i), g.add("Tanh", new))
    state = g.add("Add", kept, taken, name=f"{c}_next")
    return g.add("Mul", g.add("Sigmoid", o), g.add("Tanh", state), name=f"{h}_next")

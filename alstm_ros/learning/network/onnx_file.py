"""Writes the network as one self-describing ONNX file: one step and the pairs' corrections, no loop.

Constants bear the names of the network's parameters; `weights` reads them back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto
from torch import nn

from alstm_ros.association.learned.associator import KIND, STATES, VERSION
from alstm_ros.association.learned.features import AMBIGUITY, APPEARANCE, GEOMETRY, PAIR, STEP
from alstm_ros.learning.network.model import AssociationLstm, LstmConfig
from alstm_ros.learning.network.variants import network_description
from alstm_ros.onnx_graph import GraphWriter, Naming, Values
from alstm_ros.types import Float32

NAMING = Naming(tensor="v{n}", node="", constant="w{n}", shared=False)
"""How values and constants without a name of their own are called."""


class _Graph(GraphWriter):
    """The network's operations; every method returns the name of a value."""

    def __init__(self) -> None:
        super().__init__(naming=NAMING)

    def linear(self, value: str, weight: np.ndarray, bias: np.ndarray, layer: str) -> str:
        """`value @ weight.T + bias`."""
        b = self.const(bias, f"{layer}.bias")
        return self.op("Gemm", value, self.const(weight, f"{layer}.weight"), b, transB=1)

    def times(self, value: str, factor: float) -> str:
        return self.op("Mul", value, self.const(np.float32(factor)))

    def affine(self, value: str, scale: np.ndarray, shift: np.ndarray, layer: str) -> str:
        scaled = self.op("Mul", value, self.const(scale, f"{layer}.scale"))
        return self.op("Add", scaled, self.const(shift, f"{layer}.shift"))


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
    geometry, _ = g.split(x, [GEOMETRY, STEP - GEOMETRY], axis=1)
    _, appearance = g.split("x", [GEOMETRY, STEP - GEOMETRY], axis=1)  # not standardised
    appearance = g.times(appearance, APPEARANCE**0.5 if config.appearance else 0)
    z = g.op("Concat", geometry, appearance, axis=1)
    h1 = _cell(g, weights, 1, z)
    h2 = _cell(g, weights, 2, _between(g, weights, model, "norm1", h1))
    y = _between(g, weights, model, "norm2", h2)

    hidden = g.op("Relu", _linear(g, weights, "head", g.op("Concat", y, geometry, axis=1)))
    box = g.op("Tanh", _linear(g, weights, "box", hidden))
    g.op("Mul", box, g.const(np.array([1] * 4 + [config.shift] * 4, np.float32)), name="box")
    flat = g.const(np.array([-1], np.int64))
    same = g.op("Sigmoid", _linear(g, weights, "same", hidden))
    g.op("Reshape", same, flat, name="same")
    lift = g.op("Mul", g.op("Tanh", _linear(g, weights, "score", hidden)), g.const(np.float32(config.lift)))
    g.op("Reshape", lift, flat, name="lift")
    none, trust = g.split(_linear(g, weights, "trust", y), [1, 1], axis=1)
    feature, reliability = g.op("Tanh", _linear(g, weights, "embed", y)), g.op("Sigmoid", trust)
    g.op("Concat", feature, none, reliability, axis=1, name="key")

    feature, none, trust = g.split("keys", [config.embedding, 1, 1], axis=1)
    p = g.op("Concat", _standard(g, "pairs", model.norm_pair, "norm_pair", clip=False), feature, axis=1)
    p = g.op("Relu", _linear(g, weights, "pair1", p))
    p = g.op("Relu", _linear(g, weights, "pair2", p))
    p = g.op("Tanh", g.op("Add", _linear(g, weights, "pair3", p), none))
    _, doubt = g.split("pairs", [AMBIGUITY, 1], axis=1)
    doubt = g.op("Clip", doubt, g.const(np.float32(0)), g.const(np.float32(1)))
    p = g.op("Mul", g.op("Mul", p, g.times(doubt, config.bound)), trust)
    g.op("Reshape", p, flat, name="correction")

    sizes = {"hidden": config.hidden, "second": config.last, "embedding": config.embedding, "bound": config.bound}
    sizes |= {"step": STEP, "pair": PAIR}
    metadata = {"kind": KIND, "layout": VERSION, "sizes": json.dumps(sizes), "precision": "fp32"}
    metadata["network"] = json.dumps(network_description(config))
    return g.model("association_lstm", *_interface(config), metadata | dict(about))


def _interface(config: LstmConfig) -> tuple[Values, Values]:
    """The graph's inputs and outputs."""

    def value(first: str, *width: int) -> tuple[int, Sequence[int | str]]:
        return TensorProto.FLOAT, [first, *width]

    wide = {name: config.hidden if name.endswith("1") else config.last for name in STATES}
    key = value("n", config.embedding + 2)
    inputs = {"x": value("n", STEP)} | {name: value("n", wide[name]) for name in STATES}
    inputs |= {"pairs": value("p", PAIR), "keys": value("p", config.embedding + 2)}
    outputs = {"box": value("n", 8), "lift": value("n"), "same": value("n"), "key": key, "correction": value("p")}
    outputs |= {f"{name}_next": value("n", wide[name]) for name in STATES}
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
    return g.op("Clip", z, g.const(np.float32(-6)), g.const(np.float32(6))) if clip else z


def _between(g: _Graph, weights: Mapping[str, Float32], model: AssociationLstm, name: str, value: str) -> str:
    """Normalises a layer's output, as the model does."""
    layer = model.get_submodule(name)
    if isinstance(layer, nn.BatchNorm1d):
        return _standard(g, value, layer, name, clip=False)
    return _norm(g, weights, name, value)


def _norm(g: _Graph, weights: Mapping[str, Float32], name: str, value: str) -> str:
    scale = g.const(weights[f"{name}.weight"], f"{name}.weight")
    shift = g.const(weights[f"{name}.bias"], f"{name}.bias")
    return g.op("LayerNormalization", value, scale, shift, axis=-1, epsilon=1e-5)


def _cell(g: _Graph, weights: Mapping[str, Float32], layer: int, x: str) -> str:
    """One recurrent step; names the next states as outputs and returns h."""
    name, h, c = f"lstm{layer}", f"h{layer}", f"c{layer}"
    w = np.concatenate([weights[f"{name}.weight_ih_l0"], weights[f"{name}.weight_hh_l0"]], axis=1)
    b = weights[f"{name}.bias_ih_l0"] + weights[f"{name}.bias_hh_l0"]
    gates = g.linear(g.op("Concat", x, h, axis=1), w, b, name)
    i, f, new, o = g.split(gates, [len(b) // 4] * 4, axis=1)
    kept = g.op("Mul", g.op("Sigmoid", f), c)
    taken = g.op("Mul", g.op("Sigmoid", i), g.op("Tanh", new))
    state = g.op("Add", kept, taken, name=f"{c}_next")
    return g.op("Mul", g.op("Sigmoid", o), g.op("Tanh", state), name=f"{h}_next")

"""Small models that are made here: a recurrent step, and a detector that reads its boxes off the image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from alstm_ros.config import EngineConfig
from alstm_ros.engines.onnxruntime_engine import OnnxRuntimeEngine

FEATURES, HIDDEN, PAIR = 12, 16, 6


class Graph:
    """Nodes and weights under construction; every method returns the name of a tensor."""

    def __init__(self, seed: int = 0) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._random = np.random.default_rng(seed)

    def weight(self, values: NDArray[Any] | float | list[int]) -> str:
        array = np.asarray(values)
        name = f"w{len(self.weights)}"
        self.weights.append(
            numpy_helper.from_array(array.astype(np.float32) if array.dtype.kind == "f" else array, name)
        )
        return name

    def noise(self, *shape: int, scale: float = 0.5) -> str:
        return self.weight(self._random.standard_normal(shape) * scale)

    def add(self, operation: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        name = name or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, list(inputs), [name], **attributes))
        return name

    def model(
        self,
        inputs: dict[str, tuple[int, tuple[Any, ...]]],
        outputs: dict[str, tuple[int, tuple[Any, ...]]],
        **about: str,
    ) -> onnx.ModelProto:
        values = [[helper.make_tensor_value_info(n, *spec) for n, spec in group.items()] for group in (inputs, outputs)]
        graph = helper.make_graph(self.nodes, "tiny", values[0], values[1], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, about)
        onnx.checker.check_model(model, full_check=True)
        return model


def recurrent_step(**about: str) -> onnx.ModelProto:
    """One LSTM step for N tracks with a score each, and a correction for each of P pairs."""
    g = Graph()
    gates = g.add("Gemm", "x", g.noise(4 * HIDDEN, FEATURES), g.noise(4 * HIDDEN), transB=1)
    gates = g.add("Add", gates, g.add("MatMul", "h", g.noise(HIDDEN, 4 * HIDDEN)))
    parts = [f"gate{n}" for n in range(4)]
    g.nodes.append(helper.make_node("Split", [gates], parts, axis=1))
    i, f, o = (g.add("Sigmoid", part) for part in parts[:3])
    c = g.add("Add", g.add("Mul", f, "c"), g.add("Mul", i, g.add("Tanh", parts[3])), name="c_next")
    h = g.add("Mul", o, g.add("Tanh", c), name="h_next")
    hidden = g.add("Relu", g.add("Gemm", h, g.noise(8, HIDDEN), g.noise(8), transB=1))
    score = g.add("Sigmoid", g.add("Gemm", hidden, g.noise(1, 8), g.noise(1), transB=1))
    g.add("Squeeze", score, g.weight(np.array([1], np.int64)), name="score")
    pairs = g.add("Relu", g.add("Gemm", "pairs", g.noise(8, PAIR), g.noise(8), transB=1))
    pairs = g.add("Tanh", g.add("Gemm", pairs, g.noise(1, 8), g.noise(1), transB=1))
    g.add("Squeeze", pairs, g.weight(np.array([1], np.int64)), name="correction")
    kind = TensorProto.FLOAT
    state = (kind, ("N", HIDDEN))
    return g.model(
        {"x": (kind, ("N", FEATURES)), "h": state, "c": state, "pairs": (kind, ("P", PAIR))},
        {"h_next": state, "c_next": state, "score": (kind, ("N",)), "correction": (kind, ("P",))},
        **({"kind": "step"} | about),
    )


def painted_detector(candidates: int = 8, height: int = 64, width: int = 96) -> onnx.ModelProto:
    """A detector for images that carry their boxes in their first two rows; see `paint`."""
    g = Graph()
    floats = g.add("Cast", g.add("Transpose", "images", perm=[0, 3, 1, 2]), to=TensorProto.FLOAT)
    mixed = g.add("Conv", floats, g.weight(np.eye(3)[:, :, None, None]))  # copies, but is a product
    axes = g.weight(np.array([2, 3], np.int64))
    rows = [
        g.add("Slice", mixed, g.weight(np.array([row, 0])), g.weight(np.array([row + 1, candidates])), axes)
        for row in (0, 1)
    ]
    squeezed = [g.add("Squeeze", row, g.weight(np.array([2], np.int64))) for row in rows]
    centres, sizes = (g.add("Transpose", row, perm=[0, 2, 1]) for row in squeezed)  # (batch, candidates, 3)
    last = g.weight(np.array([2], np.int64))

    def part(of: str, start: int, stop: int) -> str:
        return g.add("Slice", of, g.weight(np.array([start])), g.weight(np.array([stop])), last)

    xy, wh = part(centres, 0, 2), g.add("Div", part(sizes, 0, 2), g.weight(2.0))
    boxes = g.add("Concat", g.add("Sub", xy, wh), g.add("Add", xy, wh), axis=2)
    scores = g.add("Squeeze", g.add("Div", part(centres, 2, 3), g.weight(255.0)), last)
    count = g.weight(np.array([candidates], np.int64))
    g.nodes.append(helper.make_node("TopK", [scores, count], ["scores", "order"], axis=1))
    wide = g.add("Expand", g.add("Unsqueeze", "order", last), g.weight(np.array([1, 1, 4], np.int64)))
    g.add("GatherElements", boxes, wide, axis=1, name="boxes")
    g.add("Cast", g.add("Mul", "scores", g.weight(0.0)), to=TensorProto.INT64, name="classes")
    return g.model(
        {"images": (TensorProto.UINT8, ("batch", "height", "width", 3))},
        {
            "boxes": (TensorProto.FLOAT, ("batch", candidates, 4)),
            "scores": (TensorProto.FLOAT, ("batch", candidates)),
            "classes": (TensorProto.INT64, ("batch", candidates)),
        },
        kind="detector", version="1", classes="person", decoder="candidates", preprocess="letterbox", color="bgr",
        height=str(height), width=str(width), multiple="32", minimum="32", licence="none", training_data="none",
        source="test/tiny_models.py",
    )  # fmt: skip


def paint(boxes: NDArray[Any], scores: NDArray[Any], height: int = 64, width: int = 96) -> NDArray[np.uint8]:
    """An image that `painted_detector` finds these boxes (x, y of the centre, width, height) and scores in."""
    image = np.zeros((height, width, 3), np.uint8)
    image[0, : len(boxes), :2], image[1, : len(boxes), :2] = boxes[:, :2], boxes[:, 2:]
    image[0, : len(boxes), 2] = np.round(scores * 255)
    return image


def reference(folder: Path, model: onnx.ModelProto) -> OnnxRuntimeEngine:
    """The model on ONNX Runtime."""
    path = folder / "model.onnx"
    onnx.save(model, path)
    return OnnxRuntimeEngine(path, EngineConfig(threads=1))


def assert_same(one: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]) -> None:
    """Checks that two answers are alike to the bit."""
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.dtype == other[name].dtype
        np.testing.assert_array_equal(array, other[name], err_msg=name)


def layer_types(model: onnx.ModelProto) -> dict[str, dict[str, int]]:
    """How many nodes of each operation compute in which type, such as `{"Conv": {"fp16": 52, "fp32": 1}}`."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in (*inferred.input, *inferred.value_info, *inferred.output)
    }
    names: dict[int, str] = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16"}
    found: dict[str, Counter[str]] = {}
    for node in model.graph.node:
        kind = names.get(types.get(node.output[0], 0))
        if kind and node.op_type not in {"Constant", "Cast"}:
            found.setdefault(node.op_type, Counter())[kind] += 1
    return {op: dict(sorted(counts.items())) for op, counts in sorted(found.items())}

"""The FP16 export: what is lowered, what is not, and how far the answers move."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, shape_inference
from tiny_models import (
    FEATURES,
    HIDDEN,
    PAIR,
    Graph,
    assert_same,
    layer_types,
    painted_detector,
    recurrent_step,
    reference,
)

from alstm_ros.engines import agreement, precision, tensorrt_graph
from alstm_ros.errors import ModelError

MODELS = Path(__file__).resolve().parents[1] / "alstm_ros" / "models"
SHIPPED = sorted(MODELS.glob("*.onnx"))


def kinds(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of every tensor."""
    graph = shape_inference.infer_shapes(model, strict_mode=True).graph
    return {value.name: value.type.tensor_type.elem_type for value in [*graph.input, *graph.output, *graph.value_info]}


def signature(model: onnx.ModelProto) -> tuple[list[str], list[str]]:
    weights = {weight.name for weight in model.graph.initializer}
    inputs = [value.SerializeToString().hex() for value in model.graph.input if value.name not in weights]
    return inputs, [value.SerializeToString().hex() for value in model.graph.output]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_models_keep_their_callers_and_nearly_their_answers(path: Path, tmp_path: Path) -> None:
    model = onnx.load(path)
    lowered = precision.half(model)
    onnx.checker.check_model(lowered, full_check=True)
    assert signature(lowered) == signature(model)
    assert lowered.ByteSize() < 0.62 * model.ByteSize()
    about = {entry.key: entry.value for entry in lowered.metadata_props}
    assert about == {entry.key: entry.value for entry in model.metadata_props} | {"precision": "fp16"}
    counts = layer_types(lowered)
    for product in precision.PRODUCTS & counts.keys():
        assert set(counts[product]) == {"fp16"}
    for kept in {"Softmax", "TopK", "Exp", "Div", "ReduceMax", "LayerNormalization"} & counts.keys():
        assert set(counts[kept]) == {"fp32"}
    inputs = example(model)
    found = agreement.check(reference(tmp_path, model)(inputs), reference(tmp_path, lowered)(inputs), "fp16")
    assert any(off > 0 for off in found.values())  # it was lowered indeed


@pytest.mark.parametrize("name", ["yolox_nano", "nanodet_plus_m_dyn"])
def test_third_party_models_nearly_keep_their_answers(shared: Path, name: str, tmp_path: Path) -> None:
    model = onnx.load(shared / "models" / f"{name}.onnx")
    inputs = example(model)
    lowered = precision.half(model)
    agreement.check(reference(tmp_path, model)(inputs), reference(tmp_path, lowered)(inputs), "fp16")


def example(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """A smooth picture with edges, or features around zero."""
    weights = {weight.name for weight in model.graph.initializer}
    inputs: dict[str, NDArray[Any]] = {}
    rng = np.random.default_rng(0)
    for value in model.graph.input:
        if value.name in weights:
            continue
        dims = value.type.tensor_type.shape.dim
        last = dims[-1].dim_value == 3
        shape = [dim.dim_value or (2 if place == 0 else 320) for place, dim in enumerate(dims)]
        if len(shape) == 4:
            rows, columns = (shape[1], shape[2]) if last else (shape[2], shape[3])
            y, x = np.mgrid[:rows, :columns]
            picture = 120 + 60 * np.sin(x / 37) + 50 * np.cos(y / 23) + 40 * ((x // 50 + y // 80) % 2)
            planes = np.stack([picture, picture[::-1], picture[:, ::-1]], 2 if last else 0)
            array = np.broadcast_to(planes, shape).clip(0, 255)
        else:
            array = rng.standard_normal(shape)
        inputs[value.name] = array.astype(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
    return inputs


def test_all_that_makes_a_recurrent_state_is_fp32() -> None:
    lowered = precision.half(recurrent_step())
    types = kinds(lowered)
    by_output = {name: node for node in lowered.graph.node for name in node.output}
    seen = []

    def walk(name: str) -> None:
        node = by_output.get(name)
        if node is None or node.op_type == "Cast":
            return
        seen.append(node.op_type)
        assert types[name] == TensorProto.FLOAT, (node.op_type, name)
        for source in node.input:
            walk(source)

    walk("c_next")
    walk("h_next")
    assert {"Sigmoid", "Tanh", "Mul", "Add", "Split"} <= set(seen)
    assert "Gemm" not in seen
    assert layer_types(lowered)["Gemm"] == {"fp16": 5}
    assert layer_types(lowered)["MatMul"] == {"fp16": 1}


def test_what_follows_the_last_product_is_fp32() -> None:
    """Boxes are decoded there: at 1000 pixels FP16 knows no half pixel."""
    lowered = precision.half(painted_detector())
    nodes = list(lowered.graph.node)
    last = max(place for place, node in enumerate(nodes) if node.op_type in precision.PRODUCTS)
    types = kinds(lowered)
    halves = [node.op_type for node in nodes[last + 1 :] if types[node.output[0]] == TensorProto.FLOAT16]
    assert halves == []
    assert types[nodes[last].output[0]] == TensorProto.FLOAT16


def test_states_drift_little_over_1000_steps(tmp_path: Path) -> None:
    """FP16 products feed FP32 states: their roundings must not add up."""
    engines = [reference(tmp_path, model) for model in (recurrent_step(), precision.half(recurrent_step()))]
    rng = np.random.default_rng(0)
    states = [{name: np.zeros((8, HIDDEN), np.float32) for name in "hc"} for _ in engines]
    worst = []
    for _ in range(1000):
        fresh = {
            "x": rng.standard_normal((8, FEATURES)).astype(np.float32),
            "pairs": rng.standard_normal((1, PAIR)).astype(np.float32),
        }
        answers = [engine(state | fresh) for engine, state in zip(engines, states, strict=True)]
        states = [{name: answer[f"{name}_next"] for name in "hc"} for answer in answers]
        worst.append(max(np.abs(answers[0][name] - answers[1][name]).max() for name in answers[0]))
    assert max(worst[:100]) > 0
    assert max(worst) < 0.02
    assert max(worst[500:]) < 2 * max(worst[:500])


def test_weights_beyond_fp16_stay() -> None:
    g = Graph()
    kept = g.add("MatMul", "x", g.weight(np.full((4, 4), 70000.0)))
    g.add("MatMul", kept, g.noise(4, 4), name="y")
    lowered = precision.half(g.model({"x": (1, ("N", 4))}, {"y": (1, ("N", 4))}))
    assert layer_types(lowered) == {"MatMul": {"fp16": 1, "fp32": 1}}


def test_a_weight_that_both_use_is_kept_in_both() -> None:
    g = Graph()
    weight = g.noise(4, 4)
    g.add("Div", g.add("MatMul", "x", weight), weight, name="y")
    model = g.model({"x": (1, (4, 4))}, {"y": (1, (4, 4))})
    lowered = precision.half(model)
    assert sorted(entry.data_type for entry in lowered.graph.initializer) == [TensorProto.FLOAT, TensorProto.FLOAT16]
    onnx.checker.check_model(lowered, full_check=True)


def test_a_tensor_that_a_branch_reads_is_given_to_it_in_fp32(tmp_path: Path) -> None:
    g = Graph()
    product = g.add("Relu", g.add("MatMul", "x", g.noise(4, 4)))
    second = g.add("MatMul", product, g.noise(4, 4))
    kind = helper.make_tensor_value_info("r", TensorProto.FLOAT, None)
    branches = [
        helper.make_graph([helper.make_node(op, [product], ["r"])], op, [], [kind]) for op in ("Neg", "Identity")
    ]
    g.add("If", "flag", then_branch=branches[0], else_branch=branches[1], name="picked")
    g.add("Add", second, "picked", name="y")
    model = g.model({"x": (1, (4, 4)), "flag": (TensorProto.BOOL, ())}, {"y": (1, (4, 4))})
    lowered = precision.half(model)
    inputs = {"x": np.ones((4, 4), np.float32), "flag": np.array(True)}  # noqa: FBT003  # an array of it
    agreement.check(reference(tmp_path, model)(inputs), reference(tmp_path, lowered)(inputs), "fp16")


def test_an_output_in_the_middle_is_still_there(tmp_path: Path) -> None:
    g = Graph()
    g.add("Relu", g.add("MatMul", "x", g.noise(4, 4)), name="features")
    g.add("MatMul", "features", g.noise(4, 4), name="y")
    model = g.model({"x": (1, ("N", 4))}, {"features": (1, ("N", 4)), "y": (1, ("N", 4))})
    lowered = precision.half(model)
    inputs = {"x": np.ones((3, 4), np.float32)}
    agreement.check(reference(tmp_path, model)(inputs), reference(tmp_path, lowered)(inputs), "fp16")


def test_lowering_twice_changes_nothing_and_the_original_stays(tmp_path: Path) -> None:
    model = painted_detector()
    before = model.SerializeToString()
    once = precision.half(model)
    assert model.SerializeToString() == before
    twice = precision.half(once)
    assert layer_types(twice) == layer_types(once)
    images = {"images": np.random.default_rng(0).integers(0, 255, (1, 64, 96, 3)).astype(np.uint8)}
    assert_same(reference(tmp_path, once)(images), reference(tmp_path, twice)(images))


def test_an_old_opset_is_refused() -> None:
    model = recurrent_step()
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", 9))
    with pytest.raises(ModelError, match="of ONNX opset 9; an FP16 version is made from opset 11 on"):
        precision.half(model)


def test_weights_among_the_inputs_are_no_inputs() -> None:
    model = recurrent_step()
    for weight in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims))
    assert [value.name for value in precision.half(model).graph.input] == ["x", "h", "c", "pairs"]
    assert set(tensorrt_graph.prepare(model, "fp32").inputs) == {"x", "h", "c", "pairs"}


def test_constants_are_weights_too() -> None:
    model = recurrent_step()
    tensors = list(model.graph.initializer)
    del model.graph.initializer[:]
    for tensor in reversed(tensors):
        model.graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=tensor))
    lowered = precision.half(model)
    assert layer_types(lowered)["Gemm"] == {"fp16": 5}
    halves = [entry for entry in lowered.graph.initializer if entry.data_type == TensorProto.FLOAT16]
    assert {numpy_helper.to_array(entry).dtype for entry in halves} == {np.dtype(np.float16)}
    onnx.checker.check_model(lowered, full_check=True)

"""Every model file that is shipped or written is as the ONNX standard says, so that other parsers than ours take it.

The first files were not: `Range` got tensors of one element where scalars belong, which ONNX Runtime forgives, and of
which the parser of TensorRT 8.6 dies.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper
from onnx_conformity import faults, reference

from alstm_ros import detection
from alstm_ros.association.learned.associator import MODELS
from alstm_ros.config import DetectorConfig
from alstm_ros.detection.exporting import export_detector, letterbox_in_graph
from alstm_ros.engines import tensorrt_graph

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = {**detection.MODELS, "association": MODELS["default"]}
FAMILIES = [
    "yolox", "yolox decoded", "yolov5", "yolov8", "yolov8 masks", "nanodet", "nanodet plus", "ssd", "detr", "rtdetr",
]  # fmt: skip


CLEAR = 0.01
"""Scores above this are no two alike in the files here."""


def feed(model: ModelProto, **sizes: int) -> dict[str, NDArray[Any]]:
    """Something for each input; free sizes are looked up by name, 1 where none is given."""
    rng, found = np.random.default_rng(0), {}
    for value in model.graph.input:
        kind = value.type.tensor_type
        shape = [axis.dim_value or sizes.get(axis.dim_param, 1) for axis in kind.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        values = rng.integers(0, 255, shape) if dtype.kind in "ui" else rng.normal(0, 1, shape)
        found[value.name] = values.astype(dtype)
    return found


def assert_as_the_standard_says(model: ModelProto, **sizes: int) -> None:
    """No fault is found, and ONNX's own evaluator gives what ONNX Runtime gives."""
    assert faults(model) == []
    given = feed(model, **sizes)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    ours, theirs = (
        dict(zip(names, answers, strict=True)) for answers in (session.run(None, given), reference(model, given))
    )
    # Of equal scores any may come first, so only what is told apart is compared.
    clear = ours["scores"] > CLEAR if "scores" in names else None
    for name in names:
        one, other = ours[name], theirs[name]
        assert one.shape == other.shape, name
        if clear is not None and name != "scores":
            one, other = one[clear], other[clear]
        np.testing.assert_allclose(other, one, rtol=1e-2, atol=2e-3, err_msg=name)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped(name: str) -> None:
    model = onnx.load(SHIPPED[name])
    assert_as_the_standard_says(model, batch=1, height=192, width=224, n=5, p=7)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("conformity")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("features", ["appearance", "cells", "none"])
def test_exported(folder: Path, family: str, features: str) -> None:
    pytest.importorskip("torch", reason="the small networks are written in torch")
    import foreign_models

    path = folder / f"{family}.onnx"
    if not path.is_file():
        onnx.save(foreign_models.export(family), path)
    made = export_detector(path, DetectorConfig(class_names=("cat", "dog", "yak")), top_k=50, wanted=features)
    assert faults(made.model) == []


@pytest.mark.parametrize("family", ["yolox", "detr", "ssd"])
def test_exported_answers_as_the_standard_says(folder: Path, family: str) -> None:
    pytest.importorskip("torch", reason="the small networks are written in torch")
    import foreign_models

    path = folder / f"{family}.onnx"
    onnx.save(foreign_models.export(family), path)
    made = export_detector(path, DetectorConfig(class_names=("cat", "dog", "yak")), top_k=50).model
    assert_as_the_standard_says(made, batch=2)
    assert_as_the_standard_says(letterbox_in_graph(made, path.name), batch=2, height=60, width=90)


@pytest.mark.parametrize("name", detection.MODELS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("inside", [False, True])
def test_what_tensorrt_is_given(name: str, precision: str, *, inside: bool) -> None:
    model = onnx.load(detection.MODELS[name])
    model = letterbox_in_graph(model, name) if inside else model
    assert faults(onnx.load_from_string(tensorrt_graph.prepare(model, precision).onnx)) == []


@pytest.mark.parametrize("preset", ["train", "train_paper", "train_research"])
def test_the_association_of_every_preset(tmp_path: Path, preset: str) -> None:
    torch = pytest.importorskip("torch", reason="the network is written in torch")
    from alstm_ros.learning.network.onnx_file import write_network
    from alstm_ros.learning.network.variants import make_network
    from alstm_ros.learning.run import read_run

    torch.manual_seed(0)
    write_network(make_network(read_run(ROOT / "config" / f"{preset}.yaml", []).model), tmp_path / "made.onnx", {})
    assert_as_the_standard_says(onnx.load(tmp_path / "made.onnx"), n=5, p=7)


@pytest.mark.parametrize(
    ("kind", "shape", "wrong"),
    [
        ("Range", [1], 1),
        ("Range", [], 0),
        ("Clip", [1], 2),
        ("Clip", [], 0),
    ],
)
def test_a_tensor_where_a_scalar_belongs_is_found(kind: str, shape: list[int], wrong: int) -> None:
    """The checker of onnx 1.23 sees `Range` by itself where its inputs are constants, and `Clip` never."""
    sentence = f"{kind}'s input"
    low, high, step = (helper.make_tensor(name, TensorProto.FLOAT, shape, [value]) for name, value in
                       (("low", 0.0), ("high", 4.0), ("step", 1.0)))  # fmt: skip
    if kind == "Range":
        node, given = helper.make_node("Range", ["low", "high", "step"], ["out"], name="node"), []
    else:
        node = helper.make_node("Clip", ["x", "low", "high"], ["out"], name="node")
        given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])]
    out = [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n"])]
    graph = helper.make_graph([node], "small", given, out, initializer=[low, high, step])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert [sentence in found or "should be scalar" in found for found in faults(model)] == [True] * wrong

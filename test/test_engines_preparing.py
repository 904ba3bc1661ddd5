"""What a model goes through before TensorRT builds it: bounds of its shapes, and a graph that TensorRT takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import Graph, assert_same, painted_detector, recurrent_step, reference

from alstm_ros.engines import tensorrt_graph
from alstm_ros.engines.failures import UnsupportedModelError
from alstm_ros.engines.profiles import Range, make_profile
from alstm_ros.errors import ModelError


@given(st.integers(1, 600), st.integers(1, 16), st.integers(1, 600))
def test_buckets_hold_their_rows_and_are_few(most: int, step: int, size: int) -> None:
    step, size = min(step, most), min(size, most)
    rows = Range(1, 1, most, step)
    assert size <= rows.bucket(size) <= most
    assert rows.bucket(rows.bucket(size)) == rows.bucket(size)
    assert len({rows.bucket(n) for n in range(1, most + 1)}) <= 11


def test_only_files_that_describe_themselves_are_padded() -> None:
    inputs: dict[str, Any] = {"images": ("batch", 3, 64, 64)}
    assert make_profile(inputs, {}, {"kind": "detector"}, 4).ranges["batch"].bucket(3) == 4
    assert make_profile(inputs, {}, {}, 4).ranges["batch"].bucket(3) == 3


def test_a_size_that_nothing_bounds_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match=r"Axis 2 of the model's input 'images' .'h'. may have any size"):
        make_profile({"images": (1, 3, "h", "w")}, {}, {}, 4)
    with pytest.raises(UnsupportedModelError, match="no whole number"):
        make_profile({"images": (1, 3, "h", "w")}, {}, {"h": "tall"}, 4)


def test_sizes_come_from_the_metadata_and_the_config() -> None:
    inputs: dict[str, Any] = {"images": ("batch", "height", "width", 3)}
    about = {"kind": "detector", "height": "480", "width": "640", "minimum": "192"}
    assert make_profile(inputs, {}, about, 4).key == "images:1x192x192x3..1x480x640x3..4x480x640x3"
    assert make_profile(inputs, {}, about, 2, {"height": 960}).key == "images:1x192x192x3..1x960x640x3..2x960x640x3"


def test_casts_of_8_bit_images_move_to_the_front_and_change_nothing(tmp_path: Path) -> None:
    model = painted_detector()
    prepared = onnx.load_from_string(tensorrt_graph.prepare(model, "fp32").onnx)
    first = prepared.graph.node[0]
    assert (first.op_type, list(first.input)) == ("Cast", ["images"])
    assert [node.op_type for node in prepared.graph.node if "images" in node.input] == ["Cast"]
    images = np.random.default_rng(1).integers(0, 255, (3, 64, 96, 3)).astype(np.uint8)
    assert_same(reference(tmp_path, model)({"images": images}), reference(tmp_path, prepared)({"images": images}))


def test_8_bit_arithmetic_is_refused() -> None:
    g = Graph()
    g.add("Resize", "x", "", g.weight(np.array([1, 1, 2, 2], np.float32)), name="y")
    model = g.model({"x": (2, (1, 3, 8, 8))}, {"y": (2, (1, 3, 16, 16))})
    with pytest.raises(UnsupportedModelError, match="8-bit input 'x' goes into Resize"):
        tensorrt_graph.prepare(model, "fp32")


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x07"])
def test_a_file_that_is_no_model_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"broken\.onnx"):
        tensorrt_graph.read(path)


def test_the_recipe_is_raised_with_what_it_makes() -> None:
    """Cached engines are found by RECIPE: a change of `prepare` that this notices must raise it."""
    made = [
        tensorrt_graph.prepare(model(), precision)
        for model in (recurrent_step, painted_detector)
        for precision in ("fp32", "fp16")
    ]
    lines = [
        f"{node.op_type} {','.join(node.input)} -> {','.join(node.output)}"
        for prepared in made
        for node in onnx.load_from_string(prepared.onnx).graph.node
    ]
    known = json.loads((Path(__file__).parent / "golden" / "tensorrt_graph.json").read_text())
    assert {"recipe": tensorrt_graph.RECIPE, "nodes": lines} == known

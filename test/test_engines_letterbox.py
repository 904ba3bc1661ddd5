"""The letterbox inside the graph: the same picture as OpenCV's on the processor, and TensorRT builds it."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto
from tiny_models import Graph, painted_detector, recurrent_step, reference

from alstm_ros import detection
from alstm_ros.config import EngineConfig
from alstm_ros.detection.letterbox import Canvas
from alstm_ros.engines import agreement, tensorrt_api, tensorrt_build, tensorrt_graph
from alstm_ros.engines.letterbox_graph import LetterboxRoom, letterbox_inside
from alstm_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from alstm_ros.engines.profiles import make_profile
from alstm_ros.errors import ModelError

HEIGHT, WIDTH, MULTIPLE, MINIMUM = 96, 128, 32, 64


def inside(model: onnx.ModelProto, **more: Any) -> onnx.ModelProto:
    return letterbox_inside(model, LetterboxRoom(HEIGHT, WIDTH, MULTIPLE, MINIMUM, **more))


def sizes(metadata: Mapping[str, str]) -> dict[str, Any]:
    return {name: int(metadata[name]) for name in ("height", "width", "multiple", "minimum")}


def room(metadata: Mapping[str, str]) -> LetterboxRoom:
    return LetterboxRoom(**sizes(metadata))


def mirror() -> onnx.ModelProto:
    """Gives the picture that the network would see."""
    g = Graph()
    g.add("Cast", "images", name="seen", to=TensorProto.FLOAT)
    shape = ("batch", "height", "width", 3)
    return g.model(
        {"images": (TensorProto.UINT8, shape)}, {"seen": (TensorProto.FLOAT, shape)}, kind="detector", height="96"
    )


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> OnnxRuntimeEngine:
    return reference(tmp_path_factory.mktemp("seen"), inside(mirror()))


@settings(max_examples=60)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 9))
@example(480, 640, 0)
@example(1080, 1920, 0)
@example(1, 400, 0)
@example(400, 1, 0)
def test_it_is_opencvs_letterbox(seen: OnnxRuntimeEngine, height: int, width: int, seed: int) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3)).astype(np.uint8)
    wanted, fits = Canvas(HEIGHT, WIDTH, MULTIPLE, MINIMUM).letterbox(list(images))
    found = seen({"images": images})["seen"]
    exact = (
        height * WIDTH / width % 1 != 0.5 and width * HEIGHT / height % 1 != 0.5
    )  # halves are rounded to either side
    if exact or found.shape == wanted.shape:
        assert found.shape == wanted.shape
        if exact:
            assert np.abs(found - wanted).max() <= 1
            padding = np.ones(found.shape[1:3], bool)
            padding[: fits[0].fitted_height, : fits[0].fitted_width] = False
            assert (found[:, padding] == 127).all()


def test_the_usual_cameras_sizes_lie_to_the_pixel(seen: OnnxRuntimeEngine) -> None:
    for height, width in [(480, 640), (576, 768), (720, 1280), (1080, 1920), (1200, 1600), (1536, 2048), (376, 672)]:
        image = np.full((1, height, width, 3), 200, np.uint8)
        wanted, _ = Canvas(HEIGHT, WIDTH, MULTIPLE, MINIMUM).letterbox(list(image))
        np.testing.assert_array_equal(seen({"images": image})["seen"], wanted)


def test_centre_and_stretch(tmp_path: Path) -> None:
    image = np.full((1, 40, 100, 3), 200, np.uint8)
    centred = reference(tmp_path, inside(mirror(), fill=0, place="centre"))({"images": image})
    rows = np.flatnonzero(centred["seen"][0, :, :, 0].any(axis=1))
    assert centred["seen"].shape == (1, 64, 128, 3)
    assert (rows[0], rows[-1], set(centred["seen"].ravel())) == (6, 56, {0.0, 200.0})  # 51 of 64 rows
    stretched = reference(tmp_path, inside(mirror(), place="stretch"))({"images": image})["seen"]
    assert stretched.shape == (1, 96, 128, 3)
    assert (stretched == 200).all()


def test_the_default_detector_answers_as_with_opencv(tmp_path: Path) -> None:
    path = detection.MODELS["default"]
    plain = OnnxRuntimeEngine(path, EngineConfig(threads=1))
    fitting = reference(tmp_path, letterbox_inside(onnx.load(path), room(plain.metadata)))
    y, x = np.mgrid[:360, :500]
    picture = (120 + 60 * np.sin(x / 37) + 50 * np.cos(y / 23)).clip(0, 255)
    image = np.stack([picture, picture[::-1], picture[:, ::-1]], 2).astype(np.uint8)
    [name] = plain.inputs
    batch, _ = Canvas(**sizes(plain.metadata)).letterbox([image])
    agreement.check(plain({name: batch}), fitting({name: image[None]}), "fp16")  # a pixel is off by 1 at most
    changed = dict(fitting.metadata.items() - plain.metadata.items())
    assert changed.pop("preprocess") == "inside"
    assert set(changed) == {"source_height", "source_width", "least_source_height", "least_source_width"}


@pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="needs tensorrt-rtx-cu13")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_tensorrt_builds_the_default_detector_with_it(precision: str) -> None:
    model = onnx.load(detection.MODELS["default"])
    about = {entry.key: entry.value for entry in model.metadata_props}
    prepared = tensorrt_graph.prepare(letterbox_inside(model, room(about), largest=(720, 1280)), precision)
    profile = make_profile(prepared.inputs, prepared.outputs, prepared.metadata, 2)
    assert profile.key.endswith(":1x64x64x3..1x720x1280x3..2x720x1280x3")
    plan = tensorrt_build.build_engine(tensorrt_api.find("tensorrt_rtx"), prepared, profile, (8, 6))
    assert plan.layers["resize"]["fp32"] >= 1  # the letterbox; others are the detector's
    assert set(plan.layers["convolution"]) == {precision}


def test_without_a_multiple_the_input_is_always_whole(tmp_path: Path) -> None:
    fitting = reference(tmp_path, letterbox_inside(mirror(), LetterboxRoom(96, 128, 0, 0)))
    assert fitting({"images": np.zeros((1, 10, 90, 3), np.uint8)})["seen"].shape == (1, 96, 128, 3)


def test_what_has_no_picture_to_fit_is_refused() -> None:
    with pytest.raises(ModelError, match=r"of opset 17 and takes x, h, c, pairs\."):
        inside(recurrent_step())
    old = painted_detector()
    old.opset_import[0].version = 12
    with pytest.raises(ModelError, match="of opset 12 and takes images"):
        inside(old)

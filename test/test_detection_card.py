"""Model files that describe themselves: what is read, and which sentence refuses what does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tiny_models import Graph, painted_detector

from alstm_ros import detection
from alstm_ros.config import Config
from alstm_ros.detection.card import ModelCard
from alstm_ros.detection.decoders import DECODERS, Sample, find_decoder
from alstm_ros.detection.names import names_in_metadata
from alstm_ros.engines import TensorSpec
from alstm_ros.errors import AlstmError, ConfigError, ModelError
from alstm_ros.options import replace

GOOD = {
    "kind": "detector", "decoder": "candidates", "classes": "person\ntraffic light", "height": "64", "width": "96",
    "multiple": "32", "minimum": "32", "color": "bgr", "preprocess": "letterbox", "licence": "MIT", "source": "here",
    "training_data": "none", "version": "3",
}  # fmt: skip


def config(path: Path, **changes: object) -> Config:
    named = {key.replace("__", "."): value for key, value in changes.items()}
    return replace(
        Config(), {"detector.model": str(path), "engine.runtime": "onnxruntime", "engine.threads": 1} | named
    )


def save(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "mine.onnx"
    onnx.save(model, path)
    return path


def test_a_card_is_read() -> None:
    assert ModelCard.read(GOOD, "x.onnx") == ModelCard(
        "candidates", ("person", "traffic light"), 64, 96, 32, 32, "MIT", "here", "none", "3"
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classes": ""}, r"x\.onnx does not describe itself: its metadata lacks classes \(it holds classes, color"),
        ({"kind": "association"}, "says kind 'association'; it must be 'detector'"),
        ({"color": "rgb"}, "says color 'rgb'; it must be 'bgr'"),
        ({"preprocess": "stretch"}, "says preprocess 'stretch'; it must be 'letterbox' or 'inside'"),
        ({"place": "left"}, "says place 'left'; it must be 'corner' or 'centre' or 'stretch'"),
        ({"fill": "256"}, "says fill '256'; it must be a whole number up to 255"),
        ({"height": "tall"}, "says height 'tall'; it must be a whole number above 0"),
        ({"multiple": "0"}, "says multiple '0'; it must be a whole number above 0"),
        ({"width": "-32"}, "says width '-32'"),
        ({"width": "97"}, "says width 97; it must be a multiple of 32 and at least 32"),
        ({"minimum": "128"}, "says height 64; it must be a multiple of 32 and at least 128"),
        ({"classes": "person\nperson"}, "each must have a name of its own"),
        ({"classes": "person\n"}, "each must have a name of its own"),
    ],
)
def test_a_card_that_is_refused(changes: dict[str, str], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        ModelCard.read(GOOD | changes, "x.onnx")


def test_a_file_without_a_card(tmp_path: Path) -> None:
    model = painted_detector()
    del model.metadata_props[:]
    with pytest.raises(ModelError, match=r"mine\.onnx does not describe itself: .* kind, decoder, .*\(it holds none\)"):
        detection.load_detector(config(save(tmp_path, model)))


def test_an_unknown_decoder(tmp_path: Path) -> None:
    model = painted_detector()
    next(entry for entry in model.metadata_props if entry.key == "decoder").value = "yolo99"
    with pytest.raises(ModelError, match=r"mine\.onnx names the decoder 'yolo99'; known are candidates"):
        detection.load_detector(config(save(tmp_path, model)))


def test_outputs_of_another_layout_are_listed_beside_what_is_expected() -> None:
    outputs = {"output": TensorSpec((None, 3549, 85), np.dtype(np.float32))}
    said = r"x\.onnx gives output \(float32 \?x3549x85\); its decoder 'candidates' expects boxes \(float32 \?x\?x4"
    with pytest.raises(ModelError, match=said):
        find_decoder("candidates", Sample(outputs), "x.onnx")


@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [("boxes", (None, 4), np.float32), ("scores", (None, 8), np.float64), ("features", (None, 64), np.float32)],
)
def test_each_output_is_looked_at(name: str, shape: tuple[int | None, ...], dtype: type[np.generic]) -> None:
    good = {
        "boxes": TensorSpec((None, 8, 4), np.dtype(np.float32)),
        "scores": TensorSpec((None, 8), np.dtype(np.float32)),
        "classes": TensorSpec((None, 8), np.dtype(np.int64)),
    }
    assert isinstance(find_decoder("candidates", Sample(good), "x.onnx"), DECODERS["candidates"])
    with pytest.raises(ModelError, match=f"{name}.* expects"):
        find_decoder("candidates", Sample(good | {name: TensorSpec(shape, np.dtype(dtype))}), "x.onnx")


def test_inputs_that_are_no_images(tmp_path: Path) -> None:
    g = Graph()
    for name in ("boxes", "scores", "classes"):
        g.add("Identity", f"{name}_in", name=name)
    kinds = {"boxes": TensorProto.FLOAT, "scores": TensorProto.FLOAT, "classes": TensorProto.INT64}
    shapes = {"boxes": ("N", 8, 4), "scores": ("N", 8), "classes": ("N", 8)}
    model = g.model(
        {f"{name}_in": (kinds[name], shapes[name]) for name in kinds}, {n: (kinds[n], shapes[n]) for n in kinds}
    )
    helper.set_model_props(model, GOOD)
    with pytest.raises(
        ModelError, match=r"takes boxes_in \(float32 \?x8x4\), .*; a detector takes one batch of images"
    ):
        detection.load_detector(config(save(tmp_path, model)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"detector__height": 100},
            "'detector.height' is 100; for this model it must be a multiple of 32 and at least 32",
        ),
        ({"detector__width": 16}, "'detector.width' is 16"),
        ({"detector__classes": ("dog", "person")}, "'detector.classes' names 'dog'; the model knows 'person'"),
    ],
)
def test_parameters_that_the_model_cannot_meet(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        detection.load_detector(config(save(tmp_path, painted_detector()), **changes))


@pytest.mark.parametrize("content", [b"", b"GIF89a, not a model"])
def test_a_file_that_is_no_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"mine\.onnx cannot be loaded"):
        detection.load_detector(config(path))


def test_a_path_that_leads_nowhere(tmp_path: Path) -> None:
    with pytest.raises(AlstmError, match="There is no model file"):
        detection.load_detector(config(tmp_path / "none.onnx"))


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "{0: 'a', 'b': 'c'}", "{[]: 'a'}", "-" * 200_000 + "1", "1" * 100_000, "[" + "'a'," * 200_000],
)
def test_names_that_are_none_give_a_sentence(text: str) -> None:
    with pytest.raises(
        ModelError, match=r"The metadata of the model file x\.onnx tells the class names as .*, which cannot"
    ):
        names_in_metadata({"names": text}, "x.onnx")

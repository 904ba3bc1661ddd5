"""`alstm export`: the file that is made answers as the one it was made of, takes batches, and has features."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from imaging import noise

from alstm_ros import cli, detection
from alstm_ros.config import DetectorConfig
from alstm_ros.detection.exporting import export_detector
from alstm_ros.detection.exporting.verification import verify
from alstm_ros.engines import tensorrt_api, tensorrt_build, tensorrt_graph
from alstm_ros.engines.profiles import make_profile
from alstm_ros.errors import ConfigError, ModelError
from alstm_ros.types import Detections

pytest.importorskip("torch", reason="the small networks are written in torch")
from foreign_heads import OBJECTS, config

foreign = pytest.importorskip("foreign_models")
EXPORTED = [
    "yolox", "yolox decoded", "yolov5", "yolov8", "yolov8 masks", "nanodet", "nanodet plus", "ssd", "detr", "rtdetr",
]  # fmt: skip
needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="needs tensorrt-rtx-cu13, which `make env` installs"
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every family's file, and what was made of it as `NAME made.onnx`."""
    folder = tmp_path_factory.mktemp("export")
    for family in EXPORTED:
        onnx.save(foreign.export(family), folder / f"{family}.onnx")
        made = export_detector(folder / f"{family}.onnx", DetectorConfig(class_names=("cat", "dog", "yak")), top_k=50)
        onnx.save(made.model, folder / f"{family} made.onnx")
    return folder


def assert_alike(one: Detections, other: Detections, tolerance: float = 1e-2) -> None:
    assert len(one) == len(other)
    np.testing.assert_allclose(one.boxes, other.boxes, atol=tolerance)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)
    np.testing.assert_array_equal(one.classes, other.classes)


@pytest.mark.parametrize("family", EXPORTED)
def test_the_made_file_answers_as_the_one_it_was_made_of(files: Path, family: str) -> None:
    given = detection.load_detector(config(files / f"{family}.onnx", class_names=("cat", "dog", "yak")))
    made = detection.load_detector(config(files / f"{family} made.onnx"))
    assert (made.layout, made.classes) == ("candidates", ("cat", "dog", "yak"))
    assert made.card.fixed  # what these networks say has one size
    for image in (noise(), noise(256, 320), noise(100, 60)):
        [expected], [found] = given([image]), made([image])
        assert len(expected)
        assert_alike(found, expected)
        assert found.features is not None
        np.testing.assert_allclose(np.linalg.norm(found.features, axis=1), 1, atol=1e-4)


@pytest.mark.parametrize("family", EXPORTED)
def test_the_made_file_takes_a_batch(files: Path, family: str) -> None:
    made = detection.load_detector(config(files / f"{family} made.onnx"))
    images = [noise(seed=seed) for seed in range(3)]
    assert [len(batch.rows) for batch in made.batches(images)] == [3]
    for image, together in zip(images, made(images), strict=True):
        [alone] = made([image])
        assert_alike(together, alone)
        assert together.features is not None
        assert alone.features is not None
        np.testing.assert_allclose(together.features, alone.features, atol=1e-4)
    first, second = (found.features for found in made(images[:2]))
    assert first is not None
    assert second is not None
    assert np.abs(first - second).max() > 1e-3  # they are of the image, not of the network


def test_each_kind_of_feature(files: Path) -> None:
    said = {}
    for wanted in ("appearance", "cells", "none"):
        made = export_detector(files / "yolox.onnx", top_k=20, wanted=wanted)
        said[wanted] = made.features, made.feature_width
    assert said["appearance"][0].startswith("appearance in each box, from '")
    assert said["appearance"][1] == 2 * 10  # two halves of the stem's channels
    # Two branches of 12 channels feed the last convolutions of each of three scales.
    assert said["cells"][0].startswith("cells, from what feeds the last convolutions (16x20: ")
    assert said["cells"][1] == 24
    assert said["none"] == ("none, as asked", 0)
    assert "features" not in {
        value.name for value in export_detector(files / "yolox.onnx", wanted="none").model.graph.output
    }


def test_cells_are_those_of_the_anchors(files: Path, tmp_path: Path) -> None:
    """Read from the maps by hand: the object of stride 16 lies in row 1, column 6."""
    import onnxruntime as ort

    made = export_detector(files / "yolox.onnx", DetectorConfig(), top_k=20, wanted="cells")
    onnx.save(made.model, tmp_path / "cells.onnx")
    [found] = detection.load_detector(config(tmp_path / "cells.onnx"))([noise()])
    names = made.features.partition("8x10: ")[2].partition(";")[0].split(", ")
    shown = onnx.load(files / "yolox.onnx")
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = ort.InferenceSession(shown.SerializeToString(), providers=["CPUExecutionProvider"])
    image = noise().transpose(2, 0, 1)[None].astype(np.float32)
    vector = np.concatenate([part[0, :, 1, 6] for part in session.run(names, {"images": image})])
    row = found.classes.tolist().index(0)
    assert found.features is not None
    np.testing.assert_allclose(found.features[row], vector / np.linalg.norm(vector), atol=1e-4)


def test_queries_are_the_feature_of_detr(files: Path) -> None:
    made = export_detector(files / "detr.onnx", top_k=10, wanted="cells")
    assert made.features.startswith("queries: the embedding '")
    assert made.feature_width == 16


@pytest.mark.parametrize(
    ("family", "said"),
    [
        ("yolov10", "its boxes are chosen inside"),
        ("rtdetr chosen", "chosen inside"),
        ("centernet", "cannot be exported"),
    ],
)
def test_what_cannot_be_exported_says_why(tmp_path: Path, family: str, said: str) -> None:
    onnx.save(foreign.export(family), tmp_path / "x.onnx")
    with pytest.raises(ModelError, match=said):
        export_detector(tmp_path / "x.onnx")


def test_wrong_wishes(files: Path) -> None:
    with pytest.raises(ConfigError, match="it must be 128x160, which its file fixes"):
        export_detector(files / "yolov8.onnx", DetectorConfig(height=256, width=256))
    with pytest.raises(ConfigError, match="at least 1"):
        export_detector(files / "yolox.onnx", top_k=0)
    with pytest.raises(ModelError, match="describes itself already"):
        export_detector(detection.MODELS["default"])


def test_the_same_file_gives_the_same_bytes(files: Path) -> None:
    one, two = (
        export_detector(files / "yolov8 masks.onnx").model.SerializeToString(deterministic=True) for _ in range(2)
    )
    assert one == two


def test_the_command(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = tmp_path / "new" / "made.onnx"
    words = ["export", str(files / "yolox.onnx"), "--output", str(made), "--classes", "cat", "dog", "yak"]
    assert cli.main([*words, "--size", "128x160", "--top-k", "30", "--licence", "MIT", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["decoder"], report["boxes"], report["batch"]) == ("yolox", 30, "any")
    detector = detection.load_detector(config(made))
    assert (detector.card.licence, detector.classes) == ("MIT", ("cat", "dog", "yak"))
    assert cli.main([*words, "--size", "96"]) == cli.FAILED
    assert "must look like 480x640" in capsys.readouterr().err


@pytest.mark.parametrize("family", ["yolov8", "nanodet plus"])
def test_the_letterbox_inside(files: Path, tmp_path: Path, family: str) -> None:
    made = tmp_path / "inside.onnx"
    words = ["export", str(files / f"{family}.onnx"), "--output", str(made), "--preprocess", "inside", "--top-k", "50"]
    assert cli.main(words) == 0
    outside = detection.load_detector(config(files / f"{family} made.onnx"))
    inside = detection.load_detector(config(made))
    images = [noise(256, 320), noise(200, 160), noise(256, 320, seed=1)]
    assert sorted(len(batch.rows) for batch in inside.batches(images)) == [1, 2]
    for image, found in zip(images, inside(images), strict=True):
        [expected] = outside([image])
        assert_alike(found, expected, 0.1)


@needs_rtx
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("family", ["yolox", "yolov8", "nanodet", "ssd", "detr"])
def test_tensorrt_builds_what_was_made(files: Path, family: str, precision: str) -> None:
    model = tensorrt_graph.prepare(tensorrt_graph.read(files / f"{family} made.onnx"), precision)
    profile = make_profile(model.inputs, model.outputs, model.metadata, 4)
    plan = tensorrt_build.build_engine(tensorrt_api.find("tensorrt_rtx"), model, profile, (8, 6))
    assert set(plan.layers["convolution"]) == {precision}
    assert set(plan.layers["topk"]) == {"fp32"}


# --- Real files -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real")
    for name in ("yolox_nano_dyn", "nanodet_m", "nanodet_plus_m_dyn"):
        size = DetectorConfig() if name == "nanodet_m" else DetectorConfig(height=320, width=416)
        onnx.save(export_detector(shared / "models" / f"{name}.onnx", size).model, folder / f"{name}.onnx")
    return folder


@pytest.mark.parametrize("name", ["yolox_nano_dyn", "nanodet_m", "nanodet_plus_m_dyn"])
def test_real_files_answer_as_before(real: Path, shared: Path, vtest: Path, name: str) -> None:
    size = {} if name == "nanodet_m" else {"height": 320, "width": 416}
    given = detection.load_detector(config(shared / "models" / f"{name}.onnx", **size))
    made = detection.load_detector(config(real / f"{name}.onnx"))
    video = cv2.VideoCapture(str(vtest))
    frames = [video.read()[1] for _ in range(3)]
    for image, together in zip(frames, made(frames), strict=True):
        [expected] = given([image])
        assert len(expected) >= 5
        assert_alike(made([image])[0], expected)
        assert_alike(together, expected)


def test_a_size_that_a_file_had_fixed_is_free_again(shared: Path, tmp_path: Path) -> None:
    """yolox_nano.onnx takes 416x416; exported, it answers at 320x416 as the free file of the same weights does."""
    path = shared / "models" / "yolox_nano.onnx"
    made = export_detector(path, DetectorConfig(height=320, width=416))
    assert made.free_size
    onnx.save(made.model, tmp_path / "made.onnx")
    detector = detection.load_detector(config(tmp_path / "made.onnx", score_threshold=0.05))
    assert (detector.canvas.height, detector.canvas.width) == (320, 416)
    free = detection.load_detector(
        config(shared / "models" / "yolox_nano_dyn.onnx", height=320, width=416, score_threshold=0.05)
    )
    image = cv2.GaussianBlur(noise(320, 416), (0, 0), 9)
    assert_alike(detector([image])[0], free([image])[0])
    with pytest.raises(ConfigError, match="it must be multiples of 32"):
        export_detector(path, DetectorConfig(height=100, width=96))


@needs_rtx
@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", ["yolox_nano_dyn", "nanodet_plus_m_dyn"])
def test_tensorrt_builds_real_files(real: Path, name: str, precision: str) -> None:
    model = tensorrt_graph.prepare(tensorrt_graph.read(real / f"{name}.onnx"), precision)
    profile = make_profile(model.inputs, model.outputs, model.metadata, 4)
    plan = tensorrt_build.build_engine(tensorrt_api.find("tensorrt_rtx"), model, profile, (8, 6))
    assert set(plan.layers["convolution"]) == {precision}


def test_exported_appearance_tells_people_apart(real: Path, vtest: Path, shared: Path) -> None:
    """Of two detections a second apart, those of one person are more alike than those of two (ROC AUC)."""
    from bench.detectors import appearance_auc, identities

    made = detection.load_detector(config(real / "yolox_nano_dyn.onnx", classes=("person",), score_threshold=0.25))
    seen = identities(made, vtest, shared / "data" / "pets09-s2l1" / "gt.txt", last=300)
    assert appearance_auc(*seen, gap=9)["auc"] > 0.88


def test_a_file_that_answers_otherwise_is_refused(files: Path) -> None:
    """The exported file, and the same with its boxes moved, with its scores halved, with another class."""
    names = DetectorConfig(class_names=("cat", "dog", "yak"))
    right = onnx.load(files / "yolox made.onnx")
    assert verify(files / "yolox.onnx", right, names, [(128, 160)], batch=True) >= 8 * len(OBJECTS)
    for output, operation, value in (("boxes", "Add", 40.0), ("scores", "Mul", 0.5), ("classes", "Add", 1)):
        wrong = onnx.load(files / "yolox made.onnx")
        [maker] = [node for node in wrong.graph.node if output in node.output]
        maker.output[list(maker.output).index(output)] = "as it was"
        for node in wrong.graph.node:
            node.input[:] = ["as it was" if name == output else name for name in node.input]
        kind = np.int64 if output == "classes" else np.float32
        wrong.graph.initializer.append(onnx.numpy_helper.from_array(np.array(value, kind), "by"))
        wrong.graph.node.append(onnx.helper.make_node(operation, ["as it was", "by"], [output]))
        with pytest.raises(ModelError, match=r"answers otherwise than yolox\.onnx itself"):
            verify(files / "yolox.onnx", wrong, names, [(128, 160)], batch=True)


@pytest.mark.parametrize("size", [(320, 320), (256, 320), (384, 640)])
def test_a_grid_that_is_made_in_the_graph_stays_right(shared: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    """A dynamic YOLO's boxes came out 350 pixels off, and with another size it did not run."""
    given = shared / "cases" / "export_dynamic_yolo" / "dyn.onnx"
    if not given.is_file():
        pytest.skip("../shared/cases holds no export_dynamic_yolo")
    made = export_detector(given, DetectorConfig(height=size[0], width=size[1]), wanted="none", licence="x")
    assert made.size == size
    assert (made.free_size, made.free_batch) == (True, True)
    assert made.compared > 0
    path = tmp_path / "made.onnx"
    onnx.save(made.model, path)
    image = np.random.default_rng(3).integers(0, 256, (*size, 3)).astype(np.uint8)
    settings = {"nms_threshold": 1.0, "score_threshold": 0.3, "height": size[0], "width": size[1]}
    old, new = (detection.load_detector(config(file, **settings))([image])[0] for file in (given, path))
    assert len(old) == len(new) > 50
    assert np.allclose(np.sort(old.boxes, axis=0), np.sort(new.boxes, axis=0), atol=0.5)

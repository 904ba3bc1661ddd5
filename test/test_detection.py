"""The detector: a painted one whose answers are known, then the one that is shipped on a street video."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from tiny_models import paint, painted_detector

from alstm_ros import detection
from alstm_ros.config import Config
from alstm_ros.detection import OnnxDetector
from alstm_ros.errors import ConfigError, ImageError
from alstm_ros.evaluation.average_precision import average_precision
from alstm_ros.options import replace
from alstm_ros.types import Detections, Float32, Image

CPU = {"engine.runtime": "onnxruntime", "engine.threads": 2}
# x and y of the centre, width, height: two apart, one that overlaps the second, one that is small
BOXES = np.array([[20, 20, 10, 20], [60, 30, 20, 20], [62, 31, 20, 20], [80, 50, 4, 4]], np.uint8)
SCORES = np.array([0.5, 0.9, 0.8, 0.2])


def assert_same(one: Detections, other: Detections) -> None:
    np.testing.assert_array_equal(one.boxes, other.boxes)
    np.testing.assert_array_equal(one.scores, other.scores)
    np.testing.assert_array_equal(one.classes, other.classes)
    assert (one.features is None) == (other.features is None)
    if one.features is not None and other.features is not None:
        np.testing.assert_array_equal(one.features, other.features)


@pytest.fixture
def base(tmp_path: Path) -> Config:
    path = tmp_path / "painted.onnx"
    onnx.save(painted_detector(), path)
    return replace(Config(), CPU | {"detector.model": str(path)})


@pytest.fixture
def painted(base: Config) -> OnnxDetector:
    return detection.load_detector(base)


def test_best_first_in_source_pixels_without_the_overlapped(painted: OnnxDetector) -> None:
    found = painted([paint(BOXES, SCORES)])[0]
    np.testing.assert_allclose(found.boxes, [[50, 20, 70, 40], [15, 10, 25, 30], [78, 48, 82, 52]])
    np.testing.assert_allclose(found.scores, SCORES[[1, 0, 3]], atol=0.002)
    assert found.classes.tolist() == [0, 0, 0]
    assert found.features is None
    assert painted.classes == ("person",)


def test_no_images_no_answers(painted: OnnxDetector) -> None:
    assert painted([]) == []


@pytest.mark.parametrize(
    ("changes", "rows"),
    [
        ({"detector.score_threshold": 0.3}, 2),
        ({"detector.score_threshold": 0.0}, 3),
        ({"detector.score_threshold": 1.0}, 0),
        ({"detector.nms_threshold": 0.9}, 4),
        ({"detector.max_detections": 1}, 1),
        ({"detector.classes": ("person",)}, 3),
    ],
)
def test_thresholds_change_while_running(
    painted: OnnxDetector, base: Config, changes: dict[str, object], rows: int
) -> None:
    image = paint(BOXES, SCORES)
    painted.configure(replace(base, changes))
    assert len(painted([image])[0]) == rows
    painted.configure(base)
    assert len(painted([image])[0]) == 3


def test_a_refused_change_leaves_everything_as_it_was(painted: OnnxDetector, base: Config) -> None:
    with pytest.raises(ConfigError, match="'dog'"):
        painted.configure(replace(base, {"detector.classes": ("dog",), "detector.score_threshold": 1.0}))
    assert len(painted([paint(BOXES, SCORES)])[0]) == 3


def test_boxes_in_the_padding_alone_are_dropped(painted: OnnxDetector) -> None:
    wide = paint(np.array([[20, 10, 10, 10], [20, 50, 10, 10]]), np.array([0.9, 0.8]))[:20]  # 20 of 32 rows
    found = painted([wide])[0]
    np.testing.assert_allclose(found.boxes, [[15, 5, 25, 15]])


def test_what_is_no_image_is_refused(painted: OnnxDetector) -> None:
    with pytest.raises(ImageError, match="dtype float32"):
        painted([np.zeros((64, 96, 3), np.float32)])


# --- The shipped detector ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped() -> OnnxDetector:
    return detection.load_detector(replace(Config(), CPU))


@pytest.fixture(scope="module")
def street(vtest: Path) -> list[Image]:
    """Every tenth frame, from the first."""
    video = cv2.VideoCapture(str(vtest))
    frames = []
    for index in range(795):
        if not video.grab():
            break
        if index % 10 == 0:
            frames.append(video.retrieve()[1])
    assert len(frames) == 80
    return frames


def test_its_card(shipped: OnnxDetector) -> None:
    assert shipped.classes == ("person", "bicycle", "car", "motorcycle")
    assert shipped.card.licence == "Apache-2.0"
    assert "config/detector.yaml" in shipped.card.source
    assert "for research use" in shipped.card.training_data
    assert shipped.status.runtime == "onnxruntime"


def test_it_finds_the_people_of_the_street(shipped: OnnxDetector, street: list[Image], shared: Path) -> None:
    """The issue asks for 0.90 at an IoU of 0.5."""
    truth = np.loadtxt(shared / "data" / "pets09-s2l1" / "gt.txt", delimiter=",")
    truths: list[Float32] = []
    for frame in range(1, 796, 10):
        boxes = truth[truth[:, 0] == frame][:, 2:6]
        truths.append(np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1).astype(np.float32))
    shipped.configure(replace(Config(), CPU | {"detector.score_threshold": 0.01}))
    found = [shipped([image])[0] for image in street]
    shipped.configure(replace(Config(), CPU))
    curve = average_precision([f.boxes for f in found], [f.scores for f in found], truths)
    assert curve.average_precision >= 0.90


def test_the_same_image_gives_the_same_bytes(street: list[Image]) -> None:
    one, two = (detection.load_detector(replace(Config(), CPU | {"engine.threads": threads})) for threads in (1, 2))
    for image in street[:3]:
        first = one([image])[0]
        assert len(first) > 3
        assert_same(one([image])[0], first)
        assert_same(two([image])[0], first)


def test_a_batch_answers_as_its_images_alone(shipped: OnnxDetector, street: list[Image]) -> None:
    for alone, together in zip([shipped([image])[0] for image in street[:3]], shipped(street[:3]), strict=True):
        assert_same(alone, together)


def test_cameras_of_different_sizes_share_a_batch(shipped: OnnxDetector, street: list[Image]) -> None:
    large = cv2.resize(street[0], (1536, 1152))
    wide = street[0][100:460]
    found = shipped([street[0], large, wide])
    assert min(map(len, found)) >= 3
    for image, together in zip((street[0], large, wide), found, strict=True):
        alone = shipped([image])[0]
        sure = alone[alone.scores > 0.5]
        assert len(sure) >= 2
        for box, score in zip(sure.boxes, sure.scores, strict=True):
            row = int(np.abs(together.boxes - box).sum(1).argmin())
            # The batch is as large as its largest image needs: the wide one meets other padding than alone.
            np.testing.assert_allclose(together.boxes[row], box, atol=0.05 * (box[3] - box[1]))
            assert abs(together.scores[row] - score) < 0.15
    doubled = found[1]
    for box in found[0][found[0].scores > 0.5].boxes:
        assert np.abs(doubled.boxes / 2 - box).max(1).min() < 5


@pytest.mark.parametrize(("height", "width"), [(1, 1), (10, 3000), (3000, 10), (1, 640), (191, 193), (577, 1023)])
@pytest.mark.parametrize("grey", [0, 255])
def test_odd_sizes(shipped: OnnxDetector, height: int, width: int, grey: int) -> None:
    found = shipped([np.full((height, width, 3), grey, np.uint8)])[0]
    assert (found.boxes >= 0).all()
    assert (found.boxes[:, [0, 2]] <= width).all()
    assert (found.boxes[:, [1, 3]] <= height).all()
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()


@pytest.mark.parametrize(("height", "width"), [(192, 192), (224, 416), (608, 352)])
def test_any_multiple_of_32_is_a_size(street: list[Image], height: int, width: int) -> None:
    sizes = {"detector.height": height, "detector.width": width}
    detector = detection.load_detector(replace(Config(), CPU | sizes))
    found = detector([street[0]])[0]
    assert detector.canvas.height == height
    assert (found.boxes <= [768, 576, 768, 576]).all()


def test_strided_views(shipped: OnnxDetector, street: list[Image]) -> None:
    mirrored = street[0][:, ::-1]
    assert_same(shipped([mirrored])[0], shipped([mirrored.copy()])[0])


def test_mirrored_people_are_found_where_they_are(shipped: OnnxDetector, street: list[Image]) -> None:
    """Boxes are centred on people: a shift of anchors against the image would show with the opposite sign here."""
    shifts = []
    for image in street[:40]:
        plain, mirrored = shipped([image])[0], shipped([image[:, ::-1]])[0]
        turned = mirrored.boxes[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [768, 0, 768, 0]
        for box in plain.boxes[plain.scores > 0.5]:
            distance = np.abs(turned - box).sum(1)
            if len(distance) and distance.min() < 30:
                shifts.append((turned[distance.argmin()] - box)[[0, 2]].mean())
    assert len(shifts) > 50
    assert abs(float(np.median(shifts))) < 2


def test_features_tell_people_apart(shipped: OnnxDetector, vtest: Path, shared: Path) -> None:
    """Of two detections a second apart, those of one person are more alike than those of two (ROC AUC)."""
    truth = np.loadtxt(shared / "data" / "pets09-s2l1" / "gt.txt", delimiter=",")
    video = cv2.VideoCapture(str(vtest))
    seen: dict[int, tuple[list[int], Float32]] = {}
    for frame in range(1, 301):
        read, image = video.read()
        assert read
        if frame % 10:
            continue
        found = shipped([image])[0]
        assert found.features is not None
        np.testing.assert_allclose(np.linalg.norm(found.features, axis=1), 1, atol=1e-5)
        rows = truth[truth[:, 0] == frame]
        centres = rows[:, 2:4] + rows[:, 4:6] / 2
        ids, kept = [], []
        for row, box in enumerate(found.boxes):
            distance = np.abs(centres - (box[:2] + box[2:]) / 2).max(1)
            if distance.min() < 6:
                ids.append(int(rows[distance.argmin(), 1]))
                kept.append(row)
        seen[frame] = ids, found.features[kept]
    same: list[float] = []
    other: list[float] = []
    for frame, (ids, features) in seen.items():
        for later, vector in zip(*seen.get(frame + 10, ([], features)), strict=False):
            for earlier, alike in zip(ids, features @ vector, strict=True):
                (same if earlier == later else other).append(float(alike))
    assert len(same) > 50
    assert len(other) > 200
    assert np.mean(np.array(same)[:, None] > np.array(other)) > 0.9


def test_the_names_of_before_go_on_for_one_release() -> None:
    from alstm_ros import engines

    assert detection.load is detection.load_detector
    assert engines.load is engines.open_engine

    from alstm_ros.association import manager, tracker

    assert manager.TrackManager is tracker.TrackManager

"""What viewers are given: annotations in the bag and live, compressed overlay, raw detections, a layout each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import recordings
import yaml
from blobs import Blobs
from hypothesis import given
from hypothesis import strategies as st

from alstm_ros import cli
from alstm_ros.annotations import LINE_LOOP, LINE_STRIP, TRAIL_POINTS, Annotator
from alstm_ros.commands import track as command
from alstm_ros.drawing import Mark, colour
from alstm_ros.images import encode_jpeg
from alstm_ros.recordings.bag import Bag
from alstm_ros.types import Image

ROOT = Path(__file__).resolve().parents[1]
SECOND = 1_000_000_000


def jpeg(data: Any) -> Image:
    """The picture that a JPEG holds."""
    return np.asarray(cv2.imdecode(np.asarray(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def mark(left: float, *, lost: bool = False) -> Mark:
    return Mark("7", (left, 20.0, left + 10.0, 50.0), "person", 0.9, lost)


def test_a_box_its_text_and_its_trail() -> None:
    annotate = Annotator()
    for step in range(40):
        lines, texts = annotate(step * SECOND // 20, [mark(float(step))])
    trail, box = lines
    assert box.kind == LINE_LOOP
    assert box.points == ((39.0, 20.0), (49.0, 20.0), (49.0, 50.0), (39.0, 50.0))
    assert trail.kind == LINE_STRIP
    assert len(trail.points) <= TRAIL_POINTS
    assert trail.points[-1] == (44.0, 50.0)  # where its feet are now
    assert [x for x, _ in trail.points] == sorted(x for x, _ in trail.points)
    [text] = texts
    assert (text.words, text.place) == ("7 person 0.90", (39.0, 20.0))
    blue, green, red = colour("7")
    assert box.rgba == (red / 255, green / 255, blue / 255, 1.0)


def test_what_is_lost_is_faint_and_says_so() -> None:
    lines, texts = Annotator()(0, [mark(5.0, lost=True)])
    assert [line.kind for line in lines] == [LINE_LOOP]
    assert lines[0].rgba[3] == 0.5
    assert texts[0].words == "7 person lost"


@given(st.lists(st.integers(0, 10 * SECOND), max_size=50))
def test_trails_are_short_whatever_the_stamps(stamps: list[int]) -> None:
    annotate = Annotator()
    for number, stamp in enumerate(stamps):
        lines, _ = annotate(stamp, [mark(float(number))])
        assert all(len(line.points) <= max(TRAIL_POINTS, 4) for line in lines)


def two_squares(number: int) -> Image:
    picture = np.full((120, 160, 3), 20, np.uint8)
    picture[20:60, 4 + 2 * number : 34 + 2 * number] = (240, 20, 20)
    picture[70:110, 100:130] = (20, 240, 20)
    return picture


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(recordings, "scene", two_squares)
    monkeypatch.setattr(command, "load_detector", Blobs)
    bag = recordings.write_bag(tmp_path / "bag", range(1, 13))
    assert cli.main(["track", str(bag), "--images", "--output", str(tmp_path / "x.mcap")]) == 0
    return tmp_path / "x.mcap"


def test_the_bag_holds_annotations_and_images(written: Path) -> None:
    bag = Bag(written)
    kinds = {topic.name: (topic.type, topic.count) for topic in bag.topics}
    assert kinds["/alstm/annotations"] == ("foxglove_msgs/msg/ImageAnnotations", 12)
    assert kinds["/image/compressed"] == ("sensor_msgs/msg/CompressedImage", 12)
    detections = [bag.decode(message) for message in bag.read(["/alstm/detections"])]
    drawn = [bag.decode(message) for message in bag.read(["/alstm/annotations"])]
    pictures = [bag.decode(message) for message in bag.read(["/image/compressed"])]
    for number, (found, shown, picture) in enumerate(zip(detections, drawn, pictures, strict=True), 1):
        ids = [text.text.split()[0] for text in shown.texts]
        assert ids == sorted(item.id for item in found.detections)
        assert {text.timestamp.nanosec for text in shown.texts} <= {found.header.stamp.nanosec}
        boxes = [line for line in shown.points if line.type == LINE_LOOP]
        corners = [(box.points[0].x, box.points[0].y) for box in boxes]
        lefts = [item.bbox.center.position.x - item.bbox.size_x / 2 for item in found.detections]
        np.testing.assert_allclose(sorted(x for x, _ in corners), sorted(lefts), atol=1e-6)
        assert (picture.header.stamp.nanosec, picture.header.frame_id) == (found.header.stamp.nanosec, "camera")
        image = jpeg(picture.data)
        assert np.abs(image.astype(int) - two_squares(number)).mean() < 4
    assert any(line.type == LINE_STRIP for line in drawn[-1].points)


def test_the_bag_s_annotations_are_read_by_mcap_s_own_decoder(written: Path) -> None:
    from mcap_ros2.reader import read_ros2_messages

    [*_, last] = read_ros2_messages(written, ["/alstm/annotations"])
    assert last.schema.name == "foxglove_msgs/msg/ImageAnnotations"
    assert [text.text.split()[1] for text in last.ros_msg.texts] == ["blue", "green"]


def test_the_written_images_can_be_tracked_again(written: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.txt"
    assert cli.main(["track", str(written), "--output", str(again)]) == 0
    assert {line.split(",")[1] for line in again.read_text(encoding="utf-8").splitlines()} == {"1", "2"}


def test_images_need_a_bag_to_go_to(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["track", "x.mp4", "--images", "--output", str(tmp_path / "x.txt")]) != 0
    assert "--images needs a SOURCE that holds images, and an --output that ends in .mcap." in capsys.readouterr().err


def test_jpeg() -> None:
    smooth = np.broadcast_to(np.arange(160, dtype=np.uint8)[None, :, None], (120, 160, 3))[:, ::-1]
    back = jpeg(encode_jpeg(smooth, 90))
    assert np.abs(back.astype(int) - smooth).max() <= 4
    assert len(encode_jpeg(smooth, 10)) < len(encode_jpeg(smooth, 95))


def layout_topics() -> set[str]:
    """Every topic that the two viewers' files name."""
    layout = json.loads((ROOT / "config" / "foxglove_layout.json").read_text(encoding="utf-8"))
    found: set[str] = set()

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                walk(value)
                found.update([key] if key.startswith("/") else [])
        elif isinstance(node, list):
            for item in node:
                walk(item)
        elif isinstance(node, str) and node.startswith("/"):
            found.add(node.partition(".")[0])

    walk(layout)
    walk(yaml.safe_load((ROOT / "config" / "alstm.rviz").read_text(encoding="utf-8")))
    return found


def test_the_foxglove_layout_names_its_panels() -> None:
    layout = json.loads((ROOT / "config" / "foxglove_layout.json").read_text(encoding="utf-8"))

    def panels(node: Any) -> list[str]:
        return [node] if isinstance(node, str) else panels(node["first"]) + panels(node["second"])

    assert sorted(panels(layout["layout"])) == sorted(layout["configById"])


@pytest.mark.ros
def test_viewers_over_real_middleware(written: Path) -> None:
    pytest.importorskip("rclpy", reason="ROS is not installed")
    messages = pytest.importorskip("foxglove_msgs.msg", reason="foxglove_msgs is not built into this environment")
    from ros_harness import Camera, Ros
    from ros_messages import QUICK, SCENE, image_message, scene
    from ros_process import NodeProcess, domain
    from sensor_msgs.msg import CompressedImage
    from vision_msgs.msg import Detection2DArray

    with domain() as number:
        ros, node = Ros(number), NodeProcess(number, parameters=QUICK)
        try:
            with Camera(ros) as camera:
                camera.ask(image_message(SCENE, ros.next_stamp()))
                offered = {name for name, _ in ros.node.get_topic_names_and_types()}
                recorded = {topic.name for topic in Bag(written).topics}
                assert layout_topics() <= offered | recorded
                drawn = ros.collect(messages.ImageAnnotations, "/alstm/annotations")
                overlays = ros.collect(CompressedImage, "/alstm/overlay/compressed")
                raw = ros.collect(Detection2DArray, "/alstm/raw_detections")

                def shown() -> bool:
                    answer = camera.ask(image_message(SCENE, ros.next_stamp()))
                    seen.append(answer)
                    return bool(drawn and overlays and raw)

                seen: list[Detection2DArray] = []
                ros.until(shown, f"all that viewers are given: {node.log}")
                answer = seen[-1]
                picture = jpeg(overlays[-1].data)
                assert picture.shape == SCENE.shape
                assert np.abs(picture.astype(int) - SCENE).max() > 100  # boxes are drawn
                assert overlays[-1].format == "bgr8; jpeg compressed bgr8"
                ids = {item.id for item in answer.detections}
                assert {text.text.split()[0] for text in drawn[-1].texts} == ids
                assert len([line for line in drawn[-1].points if line.type == LINE_LOOP]) == 2
                assert {item.id for item in raw[-1].detections} == ids
                # A faint blob is found, and holds no track: its raw detection has no id.
                assert ros.set("alstm", tracks__birth_score=1.0) == (True, "")
                faint = image_message(scene((50, 60, "green")), ros.next_stamp(5 * SECOND))
                assert camera.ask(faint).detections == []
                ros.until(lambda: raw[-1].header == faint.header, "its raw detections")
                [lonely] = raw[-1].detections
                assert (lonely.id, lonely.results[0].hypothesis.class_id) == ("", "green")
                assert lonely.bbox.size_x == 24.0
        finally:
            node.stop()
            ros.close()

"""Somebody else's detections: read, followed over real middleware without a model, and tracked from a bag."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import recordings
from blobs import Blobs
from hypothesis import given
from hypothesis import strategies as st

from alstm_ros import cli
from alstm_ros.commands import track as command
from alstm_ros.config import Config, DetectorConfig, InputConfig
from alstm_ros.detection import GivenDetections, detections_from
from alstm_ros.errors import ConfigError, DataError
from alstm_ros.recordings.bag import Bag
from alstm_ros.stamp_buffer import StampBuffer
from alstm_ros.types import Image

SECOND = 1_000_000_000
CHAIN = {"motion.camera": "none", "tracks.confirm_hits": 1}


def detection(
    *results: tuple[str, float], box: tuple[float, float, float, float] = (50, 40, 20, 30), theta: float = 0.0
) -> Any:
    """Like a Detection2D: hypotheses, and x, y, width, height of its box."""
    x, y, width, height = box
    return SimpleNamespace(
        results=[SimpleNamespace(hypothesis=SimpleNamespace(class_id=name, score=score)) for name, score in results],
        bbox=SimpleNamespace(
            center=SimpleNamespace(position=SimpleNamespace(x=x, y=y), theta=theta), size_x=width, size_y=height
        ),
    )


def array(*detections: Any) -> Any:
    return SimpleNamespace(detections=list(detections))


def reader(**options: Any) -> GivenDetections:
    return GivenDetections(Config(detector=DetectorConfig(**options)))


def test_the_best_hypothesis_counts_and_names_are_learnt() -> None:
    given_detections = reader()
    names = given_detections.classes
    found = given_detections.read(array(detection(("cat", 0.3), ("dog", 0.6)), detection(("cat", 0.9))))
    assert list(names) == ["dog", "cat"]
    np.testing.assert_allclose(found.scores, [0.9, 0.6])
    assert [names[index] for index in found.classes] == ["cat", "dog"]
    np.testing.assert_array_equal(found.boxes[0], [40, 25, 60, 55])
    again = given_detections.read(array(detection(("bird", 0.8)), detection(("dog", 0.7))))
    assert [names[index] for index in again.classes] == ["bird", "dog"]
    assert list(names) == ["dog", "cat", "bird"]


def test_indices_get_the_names_that_the_user_gave() -> None:
    given_detections = reader(class_names=("person", "car"))
    found = given_detections.read(array(detection(("1", 0.9)), detection(("person", 0.8)), detection(("7", 0.7))))
    assert [given_detections.classes[index] for index in found.classes] == ["car", "person", "7"]


def test_what_is_left_out() -> None:
    given_detections = reader(score_threshold=0.5, classes=("cat",))
    good = detection(("cat", 0.6))
    bad = [
        detection(("cat", 0.4)),
        detection(("cat", math.nan)),
        detection(("dog", 0.9)),
        detection(("cat", 0.9), box=(50, 40, 0, 30)),
        detection(("cat", 0.9), box=(math.nan, 40, 20, 30)),
        detection(("cat", 0.9), theta=math.inf),
    ]
    assert len(given_detections.read(array(*bad, good))) == 1
    assert len(reader(max_detections=3).read(array(*[good] * 9))) == 3
    nameless = reader()
    assert nameless.classes[nameless.read(array(detection())).classes[0]] == "object"


@given(st.floats(-3.2, 3.2), st.floats(1, 100), st.floats(1, 100))
def test_a_turned_box_becomes_the_upright_one_around_it(theta: float, width: float, height: float) -> None:
    found = reader().read(array(detection(("cat", 0.9), box=(200, 200, width, height), theta=theta)))
    turn = np.array([[math.cos(theta), -math.sin(theta)], [math.sin(theta), math.cos(theta)]])
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [width / 2, height / 2] @ turn.T + 200
    np.testing.assert_allclose(found.boxes[0], [*corners.min(axis=0), *corners.max(axis=0)], atol=1e-3)


def test_no_model_is_opened() -> None:
    config = Config(detector=DetectorConfig(model="nowhere.onnx"), input=InputConfig(detections="topic"))
    source = detections_from(config)
    assert isinstance(source, GivenDetections)
    assert source.status.runtime == "none"
    with pytest.raises(DataError, match="no model is loaded"):
        source([np.zeros((4, 4, 3), np.uint8)])
    with pytest.raises(ConfigError, match="cannot be read"):
        reader(class_names=("nowhere.txt",))


def test_the_nearest_stamp_within_the_tolerance() -> None:
    buffer: StampBuffer[str] = StampBuffer(3)
    assert buffer.nearest(0, SECOND) is None
    for stamp in (10, 20, 30, 40):
        buffer.put(stamp, str(stamp))
    assert buffer.nearest(31, 5) == "30"
    assert buffer.nearest(36, 4) == "40"
    assert buffer.nearest(46, 5) is None
    assert buffer.nearest(10, 5) is None  # the oldest went
    buffer.put(1, "a bag begins anew")
    assert (buffer.nearest(40, 5), buffer.newest_ns) == (None, 1)


def crossing(number: int) -> Image:
    picture = np.full((160, 240, 3), 20, np.uint8)
    picture[20:60, 4 + 3 * number : 34 + 3 * number] = (240, 20, 20)
    picture[70:110, 200 - 3 * number : 230 - 3 * number] = (20, 240, 20)
    if not 8 <= number < 12:
        picture[115:155, 60 + number : 95 + number] = (20, 20, 240)
    return picture


def test_a_bag_s_detections_are_tracked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "scene", crossing)
    monkeypatch.setattr(command, "load_detector", Blobs)
    bag = recordings.write_bag(tmp_path / "bag", range(1, 31))
    first, second = tmp_path / "first.mcap", tmp_path / "second.mcap"
    quick = ("--set", "tracks.confirm_hits=1", "--set", "tracks.birth_score=0.5", "--set", "output.id_prefix=x")
    assert cli.main(["track", str(bag), *quick[:4], "--output", str(first)]) == 0
    topic = ("--set", "input.detections=topic", "--topic", "/alstm/detections")
    assert cli.main(["track", str(first), *topic, *quick, "--output", str(second)]) == 0
    before, after = [
        [
            [(item.id, item.results[0].hypothesis.class_id) for item in made.decode(message).detections]
            for message in made.read(["/alstm/detections"])
        ]
        for made in (Bag(first), Bag(second))
    ]
    assert len(after) == 30
    assert [sorted(name for _, name in frame) for frame in after] == [
        sorted(name for _, name in frame) for frame in before
    ]
    pairs = {pair for frame in after for pair in frame}
    assert {key for key, _ in pairs} == {"x1", "x2", "x3"}
    assert len(pairs) == 3  # each keeps its id over the frames in which one of them hides
    [*_, labels] = [Bag(second).decode(message) for message in Bag(second).read(["/alstm/labels"])]
    assert {label.class_name for label in labels.class_map} == {"blue", "green", "red"}


def arrived(messages: list[Any], other: Any) -> bool:
    return bool(messages[-1].header.stamp == other.header.stamp)


def test_a_bag_without_detections(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = recordings.write_bag(tmp_path / "bag", range(1, 3))
    assert cli.main(["track", str(bag), "--set", "input.detections=topic", "--output", str(tmp_path / "x.txt")]) != 0
    assert "holds no detection topic" in capsys.readouterr().err


@pytest.mark.ros
def test_another_node_s_detections_get_the_same_ids() -> None:
    """One node finds and tracks; a second one, which has no model, follows the first one's raw detections."""
    pytest.importorskip("rclpy", reason="ROS is not installed")
    from ros_harness import Camera, Ros
    from ros_messages import image_message
    from ros_process import NodeProcess, domain
    from sensor_msgs.msg import Image as ImageMessage
    from vision_msgs.msg import Detection2DArray, LabelInfo

    with domain() as number:
        ros = Ros(number)
        finder = NodeProcess(number, parameters=CHAIN)
        follower = NodeProcess(
            number,
            "-r",
            "detections:=/alstm/raw_detections",
            command=("-m", "alstm_ros.ros"),
            parameters={**CHAIN, "input.detections": "topic", "detector.model": "nowhere.onnx"},
            name="follower",
        )
        try:
            followed = ros.collect(Detection2DArray, "/follower/detections")
            labels = ros.collect(LabelInfo, "/follower/labels")
            with Camera(ros) as camera:
                blank = np.full((160, 240, 3), 20, np.uint8)
                camera.settle(image_message(blank, ros.next_stamp()))

                def both() -> bool:
                    camera.ask(image_message(blank, ros.next_stamp()))
                    return bool(followed)

                ros.until(both, f"the follower: {follower.log}")
                overlays: list[ImageMessage] = []
                for step in range(1, 25):
                    answer = camera.ask(image_message(crossing(step), ros.next_stamp(100_000_000)), patience=60)
                    ros.until(partial(arrived, followed, answer), f"the follower: {follower.log}")
                    assert followed[-1] == answer, f"frame {step}"
                    if step == 12:  # from now on the follower has images to draw on
                        ros.node.create_subscription(ImageMessage, "/follower/overlay", overlays.append, 10)
                assert len({item.id for item in followed[-1].detections}) == 3
                ros.until(lambda: overlays, "an overlay on the image of the same stamp")
                assert (overlays[-1].width, overlays[-1].height) == (240, 160)
                assert {label.class_name for label in labels[-1].class_map} == {"blue", "green", "red"}
                status = ros.status(lambda one: one.message, "any message", "follower: detections")
                assert "/alstm/raw_detections" in str(status.values)
        finally:
            assert follower.stop() == 0, follower.log
            finder.stop()
            ros.close()


@pytest.mark.ros
def test_missing_detections_are_named() -> None:
    pytest.importorskip("rclpy", reason="ROS is not installed")
    from ros_harness import Ros
    from ros_process import NodeProcess, domain

    with domain() as number:
        ros = Ros(number)
        node = NodeProcess(
            number, command=("-m", "alstm_ros.ros"), parameters={"input.detections": "topic", "input.timeout": 0.3}
        )
        try:
            ros.until(lambda: node.said("No detections for"), f"the reason: {node.log}")
            assert "Nobody publishes /detections" in node.log
            assert "Remap with -r detections:=TOPIC." in node.log
        finally:
            node.stop()
            ros.close()

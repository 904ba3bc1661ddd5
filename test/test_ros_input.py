"""The input connects by itself: QoS, transports, publishers that come and go, and why nothing arrives."""

from __future__ import annotations

import array
import itertools
import re
import time
from collections.abc import Iterator
from functools import partial

import cv2
import pytest

pytest.importorskip("rclpy", reason="ROS is not installed")

from ros_harness import Camera, Ros
from ros_messages import EXPECTED, SCENE, found, image_message, values
from ros_process import PATIENCE, NodeProcess
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import String
from vision_msgs.msg import Detection2DArray

from alstm_ros.types import Image

SLOW = 1.2  # s; longer than the `input.timeout` below

SLOW = 1.2  # s, longer than the `input.timeout` below


@pytest.fixture(scope="module")
def node(number: int) -> Iterator[NodeProcess]:
    node = NodeProcess(number, parameters={"input.timeout": 0.5, "tracks.confirm_hits": 1, "tracks.birth_score": 0.5})
    yield node
    assert node.stop() == 0, node.log


def compressed(image: Image, stamp_ns: int, suffix: str = "jpeg") -> CompressedImage:
    message = CompressedImage(format=f"bgr8; {suffix} compressed bgr8")
    message.data.frombytes(cv2.imencode(f".{suffix}", image)[1].tobytes())
    message.header = image_message(image, stamp_ns).header
    return message


def silence(ros: Ros, words: str) -> str:
    """Waits for the diagnostics to say these words about the image; returns the sentence."""
    return str(ros.status(lambda status: words in status.message, repr(words)).message)


@pytest.mark.parametrize(("reliable", "transient"), [(True, True), (True, False), (False, True), (False, False)])
def test_subscription_follows_the_publishers_qos(
    ros: Ros, node: NodeProcess, *, reliable: bool, transient: bool
) -> None:
    with Camera(ros, reliable=reliable, transient=transient) as camera:
        assert found(camera.ask(image_message(SCENE, ros.next_stamp()))) == EXPECTED, node.log
        wanted = f"{'reliable' if reliable else 'best_effort'}, {'transient_local' if transient else 'volatile'}"
        ros.status(lambda status: values(status)["qos"] == wanted, wanted)
        assert found(camera.ask(image_message(SCENE, ros.next_stamp()))) == EXPECTED, node.log


def test_a_latched_image_from_before_is_delivered(ros: Ros, node: NodeProcess) -> None:
    answers = ros.collect(Detection2DArray, "/alstm/detections")
    with Camera(ros, reliable=False) as first:
        first.ask(image_message(SCENE, ros.next_stamp()))
    ros.until(lambda: answers, "the first answer, with which the node knows who listens")
    with Camera(ros, transient=True) as camera:
        late = image_message(SCENE, ros.next_stamp())
        camera.publish(late)  # once only, while the node still asks for best effort and volatile
        ros.until(lambda: any(a.header.stamp == late.header.stamp for a in answers), f"the latched image: {node.log}")


def test_two_publishers_get_the_qos_that_both_satisfy(ros: Ros, node: NodeProcess) -> None:
    with Camera(ros, transient=True) as strong, Camera(ros, reliable=False) as weak:
        ros.status(lambda status: values(status)["qos"] == "best_effort, volatile", "best effort")
        for camera in (strong, weak):
            assert found(camera.ask(image_message(SCENE, ros.next_stamp()))) == EXPECTED, node.log


@pytest.mark.parametrize("suffix", ["jpeg", "png"])
def test_compressed_beside_the_topic(ros: Ros, node: NodeProcess, suffix: str) -> None:
    with Camera(ros, "/image/compressed", CompressedImage, reliable=False) as camera:
        answer = camera.ask(compressed(SCENE, ros.next_stamp(), suffix))
        assert [name for name, _, _ in found(answer)] == ["blue", "red"], node.log


def dropped(node: NodeProcess, causes: int) -> bool:
    return node.said("An image is dropped") == causes


def test_damaged_compressed_images_are_named_and_the_next_good_one_is_processed(ros: Ros, node: NodeProcess) -> None:
    with Camera(ros, "/image/compressed", CompressedImage) as camera:
        camera.settle(compressed(SCENE, ros.next_stamp()))
        before = node.said("An image is dropped")
        cut = compressed(SCENE, ros.next_stamp())
        del cut.data[len(cut.data) // 2 :]
        video = compressed(SCENE, ros.next_stamp())
        video.format, video.data[:2] = "h264", array.array("B", b"\0\0")
        for count, message in enumerate((cut, video), 1):
            camera.publish(message)
            ros.until(partial(dropped, node, before + count), f"{count} causes: {node.log}")
        assert len(camera.ask(compressed(SCENE, ros.next_stamp())).detections) == 2


def test_compressed_on_the_topic_itself(ros: Ros, node: NodeProcess) -> None:
    with Camera(ros, "/image", CompressedImage) as camera:
        answer = camera.ask(compressed(SCENE, ros.next_stamp()))
        assert [name for name, _, _ in found(answer)] == ["blue", "red"], node.log


def test_raw_is_preferred_to_compressed(ros: Ros, node: NodeProcess) -> None:
    with Camera(ros, "/image/compressed", CompressedImage) as packed, Camera(ros) as raw:
        raw.settle(image_message(SCENE, ros.next_stamp()))
        ros.status(lambda status: values(status)["type"] == "sensor_msgs/msg/Image", "the raw type")
        before = int(ros.value("received"))
        for _ in range(5):  # to nobody
            packed.publish(compressed(SCENE, ros.next_stamp()))
        assert found(raw.ask(image_message(SCENE, ros.next_stamp()), PATIENCE)) == EXPECTED, node.log
        assert int(ros.value("received")) == before + 1


def test_publisher_that_restarts_with_other_qos(ros: Ros, node: NodeProcess) -> None:
    for reliable in (True, False, True):
        with Camera(ros, reliable=reliable) as camera:
            assert found(camera.ask(image_message(SCENE, ros.next_stamp()))) == EXPECTED, node.log


def test_no_publisher_is_named_once_with_the_topics_that_exist(ros: Ros, node: NodeProcess) -> None:
    with Camera(ros, "/camera/image_raw"), Camera(ros) as camera:
        camera.ask(image_message(SCENE, ros.next_stamp()))
        said = node.said("Nobody publishes /image")
        camera.close()
        sentence = silence(ros, "/camera/image_raw")
        assert "Nobody publishes" in sentence
        assert "overlay" not in sentence  # the node's own is no camera
        assert node.said("Nobody publishes /image; .*/camera/image_raw") == 1
        ros.status(lambda status: "Nobody publishes" in status.message, "the same a second later")
        assert node.said("Nobody publishes /image") == said + 1


def test_recovery_is_named_once(ros: Ros, node: NodeProcess) -> None:
    silence(ros, "Nobody publishes")
    before = len(news(node))
    with Camera(ros) as camera:
        for _ in range(3):
            camera.ask(image_message(SCENE, ros.next_stamp()))
    assert "Images arrive on" in news(node)[before:]
    # On a machine that stands still now and then another silence may be told; each has one end.
    told = "".join("I" if words == "Images arrive on" else "N" for words in news(node))
    assert "II" not in told, node.log


def news(node: NodeProcess) -> list[str]:
    """What was told of silences and their ends."""
    return re.findall("No image for|Images arrive on", node.log)


def test_wrong_type_is_named(ros: Ros, node: NodeProcess) -> None:
    publisher = ros.node.create_publisher(String, "/image", 1)
    sentence = silence(ros, "std_msgs/msg/String")
    ros.node.destroy_publisher(publisher)
    assert "must carry sensor_msgs/msg/Image or sensor_msgs/msg/CompressedImage" in sentence
    assert node.said("/image carries std_msgs/msg/String") == 1


def test_publisher_without_data_is_named_and_a_transport_suggested(ros: Ros, node: NodeProcess) -> None:
    with Camera(ros):
        sentence = silence(ros, "sends no image")
    assert "/image has 1 publisher" in sentence
    assert "FASTDDS_BUILTIN_TRANSPORTS='DEFAULT?sockets_size=16MB'" in sentence
    assert node.alive


def test_incompatible_qos_is_named_with_the_policy(ros: Ros, node: NodeProcess) -> None:
    assert ros.change_state("alstm", "deactivate")
    assert ros.change_state("alstm", "cleanup")
    assert ros.set("alstm", input__reliability="reliable") == (True, "")
    assert ros.change_state("alstm", "configure")
    assert ros.change_state("alstm", "activate")
    with Camera(ros, reliable=False) as camera:
        camera.publish(image_message(SCENE, ros.next_stamp()))
        sentence = silence(ros, "reliability")
        assert "offered with reliability best_effort, but input.reliability asks for reliable" in sentence
    with Camera(ros, reliable=True) as camera:
        assert found(camera.ask(image_message(SCENE, ros.next_stamp()))) == EXPECTED, node.log


def test_a_camera_slower_than_the_timeout_is_told_of_once(ros: Ros, node: NodeProcess) -> None:
    with Camera(ros) as camera:
        camera.ask(image_message(SCENE, ros.next_stamp()))
        ros.until(lambda: node.said("but sends no image"), "the first silence")
        for _ in range(5):
            paced(ros, camera)  # what was learnt of the camera before goes with its publisher
            paced(ros, camera)
            said = news(node)
            longest = max(paced(ros, camera) for _ in range(4))
            if news(node) == said:
                return
            assert longest > 2 * SLOW, node.log
    pytest.fail("this machine stands still too often to show anything")


def paced(ros: Ros, camera: Camera) -> float:
    """An image of a slow camera; returns the seconds until the next one."""
    began = time.monotonic()
    camera.ask(image_message(SCENE, ros.next_stamp()))
    ros.spin(SLOW)
    return time.monotonic() - began


def test_two_publishers_with_different_clocks_are_named(ros: Ros, node: NodeProcess) -> None:
    with Camera(ros) as camera:
        behind = ros.next_stamp()
        ros.next_stamp(60_000_000_000)
        camera.ask(image_message(SCENE, ros.next_stamp()))
        steps = itertools.count(1)

        def alternating() -> list[str]:
            camera.ask(image_message(SCENE, behind + next(steps)))
            camera.ask(image_message(SCENE, ros.next_stamp()))
            return [one.message for one in ros.statuses.values() if "Stamps went back" in one.message]

        told = ros.until(alternating, "stamps that went back")
        assert "do several publishers with different clocks share the topic?" in told[0]
        assert node.alive

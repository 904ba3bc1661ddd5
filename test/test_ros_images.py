"""Every kind of image through the node: encodings, damage, sizes, headers, stamps."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS is not installed")

from diagnostic_msgs.msg import DiagnosticStatus
from imaging import encode
from ros_harness import Camera, Ros
from ros_messages import SCENE, found, image_message, raw_message, scene, values
from ros_process import NodeProcess

from alstm_ros.images import ENCODINGS

GREY = scene((20, 30, "grey"), (80, 40, "grey"))


@pytest.fixture(scope="module")
def node(number: int) -> Iterator[NodeProcess]:
    node = NodeProcess(
        number,
        parameters={"tracks.confirm_hits": 1, "tracks.birth_score": 0.5, "tracks.lost_seconds": 1.0},
    )
    yield node
    assert node.stop() == 0, node.log


@pytest.fixture(scope="module")
def camera(ros: Ros, node: NodeProcess) -> Iterator[Camera]:
    with Camera(ros) as camera:
        camera.settle(image_message(SCENE, ros.next_stamp()))
        assert len(camera.ask(image_message(SCENE, ros.next_stamp())).detections) == 2, node.log
        yield camera


def colourless(encoding: str) -> bool:
    return encoding.startswith("mono") or encoding.endswith("UC1")


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
def test_encoding(ros: Ros, camera: Camera, encoding: str, padding: int, *, big_endian: bool) -> None:
    data, step = encode(GREY if colourless(encoding) else SCENE, encoding, padding, big_endian=big_endian)
    message = raw_message(data, encoding, SCENE.shape[:2], step, ros.next_stamp(2_000_000_000))
    message.is_bigendian = big_endian
    got = found(camera.ask(message))
    names = ["grey", "grey"] if colourless(encoding) else ["blue", "red"]
    centres = [(32, 42), (92, 52)] if colourless(encoding) else [(92, 52), (32, 42)]
    assert [name for name, _, _ in got] == names
    # A square's edge may move by the pixel that chroma or a Bayer cell shares with its neighbour.
    np.testing.assert_allclose([(x, y) for _, x, y in got], centres, atol=1.5)


def said(node: NodeProcess, times: int) -> bool:
    return node.said("An image is dropped") == times


def counted(count: str, status: DiagnosticStatus) -> bool:
    return values(status)["damaged"] == count


def test_damaged_images_are_counted_named_once_and_the_next_good_one_is_processed(
    ros: Ros, node: NodeProcess, camera: Camera
) -> None:
    before = int(ros.value("damaged"))
    whole = image_message(SCENE, ros.next_stamp())
    short = raw_message(SCENE.tobytes()[:-100], "bgr8", SCENE.shape[:2], 3 * SCENE.shape[1], ros.next_stamp())
    narrow = raw_message(SCENE.tobytes(), "bgr8", SCENE.shape[:2], SCENE.shape[1], ros.next_stamp())
    unknown = raw_message(SCENE.tobytes(), "bgr12", SCENE.shape[:2], 3 * SCENE.shape[1], ros.next_stamp())
    empty = raw_message(b"", "bgr8", (0, 0), 0, ros.next_stamp())
    for index, message in enumerate((short, narrow, unknown, empty)):
        camera.publish(message)
        ros.until(partial(said, node, index + 1), "the cause in the log")
    for index, message in enumerate((short, narrow, unknown, empty)):
        camera.publish(message)
        count = str(before + 5 + index)
        ros.status(partial(counted, count), f"{count} damaged")
    assert node.said("An image is dropped: .*bgr12") == 1
    assert node.said("An image is dropped") == 4, node.log
    status = ros.status(lambda _: True, "anything")
    assert int(values(status)["damaged, unknown encoding"]) == 2
    whole.header = image_message(SCENE, ros.next_stamp()).header
    assert len(camera.ask(whole).detections) == 2


def test_size_changes_mid_stream(ros: Ros, camera: Camera) -> None:
    for height, width in ((96, 128), (240, 320), (97, 131), (64, 64)):
        image = scene((20, 30, "green"), height=height, width=width)
        answer = camera.ask(image_message(image, ros.next_stamp(2_000_000_000)))
        assert found(answer) == [("green", 32, 42)]


def test_header_is_copied_whole_into_array_and_detections(ros: Ros, camera: Camera) -> None:
    message = image_message(SCENE, ros.next_stamp(), "front/optical")
    answer = camera.ask(message)
    assert answer.header == message.header
    assert [detection.header for detection in answer.detections] == [message.header] * 2


def test_empty_frames_are_answered_and_do_not_end_tracks(ros: Ros, camera: Camera) -> None:
    ids = [d.id for d in camera.ask(image_message(SCENE, ros.next_stamp(5_000_000_000))).detections]
    for _ in range(5):
        assert camera.ask(image_message(scene(), ros.next_stamp())).detections == []
    assert [d.id for d in camera.ask(image_message(SCENE, ros.next_stamp())).detections] == ids


def test_looped_time_starts_new_tracks_with_new_ids(camera: Camera) -> None:
    seen: set[str] = set()
    for _ in range(3):  # a bag of twelve frames that loops; a jump over a few frames would be a hiccup
        ids = set()
        for index in range(12):
            answer = camera.ask(image_message(SCENE, 1_000_000_000 + 40_000_000 * index))
            ids |= {d.id for d in answer.detections}
        assert len(ids) == 2
        assert not ids & seen
        seen |= ids


def test_images_without_a_stamp_are_processed_and_that_is_said_once(node: NodeProcess, camera: Camera) -> None:
    for _ in range(3):
        answer = camera.ask(image_message(SCENE, 0))
        assert answer.header.stamp.sec == 0
        assert len(answer.detections) == 2
    assert node.said("carry no stamp") == 1

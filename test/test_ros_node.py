"""The running node: topics, parameters, services, pictures, transitions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS is not installed")

from alstm_ros.msg import TrackArray, TrackEvent
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_harness import Camera, Ros
from ros_messages import EXPECTED, QUICK, SCENE, found, ids, image_message, scene
from ros_process import NodeProcess
from sensor_msgs.msg import Image as ImageMessage
from std_srvs.srv import SetBool, Trigger
from vision_msgs.msg import LabelInfo
from visualization_msgs.msg import ImageMarker


@pytest.fixture(scope="module")
def node(number: int) -> Iterator[NodeProcess]:
    node = NodeProcess(number, parameters=QUICK)
    yield node
    assert node.stop() == 0, node.log


def test_autostart_makes_it_active(ros: Ros, node: NodeProcess) -> None:
    ros.until(lambda: ros.state("alstm") == "active", f"the active state: {node.log}")


@pytest.mark.usefixtures("node")
def test_tracks_and_events_tell_the_same_story_as_detections(ros: Ros) -> None:
    tracks, events = ros.collect(TrackArray, "/alstm/tracks"), ros.collect(TrackEvent, "/alstm/events")
    with Camera(ros) as camera:
        camera.ask(image_message(scene(), ros.next_stamp()))
        ros.until(lambda: tracks, "any tracks")
        camera.ask(image_message(scene((20, 30, "red")), ros.next_stamp(5_000_000_000)))
        message = image_message(scene((30, 30, "red")), ros.next_stamp(100_000_000))
        detections = camera.ask(message)
        ros.until(lambda: tracks[-1].header == message.header, "the last tracks")
        (track,) = tracks[-1].tracks
        assert [track.id] == ids(detections)
        assert track.class_id == "red"
        assert track.state == track.CONFIRMED
        assert track.bbox == detections.detections[0].bbox
        assert (track.raw_bbox.center.position.x, track.raw_bbox.size_x) == (42.0, 24.0)
        assert track.velocity_x > 10
        assert (track.age.sec, track.age.nanosec) == (0, 100_000_000)
        assert (track.since_seen.sec, track.since_seen.nanosec) == (0, 0)
        gone = image_message(scene(), ros.next_stamp(100_000_000))
        camera.ask(gone)
        ros.until(lambda: tracks[-1].header == gone.header, "the tracks without detections")
        (lost,) = tracks[-1].tracks
        assert (lost.state, lost.since_seen.nanosec, lost.raw_bbox.size_x) == (lost.LOST, 100_000_000, 0.0)
        assert np.isnan(lost.association_confidence)
        camera.ask(image_message(scene(), ros.next_stamp(5_000_000_000)))
        ros.until(lambda: any(e.id == track.id and e.kind == e.ENDED for e in events), "the end")
        assert [event.kind for event in events if event.id == track.id] == [0, 1, 3]  # born, lost, ended


def test_labels_reach_late_joiners(ros: Ros, node: NodeProcess) -> None:
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    labels = ros.collect(LabelInfo, "/alstm/labels", latched)
    ros.until(lambda: labels, f"the labels: {node.log}")
    assert [(label.class_id, label.class_name) for label in labels[0].class_map] == [
        (0, "blue"),
        (1, "green"),
        (2, "red"),
        (3, "grey"),
    ]


def test_pictures_are_made_only_while_somebody_subscribes(ros: Ros, node: NodeProcess) -> None:
    with Camera(ros) as camera:
        camera.ask(image_message(SCENE, ros.next_stamp()))
        overlays: list[ImageMessage] = []
        subscription = ros.node.create_subscription(ImageMessage, "/alstm/overlay", overlays.append, 10)
        boxes = ros.collect(ImageMarker, "/alstm/markers")

        def shown() -> bool:
            camera.ask(image_message(SCENE, ros.next_stamp()))
            return bool(overlays and boxes)

        ros.until(shown, f"overlay and markers: {node.log}")
        overlay = overlays[-1]
        drawn = np.frombuffer(overlay.data, np.uint8).reshape(overlay.height, overlay.step // 3, 3)
        assert (overlay.encoding, drawn.shape) == ("bgr8", SCENE.shape)
        assert (drawn != SCENE).any()
        assert boxes[-1].type == ImageMarker.LINE_LIST
        assert len(boxes[-1].points) == 16  # two boxes of four lines
        assert len(boxes[-1].outline_colors) == 8
        assert boxes[-1].header.frame_id == "camera"
        corners = {(point.x, point.y) for point in boxes[-1].points}
        assert (20.0, 30.0) in {(round(x), round(y)) for x, y in corners}

        assert ros.set("alstm", output__overlay_scale=0.5) == (True, "")
        camera.ask(image_message(SCENE, ros.next_stamp()))
        ros.until(lambda: overlays[-1].width == SCENE.shape[1] // 2, "a half-sized overlay")
        assert ros.set("alstm", output__overlay_scale=1.0) == (True, "")

        ros.node.destroy_subscription(subscription)


def test_live_parameters_act_on_the_next_frame(ros: Ros, node: NodeProcess) -> None:
    with Camera(ros) as camera:
        assert len(camera.ask(image_message(SCENE, ros.next_stamp())).detections) == 2
        assert ros.set("alstm", detector__classes=["red"], tracks__lost_seconds=0) == (True, "")
        assert ros.get("alstm", "tracks.lost_seconds") == 0.0  # a whole number is taken for a number
        assert found(camera.ask(image_message(SCENE, ros.next_stamp()))) == [("red", 32, 42)]
        assert ros.set("alstm", detector__classes=[]) == (True, "")
        assert ros.set("alstm", detector__score_threshold=0.95) == (True, "")
        assert camera.ask(image_message(SCENE, ros.next_stamp())).detections == []
        assert ros.set("alstm", detector__score_threshold=0.1, tracks__lost_seconds=1.0) == (True, "")
        assert len(camera.ask(image_message(SCENE, ros.next_stamp())).detections) == 2, node.log


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "detector__score_threshold",
            1.5,
            "Parameter 'detector.score_threshold' is 1.5; it must be a number from 0 to 1.",
        ),
        ("detector__score_threshold", "high", "is 'high'; it must be a number from 0 to 1."),
        ("detector__max_detections", 0, "is 0; it must be a whole number from 1 to 10000."),
        ("input__transport", "udp", "it must be one of 'auto', 'raw', 'compressed'."),
        ("detector__classes", ["dog"], "'dog'"),
        (
            "detector__score_treshold",
            0.5,
            "There is no parameter 'detector.score_treshold'; did you mean 'detector.score_threshold'?",
        ),
        ("detector__model", "other.onnx", "Parameter 'detector.model' belongs to the node's structure"),
        ("cameras", ["front"], "Parameter 'cameras' belongs to the node's structure"),
    ],
)
def test_wrong_values_are_refused_with_a_sentence(
    ros: Ros, node: NodeProcess, name: str, value: object, sentence: str
) -> None:
    done, reason = ros.set("alstm", **{name: value})
    assert not done
    assert sentence in reason
    assert node.alive


def test_ros2_param_set_answers_with_the_same_sentences(ros: Ros, node: NodeProcess) -> None:
    """The command line sets one by one, through another service than the one above."""
    given = [
        Parameter("tracks.high_score", value=3.0),
        Parameter("engine.runtime", value="cpu"),
        Parameter("no.such", value=1),
    ]
    answer = ros.call(SetParameters, "/alstm/set_parameters", parameters=[p.to_parameter_msg() for p in given])
    assert [result.successful for result in answer.results] == [False] * 3
    assert "must be a number from 0 to 1" in answer.results[0].reason
    assert "it must be " in answer.results[1].reason
    assert answer.results[2].reason.startswith("There is no parameter 'no.such'")
    assert node.alive


def test_off_means_that_the_camera_stands(ros: Ros, node: NodeProcess) -> None:
    """The command line sends false for off; a dump of the parameters, which says none, can be loaded again."""
    for value in (False, "off"):
        assert ros.set("alstm", motion__camera=value)[0]
        assert ros.get("alstm", "motion.camera") == "none"
    assert ros.set("alstm", motion__camera="auto")[0], node.log


def test_parameters_set_at_once_are_taken_all_or_none(ros: Ros, node: NodeProcess) -> None:
    before = ros.get("alstm", "detector.nms_threshold")
    done, reason = ros.set("alstm", detector__nms_threshold=0.3, tracks__high_score=7.0)
    assert not done
    assert "tracks.high_score" in reason
    assert ros.get("alstm", "detector.nms_threshold") == before
    assert node.alive


def test_a_refused_set_leaves_nothing_in_force(ros: Ros, node: NodeProcess) -> None:
    """The detector refuses one of the first set, rclpy's clock one of the second: after this node took the other."""
    with Camera(ros) as camera:
        camera.ask(image_message(SCENE, ros.next_stamp()))
        for refused in ({"detector__classes": ["no such"]}, {"use_sim_time": "yes"}):
            done, _ = ros.set("alstm", detector__score_threshold=0.99, **refused)
            assert not done
            assert ros.get("alstm", "detector.score_threshold") == 0.1
            assert len(camera.ask(image_message(SCENE, ros.next_stamp())).detections) == 2, node.log
        assert ros.set("alstm", tracks__lost_seconds=1.5) == (True, "")  # and nothing of the refused comes with it
        assert len(camera.ask(image_message(SCENE, ros.next_stamp())).detections) == 2, node.log


def test_descriptors_tell_range_and_choices(ros: Ros, node: NodeProcess) -> None:
    from rcl_interfaces.srv import DescribeParameters

    names = ["detector.score_threshold", "detector.max_detections", "input.transport"]
    threshold, most, transport = ros.call(DescribeParameters, "/alstm/describe_parameters", names=names).descriptors
    assert (threshold.floating_point_range[0].from_value, threshold.floating_point_range[0].to_value) == (0.0, 1.0)
    assert (most.integer_range[0].from_value, most.integer_range[0].to_value) == (1, 10000)
    assert "One of 'auto', 'raw', 'compressed'." in transport.additional_constraints
    assert all(descriptor.description for descriptor in (threshold, most, transport)), node.log


def test_reset_ends_tracks_and_ids_go_on(ros: Ros, node: NodeProcess) -> None:
    with Camera(ros) as camera:
        first = ids(camera.ask(image_message(SCENE, ros.next_stamp())))
        assert ids(camera.ask(image_message(SCENE, ros.next_stamp()))) == first
        assert ros.call(Trigger, "/alstm/reset").success
        second = ids(camera.ask(image_message(SCENE, ros.next_stamp())))
        assert min(map(int, second)) > max(map(int, first)), node.log


def test_enable_switches_processing(ros: Ros, node: NodeProcess) -> None:
    with Camera(ros) as camera:
        camera.ask(image_message(SCENE, ros.next_stamp()))
        assert ros.call(SetBool, "/alstm/enable", data=False).success
        ros.until(lambda: ros.node.count_subscribers("/image") == 0, "the end of the subscription")
        ros.status(lambda status: "switched off" in status.message, "switched off", "alstm")
        assert ros.call(SetBool, "/alstm/enable", data=True).success
        assert found(camera.ask(image_message(SCENE, ros.next_stamp()))) == EXPECTED, node.log


def test_lifecycle_through_the_services(ros: Ros, node: NodeProcess) -> None:
    with Camera(ros) as camera:
        first = ids(camera.ask(image_message(SCENE, ros.next_stamp())))
        assert ros.change_state("alstm", "deactivate")
        assert ros.state("alstm") == "inactive"
        ros.until(lambda: ros.node.count_subscribers("/image") == 0, "the end of the subscription")
        assert ros.change_state("alstm", "activate")
        camera.ask(image_message(SCENE, ros.next_stamp()))
        assert ros.change_state("alstm", "deactivate")
        assert ros.change_state("alstm", "cleanup")
        assert ros.state("alstm") == "unconfigured"
        ros.until(lambda: ros.node.count_publishers("/alstm/tracks") == 0, "the end of the publishers")
        assert ros.set("alstm", output__id_prefix="robot7-") == (True, "")  # structure may change now
        assert ros.change_state("alstm", "configure")
        assert ros.change_state("alstm", "activate")
        second = ids(camera.ask(image_message(SCENE, ros.next_stamp())))
        assert all(name.startswith("robot7-") for name in second)
        assert min(int(name.removeprefix("robot7-")) for name in second) > max(map(int, first)), node.log


def test_an_impossible_transition_is_refused_and_the_node_lives(ros: Ros, node: NodeProcess) -> None:
    ros.until(lambda: ros.state("alstm") == "active", f"the active state: {node.log}")
    refused = "The transition .* is refused|Unable to start transition"  # Kilted has its own words
    before = node.said(refused)
    assert not ros.change_state("alstm", "activate")
    assert ros.state("alstm") == "active"
    assert node.said(refused) > before

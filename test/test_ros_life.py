"""The node's start and end: lifecycle, models that fail, slow ones, several nodes and cameras, signals."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

pytest.importorskip("rclpy", reason="ROS is not installed")

import rclpy
from builtin_interfaces.msg import Time
from lifecycle_msgs.msg import TransitionEvent
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import ReliabilityPolicy
from rclpy.task import Future
from rclpy.topic_endpoint_info import TopicEndpointInfo
from ros_harness import Camera, Ros
from ros_messages import EXPECTED, QUICK, SCENE, found, ids, image_message, scene, values
from ros_process import PATIENCE, NodeProcess
from rosgraph_msgs.msg import Clock
from std_srvs.srv import Trigger
from vision_msgs.msg import Detection2DArray

from alstm_ros.ros.main import _spin_until_failure
from alstm_ros.ros.runtime import FRAME_TIMEOUT


@contextmanager
def running(number: int, *arguments: str, **given: object) -> Iterator[NodeProcess]:
    """A node for one test."""
    node = NodeProcess(number, *arguments, **given)  # type: ignore[arg-type]  # handed on as given
    try:
        yield node
    finally:
        assert node.stop() == 0, node.log


def test_two_nodes_at_once(ros: Ros, number: int) -> None:
    with (
        running(number, name="first", parameters=QUICK) as node,
        running(number, name="second", parameters=QUICK) as second,
        Camera(ros, results="/first/detections") as one,
        Camera(ros, results="/second/detections") as two,
    ):
        assert found(two.ask(image_message(SCENE, ros.next_stamp()))) == EXPECTED, second.log
        assert found(one.ask(image_message(SCENE, ros.next_stamp()))) == EXPECTED, node.log


def test_configure_fails_with_a_sentence_and_can_be_tried_again(ros: Ros, number: int) -> None:
    with running(number, name="broken", parameters={**QUICK, "detector.model": "missing"}) as node:
        assert ros.state("broken") == "unconfigured"
        assert "The model file 'missing' does not exist." in node.log
        ros.status(lambda s: s.level == s.ERROR and "'missing' does not exist" in s.message, "the cause", "broken")
        assert ros.set("broken", detector__model="default") == (True, "")
        assert ros.change_state("broken", "configure")
        assert ros.change_state("broken", "activate")
        assert ros.change_state("broken", "active_shutdown")
        assert ros.state("broken") == "finalized"


def test_deactivate_while_a_frame_is_in_work_publishes_nothing_afterwards(ros: Ros, number: int) -> None:
    slow = {"BLOB_DELAY": "1.2"}  # more than until the diagnostics tell of an image
    with (
        running(number, name="slow", parameters=QUICK, environment=slow) as node,
        Camera(ros, results="/slow/detections") as camera,
    ):
        answers: list[tuple[int, Time]] = []  # when each was published, and its stamp
        changes: dict[str, int] = {}
        ros.node.create_subscription(
            Detection2DArray,
            "/slow/detections",
            lambda answer, info: answers.append((info["source_timestamp"], answer.header.stamp)),
            100,
        )
        ros.node.create_subscription(
            TransitionEvent,
            "/slow/transition_event",
            lambda event, info: changes.update({event.goal_state.label: info["source_timestamp"]}),
            100,
        )
        camera.settle(image_message(SCENE, ros.next_stamp()))
        last = image_message(SCENE, ros.next_stamp())
        before = int(ros.value("received", "slow: image"))
        camera.publish(last)
        ros.status(lambda s: int(values(s)["received"]) > before, "one more image", "slow: image")
        camera.publish(image_message(SCENE, ros.next_stamp()))
        assert ros.change_state("slow", "deactivate")
        ros.until(lambda: "inactive" in changes, "the transition's event")
        ros.until(lambda: last.header.stamp in [stamp for _, stamp in answers], "the answer to the image in work")
        ros.spin(1.5)
        assert max(published for published, _ in answers) < changes["inactive"]
        assert ros.change_state("slow", "activate")
        assert found(camera.ask(image_message(SCENE, ros.next_stamp()))) == EXPECTED, node.log


def test_a_slow_detector_leaves_services_and_parameters_live_and_drops_old_images(ros: Ros, number: int) -> None:
    slow = {"BLOB_DELAY": "1.0"}
    with (
        running(number, name="slower", parameters=QUICK, environment=slow) as node,
        Camera(ros, results="/slower/detections") as camera,
    ):
        camera.ask(image_message(SCENE, ros.next_stamp()))
        dropped = int(ros.value("dropped for a newer one", "slower: image"))

        def enough() -> bool:
            camera.publish(image_message(SCENE, ros.next_stamp()))
            assert ros.get("slower", "detector.model") == "default"
            return int(values(ros.statuses["slower: image"])["dropped for a newer one"]) >= dropped + 10

        ros.until(enough, "dropped images")
        assert node.alive


def test_several_cameras_have_one_tracker_each_and_share_the_ids(ros: Ros, number: int) -> None:
    parameters: dict[str, object] = {**QUICK, "cameras": "[front, rear]"}
    with (
        running(number, name="two", parameters=parameters) as node,
        Camera(ros, "/front/image", results="/two/front/detections") as front,
        Camera(ros, "/rear/image", reliable=False, results="/two/rear/detections") as rear,
    ):
        seen = front.ask(image_message(SCENE, ros.next_stamp(), "front"))
        other = rear.ask(image_message(scene((60, 50, "green")), ros.next_stamp(), "rear"))
        assert found(seen) == EXPECTED
        assert found(other) == [("green", 72, 62)], node.log
        assert not set(ids(seen)) & set(ids(other))
        assert (seen.header.frame_id, other.header.frame_id) == ("front", "rear")
        assert ids(front.ask(image_message(SCENE, ros.next_stamp()))) == ids(seen)
        names = {s.name for s in ros.statuses.values()}
        ros.status(lambda _: True, "the rear camera", "two: rear/image")
        assert "two: image" not in names


@pytest.mark.parametrize("with_signal", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_cleanly(ros: Ros, number: int, with_signal: signal.Signals) -> None:
    ending = NodeProcess(number, name="ending", parameters=QUICK, environment={"BLOB_DELAY": "0.2"})
    with Camera(ros, results="/ending/detections") as camera:
        camera.ask(image_message(SCENE, ros.next_stamp()))
        for _ in range(20):  # one is in work when the signal comes
            camera.publish(image_message(SCENE, ros.next_stamp()))
            ros.spin(0.02)
        began = time.monotonic()
        assert ending.stop(with_signal) == 0, ending.log
        taken = time.monotonic() - began
    assert taken < FRAME_TIMEOUT / 2  # 1 s on an idle machine; what must not be is that it waits for a frame in vain
    assert "Traceback" not in ending.log
    assert "Error" not in ending.log


@pytest.mark.parametrize("moment", ["at once", "while it imports", "Configured", "Subscribed"])
def test_a_signal_at_any_moment_of_the_start_ends_it_cleanly(number: int, moment: str) -> None:
    node = NodeProcess(number, name="starting", parameters=QUICK, command=("-m", "alstm_ros.ros"))
    end = time.monotonic() + PATIENCE
    if moment == "while it imports":
        time.sleep(0.3)
    elif moment != "at once":
        while moment not in node.log and node.alive and time.monotonic() < end:
            time.sleep(0.002)
    code = node.stop(signal.SIGTERM)
    # Before its first line it is Python that ends by the signal.
    assert code == 0 or (moment == "at once" and code == -signal.SIGTERM), node.log
    assert "Traceback" not in node.log


def test_a_second_signal_changes_nothing(ros: Ros, number: int) -> None:
    node = NodeProcess(number, name="twice", parameters=QUICK, environment={"BLOB_DELAY": "1.0"})
    with Camera(ros, results="/twice/detections") as camera:
        camera.ask(image_message(SCENE, ros.next_stamp()))
        camera.publish(image_message(SCENE, ros.next_stamp()))
        ros.spin(0.3)
        node.send(signal.SIGINT)
        ros.spin(0.1)
        assert node.stop() == 0, node.log
    assert "Traceback" not in node.log


def test_a_detector_that_hangs_does_not_keep_the_process(ros: Ros, number: int) -> None:
    node = NodeProcess(number, name="hanging", parameters=QUICK, environment={"BLOB_DELAY": "600"})
    with Camera(ros, results="/hanging/detections") as camera:

        def received() -> bool:
            camera.publish(image_message(SCENE, ros.next_stamp()))
            return int(ros.value("received", "hanging: image")) > 0

        ros.until(received, "an image in work")
        assert node.stop() == 1
    assert "did not end within" in node.log
    assert "Traceback" not in node.log


@pytest.mark.parametrize(
    ("arguments", "environment", "sentence"),
    [
        (["--params-file", "/no/such.yaml"], {}, "Couldn't parse params file"),
        (["--log-level", "verbose"], {}, "Couldn't parse log level"),
        (["-r", "image:=map.png"], {}, "Couldn't parse remap rule"),
        (["--bogus"], {}, "does not know these arguments: ['--bogus']"),
        ([], {"ROS_LOG_DIR": "/dev/null/logs"}, "Failed to create log directory"),
    ],
)
def test_what_ros_refuses_at_start_is_a_sentence(
    number: int, arguments: list[str], environment: dict[str, str], sentence: str
) -> None:
    node = NodeProcess(number, *arguments, environment=environment)
    assert node.wait() == 1
    assert sentence in node.log
    assert "Traceback" not in node.log
    assert "/project/src" not in node.log


def test_an_image_topic_that_is_the_node_s_own_is_refused(ros: Ros, number: int) -> None:
    with running(number, "-r", "image:=/loop/overlay", name="loop", parameters=QUICK) as node:
        ros.status(
            lambda s: s.level == s.ERROR and "which this node publishes itself" in s.message, "the cause", "loop"
        )
        assert ros.state("loop") == "unconfigured"
        assert ros.node.count_publishers("/loop/tracks") == 0, node.log


def test_a_second_node_of_one_name_waits_until_the_first_has_ended(ros: Ros, number: int) -> None:
    first = NodeProcess(number, name="same", parameters=QUICK)
    try:
        ros.until(lambda: first.said("Subscribed to"), "the first node's subscription")
        with (
            running(number, name="same", parameters=QUICK) as second,
            Camera(ros, results="/same/detections") as camera,
        ):
            ros.until(lambda: second.said("Another node on this machine is called /same"), "the sentence")
            camera.settle(image_message(SCENE, ros.next_stamp()))
            answers = ros.collect(Detection2DArray, "/same/detections")
            ros.until(lambda: ros.node.count_subscribers("/same/detections") == 2, "both subscriptions")
            last = image_message(SCENE, ros.next_stamp())
            camera.ask(last)
            ros.spin(0.5)
            assert [answer.header.stamp for answer in answers].count(last.header.stamp) == 1
            assert first.stop(signal.SIGKILL) == -signal.SIGKILL  # discovery tells of it for a while
            ros.until(lambda: second.said("Subscribed to"), "the second node's subscription")
            assert second.said("Another node") == 1
    finally:
        first.stop()


def test_a_callback_that_fails_is_told_of_and_the_others_go_on(number: int) -> None:
    failures, calls = list[str](), list[int]()
    context = Context()
    rclpy.init(context=context, domain_id=number)
    node = Node("failing", context=context)
    node.report_failure = failures.append
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    end = Future(executor=executor)

    def fail() -> None:
        raise RuntimeError("of this callback")

    def call() -> None:
        calls.append(1)
        if len(calls) == 5 and failures:
            end.set_result(None)

    node.create_timer(0.01, fail)
    node.create_timer(0.05, call)
    for _ in range(200):
        if not end.done():
            _spin_until_failure(node, executor, end)
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown(context=context)
    assert end.done()
    assert "of this callback" in failures[0]


def test_a_refused_parameter_at_start_ends_it_with_a_sentence(number: int) -> None:
    node = NodeProcess(number, name="refused", parameters={"tracks.high_score": 3})
    assert node.wait() == 1
    assert "Parameter 'tracks.high_score' is 3.0; it must be a number from 0 to 1." in node.log
    assert "Traceback" not in node.log


def test_off_at_start_means_that_the_camera_stands(ros: Ros, number: int) -> None:
    given = {**QUICK, "motion.camera": "off", "autostart": False}
    with running(number, "-r", "image:=/apart", name="standing", parameters=given) as node:
        assert ros.get("standing", "motion.camera") == "none", node.log


def test_a_misspelt_parameter_at_start_is_named_and_without_autostart_nothing_starts(ros: Ros, number: int) -> None:
    given: dict[str, object] = {**QUICK, "tracks.hi_score": 0.5, "cameras": "[]", "autostart": False}
    with running(number, "-r", "image:=/apart", name="misspelt", parameters=given) as node:
        assert ros.state("misspelt") == "unconfigured"
        assert "There is no parameter 'tracks.hi_score'; did you mean 'tracks.high_score'?" in node.log
        assert ros.change_state("misspelt", "configure")
        assert ros.node.count_subscribers("/apart") == 0
        assert ros.change_state("misspelt", "activate")
        ros.until(lambda: ros.node.count_subscribers("/apart"), "the subscription")


def test_sim_time_without_a_clock_does_not_stop_it(ros: Ros, number: int) -> None:
    with (
        running(number, name="simulated", parameters={**QUICK, "use_sim_time": True}) as node,
        Camera(ros, results="/simulated/detections") as camera,
    ):
        assert found(camera.ask(image_message(SCENE, ros.next_stamp()))) == EXPECTED, node.log
        ros.status(lambda s: int(values(s)["processed"]) > 0, "processed images", "simulated: image")


def test_a_clock_that_jumps_back_does_not_stop_it(ros: Ros, number: int) -> None:
    """A bag that begins anew: images, diagnostics and services go on, and every track is another."""
    clock = ros.node.create_publisher(Clock, "/clock", 10)
    with (
        running(number, name="looping", parameters={**QUICK, "use_sim_time": True}) as node,
        Camera(ros, results="/looping/detections") as camera,
    ):
        seen = []
        for second in (1000, 1001, 500, 501):
            clock.publish(Clock(clock=Time(sec=second)))
            answer = camera.ask(image_message(SCENE, second * 1_000_000_000))
            assert found(answer) == EXPECTED, node.log
            seen.append(ids(answer))
        assert seen[0] == seen[1]
        assert seen[2] == seen[3]
        assert not set(seen[1]) & set(seen[2])
        ros.status(lambda s: values(s)["time jumps back"] == "1" and s.level == s.OK, "one jump", "looping: image")
        assert ros.call(Trigger, "/looping/reset").success
    ros.node.destroy_publisher(clock)


def test_namespaces_remappings_and_qos_overrides_are_followed(ros: Ros, number: int) -> None:
    arguments = ["-r", "__ns:=/robot", "-r", "image:=camera/color", "-r", "~/detections:=people"]
    override = {"qos_overrides./robot/two/tracks.publisher.reliability": "best_effort"}
    with (
        running(number, *arguments, name="two", parameters={**QUICK, **override}) as node,
        Camera(ros, "/robot/camera/color", results="/robot/people") as camera,
    ):
        assert found(camera.ask(image_message(SCENE, ros.next_stamp()))) == EXPECTED, node.log

        def offered() -> list[list[TopicEndpointInfo]]:
            return [ros.node.get_publishers_info_by_topic(f"/robot/two/{name}") for name in ("tracks", "events")]

        for _ in range(2):  # parameters that were declared are there again after a clean-up
            ros.until(lambda: all(offered()), "both publishers")
            [tracks], [events] = offered()
            assert tracks.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
            assert events.qos_profile.reliability == ReliabilityPolicy.RELIABLE
            assert ros.change_state("robot/two", "deactivate"), node.log
            assert ros.change_state("robot/two", "cleanup"), node.log
            ros.until(lambda: not any(offered()), "the end of both publishers")
            assert ros.change_state("robot/two", "configure"), node.log
            assert ros.change_state("robot/two", "activate"), node.log
        assert "There is no parameter" not in node.log


def test_a_qos_override_that_is_none_is_a_sentence(ros: Ros, number: int) -> None:
    override = {"qos_overrides./odd/tracks.publisher.reliability": "perhaps"}
    with running(number, name="odd", parameters={**QUICK, **override}) as node:
        ros.status(lambda s: s.level == s.ERROR and "qos_overrides./odd/tracks" in s.message, "the cause", "odd")
        assert "Traceback" not in node.log

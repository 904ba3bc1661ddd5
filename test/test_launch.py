"""The launch file, run for real wherever `launch_ros` can be imported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS is not installed")
pytest.importorskip("launch_ros", reason="launch_ros is not on PyPI; a ROS installation has it")

from ros_harness import Camera, Ros
from ros_messages import image_message, scene, values
from ros_process import PATIENCE
from vision_msgs.msg import Detection2DArray

from alstm_ros.ros.transport import PROFILE_VARIABLES, SETTING, VARIABLE, remedy

LAUNCH = Path(__file__).resolve().parents[1] / "launch" / "alstm.launch.py"
RUN = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

arguments = [tuple(word.split(":=", 1)) for word in sys.argv[2:]]
service = LaunchService()
source = PythonLaunchDescriptionSource(sys.argv[1])
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments)])
)
sys.exit(service.run())
"""


@dataclass
class Launched:
    """A launch that runs; `output` is there when it has ended."""

    process: subprocess.Popen[str]
    output: str = ""


@contextmanager
def launched(
    number: int, *arguments: str, file: Path = LAUNCH, environment: dict[str, str] | None = None, killed: bool = False
) -> Iterator[Launched]:
    inherited = {key: value for key, value in os.environ.items() if key not in (VARIABLE, *PROFILE_VARIABLES)}
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(file), *arguments],
        env=inherited | {"ROS_DOMAIN_ID": str(number)} | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    running = Launched(process)
    try:
        yield running
    finally:
        process.send_signal(signal.SIGINT)
        running.output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, running.output
    assert running.output.count("process has died") == killed, running.output  # the node itself ended with 0


def test_an_image_topic_is_answered(ros: Ros, number: int) -> None:
    with launched(number, "image:=/camera/image_raw"), Camera(ros, "/camera/image_raw") as camera:
        answer = camera.ask(image_message(scene((20, 30, "red")), ros.next_stamp(), "front_optical"))
        assert answer.header.frame_id == "front_optical"
        assert ros.state("alstm") == "active"
        status = ros.status(lambda _: True, "anything", "alstm")
        assert values(status)[VARIABLE] == SETTING


def test_arguments_reach_the_node(ros: Ros, number: int, tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("/**:\n  ros__parameters:\n    autostart: false\n    tracks:\n      lost_seconds: 2.5\n")
    with launched(
        number,
        "cameras:=front=/cam/front, rear",
        "node_name:=eyes",
        "node_namespace:=robot",
        "large_data:=false",
        "use_sim_time:=true",
        "log_level:=warn",
        f"config:={config}",
    ):
        assert ros.state("robot/eyes") == "unconfigured"
        assert ros.get("robot/eyes", "cameras") == ["front", "rear"]
        assert ros.get("robot/eyes", "tracks.lost_seconds") == 2.5
        assert ros.get("robot/eyes", "use_sim_time") is True
        assert ros.change_state("robot/eyes", "configure")
        assert ros.change_state("robot/eyes", "activate")
        ros.until(lambda: ros.node.count_subscribers("/cam/front"), "the front camera's subscription")
        ros.until(lambda: ros.node.count_subscribers("/robot/rear/image"), "the rear camera's subscription")
        status = ros.status(lambda _: True, "anything", "robot/eyes")
        assert values(status)[VARIABLE] == "not set"


AROUND = """
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, LogInfo
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import PushRosNamespace

def generate_launch_description():
    included = IncludeLaunchDescription(
        PythonLaunchDescriptionSource({file!r}), launch_arguments={{"image": "/camera/image_raw"}}.items()
    )
    return LaunchDescription([
        DeclareLaunchArgument("name", default_value="my robot"),
        DeclareLaunchArgument("namespace", default_value="robot"),
        DeclareLaunchArgument("image", default_value="map.png"),
        PushRosNamespace(LaunchConfiguration("namespace")),
        included,
        LogInfo(msg=["afterwards: ", LaunchConfiguration("log_level", default="untouched")]),
    ])
"""


def test_arguments_of_a_file_around_it_do_not_reach_the_node_and_its_own_do_not_leave_it(
    ros: Ros, number: int, tmp_path: Path
) -> None:
    around = tmp_path / "bringup.launch.py"
    around.write_text(AROUND.format(file=str(LAUNCH)))
    with (
        launched(number, file=around) as run,
        Camera(ros, "/camera/image_raw", results="/robot/alstm/detections") as camera,
    ):
        camera.ask(image_message(scene((20, 30, "red")), ros.next_stamp()))
        assert ros.state("robot/alstm") == "active"
    assert "afterwards: untouched" in run.output


CAMERA = """
import time
import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

rclpy.init()
node = rclpy.create_node("large_camera")
publisher = node.create_publisher(Image, "/camera/large", qos_profile_sensor_data)
image = Image(height=1080, width=1920, encoding="bgr8", step=3 * 1920)
image.data.frombytes(bytes(3 * 1920 * 1080))
while not publisher.get_subscription_count():
    time.sleep(0.1)
time.sleep(3)  # the node has to find the publisher, too, and to follow it
for second in range(1, 21):
    image.header.stamp.sec = second
    publisher.publish(image)
    time.sleep(0.3)
time.sleep(2)
"""


def test_where_discovery_stays_on_this_machine_large_images_arrive(number: int) -> None:
    """The camera's process has the environment that the hint names; without it about every fifth image arrives."""
    local = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        near = Ros(number)
    environment = os.environ | local | remedy(local) | {"ROS_DOMAIN_ID": str(number)}
    camera = subprocess.Popen([sys.executable, "-c", CAMERA], env=environment)
    try:
        answers = near.collect(Detection2DArray, "/alstm/detections")
        with launched(number, "image:=/camera/large", environment=local):
            status = near.status(lambda _: True, "anything", "alstm")
            assert values(status)[PROFILE_VARIABLES[0]].endswith("fastdds_16MB.xml")
            near.until(lambda: camera.poll() is not None, "the camera's end")
        assert {answer.header.stamp.sec for answer in answers} == set(range(1, 21))
    finally:
        camera.kill()
        camera.wait()
        near.close()


def test_the_level_of_the_log_is_the_node_s_alone(ros: Ros, number: int) -> None:
    with launched(number, "log_level:=debug", "autostart:=false") as run:
        ros.until(lambda: ros.state("alstm") == "unconfigured", "the node")
    assert all("[alstm]" in line for line in run.output.splitlines() if "[DEBUG]" in line), run.output


def test_parameters_over_those_of_the_file(ros: Ros, number: int) -> None:
    changes = "params_override:=tracks.lost_seconds=1.5 detector.classes=[person,car] output.id_prefix=r2-"
    with launched(number, changes, "autostart:=false", "model:=nowhere.onnx"):
        assert ros.get("alstm", "tracks.lost_seconds") == 1.5
        assert ros.get("alstm", "detector.classes") == ["person", "car"]
        assert ros.get("alstm", "output.id_prefix") == "r2-"
        assert ros.get("alstm", "detector.model") == "nowhere.onnx"


def test_a_node_that_was_killed_comes_again(ros: Ros, number: int) -> None:
    with (
        launched(number, "image:=/camera/image_raw", "respawn:=true", killed=True) as run,
        Camera(ros, "/camera/image_raw") as camera,
    ):
        camera.ask(image_message(scene((20, 30, "red")), ros.next_stamp()))
        (node,) = Path(f"/proc/{run.process.pid}/task/{run.process.pid}/children").read_text().split()
        os.kill(int(node), signal.SIGKILL)
        camera.ask(image_message(scene((20, 30, "red")), ros.next_stamp()))


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("autostart:=maybe", "'autostart' is 'maybe'; it must be true or false"),
        ("image:=map.png", "'image' is 'map.png'; it must be a topic"),
        ("node_name:=my robot", "'node_name' is 'my robot'; it must be a name"),
        ("config:=/no/such.yaml", "'config' names /no/such.yaml, and there is no such file"),
        ("cameras:=front=/a,front=/b", "names front twice"),
        ("log_level:=verbose", "'log_level' is 'verbose'; it is debug, info"),
        ("params_override:=tracks", "'tracks' lacks its '='"),
        ("shared_memory:=much", "'shared_memory' is 'much'"),
    ],
)
def test_a_wrong_argument_ends_the_launch_with_a_sentence(number: int, argument: str, sentence: str) -> None:
    environment = os.environ | {"ROS_DOMAIN_ID": str(number)}
    command = [sys.executable, "-c", RUN, str(LAUNCH), argument]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ended.returncode != 0
    assert sentence in ended.stderr + ended.stdout
    assert "Traceback" not in ended.stderr + ended.stdout

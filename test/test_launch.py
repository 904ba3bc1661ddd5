"""The launch file, run for real wherever `launch_ros` can be imported."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS is not installed")
pytest.importorskip("launch_ros", reason="launch_ros is not on PyPI; a ROS installation has it")

from ros_harness import Camera, Ros
from ros_messages import image_message, scene, values
from ros_process import PATIENCE

from alstm_ros.ros.transport import SETTING, VARIABLE

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


@contextmanager
def launched(number: int, *arguments: str) -> Iterator[None]:
    environment = {key: value for key, value in os.environ.items() if key != VARIABLE}
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(LAUNCH), *arguments],
        env=environment | {"ROS_DOMAIN_ID": str(number)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    assert "process has died" not in output, output  # the node itself ended with 0


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
        "name:=eyes",
        "namespace:=robot",
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
        status = ros.status(lambda _: True, "anything", "eyes")
        assert values(status)[VARIABLE] == "not set"


def test_a_wrong_flag_is_refused(number: int) -> None:
    environment = os.environ | {"ROS_DOMAIN_ID": str(number)}
    command = [sys.executable, "-c", RUN, str(LAUNCH), "autostart:=maybe"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ended.returncode != 0
    assert "'autostart' is 'maybe'; it must be true or false" in ended.stderr + ended.stdout

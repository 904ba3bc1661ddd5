"""Starts the node: ros2 launch alstm_ros alstm.launch.py image:=/camera/image_raw ."""

from __future__ import annotations

import os

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

from alstm_ros.ros.transport import SETTING, VARIABLE
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

ARGUMENTS = {
    "image": ("image", "Image topic, raw or compressed."),
    "cameras": ("", "Several cameras instead, each with its topic: front=/front/image_raw,rear=/rear/image_raw ."),
    "config": ("", "A parameter file, such as a copy of the package's config/alstm.yaml; empty for the defaults."),
    "model": (
        "",
        "The detector's ONNX file, or a name that comes with the package. Empty: as the parameter file says.",
    ),
    "name": ("alstm", "The node's name."),
    "namespace": ("", "The node's namespace."),
    "log_level": ("info", "debug, info, warn, error or fatal."),
    "use_sim_time": ("", "true or false: whether time comes from /clock. Empty: as the parameter file says."),
    "autostart": ("", "true or false: configure and activate at start. Empty: as the parameter file says."),
    "large_data": (
        "true",
        f"true or false: start the node with {VARIABLE}={SETTING}, as the camera's process needs it.",
    ),
}


def generate_launch_description() -> LaunchDescription:
    """Arguments, then the node."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=words)
        for name, (default, words) in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=_node)])


def _node(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    parameters: dict[str, object] = {
        name: _is_true(name, given[name]) for name in ("autostart", "use_sim_time") if given[name]
    }
    if given["model"]:
        parameters["detector.model"] = given["model"]
    # A camera without `=topic` keeps its own topic, CAMERA/image.
    cameras = dict(camera.strip().partition("=")[::2] for camera in given["cameras"].split(",") if camera.strip())
    if cameras:
        parameters["cameras"] = list(cameras)
    topics = {f"{camera}/image": topic for camera, topic in cameras.items()} or {"image": given["image"]}
    large = _is_true("large_data", given["large_data"]) and VARIABLE not in os.environ
    return [
        LifecycleNode(
            package="alstm_ros",
            executable="alstm_node",
            name=given["name"],
            namespace=given["namespace"],
            parameters=[part for part in (given["config"], parameters) if part],
            remappings=[(name, topic) for name, topic in topics.items() if topic],
            arguments=["--ros-args", "--log-level", given["log_level"]],
            additional_env={VARIABLE: SETTING} if large else {},
            output="screen",
            emulate_tty=True,
        )
    ]


def _is_true(name: str, text: str) -> bool:
    """Raises ValueError unless the text is true or false."""
    if text.lower() not in ("true", "false"):
        raise ValueError(f"The launch argument '{name}' is '{text}'; it must be true or false.")
    return text.lower() == "true"

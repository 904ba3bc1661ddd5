"""Starts the node: ros2 launch alstm_ros alstm.launch.py image:=/camera/image_raw."""

from __future__ import annotations

import os

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

# Shared memory and TCP for images, which Fast DDS would otherwise split into UDP fragments and lose; see the README.
TRANSPORT = {"FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA?sockets_size=16MB"}

ARGUMENTS = {
    "image": ("image", "Image topic, raw or compressed; with cameras, each has its own: CAMERA/image."),
    "cameras": ("", "Names of several cameras, separated by commas, such as front,rear; empty for one unnamed camera."),
    "config": ("", "A parameter file; empty for the package's config/alstm.yaml."),
    "name": ("alstm", "The node's name."),
    "namespace": ("", "The node's namespace."),
    "log_level": ("info", "debug, info, warn, error or fatal."),
    "use_sim_time": ("false", "Whether time comes from /clock, as with a bag played with --clock."),
    "autostart": ("true", "Configure and activate at start; false leaves that to a lifecycle manager."),
    "large_data": (
        "true",
        "Whether the node uses Fast DDS's LARGE_DATA transports. The camera's process needs the same setting.",
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
    default = os.path.join(get_package_share_directory("alstm_ros"), "config", "alstm.yaml")  # noqa: PTH118  # as launch files do
    parameters: dict[str, object] = {name: _is_true(name, given[name]) for name in ("autostart", "use_sim_time")}
    cameras = [name.strip() for name in given["cameras"].split(",") if name.strip()]
    if cameras:
        parameters["cameras"] = cameras
    # A transport that was chosen already, for this shell or the whole robot, stays.
    large = _is_true("large_data", given["large_data"]) and not os.environ.keys() & TRANSPORT.keys()
    return [
        LifecycleNode(
            package="alstm_ros",
            executable="alstm_node",
            name=given["name"],
            namespace=given["namespace"],
            parameters=[given["config"] or default, parameters],
            remappings=[] if cameras else [("image", given["image"])],
            arguments=["--ros-args", "--log-level", given["log_level"]],
            additional_env=TRANSPORT if large else {},
            output="screen",
            emulate_tty=True,
        )
    ]


def _is_true(name: str, text: str) -> bool:
    """Raises ValueError unless the text is true or false."""
    if text.lower() not in ("true", "false"):
        raise ValueError(f"The launch argument '{name}' is '{text}'; it must be true or false.")
    return text.lower() == "true"

"""Starts the node: ros2 launch alstm_ros alstm.launch.py image:=/camera/image_raw ."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from launch.actions import DeclareLaunchArgument, GroupAction, OpaqueFunction
from launch.logging import get_logger
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

from alstm_ros.errors import ConfigError
from alstm_ros.parameter_text import assigned
from alstm_ros.ros.transport import MEGABYTES, remedy
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

ARGUMENTS = {
    "image": ("image", "Image topic, raw or compressed."),
    "cameras": ("", "Several cameras instead, each with its topic: front=/front/image_raw,rear=/rear/image_raw ."),
    "config": ("", "A parameter file, such as a copy of the package's config/alstm.yaml; empty for the defaults."),
    "model": (
        "",
        "The detector's ONNX file, or a name that comes with the package. Empty: as the parameter file says.",
    ),
    "params_override": ("", "Parameters over those of the file: 'tracks.lost_seconds=1.5 detector.classes=[person]'."),
    "node_name": ("alstm", "The node's name."),
    "node_namespace": ("", "The node's namespace, within that of the launch files around this one."),
    "log_level": ("info", "Of this node's own log: debug, info, warn, error or fatal."),
    "use_sim_time": ("", "true or false: whether time comes from /clock. Empty: as the parameter file says."),
    "autostart": ("", "true or false: configure and activate at start. Empty: as the parameter file says."),
    "respawn": ("false", "true or false: start the node again a second after it has ended by itself."),
    "large_data": (
        "true",
        "true or false: give the node's Fast DDS shared memory into which images fit, unless the environment says how.",
    ),
    "shared_memory": (str(MEGABYTES), "How much that is, in MB; two of the camera's images must fit in."),
}
"""Argument to default and description.

A file that includes this one hands on its own arguments of the same name, so those that name the node have names that
others do not use.
"""
LEVELS = ("debug", "info", "warn", "error", "fatal")
"""What rcl knows as a log's level."""
TOPIC = re.compile(r"[~/]?[A-Za-z_{}~/][A-Za-z0-9_{}~/]*")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
NAMESPACE = re.compile(r"/?([A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*)?")
"""What `TOPIC`, `NAME` and this let through, rcl's parser of remapping rules takes."""


def generate_launch_description() -> LaunchDescription:
    """Arguments, then the node, in a scope of their own: nothing of it reaches the files around this one."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=words)
        for name, (default, words) in ARGUMENTS.items()
    ]
    return LaunchDescription([GroupAction([*arguments, OpaqueFunction(function=_node)], scoped=True, forwarding=True)])


def _node(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Raises ConfigError, with a sentence that ends the launch, where an argument cannot be meant."""
    given = {name: LaunchConfiguration(name).perform(context).strip() for name in ARGUMENTS}
    for other in ("name", "namespace"):
        if context.launch_configurations.get(other):
            get_logger("alstm").info(f"The argument '{other}' is of other launch files; this one's is 'node_{other}'.")
    _check(given["node_name"], NAME, "node_name", "a name of letters, digits and underscores")
    _check(given["node_namespace"], NAMESPACE, "node_namespace", "names of letters, digits and underscores with /")
    if given["log_level"] not in LEVELS:
        raise ConfigError(f"The launch argument 'log_level' is '{given['log_level']}'; it is {', '.join(LEVELS)}.")
    if given["config"] and not Path(given["config"]).is_file():
        raise ConfigError(f"The launch argument 'config' names {given['config']}, and there is no such file.")
    return [
        LifecycleNode(
            package="alstm_ros",
            executable="alstm_node",
            name=given["node_name"],
            namespace=given["node_namespace"],
            parameters=[part for part in (given["config"], _parameters(given)) if part],
            remappings=list(_topics(given).items()),
            ros_arguments=["--log-level", f"{_logger(context, given)}:={given['log_level']}"],
            additional_env=_transport(given),
            respawn=_is_true("respawn", given["respawn"]),
            respawn_delay=1.0,
            output="screen",
            emulate_tty=True,
        )
    ]


def _parameters(given: Mapping[str, str]) -> dict[str, object]:
    parameters: dict[str, object] = {
        name: _is_true(name, given[name]) for name in ("autostart", "use_sim_time") if given[name]
    }
    if given["cameras"]:
        parameters["cameras"] = [camera for camera, _ in _cameras(given)]
    if given["model"]:
        parameters["detector.model"] = given["model"]
    changes = assigned(given["params_override"].split(), "tracks.lost_seconds=1.5")
    return parameters | {name: list(value) if isinstance(value, tuple) else value for name, value in changes.items()}


def _cameras(given: Mapping[str, str]) -> list[tuple[str, str]]:
    """Name and topic of each camera; one without `=topic` keeps its own topic, CAMERA/image."""
    cameras = [camera.strip().partition("=")[::2] for camera in given["cameras"].split(",") if camera.strip()]
    names = [name for name, _ in cameras]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"The launch argument 'cameras' names {twice} twice; each camera needs a name of its own.")
    return cameras


def _topics(given: Mapping[str, str]) -> dict[str, str]:
    """The node's own names of image topics to those that they are remapped to."""
    topics = {"image": given["image"]}
    if given["cameras"]:
        topics = {f"{camera}/image": topic for camera, topic in _cameras(given) if topic}
    for topic in topics.values():
        _check(topic, TOPIC, "cameras" if given["cameras"] else "image", "a topic, such as /camera/image_raw")
    return topics


def _logger(context: LaunchContext, given: Mapping[str, str]) -> str:
    """The name of the node's logger, so that the level is not that of its middleware, too."""
    around = context.launch_configurations.get("ros_namespace", "")
    inner = given["node_namespace"]
    whole = inner if inner.startswith("/") else f"{around}/{inner}"
    return ".".join([part for part in whole.split("/") if part] + [given["node_name"]])


def _transport(given: Mapping[str, str]) -> dict[str, str]:
    if not given["shared_memory"].isdecimal() or not 1 <= int(given["shared_memory"]) <= 4096:
        raise ConfigError(
            f"The launch argument 'shared_memory' is '{given['shared_memory']}'; it is a number of MB from 1 to 4096."
        )
    wanted = _is_true("large_data", given["large_data"])
    return remedy(dict(os.environ), int(given["shared_memory"])) if wanted else {}


def _check(text: str, pattern: re.Pattern[str], name: str, meant: str) -> None:
    if not pattern.fullmatch(text):
        raise ConfigError(
            f"The launch argument '{name}' is '{text}'; it must be {meant}. A launch file around this one may use the "
            "same name for something else; then give this file its own value."
        )


def _is_true(name: str, text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ConfigError(f"The launch argument '{name}' is '{text}'; it must be true or false.")
    return text.lower() == "true"

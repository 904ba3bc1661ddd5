"""Starts and ends the node's process."""

from __future__ import annotations

from collections.abc import Sequence

import rclpy
from rclpy._rclpy_pybind11 import RCLError
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from alstm_ros.detection import detections_from
from alstm_ros.errors import ConfigError
from alstm_ros.ros.node import AlstmNode, Load


def main(args: Sequence[str] | None = None, load_detector: Load = detections_from) -> int:
    """Runs the node until SIGINT, SIGTERM or the end of its context.

    Args:
        args: the command line; the process's own when None.
        load_detector: makes the detector from the config.

    Returns:
        The exit code: 0, or 1 where a parameter given at start is refused.
    """
    rclpy.init(args=args)
    try:
        node = AlstmNode(load_detector)
    except ConfigError as error:
        rclpy.logging.get_logger("alstm").fatal(str(error))
        rclpy.try_shutdown()
        return 1
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except RCLError:
        # A signal ends the context between the executor's own look at it and its wait: rclpy then raises this instead.
        if rclpy.ok():
            raise
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0

"""Starts and ends the node's process."""

from __future__ import annotations

import re
import sys
import threading
import time
import traceback
from collections.abc import Sequence

import rclpy
from rclpy._rclpy_pybind11 import RCLError, UnknownROSArgsError
from rclpy.exceptions import NameValidationException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from alstm_ros.detection import detections_from
from alstm_ros.errors import AlstmError
from alstm_ros.ros.node import AlstmNode, Load
from alstm_ros.ros.stop_request import StopRequest

REST = 0.05
"""How many seconds pass after a callback that failed, so that one that always fails does not fill the processor."""


def main(
    args: Sequence[str] | None = None, load_detector: Load = detections_from, stop: StopRequest | None = None
) -> int:
    """Runs the node until SIGINT, SIGTERM or the end of its context.

    Args:
        args: the command line; the process's own when None.
        load_detector: makes the detector from the config.
        stop: says when to end; one that listens from now on when None.

    Returns:
        The exit code: 0, or 1 where the node cannot be started; a sentence says why.
    """
    stop = stop or StopRequest()
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except UnknownROSArgsError as error:
        return _refuse(f"ROS does not know these arguments: {error}.")
    except RCLError as error:
        return _refuse(_sentence(error))
    try:
        return _run(load_detector, stop)
    finally:
        rclpy.try_shutdown()


def _run(load_detector: Load, stop: StopRequest) -> int:
    if stop.came:
        return 0
    try:
        node = AlstmNode(load_detector)
    except (AlstmError, NameValidationException) as error:
        return _refuse(str(error))
    except RCLError as error:
        return _refuse(_sentence(error))
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    end = Future(executor=executor)
    spinning = threading.Thread(target=_spin, args=(node, executor, end, stop), name="alstm executor")
    spinning.start()
    stop.wait()
    end.set_result(None)
    spinning.join()
    executor.shutdown()
    node.destroy_node()
    return 0


def _spin(node: AlstmNode, executor: SingleThreadedExecutor, end: Future, stop: StopRequest) -> None:
    """Runs every callback until `end` is done."""
    try:
        if not stop.came:
            node.start()
        while rclpy.ok() and not end.done():
            _spin_until_failure(node, executor, end)
    finally:
        stop.set()


def _spin_until_failure(node: AlstmNode, executor: SingleThreadedExecutor, end: Future) -> None:
    """Runs callbacks until `end` is done or one raises; that one is told of, and the others can go on."""
    try:
        executor.spin_until_future_complete(end)
    except ExternalShutdownException:
        pass
    except Exception:  # noqa: BLE001  # whatever a callback raises must not end the process
        if node.context.ok():
            node.report_failure(traceback.format_exc())
            time.sleep(REST)


def _sentence(error: RCLError) -> str:
    """What rcl says, without the places in its source."""
    text = re.sub(r", at [^,\s]+:\d+", "", str(error)).replace("failed to initialize rcl: ", "")
    return f"ROS cannot be started: {text.strip().rstrip('.')}."


def _refuse(sentence: str) -> int:
    sys.stderr.write(f"{sentence}\n")
    return 1

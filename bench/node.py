"""Latency of the live node, from an image's publication to the receipt of its detections, split by stage.

    dev/run python bench/node.py --json

Two processes over real middleware: this one publishes a video's frames (or grey noise) at a camera's rate, best effort
as drivers do, and receives; the node runs its own detector. Stages are the node's own timings, from its diagnostics;
`transport` is what the medians leave of the whole way. Each size is measured with Fast DDS's default transports and
with room for whole images in shared memory (`alstm_ros.ros.transport.SETTING`), and with `LARGE_DATA`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image as ImageMessage
from vision_msgs.msg import Detection2DArray

from alstm_ros.ros.statistics import STAGES
from alstm_ros.ros.transport import SETTING, VARIABLE
from alstm_ros.types import Image

SIZES = ((640, 480), (1920, 1080))
SECOND = 1_000_000_000


@dataclass
class Received:
    """What came back: arrival by stamp, monotonic ns; and the last timings of the node."""

    arrivals: dict[int, int] = field(default_factory=dict)
    timings: dict[str, str] = field(default_factory=dict)

    def result(self, message: Detection2DArray) -> None:
        """Takes in an answer."""
        stamp = message.header.stamp
        self.arrivals[stamp.sec * SECOND + stamp.nanosec] = time.monotonic_ns()

    def diagnosed(self, message: DiagnosticArray) -> None:
        """Takes in the node's diagnostics."""
        for status in message.status:
            if status.name == "alstm: image":
                self.timings = {pair.key: pair.value for pair in status.values}


def pictures(video: Path | None, size: tuple[int, int]) -> list[Image]:
    """Some pictures of this width and height."""
    if video is None:
        noise = np.random.default_rng(0).integers(100, 156, (4, size[1], size[0], 3), np.uint8)
        return list(noise)
    capture = cv2.VideoCapture(str(video))
    frames = [frame for good, frame in (capture.read() for _ in range(20)) if good]
    return [cv2.resize(frame, size) for frame in frames]


def message(image: Image, stamp_ns: int) -> ImageMessage:
    """A bgr8 message."""
    height, width = image.shape[:2]
    made = ImageMessage(height=height, width=width, encoding="bgr8", step=3 * width)
    made.header.stamp.sec, made.header.stamp.nanosec = divmod(stamp_ns, SECOND)
    made.data.frombytes(image.reshape(-1).data)
    return made


def run(images: list[Image], transport: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures one size with one transport."""
    os.environ.pop(VARIABLE, None)
    if transport:
        os.environ[VARIABLE] = transport
    command = [sys.executable, "-m", "alstm_ros.ros", "--ros-args", "--log-level", "warn"]
    command += ["-p", f"engine.threads:={arguments.threads}"]
    process = subprocess.Popen(command, env=os.environ | {"ROS_DOMAIN_ID": str(arguments.domain)})
    context = Context()
    rclpy.init(context=context, domain_id=arguments.domain)
    node = rclpy.create_node("bench", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    received = Received()
    node.create_subscription(Detection2DArray, "/alstm/detections", received.result, 100)
    node.create_subscription(DiagnosticArray, "/diagnostics", received.diagnosed, 10)
    publisher = node.create_publisher(ImageMessage, "/image", qos_profile_sensor_data)
    try:
        end = time.monotonic() + 60
        while publisher.get_subscription_count() == 0 and time.monotonic() < end:
            executor.spin_once(timeout_sec=0.1)
        sent: dict[int, int] = {}
        for index in range(arguments.warmup + arguments.frames):
            due = time.monotonic() + 1 / arguments.rate
            made = message(images[index % len(images)], (index + 1) * SECOND // 100)
            if index >= arguments.warmup:
                sent[(index + 1) * SECOND // 100] = time.monotonic_ns()
            publisher.publish(made)
            while (left := due - time.monotonic()) > 0:
                executor.spin_once(timeout_sec=left)
        end = time.monotonic() + 3  # the last answers, and diagnostics that know them
        while time.monotonic() < end:
            executor.spin_once(timeout_sec=0.1)
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)
        process.send_signal(signal.SIGINT)
        process.wait(60)
    return _report(sent, received)


def _report(sent: dict[int, int], received: Received) -> dict[str, Any]:
    ways = sorted((received.arrivals[stamp] - at) / 1e6 for stamp, at in sent.items() if stamp in received.arrivals)
    report: dict[str, Any] = {"sent": len(sent), "answered": len(ways)}
    report["dropped_for_a_newer_one"] = int(received.timings.get("dropped for a newer one", 0))  # in the warm-up too
    if not ways:
        return report
    stages = {stage: float(received.timings.get(f"{stage} p50 ms", "nan")) for stage in STAGES}
    median = float(np.percentile(ways, 50))
    report["publish_to_receive_ms"] = {"p50": round(median, 2), "p99": round(float(np.percentile(ways, 99)), 2)}
    report["stages_p50_ms"] = stages | {"transport": round(median - stages["total"], 2)}
    return report


def main() -> int:
    """Prints the measurements; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, help="whose frames are sent; noise, with nothing to detect, without")
    parser.add_argument("--frames", type=int, default=100, help="measured for each size")
    parser.add_argument("--warmup", type=int, default=20, help="sent before")
    parser.add_argument("--rate", type=float, default=10.0, help="frames a second")
    parser.add_argument("--threads", type=int, default=2, help="engine.threads of the node")
    parser.add_argument("--domain", type=int, default=101, help="ROS domain, used by nobody else")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for size in SIZES:
        images = pictures(arguments.video, size)
        for transport in ("", SETTING, "LARGE_DATA"):
            row = {"size": f"{size[0]}x{size[1]}", "transport": transport or "default"}
            rows.append(row | run(images, transport, arguments))
            if not arguments.json:
                print(json.dumps(rows[-1]))
    machine = {"cpu": _cpu(), "cores": os.cpu_count(), "load": os.getloadavg()[0], "python": platform.python_version()}
    if arguments.json:
        print(json.dumps({"machine": machine, "distro": os.environ.get("ROS_DISTRO", ""), "runs": rows}, indent=2))
    return 0


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if sys.platform == "linux" else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    sys.exit(main())

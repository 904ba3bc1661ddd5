"""How many large images Fast DDS carries from one process to another, by what both say of its transports.

    dev/run python bench/transport.py --json

One process publishes raw images, best effort as camera drivers do; another counts them. `none` leaves the variable
FASTDDS_BUILTIN_TRANSPORTS unset. Where the two have not found each other after ten seconds, `met` is false. With
`--local` discovery stays on this machine, and `profile` is the one that `alstm_ros.ros.transport` writes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

from alstm_ros.ros.transport import PROFILE_VARIABLES, SETTING, VARIABLE, remedy

SIZES = ((640, 480), (1920, 1080))
TCP = "LARGE_DATA?max_msg_size=1MB&sockets_size=16MB"
PAIRS = (("", ""), (SETTING, ""), (SETTING, SETTING), ("LARGE_DATA", "LARGE_DATA"), (TCP, TCP), (TCP, ""))
"""What the publisher has, and what the subscriber."""
PROFILE = "profile"
"""Stands for the profile that gives Fast DDS shared memory where discovery stays on this machine."""
LOCAL_PAIRS = (("", ""), (SETTING, SETTING), (PROFILE, ""), (PROFILE, PROFILE))
"""The same with `--local`."""
MEETING = 10.0  # s
REST = 2.0  # s, for the last image to arrive


def listen(count: int) -> int:
    """Prints how many different images came, once all have come or nobody publishes any more."""
    rclpy.init()
    node, came = Node("listener"), set[int]()
    node.create_subscription(Image, "/image", lambda image: came.add(image.header.stamp.sec), qos_profile_sensor_data)
    met, end = False, time.monotonic() + 2 * MEETING
    while len(came) < count and (time.monotonic() < end or node.count_publishers("/image")):
        rclpy.spin_once(node, timeout_sec=0.05)
        if met and not node.count_publishers("/image"):
            break
        met = met or bool(node.count_publishers("/image"))
    print(len(came))
    return 0


def carry(size: tuple[int, int], settings: tuple[str, str], arguments: argparse.Namespace) -> dict[str, object]:
    """Publishes the images to a process of its own; returns what became of them."""
    unset = (VARIABLE, *PROFILE_VARIABLES)
    plain = {key: value for key, value in os.environ.items() if key not in unset}
    plain["ROS_DOMAIN_ID"] = str(arguments.domain)
    if arguments.local:
        plain["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    here, there = (plain | (remedy(plain) if s == PROFILE else {VARIABLE: s} if s else {}) for s in settings)
    common = [sys.executable, __file__, "--frames", str(arguments.frames)]
    listener = subprocess.Popen([*common, "--listen"], env=there, stdout=subprocess.PIPE, text=True)
    speak = [*common, "--speak", f"{size[0]}x{size[1]}", "--rate", str(arguments.rate)]
    speaker = subprocess.run(speak, env=here, stdout=subprocess.PIPE, text=True, check=True)
    came = int(listener.communicate()[0])
    names = dict(zip(("publisher", "subscriber"), (s or "none" for s in settings), strict=True))
    return {"size": f"{size[0]}x{size[1]}", **names, "met": speaker.stdout == "met\n", "arrived": came}


def speak(size: str, count: int, rate: float) -> int:
    """Publishes noise at a camera's rate, once somebody listens."""
    width, height = map(int, size.split("x"))
    rclpy.init()
    node = Node("speaker")
    publisher = node.create_publisher(Image, "/image", qos_profile_sensor_data)
    image = Image(height=height, width=width, encoding="bgr8", step=3 * width)
    image.data.frombytes(np.random.default_rng(0).integers(0, 256, 3 * height * width, np.uint8).data)
    end = time.monotonic() + MEETING
    while not publisher.get_subscription_count():
        if time.monotonic() > end:
            print("alone")
            return 0
        time.sleep(0.05)
    time.sleep(1.0)  # the listener has to find the publisher, too
    start = time.monotonic()
    for index in range(count):
        image.header.stamp.sec = index + 1
        publisher.publish(image)
        time.sleep(max(0.0, start + (index + 1) / rate - time.monotonic()))
    time.sleep(REST)
    print("met")
    return 0


def main() -> int:
    """Prints the measurements; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=30, help="images sent for each row")
    parser.add_argument("--rate", type=float, default=10.0, help="images a second")
    parser.add_argument("--domain", type=int, default=102, help="ROS domain, used by nobody else")
    parser.add_argument("--local", action="store_true", help="discovery stays on this machine")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--listen", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--speak", metavar="SIZE", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.listen:
        return listen(arguments.frames)
    if arguments.speak:
        return speak(arguments.speak, arguments.frames, arguments.rate)
    load = os.getloadavg()[0]
    rows = []
    for settings in LOCAL_PAIRS if arguments.local else PAIRS:
        for size in SIZES:
            rows.append(carry(size, settings, arguments))
            if not arguments.json:
                print(json.dumps(rows[-1]))
    machine = {"cores": os.cpu_count(), "load_before": round(load, 2), "python": platform.python_version()}
    if arguments.json:
        told = {"machine": machine, "distro": os.environ.get("ROS_DISTRO", ""), "sent": arguments.frames, "rows": rows}
        print(json.dumps(told, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())

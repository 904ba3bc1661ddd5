"""Plays a video into an image topic at its own rate, as a camera would: raw bgr8 images, best effort.

Waits until somebody subscribes. Prints one JSON line for each frame: its number, its stamp and when it was sent on the
monotonic clock, all in nanoseconds, so that a receiver in another process can tell how long results took.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import FrameType

import rclpy
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image

from alstm_ros.errors import AlstmError
from alstm_ros.pipeline import Frame
from alstm_ros.recordings.video import Video

SECOND = 1_000_000_000
FPS = 25.0  # where the video itself tells no rate
LINGER = 0.5  # s; a publisher that goes away takes what it has not yet delivered with it


def message(frame: Frame, stamp_ns: int) -> Image:
    """The frame as `sensor_msgs/Image`."""
    height, width = frame.image.shape[:2]
    image = Image(height=height, width=width, encoding="bgr8", step=3 * width)
    image.header.frame_id = "camera"
    image.header.stamp.sec, image.header.stamp.nanosec = divmod(stamp_ns, SECOND)
    # Filling the array in place takes a millisecond; giving `data` an ndarray takes rclpy a check of every byte.
    image.data.frombytes(frame.image.reshape(-1).data)
    return image


def wait_for_subscriber(publisher: Publisher, timeout: float) -> bool:
    """Whether somebody subscribes within so many seconds."""
    end = time.monotonic() + timeout
    while publisher.get_subscription_count() == 0:
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def play(publisher: Publisher, frames: Iterator[tuple[int, Frame]], rate: float) -> None:
    """Sends the frames, each when its time has come.

    Args:
        publisher: of the image topic.
        frames: number and frame; stamps are the video's times.
        rate: how much faster than its own the video runs.
    """
    start_ns = first_ns = None
    for number, frame in frames:
        if start_ns is None or first_ns is None:
            start_ns, first_ns = time.monotonic_ns(), frame.stamp_ns
            to_stamps_ns = time.time_ns() - start_ns
        due_ns = start_ns + round((frame.stamp_ns - first_ns) / rate)
        image = message(frame, to_stamps_ns + due_ns)
        time.sleep(max(0, due_ns - time.monotonic_ns()) / SECOND)
        sent_ns = time.monotonic_ns()
        publisher.publish(image)
        print(json.dumps({"number": number, "stamp_ns": to_stamps_ns + due_ns, "sent_ns": sent_ns}), flush=True)


def stop(_signal: int, _frame: FrameType | None) -> None:
    """Ends the process in good order on SIGTERM."""
    raise SystemExit(143)


def main(arguments: Sequence[str] | None = None) -> int:
    """Plays; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", type=Path)
    parser.add_argument("--topic", default="/camera/image_raw")
    parser.add_argument("--frames", type=int, help="stop after so many")
    parser.add_argument("--rate", type=float, default=1.0, help="speed relative to the video's own")
    parser.add_argument("--wait", type=float, default=60.0, help="seconds to wait for a subscriber")
    args = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, stop)
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    node = Node("video_player")
    try:
        publisher = node.create_publisher(Image, args.topic, qos_profile_sensor_data)
        if not wait_for_subscriber(publisher, args.wait):
            print(f"Nobody subscribed to {args.topic} within {args.wait:g} s.", file=sys.stderr)
            return 1
        play(publisher, islice(Video(args.video, FPS), args.frames), args.rate)
        time.sleep(LINGER)
    except AlstmError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Topics beside the one that a frame begins with: kept for a while, and found by the frame's stamp."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from alstm_ros.ros.topics import COMPRESSED, IMAGE
from alstm_ros.stamp_buffer import StampBuffer
from alstm_ros.types import SECOND

TYPES = {IMAGE: Image, COMPRESSED: CompressedImage}
"""Type name to message class."""


class Companion:
    """Follows the first of some topics that somebody publishes; reliably where every publisher offers that.

    Messages arrive in the executor's thread and are fetched in the worker's.
    """

    def __init__(self, node: Node, topics: Sequence[tuple[str, str]], capacity: int) -> None:
        """Subscribes to nothing yet.

        Args:
            node: the subscription is made on it.
            topics: full name and type of each that will do, the preferred one first.
            capacity: messages that are kept.
        """
        self._node = node
        self._topics = topics
        self._buffer: StampBuffer[Any] = StampBuffer(capacity)
        self._changed = threading.Condition()
        self._followed: tuple[str, str, QoSProfile] | None = None
        self._subscription: Subscription | None = None

    @property
    def type(self) -> str:
        """The type that is followed; empty where nobody publishes any."""
        return self._followed[1] if self._followed else ""

    def look(self) -> None:
        """Looks at the publishers and changes the subscription where needed; costs microseconds."""
        for topic, kind in self._topics:
            ends = [end for end in self._node.get_publishers_info_by_topic(topic) if end.topic_type == kind]
            if ends:
                reliable = all(end.qos_profile.reliability == ReliabilityPolicy.RELIABLE for end in ends)
                latched = all(end.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for end in ends)
                self._follow((topic, kind, _qos(reliable=reliable, latched=latched)))
                return

    def stop(self) -> None:
        """Frees the subscription."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        self._subscription, self._followed = None, None
        with self._changed:
            self._buffer.clear()

    def match(self, stamp_ns: int, tolerance_ns: int, deadline_ns: int = 0) -> Any | None:
        """The message nearest to a stamp; None where none is within the tolerance.

        It is waited for only while its topic is alive and has not come as far as the stamp.

        Args:
            stamp_ns: the frame's.
            tolerance_ns: how far off the message's stamp may be.
            deadline_ns: until when to wait, on the monotonic clock.
        """
        with self._changed:
            while (found := self._buffer.nearest(stamp_ns, tolerance_ns)) is None:
                newest = self._buffer.newest_ns
                left_ns = deadline_ns - time.monotonic_ns()
                behind = newest is not None and newest < stamp_ns < newest + SECOND
                if not behind or left_ns <= 0 or not self._changed.wait(left_ns / SECOND):
                    break
            return found

    def newest(self) -> Any | None:
        """What came last, whatever its stamp: for topics that say the same again and again."""
        with self._changed:
            last = self._buffer.newest_ns
            return None if last is None else self._buffer.nearest(last, 0)

    def _follow(self, wanted: tuple[str, str, QoSProfile]) -> None:
        if wanted == self._followed:
            return
        self.stop()
        topic, kind, qos = wanted
        self._subscription = self._node.create_subscription(TYPES[kind], topic, self._receive, qos)
        self._followed = wanted
        self._node.get_logger().info(f"Subscribed to {topic} ({kind}).")

    def _receive(self, message: Any) -> None:
        stamp = message.header.stamp
        with self._changed:
            self._buffer.put(stamp.sec * SECOND + stamp.nanosec, message)
            self._changed.notify_all()


def _qos(*, reliable: bool, latched: bool) -> QoSProfile:
    return QoSProfile(
        depth=2,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )

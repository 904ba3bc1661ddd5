"""Listens to the node for the demo: writes what it publishes into a bag, and keeps what the annotated video needs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from alstm_ros.msg import Track, TrackArray, TrackEvent
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import deserialize_message
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from vision_msgs.msg import Detection2DArray, LabelInfo

from alstm_ros.drawing import Mark
from alstm_ros.recordings.interfaces import typestore

SECOND = 1_000_000_000
DEPTH = 1000  # messages; while this process draws breath, nothing may be lost
TYPES = {"detections": Detection2DArray, "tracks": TrackArray, "events": TrackEvent, "labels": LabelInfo}
FOREVER = QosTime(9_223_372_036, 854_775_807)  # 2**63 - 1 ns, rosbag2's word for "no limit"


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one frame.

    Attributes:
        received_ns: when its Detection2DArray came, on the monotonic clock.
        ids: of the objects in it.
    """

    received_ns: int
    ids: tuple[str, ...]


class Recorder(Node):
    """Subscribes to a node's outputs.

    Attributes:
        results: of each frame, by its stamp in nanoseconds.
        marks: what is drawn on each frame, by its stamp.
        counts: the node's own counts from its diagnostics, such as `received`.
        counted_ns: when those came, on the monotonic clock.
    """

    def __init__(self, source: str, bag: Writer) -> None:
        """Subscribes.

        Args:
            source: full name of the node to listen to.
            bag: where its messages go; open.
        """
        super().__init__("demo_recorder")
        self.results: dict[int, Result] = {}
        self.marks: dict[int, list[Mark]] = {}
        self.counts: dict[str, int] = {}
        self.counted_ns = 0
        self._bag = bag
        self._labelled = False
        self._inputs = [self._record(f"{source}/{name}", kind) for name, kind in TYPES.items()]
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    @property
    def ready(self) -> bool:
        """Whether every publisher was found and something came from one, so that no result will be missed."""
        return self._labelled and all(one.get_publisher_count() for one in self._inputs)

    def _record(self, topic: str, kind: type) -> Any:
        latched = kind is LabelInfo
        durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
        connection = self._bag.add_connection(
            topic,
            f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}",
            typestore=typestore(),
            offered_qos_profiles=[_offered(latched=latched)],
        )
        # Raw, so that the bag holds the very bytes that went over the wire.
        return self.create_subscription(
            kind,
            topic,
            partial(self._receive, kind, connection),
            QoSProfile(depth=DEPTH, durability=durability),
            raw=True,
        )

    def _receive(self, kind: type, connection: Connection, data: bytes) -> None:
        received_ns = time.monotonic_ns()
        self._bag.write(connection, time.time_ns(), data)
        if kind is LabelInfo:
            self._labelled = True
        elif kind is Detection2DArray:
            message = deserialize_message(data, kind)
            ids = tuple(detection.id for detection in message.detections)
            self.results[_stamp_ns(message)] = Result(received_ns, ids)
        elif kind is TrackArray:
            message = deserialize_message(data, kind)
            self.marks[_stamp_ns(message)] = [_mark(one) for one in message.tracks if one.state != Track.TENTATIVE]

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            if status.name.startswith("alstm") and "received" in values:
                self.counts = {key: int(value) for key, value in values.items() if value.isdigit()}
                self.counted_ns = time.monotonic_ns()


def open_bag(path: Path) -> Writer:
    """A new bag of format 9 (Jazzy's and Kilted's), mcap inside."""
    bag = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
    bag.open()
    return bag


def _stamp_ns(message: Any) -> int:
    stamp = message.header.stamp
    return int(stamp.sec * SECOND + stamp.nanosec)


def _mark(track: Track) -> Mark:
    centre = track.bbox.center.position
    half = track.bbox.size_x / 2, track.bbox.size_y / 2
    box = (centre.x - half[0], centre.y - half[1], centre.x + half[0], centre.y + half[1])
    unseen = track.since_seen.sec > 0 or track.since_seen.nanosec > 0
    return Mark(track.id, box, track.class_id, track.score, lost=unseen)


def _offered(*, latched: bool) -> Qos:
    """The QoS that the node offers, for `ros2 bag play` to offer again."""
    return Qos(
        QosHistory.KEEP_LAST,
        1 if latched else 10,
        QosReliability.RELIABLE,
        QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=FOREVER,
        lifespan=FOREVER,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=FOREVER,
        avoid_ros_namespace_conventions=False,
    )

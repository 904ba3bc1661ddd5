"""Tracks as an mcap bag with the node's topics, types and stamps: `ros2 bag play` and Foxglove take it as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mcap.well_known import SchemaEncoding
from mcap.writer import Writer

from alstm_ros.annotations import ANNOTATIONS
from alstm_ros.images import encode_jpeg
from alstm_ros.pipeline import Frame
from alstm_ros.recordings.frames import AnyFrame
from alstm_ros.recordings.messages import DETECTIONS, EVENT, IMAGE, LABELS, TRACKS, CdrMessages
from alstm_ros.recordings.sinks import PartFile, RunInfo
from alstm_ros.types import FrameResult

NODE = "/alstm"
TOPICS = {"labels": LABELS, "detections": DETECTIONS, "tracks": TRACKS, "events": EVENT, "annotations": ANNOTATIONS}
LATCHED = ("labels",)
"""Topics that the node publishes once, for whoever comes later."""


IMAGES = "image/compressed"
"""Where the images go on request: the topic on which the node finds them, so that a player feeds it."""
JPEG_QUALITY = 90
"""Of the images that are written, 1..100."""


def offered_qos(*, latched: bool) -> str:
    """What a publisher offered, as rosbag2 wrote it until Iron: numbers of rmw's policies, which every player reads."""
    forever = "{sec: 9223372036, nsec: 854775807}"
    return (
        f"- history: 1\n  depth: {1 if latched else 10}\n  reliability: 1\n  durability: {1 if latched else 2}\n"
        f"  deadline: {forever}\n  lifespan: {forever}\n"
        f"  liveliness: 1\n  liveliness_lease_duration: {forever}\n  avoid_ros_namespace_conventions: false\n"
    )


class McapBag:
    """Writes what the node publishes, with what to draw on the images, and the images where they are asked for."""

    def __init__(self, path: Path, info: RunInfo) -> None:
        """Opens the file and stores the message definitions.

        Args:
            path: where it shall stand.
            info: about the run.
        """
        self._part = PartFile(path)
        self._file = self._part.part.open("wb")
        self._writer = Writer(self._file)
        self._writer.start(profile="ros2", library="alstm_ros")
        # Players since Jazzy take a file without this record for one of theirs, whose policies are words.
        self._writer.add_metadata("rosbag2", {"ROS_DISTRO": "humble"})
        self._messages = CdrMessages(info.classes, info.id_prefix)
        self._threshold = info.threshold
        self._classes = info.classes
        self._told: dict[str, int] = {}
        self._images = info.images
        kinds = [*TOPICS.values(), *([IMAGE] if info.images else [])]
        self._schemas = {
            kind: self._writer.register_schema(kind, SchemaEncoding.ROS2, self._messages.definition(kind).encode())
            for kind in kinds
        }
        self._channels: dict[tuple[str, str], int] = {}

    def write(self, number: int, frame: AnyFrame, result: FrameResult) -> None:
        """Writes the frame's messages, stamped and logged at the frame's own time."""
        self._part.empty = False
        header = self._messages.header(result.stamp_ns, getattr(frame, "frame_id", ""))
        if (frame.camera, "labels") not in self._channels:
            for name, kind in TOPICS.items():
                self._open_channel(frame.camera, name, f"{NODE}/{frame.camera}/{name}", kind)
            if self._images:
                self._open_channel(frame.camera, IMAGES, f"/{frame.camera}/{IMAGES}", IMAGE)
        if self._told.get(frame.camera) != len(self._classes):  # somebody's detections bring new names with them
            self._told[frame.camera] = len(self._classes)
            self._add(frame.camera, "labels", number, result.stamp_ns, self._messages.labels(header, self._threshold))
        self._add(frame.camera, "detections", number, result.stamp_ns, self._messages.detections(header, result))
        self._add(frame.camera, "tracks", number, result.stamp_ns, self._messages.tracks(header, result))
        for event in self._messages.events(header, result):
            self._add(frame.camera, "events", number, result.stamp_ns, event)
        self._add(frame.camera, "annotations", number, result.stamp_ns, self._messages.annotations(header, result))
        if self._images and isinstance(frame, Frame):
            picture = self._messages.image(header, encode_jpeg(frame.image, JPEG_QUALITY))
            self._add(frame.camera, IMAGES, number, result.stamp_ns, picture)

    def _open_channel(self, camera: str, name: str, topic: str, kind: str) -> None:
        self._channels[camera, name] = self._writer.register_channel(
            topic=topic.replace("//", "/"),  # the only camera has no name
            message_encoding="cdr",
            schema_id=self._schemas[kind],
            metadata={"offered_qos_profiles": offered_qos(latched=name in LATCHED)},
        )

    def _add(self, camera: str, name: str, number: int, stamp_ns: int, data: Any) -> None:
        self._writer.add_message(
            channel_id=self._channels[camera, name],
            log_time=stamp_ns,
            publish_time=stamp_ns,
            sequence=number,
            data=data,
        )

    def close(self, *, failed: bool = False) -> None:
        """Writes the index and puts the file in place, unless the run failed."""
        self._writer.finish()
        self._file.close()
        self._part.finish(failed=failed)

"""Frame results to ROS messages.

Making a nested rclpy message costs some ten microseconds, filling one a few. So messages are kept and filled anew for
every frame; a publisher has serialized a message when its `publish` returns.
"""

from __future__ import annotations

import array
from collections.abc import Sequence

from std_msgs.msg import Header
from vision_msgs.msg import (
    BoundingBox2D,
    Detection2D,
    Detection2DArray,
    LabelInfo,
    ObjectHypothesisWithPose,
    VisionClass,
)

from alstm_ros.msg import Track, TrackArray, TrackEvent
from alstm_ros.rows import Box, DetectionRow, Rows
from alstm_ros.types import FrameResult


def labels(classes: Sequence[str], threshold: float, header: Header) -> LabelInfo:
    """The classes that detections may carry, index and name.

    Args:
        classes: names, by class index.
        threshold: the detector's score threshold.
        header: when this was said.
    """
    names = [VisionClass(class_id=index, class_name=name) for index, name in enumerate(classes)]
    return LabelInfo(header=header, class_map=names, threshold=threshold)


class MessageFiller:
    """Fills one camera's messages. Those returned are valid until the next call of the same method."""

    def __init__(self, classes: Sequence[str], id_prefix: str) -> None:
        """Starts with no messages.

        Args:
            classes: names, by class index.
            id_prefix: put before every id.
        """
        self._rows = Rows(classes, id_prefix)
        self._detections: list[Detection2D] = []
        self._raw: list[Detection2D] = []
        self._tracks: list[Track] = []

    def detections(self, header: Header, result: FrameResult) -> Detection2DArray:
        """The tracks that are published as detections, boxes refined."""
        return _filled(self._detections, header, list(self._rows.detections(result)))

    def raw_detections(self, header: Header, result: FrameResult) -> Detection2DArray:
        """What the detector found, unchanged; the id is that of the track which took it, empty where none did."""
        return _filled(self._raw, header, list(self._rows.raw_detections(result)))

    def tracks(self, header: Header, result: FrameResult) -> TrackArray:
        """Every living track; `raw_bbox` is empty and `raw_score` 0 where it was not detected in this frame."""
        rows = list(self._rows.tracks(result))
        while len(self._tracks) < len(rows):
            self._tracks.append(Track())
        for message, row in zip(self._tracks, rows, strict=False):
            message.id = row.id
            message.class_id = row.class_id
            message.score = row.score
            _fill_box(message.bbox, row.box)
            _fill_box(message.raw_bbox, row.raw_box)
            message.raw_score = row.raw_score
            message.velocity_x, message.velocity_y = row.velocity
            message.age.sec, message.age.nanosec = row.age
            message.since_seen.sec, message.since_seen.nanosec = row.since_seen
            message.state = row.state
            message.association_confidence = row.confidence
            message.embedding = array.array("f", row.embedding.tobytes())
        return TrackArray(header=header, tracks=self._tracks[: len(rows)])

    def events(self, header: Header, result: FrameResult) -> list[TrackEvent]:
        """One message for each event of this frame."""
        messages = []
        for row in self._rows.events(result):
            message = TrackEvent(header=header, id=row.id, class_id=row.class_id, kind=row.kind)
            _fill_box(message.bbox, row.box)
            message.age.sec, message.age.nanosec = row.age
            messages.append(message)
        return messages


def _filled(kept: list[Detection2D], header: Header, rows: Sequence[DetectionRow]) -> Detection2DArray:
    """The messages that are kept, and more where they are not enough, with these rows."""
    while len(kept) < len(rows):
        kept.append(Detection2D(results=[ObjectHypothesisWithPose()]))
    for message, row in zip(kept, rows, strict=False):
        message.header = header
        message.id = row.id
        hypothesis = message.results[0].hypothesis
        hypothesis.class_id = row.class_id
        hypothesis.score = row.score
        _fill_box(message.bbox, row.box)
    return Detection2DArray(header=header, detections=kept[: len(rows)])


def _fill_box(message: BoundingBox2D, box: Box) -> None:
    centre = message.center.position
    centre.x, centre.y, message.size_x, message.size_y = box

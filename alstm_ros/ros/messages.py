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
from alstm_ros.ros.mailbox import SECOND
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


class Messages:
    """Fills one camera's messages. Those returned are valid until the next call of the same method."""

    def __init__(self, classes: Sequence[str], id_prefix: str) -> None:
        """Starts with no messages.

        Args:
            classes: names, by class index.
            id_prefix: put before every id.
        """
        self._classes = classes
        self._prefix = id_prefix
        self._detections: list[Detection2D] = []
        self._tracks: list[Track] = []

    def detections(self, header: Header, result: FrameResult) -> Detection2DArray:
        """The tracks that were detected in this frame and are confirmed, boxes refined."""
        shown = result.tracks.published
        tracks = result.tracks
        ids, classes = tracks.ids[shown].tolist(), tracks.classes[shown].tolist()
        rows = zip(ids, classes, tracks.scores[shown].tolist(), tracks.boxes[shown].tolist(), strict=True)
        while len(self._detections) < len(ids):
            self._detections.append(Detection2D(results=[ObjectHypothesisWithPose()]))
        for message, (track_id, index, score, box) in zip(self._detections, rows, strict=False):
            message.header = header
            message.id = f"{self._prefix}{track_id}"
            hypothesis = message.results[0].hypothesis
            hypothesis.class_id = self._classes[index]
            hypothesis.score = score
            _fill_box(message.bbox, box)
        return Detection2DArray(header=header, detections=self._detections[: len(ids)])

    def tracks(self, header: Header, result: FrameResult) -> TrackArray:
        """Every living track; `raw_bbox` is empty and `raw_score` 0 where it was not detected in this frame."""
        tracks, found = result.tracks, result.detections
        while len(self._tracks) < len(tracks):
            self._tracks.append(Track())
        raw_boxes, raw_scores = found.boxes.tolist(), found.scores.tolist()
        rows = zip(
            tracks.ids.tolist(),
            tracks.classes.tolist(),
            tracks.scores.tolist(),
            tracks.boxes.tolist(),
            tracks.states.tolist(),
            tracks.velocities.tolist(),
            tracks.ages_ns.tolist(),
            tracks.unseen_ns.tolist(),
            tracks.detection.tolist(),
            tracks.confidences.tolist(),
            tracks.embeddings,
            strict=True,
        )
        for message, row in zip(self._tracks, rows, strict=False):
            track_id, index, score, box, state, velocity, age, unseen, detection, confidence, embedding = row
            message.id = f"{self._prefix}{track_id}"
            message.class_id = self._classes[index]
            message.score = score
            _fill_box(message.bbox, box)
            _fill_box(message.raw_bbox, raw_boxes[detection] if detection >= 0 else (0.0, 0.0, 0.0, 0.0))
            message.raw_score = raw_scores[detection] if detection >= 0 else 0.0
            message.velocity_x, message.velocity_y = velocity
            message.age.sec, message.age.nanosec = divmod(age, SECOND)
            message.since_seen.sec, message.since_seen.nanosec = divmod(unseen, SECOND)
            message.state = state
            message.association_confidence = confidence
            message.embedding = array.array("f", embedding.tobytes())
        return TrackArray(header=header, tracks=self._tracks[: len(tracks)])

    def events(self, header: Header, result: FrameResult) -> list[TrackEvent]:
        """One message for each event of this frame."""
        messages = []
        for event in result.events:
            message = TrackEvent(
                header=header,
                id=f"{self._prefix}{event.id}",
                class_id=self._classes[event.class_index],
                kind=int(event.kind),
            )
            _fill_box(message.bbox, event.box.tolist())
            message.age.sec, message.age.nanosec = divmod(event.age_ns, SECOND)
            messages.append(message)
        return messages


def _fill_box(message: BoundingBox2D, box: Sequence[float]) -> None:
    """Writes an xyxy box as centre and size."""
    left, top, right, bottom = box
    centre = message.center.position
    centre.x = (left + right) / 2
    centre.y = (top + bottom) / 2
    message.size_x = right - left
    message.size_y = bottom - top

"""Frame results to the node's messages, serialised, where no ROS is installed.

Field by field what `ros/messages.py` fills in; a test compares the bytes of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from alstm_ros.evaluation.interfaces import typestore
from alstm_ros.types import FrameResult

SECOND = 1_000_000_000
NO_BOX = (0.0, 0.0, 0.0, 0.0)

DETECTIONS = "vision_msgs/msg/Detection2DArray"
TRACKS = "alstm_ros/msg/TrackArray"
EVENT = "alstm_ros/msg/TrackEvent"
LABELS = "vision_msgs/msg/LabelInfo"


class Messages:
    """Makes the messages of one camera."""

    def __init__(self, classes: Sequence[str], id_prefix: str = "") -> None:
        """Looks up the message classes.

        Args:
            classes: names, by class index.
            id_prefix: put before every id.
        """
        self._store = typestore()
        self._classes = classes
        self._prefix = id_prefix
        types = self._store.types
        self._time = types["builtin_interfaces/msg/Time"]
        self._duration = types["builtin_interfaces/msg/Duration"]
        self._header = types["std_msgs/msg/Header"]
        self._box_type = types["vision_msgs/msg/BoundingBox2D"]
        self._pose2d, self._point2d = types["vision_msgs/msg/Pose2D"], types["vision_msgs/msg/Point2D"]
        self._hypothesis = types["vision_msgs/msg/ObjectHypothesis"]
        self._result = types["vision_msgs/msg/ObjectHypothesisWithPose"]
        self._detection = types["vision_msgs/msg/Detection2D"]
        self._track = types["alstm_ros/msg/Track"]
        self._no_pose = types["geometry_msgs/msg/PoseWithCovariance"](
            pose=types["geometry_msgs/msg/Pose"](
                position=types["geometry_msgs/msg/Point"](x=0.0, y=0.0, z=0.0),
                orientation=types["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=0.0, w=1.0),
            ),
            covariance=np.zeros(36),
        )

    def header(self, stamp_ns: int, frame_id: str) -> Any:
        """A message header."""
        sec, nanosec = divmod(stamp_ns, SECOND)
        return self._header(stamp=self._time(sec=sec, nanosec=nanosec), frame_id=frame_id)

    def labels(self, header: Any, threshold: float) -> bytes:
        """The classes that detections may carry."""
        kind = self._store.types["vision_msgs/msg/VisionClass"]
        names = [kind(class_id=index, class_name=name) for index, name in enumerate(self._classes)]
        return self._bytes(self._store.types[LABELS](header=header, class_map=names, threshold=threshold), LABELS)

    def detections(self, header: Any, result: FrameResult) -> bytes:
        """The tracks that were detected in this frame and are confirmed."""
        tracks, shown = result.tracks, result.tracks.published
        rows = zip(
            tracks.ids[shown].tolist(),
            tracks.classes[shown].tolist(),
            tracks.scores[shown].tolist(),
            tracks.boxes[shown].tolist(),
            strict=True,
        )
        found = [
            self._detection(
                header=header,
                results=[
                    self._result(
                        hypothesis=self._hypothesis(class_id=self._classes[index], score=score), pose=self._no_pose
                    )
                ],
                bbox=self._box(box),
                id=f"{self._prefix}{key}",
            )
            for key, index, score, box in rows
        ]
        return self._bytes(self._store.types[DETECTIONS](header=header, detections=found), DETECTIONS)

    def tracks(self, header: Any, result: FrameResult) -> bytes:
        """Every living track, with the detector's own box where it was detected in this frame."""
        tracks, found = result.tracks, result.detections
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
        living = [
            self._track(
                id=f"{self._prefix}{key}",
                class_id=self._classes[index],
                score=score,
                bbox=self._box(box),
                raw_bbox=self._box(raw_boxes[detection] if detection >= 0 else NO_BOX),
                raw_score=raw_scores[detection] if detection >= 0 else 0.0,
                velocity_x=velocity[0],
                velocity_y=velocity[1],
                age=self._lasting(age),
                since_seen=self._lasting(unseen),
                state=state,
                association_confidence=confidence,
                embedding=embedding,
            )
            for key, index, score, box, state, velocity, age, unseen, detection, confidence, embedding in rows
        ]
        return self._bytes(self._store.types[TRACKS](header=header, tracks=living), TRACKS)

    def events(self, header: Any, result: FrameResult) -> list[bytes]:
        """One message for each event of this frame."""
        kind = self._store.types[EVENT]
        return [
            self._bytes(
                kind(
                    header=header,
                    id=f"{self._prefix}{event.id}",
                    class_id=self._classes[event.class_index],
                    kind=int(event.kind),
                    bbox=self._box(event.box.tolist()),
                    age=self._lasting(event.age_ns),
                ),
                EVENT,
            )
            for event in result.events
        ]

    def definition(self, kind: str) -> str:
        """A message type's definition with all that it contains, as bags store it."""
        return self._store.generate_msgdef(kind, ros_version=2)[0]

    def _box(self, box: Sequence[float]) -> Any:
        left, top, right, bottom = box
        centre = self._point2d(x=(left + right) / 2, y=(top + bottom) / 2)
        return self._box_type(center=self._pose2d(position=centre, theta=0.0), size_x=right - left, size_y=bottom - top)

    def _lasting(self, time_ns: int) -> Any:
        sec, nanosec = divmod(time_ns, SECOND)
        return self._duration(sec=sec, nanosec=nanosec)

    def _bytes(self, message: Any, kind: str) -> bytes:
        return bytes(self._store.serialize_cdr(message, kind, little_endian=True))

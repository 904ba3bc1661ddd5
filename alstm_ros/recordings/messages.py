"""Frame results to the node's messages, serialised, where no ROS is installed.

What `ros/messages.py` fills in, from the same rows; a test compares the bytes of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alstm_ros.annotations import ANNOTATIONS, FONT, Annotator, Point, Rgba
from alstm_ros.drawing import marks
from alstm_ros.recordings.interfaces import typestore
from alstm_ros.rows import Box, Rows
from alstm_ros.types import SECOND, FrameResult

DETECTIONS = "vision_msgs/msg/Detection2DArray"
TRACKS = "alstm_ros/msg/TrackArray"
EVENT = "alstm_ros/msg/TrackEvent"
LABELS = "vision_msgs/msg/LabelInfo"
IMAGE = "sensor_msgs/msg/CompressedImage"


class CdrMessages:
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
        self._rows = Rows(classes, id_prefix)
        self._annotator = Annotator()
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
        """The tracks that are published as detections."""
        found = [
            self._detection(
                header=header,
                results=[
                    self._result(
                        hypothesis=self._hypothesis(class_id=row.class_id, score=row.score), pose=self._no_pose
                    )
                ],
                bbox=self._box(row.box),
                id=row.id,
            )
            for row in self._rows.detections(result)
        ]
        return self._bytes(self._store.types[DETECTIONS](header=header, detections=found), DETECTIONS)

    def tracks(self, header: Any, result: FrameResult) -> bytes:
        """Every living track, with the detector's own box where it was detected in this frame."""
        living = [
            self._track(
                id=row.id,
                class_id=row.class_id,
                score=row.score,
                bbox=self._box(row.box),
                raw_bbox=self._box(row.raw_box),
                raw_score=row.raw_score,
                velocity_x=row.velocity[0],
                velocity_y=row.velocity[1],
                age=self._lasting(row.age),
                since_seen=self._lasting(row.since_seen),
                state=row.state,
                association_confidence=row.confidence,
                embedding=row.embedding,
            )
            for row in self._rows.tracks(result)
        ]
        return self._bytes(self._store.types[TRACKS](header=header, tracks=living), TRACKS)

    def events(self, header: Any, result: FrameResult) -> list[bytes]:
        """One message for each event of this frame."""
        kind = self._store.types[EVENT]
        return [
            self._bytes(
                kind(
                    header=header,
                    id=row.id,
                    class_id=row.class_id,
                    kind=row.kind,
                    bbox=self._box(row.box),
                    age=self._lasting(row.age),
                ),
                EVENT,
            )
            for row in self._rows.events(result)
        ]

    def annotations(self, header: Any, result: FrameResult) -> bytes:
        """Boxes, ids as texts, and trails, for a viewer that draws them on the camera's image."""
        types = self._store.types
        lines, texts = self._annotator(result.stamp_ns, marks(result.tracks, self._classes, self._prefix))
        line, text = types["foxglove_msgs/msg/PointsAnnotation"], types["foxglove_msgs/msg/TextAnnotation"]
        none = self._colour((0.0, 0.0, 0.0, 0.0))
        message = types[ANNOTATIONS](
            circles=[],
            points=[
                line(
                    timestamp=header.stamp,
                    type=one.kind,
                    points=[self._point(place) for place in one.points],
                    outline_color=self._colour(one.rgba),
                    outline_colors=[],
                    fill_color=none,
                    thickness=one.thickness,
                )
                for one in lines
            ],
            texts=[
                text(
                    timestamp=header.stamp,
                    position=self._point(one.place),
                    text=one.words,
                    font_size=FONT,
                    text_color=self._colour(one.rgba),
                    background_color=self._colour(one.ground),
                )
                for one in texts
            ],
        )
        return self._bytes(message, ANNOTATIONS)

    def image(self, header: Any, jpeg: NDArray[np.uint8]) -> bytes:
        """A picture, `(N,)` uint8 of JPEG."""
        return self._bytes(self._store.types[IMAGE](header=header, format="jpeg", data=jpeg), IMAGE)

    def definition(self, kind: str) -> str:
        """A message type's definition with all that it contains, as bags store it."""
        return self._store.generate_msgdef(kind, ros_version=2)[0]

    def _box(self, box: Box) -> Any:
        centre = self._pose2d(position=self._point2d(x=box.x, y=box.y), theta=0.0)
        return self._box_type(center=centre, size_x=box.width, size_y=box.height)

    def _point(self, place: Point) -> Any:
        return self._store.types["foxglove_msgs/msg/Point2"](x=place[0], y=place[1])

    def _colour(self, rgba: Rgba) -> Any:
        return self._store.types["foxglove_msgs/msg/Color"](*rgba)

    def _lasting(self, duration: tuple[int, int]) -> Any:
        return self._duration(sec=duration[0], nanosec=duration[1])

    def _bytes(self, message: Any, kind: str) -> bytes:
        return bytes(self._store.serialize_cdr(message, kind, little_endian=True))

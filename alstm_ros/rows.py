"""Frame results as the node's messages have them, row by row; what fills a message in reads nothing else.

So the node, which fills rclpy's messages, and `alstm track`, which fills those of rosbags, tell the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from alstm_ros.types import SECOND, FrameResult


class Box(NamedTuple):
    """A box as `vision_msgs/BoundingBox2D` has it, in pixels; its angle is 0."""

    x: float
    y: float
    width: float
    height: float

    @classmethod
    def of(cls, box: Sequence[float]) -> Box:
        """From left, top, right, bottom."""
        left, top, right, bottom = box
        return cls((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)


class DetectionRow(NamedTuple):
    """One `vision_msgs/Detection2D`, with a single hypothesis."""

    id: str
    class_id: str
    score: float
    box: Box


class TrackRow(NamedTuple):
    """One `alstm_ros/Track`; durations as seconds and nanoseconds, velocity in pixels/s, embedding `(E,)` float32."""

    id: str
    class_id: str
    score: float
    box: Box
    raw_box: Box
    raw_score: float
    velocity: tuple[float, float]
    age: tuple[int, int]
    since_seen: tuple[int, int]
    state: int
    confidence: float
    embedding: NDArray[Any]


class EventRow(NamedTuple):
    """One `alstm_ros/TrackEvent`."""

    id: str
    class_id: str
    kind: int
    box: Box
    age: tuple[int, int]


NO_BOX = Box(0.0, 0.0, 0.0, 0.0)


class Rows:
    """Reads frame results with the names that messages carry."""

    def __init__(self, classes: Sequence[str], id_prefix: str = "") -> None:
        """Takes the names.

        Args:
            classes: names, by class index.
            id_prefix: put before every id.
        """
        self._classes, self._prefix = classes, id_prefix

    def detections(self, result: FrameResult) -> Iterator[DetectionRow]:
        """The tracks that are published as detections, see `Tracks.published`."""
        tracks, shown = result.tracks, result.tracks.published
        columns = (tracks.ids[shown], tracks.classes[shown], tracks.scores[shown], tracks.boxes[shown])
        for key, index, score, box in zip(*(column.tolist() for column in columns), strict=True):
            yield DetectionRow(f"{self._prefix}{key}", self._classes[index], score, Box.of(box))

    def raw_detections(self, result: FrameResult) -> Iterator[DetectionRow]:
        """What the detector found; the id is that of the track which took it, empty where none did."""
        tracks, found = result.tracks, result.detections
        holders = dict(zip(tracks.detection.tolist(), tracks.ids.tolist(), strict=True))
        rows = zip(found.classes.tolist(), found.scores.tolist(), found.boxes.tolist(), strict=True)
        for number, (index, score, box) in enumerate(rows):
            name = f"{self._prefix}{holders[number]}" if number in holders else ""
            yield DetectionRow(name, self._classes[index], score, Box.of(box))

    def tracks(self, result: FrameResult) -> Iterator[TrackRow]:
        """Every living track; raw box and score are zero where it was not detected in this frame."""
        tracks, found = result.tracks, result.detections
        raw_boxes, raw_scores = found.boxes.tolist(), found.scores.tolist()
        columns = (
            tracks.ids,
            tracks.classes,
            tracks.scores,
            tracks.boxes,
            tracks.detection,
            tracks.velocities,
            tracks.ages_ns,
            tracks.unseen_ns,
            tracks.states,
            tracks.confidences,
        )
        rows = zip(*(column.tolist() for column in columns), tracks.embeddings, strict=True)
        for key, index, score, box, detection, velocity, age, unseen, state, confidence, embedding in rows:
            yield TrackRow(
                f"{self._prefix}{key}",
                self._classes[index],
                score,
                Box.of(box),
                Box.of(raw_boxes[detection]) if detection >= 0 else NO_BOX,
                raw_scores[detection] if detection >= 0 else 0.0,
                (velocity[0], velocity[1]),
                divmod(age, SECOND),
                divmod(unseen, SECOND),
                state,
                confidence,
                embedding,
            )

    def events(self, result: FrameResult) -> Iterator[EventRow]:
        """What happened to tracks in this frame."""
        for event in result.events:
            yield EventRow(
                f"{self._prefix}{event.id}",
                self._classes[event.class_index],
                int(event.kind),
                Box.of(event.box.tolist()),
                divmod(event.age_ns, SECOND),
            )

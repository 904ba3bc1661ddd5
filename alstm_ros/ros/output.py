"""One camera's publishers."""

from __future__ import annotations

from collections.abc import Sequence

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.qos_overriding_options import InvalidQosOverridesError, QoSOverridingOptions
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as ImageMessage
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray, LabelInfo
from visualization_msgs.msg import ImageMarker

from alstm_ros.config import Config
from alstm_ros.drawing import Overlay, marks
from alstm_ros.errors import ConfigError
from alstm_ros.msg import TrackArray, TrackEvent
from alstm_ros.ros.annotations import MESSAGE as ANNOTATIONS
from alstm_ros.ros.annotations import AnnotationMessages
from alstm_ros.ros.messages import MessageFiller, labels
from alstm_ros.ros.pictures import compressed_message, image_message, markers
from alstm_ros.types import FrameResult, Image

RESULT_DEPTH = 10
"""How many messages of detections or tracks a publisher keeps for a slow subscriber."""
EVENT_DEPTH = 1000
"""How many events a publisher keeps; many, since a whole crowd may be born in one frame."""
PICTURE_DEPTH = 1
"""How many pictures a publisher keeps; only the newest is worth looking at."""


class CameraOutput:
    """Publishes one camera's results."""

    def __init__(self, node: Node, camera: str, config: Config, classes: Sequence[str]) -> None:
        """Makes the publishers and tells the class names.

        Args:
            node: the publishers are made on it.
            camera: the camera's name, empty for the only one.
            config: all parameters.
            classes: names, by class index.
        """
        self._node = node
        self._publishers: list[Publisher] = []
        self._classes = classes
        self._prefix = config.output.id_prefix
        self._look = config.output
        self._messages = MessageFiller(classes, self._prefix)
        self._drawer = Overlay()
        self._annotate = AnnotationMessages()
        place = f"~/{camera}/" if camera else "~/"
        self._detections = self._publisher(Detection2DArray, f"{place}detections", RESULT_DEPTH)
        self._tracks = self._publisher(TrackArray, f"{place}tracks", RESULT_DEPTH)
        self._events = self._publisher(TrackEvent, f"{place}events", EVENT_DEPTH)
        self._overlay = self._publisher(ImageMessage, f"{place}overlay", PICTURE_DEPTH)
        self._compressed = self._publisher(CompressedImage, f"{place}overlay/compressed", PICTURE_DEPTH)
        self._markers = self._publisher(ImageMarker, f"{place}markers", PICTURE_DEPTH)
        self._annotations: Publisher | None = None
        if ANNOTATIONS is not None:
            self._annotations = self._publisher(ANNOTATIONS, f"{place}annotations", RESULT_DEPTH)
        self._raw = self._publisher(Detection2DArray, f"{place}raw_detections", RESULT_DEPTH)
        self._labels = self._publisher(LabelInfo, f"{place}labels", PICTURE_DEPTH, latched=True)
        self._threshold = config.detector.score_threshold
        self._tell_classes()

    def publish(self, header: Header, image: Image | None, result: FrameResult) -> None:
        """Publishes all that came of one frame.

        Args:
            header: the image message's.
            image: `(H, W, 3)` uint8 BGR; None where there is none to draw on.
            result: what came of it.
        """
        if len(self._classes) != self._told:  # somebody's detections bring new names with them
            self._tell_classes()
        self._detections.publish(self._messages.detections(header, result))
        self._tracks.publish(self._messages.tracks(header, result))
        for event in self._messages.events(header, result):
            self._events.publish(event)
        if self._raw.get_subscription_count():
            self._raw.publish(self._messages.raw_detections(header, result))
        self._publish_pictures(header, image, result)

    def _publish_pictures(self, header: Header, image: Image | None, result: FrameResult) -> None:
        """What somebody looks at now."""
        pictures = [self._overlay, self._compressed, self._markers, self._annotations]
        overlay, compressed, markers_wanted, annotations = (
            topic is not None and topic.get_subscription_count() > 0 for topic in pictures
        )
        if not (overlay or compressed or markers_wanted or annotations):
            return
        shown = marks(result.tracks, self._classes, self._prefix)
        if image is not None and (overlay or compressed):
            drawn = self._drawer.draw(image, result.stamp_ns, shown, self._look.overlay_scale)
            if overlay:
                self._overlay.publish(image_message(header, drawn))
            if compressed:
                self._compressed.publish(compressed_message(header, drawn, self._look.jpeg_quality))
        if markers_wanted:
            self._markers.publish(markers(header, shown))
        if self._annotations is not None and annotations:
            self._annotations.publish(self._annotate(header, result.stamp_ns, shown))

    def _tell_classes(self) -> None:
        self._told = len(self._classes)
        now = Header(stamp=self._node.get_clock().now().to_msg())
        self._labels.publish(labels(self._classes, self._threshold, now))

    def configure(self, config: Config) -> None:
        """Takes over the live parameters."""
        self._look = config.output

    def close(self) -> None:
        """Frees the publishers."""
        for publisher in self._publishers:
            self._node.destroy_publisher(publisher)
        self._publishers.clear()

    def _publisher(self, kind: type, topic: str, depth: int, *, latched: bool = False) -> Publisher:
        """A publisher, reliable since that matches every subscriber, unless `qos_overrides` says otherwise."""
        durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
        try:
            publisher = self._node.create_publisher(
                kind,
                topic,
                QoSProfile(depth=depth, durability=durability),
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
        except (InvalidQosOverridesError, TypeError, ValueError, RuntimeError) as error:  # rclpy has one for each fault
            name = self._node.resolve_topic_name(topic)
            raise ConfigError(f"Parameters 'qos_overrides.{name}.publisher' cannot be used: {error}") from error
        self._publishers.append(publisher)
        return publisher

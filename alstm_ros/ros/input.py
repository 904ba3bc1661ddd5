"""One camera's subscription: it finds its topic, follows the publishers' QoS, and says why nothing arrives."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Detection2DArray

from alstm_ros.config import InputConfig
from alstm_ros.ros.image_timeout import ImageTimeout
from alstm_ros.ros.mailbox import Arrival
from alstm_ros.ros.topics import (
    COMPRESSED,
    DETECTIONS,
    IMAGE,
    Cause,
    Endpoint,
    ImageSource,
    candidates,
    choose_source,
    explain,
)
from alstm_ros.ros.transport import large_data_hint
from alstm_ros.types import SECOND

try:
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks, UnsupportedEventTypeError


class Receiver(Protocol):
    """What takes a camera's images."""

    def deliver(self, arrival: Arrival) -> None:
        """Takes an image, in the executor's thread; returns at once."""
        ...

    def lose(self, camera: str, images: int) -> None:
        """Takes note that so many images of a camera were lost on the way; 0 says that losses will be told."""
        ...


_CLASSES = {IMAGE: Image, COMPRESSED: CompressedImage, DETECTIONS: Detection2DArray}
"""Type name to message class."""


class CameraInput:
    """What one camera's frames begin with: its images, or, with `input.detections: topic`, somebody's detections.

    Attributes:
        topic: the topic's full name, as it was asked for.
        source: what is subscribed to; None while stopped.
        silence: why nothing arrives; None while images arrive, and in the first seconds.
    """

    def __init__(self, node: Node, camera: str, options: InputConfig, receiver: Receiver) -> None:
        """Subscribes to nothing yet.

        Args:
            node: the subscription is made on it.
            camera: the camera's name, empty for the only one.
            options: `input.*`.
            receiver: takes the images, and what is lost of them.
        """
        self.source: ImageSource | None = None
        self.silence: Cause | None = None
        self.options = options
        self._node = node
        self._camera = camera
        self._receiver = receiver
        first = "detections" if options.detections == "topic" else "image"
        self._one, self._many = ("detections", "Detections") if options.detections == "topic" else ("image", "Images")
        self.topic = node.resolve_topic_name(f"{camera}/{first}" if camera else first)
        self._subscription: Subscription | None = None
        self._image_timeout = ImageTimeout()
        self._awaited: tuple[ImageSource, bool] | None = None  # the source, and whether anybody publishes there
        self._said: set[str] = set()
        self._unstamped = False

    def start(self) -> None:
        """Subscribes to the best source there is now."""
        self._awaited = None
        self.look()

    def stop(self) -> None:
        """Frees the subscription."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        self._subscription = None
        self.source = None
        self.silence = None
        self._said.clear()

    def look(self) -> None:
        """Looks at the publishers: changes the subscription where needed, and says why nothing arrives.

        To be called a few times a second; a look reads what discovery has already brought and costs microseconds.
        """
        found = {topic: self._publishers(topic) for topic, _ in candidates(self.options, self.topic)}
        published = any(found.values())
        # With nobody there, what was subscribed to last is the best guess: a publisher that restarts finds it in place.
        source = choose_source(self.options, self.topic, found) if published or self.source is None else self.source
        if source != self.source:
            self._subscribe(source)
        if (source, published) != self._awaited:
            self._awaited = (source, published)
            self._image_timeout.wait(time.monotonic_ns())
            self.silence = None
        silent_ns = self._image_timeout.silent_ns(time.monotonic_ns())
        if silent_ns < self._image_timeout.limit_ns(round(self.options.timeout * SECOND)):
            return
        self.silence = explain(self.options, source, found, self._images(), large_data_hint())
        if self.silence.kind not in self._said:
            self._said.add(self.silence.kind)
            self._node.get_logger().warning(f"No {self._one} for {silent_ns / SECOND:.1f} s: {self.silence.sentence}")

    def _publishers(self, topic: str) -> list[Endpoint]:
        return [_endpoint(info) for info in self._node.get_publishers_info_by_topic(topic)]

    def _images(self) -> list[str]:
        """Topics with what is wanted that somebody else publishes."""
        wanted = {DETECTIONS} if self.options.detections == "topic" else {IMAGE, COMPRESSED}
        topics = self._node.get_topic_names_and_types()
        images = [name for name, types in topics if wanted & set(types)]
        here = self._node.get_fully_qualified_name()
        return [name for name in images if not name.startswith(f"{here}/") and self._node.count_publishers(name)]

    def _subscribe(self, source: ImageSource) -> None:
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        qos = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=1,
            reliability=ReliabilityPolicy.RELIABLE if source.reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if source.transient else DurabilityPolicy.VOLATILE,
        )
        try:
            self._subscription = self._create(source, qos, message_lost=self._lose)
            self._receiver.lose(self._camera, 0)
        except UnsupportedEventTypeError:  # this middleware does not tell of lost messages
            self._subscription = self._create(source, qos)
        self.source = source
        self._node.get_logger().info(f"Subscribed to {source}.")

    def _create(self, source: ImageSource, qos: QoSProfile, **events: Callable[[Any], None]) -> Subscription:
        return self._node.create_subscription(
            _CLASSES[source.type],
            source.topic,
            self._receive,
            qos,
            # `look` names an incompatible policy with what to do about it; rclpy's own warning would say it twice.
            event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False, **events),
        )

    def _lose(self, event: Any) -> None:  # rclpy gives the type no public name
        self._receiver.lose(self._camera, event.total_count_change)

    def _receive(self, message: Image | CompressedImage | Detection2DArray) -> None:
        received_ns = time.monotonic_ns()
        self._image_timeout.arrived(received_ns)
        self.silence = None
        if self._said:
            limit = self._image_timeout.limit_ns(round(self.options.timeout * SECOND)) / SECOND
            self._node.get_logger().info(
                f"{self._many} arrive on {self.source}; the next silence is told after {limit:.1f} s."
            )
            self._said.clear()
        stamp = message.header.stamp
        stamp_ns = stamp.sec * SECOND + stamp.nanosec
        clock_ns = self._node.get_clock().now().nanoseconds
        age_ns: int | None = clock_ns - stamp_ns
        if stamp_ns == 0:
            stamp_ns, age_ns = clock_ns, None
            if not self._unstamped:
                self._unstamped = True
                self._node.get_logger().warning(
                    f"{self._many} on {self.topic} carry no stamp (it is zero); the time of their arrival is used "
                    "instead."
                )
        self._receiver.deliver(Arrival(self._camera, message, stamp_ns, received_ns, age_ns))


def _endpoint(info: TopicEndpointInfo) -> Endpoint:
    return Endpoint(
        info.topic_type,
        info.qos_profile.reliability == ReliabilityPolicy.RELIABLE,
        info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL,
    )

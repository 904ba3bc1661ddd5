"""Which image topic to subscribe to, with which QoS, and why nothing arrives. Decisions only; rclpy is not needed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alstm_ros.config import InputConfig

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
DETECTIONS = "vision_msgs/msg/Detection2DArray"
SUFFIX = "/compressed"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A publisher that was found.

    Attributes:
        type: such as `sensor_msgs/msg/Image`.
        reliable: whether it offers reliable delivery, else best effort.
        transient: whether it offers transient local durability, else volatile.
    """

    type: str
    reliable: bool
    transient: bool


@dataclass(frozen=True, slots=True)
class ImageSource:
    """What to subscribe to.

    Attributes:
        topic: full name.
        type: `IMAGE` or `COMPRESSED`.
        reliable: whether to ask for reliable delivery.
        transient: whether to ask for transient local durability.
    """

    topic: str
    type: str
    reliable: bool
    transient: bool

    def __str__(self) -> str:
        """Such as `/image (sensor_msgs/msg/Image, best_effort, volatile)`."""
        return f"{self.topic} ({self.type}, {self.qos})"

    @property
    def qos(self) -> str:
        """Such as `best_effort, volatile`."""
        reliability = "reliable" if self.reliable else "best_effort"
        return f"{reliability}, {'transient_local' if self.transient else 'volatile'}"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why nothing arrives.

    Attributes:
        kind: `no_publisher`, `wrong_type`, `incompatible_qos` or `no_data`.
        sentence: for the user.
    """

    kind: str
    sentence: str


def candidates(options: InputConfig, topic: str) -> list[tuple[str, str]]:
    """The (topic, type) pairs that may carry what a frame begins with, the preferred one first."""
    return [(topic, DETECTIONS)] if options.detections == "topic" else image_candidates(options, topic)


def image_candidates(options: InputConfig, topic: str) -> list[tuple[str, str]]:
    """The (topic, type) pairs that may carry the images, the preferred one first.

    The topic itself may carry either type; image_transport puts the compressed stream beside it.
    """
    raw = [(topic, IMAGE)]
    compressed = (
        [(topic, COMPRESSED)] if topic.endswith(SUFFIX) else [(topic + SUFFIX, COMPRESSED), (topic, COMPRESSED)]
    )
    if options.transport == "auto":
        return compressed + raw if topic.endswith(SUFFIX) else raw + compressed[::-1]
    return raw if options.transport == "raw" else compressed


def choose_source(options: InputConfig, topic: str, found: Mapping[str, Sequence[Endpoint]]) -> ImageSource:
    """Picks topic, type and QoS for the publishers found.

    The least demanding QoS that all of them satisfy is asked for, and no less: reliable when all are reliable,
    transient local when all are. With no publisher, best effort and volatile match whatever comes.

    Args:
        options: explicit wishes.
        topic: the resolved image topic.
        found: publishers by topic.

    Returns:
        What to subscribe to.
    """
    pairs = candidates(options, topic)
    there = [(name, kind) for name, kind in pairs if any(end.type == kind for end in found.get(name, ()))]
    name, kind = there[0] if there else pairs[0]
    ends = [end for end in found.get(name, ()) if end.type == kind]
    return ImageSource(
        name,
        kind,
        _wish(options.reliability, "reliable", all_offer=bool(ends) and all(end.reliable for end in ends)),
        _wish(options.durability, "transient_local", all_offer=bool(ends) and all(end.transient for end in ends)),
    )


def _wish(option: str, strong: str, *, all_offer: bool) -> bool:
    return all_offer if option == "auto" else option == strong


def explain(
    options: InputConfig,
    source: ImageSource,
    found: Mapping[str, Sequence[Endpoint]],
    images: Sequence[str],
    hint: str,
) -> Cause:
    """Says why nothing arrives.

    Args:
        options: explicit wishes.
        source: what is subscribed to.
        found: publishers by topic, as given to `choose_source`.
        images: every image topic that exists, for a suggestion.
        hint: a sentence about the transport of large messages; may be empty.

    Returns:
        The cause.
    """
    ends = found.get(source.topic, ())
    fitting = [end for end in ends if end.type == source.type]
    if not fitting:
        return _wrong_type(options, source, ends) if ends else _no_publisher(source, images)
    if source.reliable and not any(end.reliable for end in fitting):
        return _incompatible(source, "reliability", "reliable", "best_effort")
    if source.transient and not any(end.transient for end in fitting):
        return _incompatible(source, "durability", "transient_local", "volatile")
    publishers = "1 publisher" if len(fitting) == 1 else f"{len(fitting)} publishers"
    what = "detections" if source.type == DETECTIONS else "image"
    return Cause("no_data", f"{source.topic} has {publishers} but sends no {what}. {hint}".rstrip())


def _no_publisher(source: ImageSource, images: Sequence[str]) -> Cause:
    near = difflib.get_close_matches(source.topic, images, len(images) or 1, 0.0)[:5]
    what, name = ("detection", "detections") if source.type == DETECTIONS else ("image", "image")
    known = f"{what} topics there are: {', '.join(near)}" if near else f"there is no {what} topic at all"
    return Cause("no_publisher", f"Nobody publishes {source.topic}; {known}. Remap with -r {name}:=TOPIC.")


def _wrong_type(options: InputConfig, source: ImageSource, ends: Sequence[Endpoint]) -> Cause:
    carried = " and ".join(sorted({end.type for end in ends}))
    wanted = f"{IMAGE} or {COMPRESSED}" if source.type != DETECTIONS else DETECTIONS
    if source.type != DETECTIONS and options.transport != "auto":
        wanted = f"{source.type}, since input.transport is '{options.transport}'"
    return Cause("wrong_type", f"{source.topic} carries {carried}; it must carry {wanted}.")


def _incompatible(source: ImageSource, policy: str, wanted: str, offered: str) -> Cause:
    return Cause(
        "incompatible_qos",
        f"{source.topic} is offered with {policy} {offered}, but input.{policy} asks for {wanted}, so nothing is "
        f"delivered; set input.{policy} to auto or {offered}.",
    )

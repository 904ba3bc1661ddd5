"""The node on a bag replayed slowly enough to lose nothing, and `alstm track` on the same bag, tell the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recordings
from blobs import Blobs

pytest.importorskip("rclpy", reason="ROS is not installed")

from alstm_ros.msg import TrackArray, TrackEvent
from rclpy.serialization import deserialize_message, serialize_message
from ros_harness import Camera, Ros
from ros_messages import image_message
from ros_process import PATIENCE, NodeProcess, domain
from sensor_msgs.msg import Image as ImageMessage
from std_srvs.srv import Trigger
from vision_msgs.msg import Detection2DArray

from alstm_ros import cli
from alstm_ros.commands import track as command
from alstm_ros.recordings.bag import Bag
from alstm_ros.recordings.interfaces import typestore
from alstm_ros.types import Image

FRAMES = 60
TOPICS = {"detections": Detection2DArray, "tracks": TrackArray, "events": TrackEvent}


def crossing(number: int) -> Image:
    """Blobs that pass each other, hide behind one another, leave, return, flicker and change colour."""
    picture = np.full((160, 240, 3), 20, np.uint8)
    picture[20:60, 4 + 3 * number : 34 + 3 * number] = (220, 20, 20)
    picture[40:80, 200 - 3 * number : 230 - 3 * number] = (20, 210, 20)
    if not 20 <= number < 32:
        picture[100:140, 60 + number : 95 + number] = (20, 20, 150 + number)
    if number % 3:
        picture[110:150, 180:210] = (190, 190, 190) if number < 40 else (20, 20, 190)
    return picture


def canonical(data: bytes, kind: str) -> bytes:
    """The same message with all padding zero, which CDR leaves open and Fast CDR does not clear."""
    store = typestore()
    return bytes(store.serialize_cdr(store.deserialize_cdr(data, kind), kind))


@pytest.mark.ros
def test_live_and_offline_are_identical(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "scene", crossing)
    monkeypatch.setattr(command, "load_detector", Blobs)
    bag = recordings.write_bag(tmp_path / "bag", range(1, FRAMES + 1))

    assert cli.main(["track", str(bag), "--output", str(tmp_path / "offline.mcap")]) == 0
    offline = Bag(tmp_path / "offline.mcap")
    counts = {topic.name: topic.count for topic in offline.topics}
    assert counts["/alstm/tracks"] == FRAMES

    with domain() as number:
        ros, node = Ros(number), NodeProcess(number)
        try:
            live: dict[str, list[Any]] = {name: ros.collect(kind, f"/alstm/{name}") for name, kind in TOPICS.items()}
            with Camera(ros) as camera:
                # Until both sides have found each other; an empty picture leaves no track, and a reset no memory of it.
                blank = np.zeros((160, 240, 3), np.uint8)
                camera.settle(image_message(blank, recordings.stamp(0)))
                ros.until(lambda: all(live[name] for name in ("detections", "tracks")), "the first results")
                ros.until(lambda: live["tracks"][-1].header == live["detections"][-1].header, "the last of them")
                assert ros.call(Trigger, "/alstm/reset").success
                for messages in live.values():
                    messages.clear()
                for message in Bag(bag).read(["/camera/image_raw"]):
                    camera.ask(deserialize_message(message.data, ImageMessage), patience=PATIENCE)
            ros.until(lambda: all(len(live[name]) >= counts[f"/alstm/{name}"] for name in TOPICS), "the last results")
        finally:
            node.stop()
            ros.close()

    for name in TOPICS:
        kind = next(topic.type for topic in offline.topics if topic.name == f"/alstm/{name}")
        there = [canonical(message.data, kind) for message in offline.read([f"/alstm/{name}"])]
        here = [canonical(serialize_message(message), kind) for message in live[name]]
        assert len(here) == len(there)
        for index, (one, other) in enumerate(zip(here, there, strict=True)):
            assert one == other, f"/alstm/{name}, message {index}"

    ids = {item.id for message in live["detections"] for item in message.detections}
    assert len(ids) >= 4
    assert {event.kind for event in live["events"]} >= {TrackEvent.BORN, TrackEvent.LOST, TrackEvent.RECOVERED}

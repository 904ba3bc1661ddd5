"""What `alstm track` writes is what a player publishes: its bytes go over DDS as they are and arrive as messages.

`ros2 bag play` itself is no package of the environment that the tests run in; like it, the player here opens a
publisher for each topic with the type and the quality of service that the file names, and hands it the file's bytes in
the order of their times.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recordings
import yaml
from blobs import Blobs
from mcap.reader import make_reader

pytest.importorskip("rclpy", reason="ROS is not installed")

from rclpy.qos import DurabilityPolicy, HistoryPolicy, LivelinessPolicy, QoSProfile, ReliabilityPolicy
from ros_harness import Ros
from ros_process import domain

from alstm_ros import cli
from alstm_ros.commands import track as command
from alstm_ros.recordings.bag import Bag
from alstm_ros.types import Image


def message_class(name: str) -> Any:
    """The class of `package/msg/Name`."""
    package, kind = name.split("/msg/")
    return getattr(importlib.import_module(f"{package}.msg"), kind)


def walkers(number: int) -> Image:
    """Two bright blobs that move."""
    picture = np.full((160, 240, 3), 20, np.uint8)
    picture[20:60, 4 + 3 * number : 34 + 3 * number] = (240, 20, 20)
    picture[100:140, 200 - 3 * number : 230 - 3 * number] = (20, 240, 20)
    return picture


def offers(path: Path) -> dict[str, QoSProfile]:
    """What `ros2 bag play` offers for each topic, read as rosbag2_storage_mcap does since Jazzy."""
    with path.open("rb") as file:
        reader = make_reader(file)
        [record] = [item for item in reader.iter_metadata() if item.name == "rosbag2"]
        assert "serialized_metadata" not in record.metadata  # then the policies are numbers, as they were before Iron
        summary = reader.get_summary()
    assert summary is not None
    found = {}
    for channel in summary.channels.values():
        [policies] = yaml.safe_load(channel.metadata["offered_qos_profiles"])
        assert policies["history"] == HistoryPolicy.KEEP_LAST
        for name in ("deadline", "lifespan", "liveliness_lease_duration"):
            assert policies[name]["sec"] * 10**9 + policies[name]["nsec"] == 2**63 - 1  # RMW_DURATION_INFINITE
        found[channel.topic] = QoSProfile(
            depth=max(policies["depth"], 10),  # the player's own depth
            reliability=ReliabilityPolicy(policies["reliability"]),
            durability=DurabilityPolicy(policies["durability"]),
            liveliness=LivelinessPolicy(policies["liveliness"]),
        )
    return found


@pytest.mark.ros
def test_a_written_bag_can_be_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "scene", walkers)
    monkeypatch.setattr(command, "load_detector", Blobs)
    bag = recordings.write_bag(tmp_path / "bag", range(1, 13))
    assert cli.main(["track", str(bag), "--output", str(tmp_path / "x.mcap")]) == 0
    written = Bag(tmp_path / "x.mcap")
    kinds = {topic.name: message_class(topic.type) for topic in written.topics}
    assert set(kinds) == {f"/alstm/{name}" for name in ("detections", "tracks", "events", "labels", "annotations")}
    with domain() as number:
        ros = Ros(number)
        try:
            arrived = {name: ros.collect(kind, name) for name, kind in kinds.items()}
            offered = offers(tmp_path / "x.mcap")
            players = {name: ros.node.create_publisher(kind, name, offered[name]) for name, kind in kinds.items()}
            ros.until(lambda: all(player.get_subscription_count() for player in players.values()), "the subscribers")
            played: dict[str, int] = dict.fromkeys(kinds, 0)
            for message in written.read(list(kinds)):
                players[message.topic].publish(bytes(message.data))
                played[message.topic] += 1
            ros.until(lambda: all(len(arrived[name]) == played[name] for name in kinds), "the messages")
            latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            late = ros.collect(kinds["/alstm/labels"], "/alstm/labels", latched)
            ros.until(lambda: late, "the labels, for who comes late")
        finally:
            ros.close()
    assert played["/alstm/detections"] == played["/alstm/tracks"] == 12
    assert played["/alstm/labels"] == 1
    shown = {item.id for array in arrived["/alstm/detections"] for item in array.detections}
    assert len(shown) == 2
    assert shown <= {track.id for array in arrived["/alstm/tracks"] for track in array.tracks}
    assert [one.header.stamp for one in arrived["/alstm/detections"]] == [
        one.header.stamp for one in arrived["/alstm/tracks"]
    ]
    assert len(arrived["/alstm/labels"][0].class_map) == 4

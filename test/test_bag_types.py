"""Definitions of messages as recorders store them, and messages in older versions of their types."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import recordings
from blobs import Blobs
from mcap.writer import Writer
from rosbags.typesys import get_types_from_msg
from rosbags.typesys.store import Typestore
from walked_labels import evaluate, walk, write_text

from alstm_ros import cli
from alstm_ros.commands import track as command
from alstm_ros.errors import DataError
from alstm_ros.pipeline import Frame
from alstm_ros.recordings.interfaces import typestore
from alstm_ros.recordings.sources import open_source

COMPRESSED = "sensor_msgs/msg/CompressedImage"
RULE = "=" * 80 + "\n"
HEADER = f"{RULE}MSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n"
TIME = f"{RULE}MSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n"
PLAIN = f"std_msgs/Header header\nstring format\nuint8[] data\n{HEADER}{TIME}"
IDL = f"""{RULE}IDL: {COMPRESSED}
// generated from rosidl_adapter/resource/msg.idl.em
#include "std_msgs/msg/Header.idl"

module sensor_msgs {{
  module msg {{
    @verbatim (language="comment", text=
      "This message contains a compressed image.")
    struct CompressedImage {{
      std_msgs::msg::Header header;
      @verbatim (language="comment", text="its format")
      string format;
      sequence<uint8> data;
    }};
  }};
}};
{RULE}IDL: std_msgs/msg/Header
#include "builtin_interfaces/msg/Time.idl"
module std_msgs {{ module msg {{ struct Header {{ builtin_interfaces::msg::Time stamp; string frame_id; }}; }}; }};
{RULE}IDL: builtin_interfaces/msg/Time
module builtin_interfaces {{ module msg {{ struct Time {{ int32 sec; uint32 nanosec; }}; }}; }};
"""
DEFINITIONS = {
    "as it should be": ("ros2msg", PLAIN),
    "of Windows": ("ros2msg", PLAIN.replace("\n", "\r\n")),
    "of an old Mac": ("ros2msg", PLAIN.replace("\n", "\r")),
    "with a mark": ("ros2msg", f"\ufeff{PLAIN}"),
    "without its last part": ("ros2msg", PLAIN.removesuffix(TIME)),
    "without its parts": ("ros2msg", PLAIN.removesuffix(HEADER + TIME)),
    "in IDL": ("ros2idl", IDL),
    "in IDL of Windows": ("ros2idl", IDL.replace("\n", "\r\n")),
    "in IDL without its parts": ("ros2idl", IDL.split(RULE)[1]),
    "in IDL that says it is not": ("ros2msg", IDL),
    "that is none": ("ros2msg", "this is no definition at all {"),
    "that is empty": ("ros2msg", ""),
    "with a part that is nowhere": ("ros2msg", PLAIN.replace("uint8[] data", "vendor_msgs/Blob data")),
}


def write_mcap(path: Path, kind: str, schema: tuple[str, str], messages: list[tuple[int, bytes]]) -> Path:
    """A bag of one topic, written without any library that would correct its definition."""
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start(profile="ros2", library="test")
        schema_id = writer.register_schema(kind, schema[0], schema[1].encode())
        channel = writer.register_channel("/camera/compressed", "cdr", schema_id)
        for log_ns, data in messages:
            writer.add_message(channel, log_ns, data, log_ns)
        writer.finish()
    return path


def images(count: int, encode: Callable[[int], Any] | None = None) -> list[tuple[int, bytes]]:
    made = []
    for number in range(1, count + 1):
        message = recordings.compressed_message(recordings.scene(number), recordings.stamp(number))
        message = message if encode is None else encode(number)
        made.append((recordings.stamp(number), bytes(typestore().serialize_cdr(message, COMPRESSED))))
    return made


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_definitions_are_read_tolerantly(tmp_path: Path, kind: str) -> None:
    source = open_source(write_mcap(tmp_path / "x.mcap", COMPRESSED, DEFINITIONS[kind], images(3)))
    pictures = [frame.image for _, frame in source if isinstance(frame, Frame)]
    assert len(pictures) == 3
    np.testing.assert_array_equal(pictures[2], recordings.scene(3))
    assert source.problems == []


def test_a_run_that_cannot_read_its_bag_leaves_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "load_detector", Blobs)
    definition = PLAIN.replace("uint8[] data", "uint8[] bytes")
    bag = write_mcap(tmp_path / "x.mcap", COMPRESSED, ("ros2msg", definition), images(5))
    files = [str(tmp_path / f"o.{suffix}") for suffix in ("txt", "jsonl", "mcap", "mp4")]
    outputs = [part for file in files for part in ("--output", file)]
    assert cli.main(["track", str(bag), *outputs]) == 2
    error = capsys.readouterr().err
    assert "x gave no frame. 5 images on /camera/compressed left out, the first: The message is of another" in error
    assert len(error) < 1000, "one cause is told once"
    assert [item.name for item in tmp_path.iterdir()] == ["x.mcap"]


def test_one_cause_is_told_once(tmp_path: Path) -> None:
    def cut(number: int) -> Any:
        message = recordings.compressed_message(recordings.scene(number), recordings.stamp(number))
        message.data = message.data[: 20 + number]
        return message

    source = open_source(write_mcap(tmp_path / "x.mcap", COMPRESSED, ("ros2msg", PLAIN), images(9, cut)))
    assert list(source) == []
    [problem] = source.problems
    assert problem.startswith("9 images on /camera/compressed left out, the first: The compressed image is damaged")


def test_images_in_tiff(tmp_path: Path) -> None:
    def tiff(number: int) -> Any:
        message = recordings.compressed_message(recordings.scene(number), recordings.stamp(number))
        done, data = cv2.imencode(".tiff", recordings.scene(number))
        assert done
        message.format, message.data = "rgb8; tiff compressed bgr8", np.asarray(data, np.uint8).reshape(-1)
        if number == 3:
            message.data = message.data[:-40]
        return message

    source = open_source(write_mcap(tmp_path / "x.mcap", COMPRESSED, ("ros2msg", PLAIN), images(3, tiff)))
    got = [(number, frame.image) for number, frame in source if isinstance(frame, Frame)]
    assert [number for number, _ in got] == [1, 2]
    for number, picture in got:
        np.testing.assert_array_equal(picture, recordings.scene(number))
    assert len(source.problems) == 1
    assert "no whole tiff" in source.problems[0]


GALACTIC = {
    "vision_msgs/msg/Detection2DArray": "std_msgs/Header header\nvision_msgs/Detection2D[] detections\n",
    "vision_msgs/msg/Detection2D": "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n"
    "vision_msgs/BoundingBox2D bbox\nstring id\n",
    "vision_msgs/msg/ObjectHypothesisWithPose": "vision_msgs/ObjectHypothesis hypothesis\n",
    "vision_msgs/msg/ObjectHypothesis": "string class_id\nfloat64 score\n",
    "vision_msgs/msg/BoundingBox2D": "geometry_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y\n",
    "geometry_msgs/msg/Pose2D": "float64 x\nfloat64 y\nfloat64 theta\n",
    "std_msgs/msg/Header": "builtin_interfaces/Time stamp\nstring frame_id\n",
    "builtin_interfaces/msg/Time": "int32 sec\nuint32 nanosec\n",
}
FOXY = GALACTIC | {
    "vision_msgs/msg/Detection2D": "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n"
    "vision_msgs/BoundingBox2D bbox\nbool is_tracking\nstring tracking_id\n",
    "vision_msgs/msg/ObjectHypothesisWithPose": "string id\nfloat64 score\n",
}
ARRAY = "vision_msgs/msg/Detection2DArray"


@pytest.mark.parametrize("version", ["galactic", "foxy"])
def test_detections_of_older_distributions(tmp_path: Path, version: str, capsys: pytest.CaptureFixture[str]) -> None:
    texts = GALACTIC if version == "galactic" else FOXY
    store = Typestore()
    parsed: dict[str, Any] = {}
    for name, text in texts.items():
        parsed |= get_types_from_msg(text, name)
    store.register(parsed)
    types = store.types
    labels = walk(20, {1: (1, 20), 2: (1, 20)})
    messages, guesses = [], (("car", 0.1), ("person", 0.9))
    for frame in range(1, 21):
        stamp = recordings.stamp(frame)
        time = types["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)
        header = types["std_msgs/msg/Header"](stamp=time, frame_id="")
        found = []
        for row in np.flatnonzero(labels.frames == frame).tolist():
            left, top, right, bottom = labels.boxes[row].tolist()
            pose = types["geometry_msgs/msg/Pose2D"](x=(left + right) / 2, y=(top + bottom) / 2, theta=0.0)
            box = types["vision_msgs/msg/BoundingBox2D"](center=pose, size_x=right - left, size_y=bottom - top)
            result = types["vision_msgs/msg/ObjectHypothesisWithPose"]
            if version == "galactic":
                one = types["vision_msgs/msg/ObjectHypothesis"]
                results = [
                    result(hypothesis=one(class_id=name, score=s)) for name, s in (("car", 0.1), ("person", 0.9))
                ]
                keys: dict[str, Any] = {"id": f"walker {labels.ids[row]}"}
            else:
                results = [result(id=name, score=s) for name, s in guesses]
                keys = {"is_tracking": True, "tracking_id": f"walker {labels.ids[row]}"}
            found.append(types["vision_msgs/msg/Detection2D"](header=header, results=results, bbox=box, **keys))
        message = types[ARRAY](header=header, detections=found)
        messages.append((stamp, bytes(store.serialize_cdr(message, ARRAY))))
    definition = store.generate_msgdef(ARRAY, ros_version=2)[0]
    bag = write_mcap(tmp_path / "old.mcap", ARRAY, ("ros2msg", definition), messages)
    assert evaluate(bag, "--gt", write_text(tmp_path / "gt.txt", labels, truth=True), "--json") == 0
    numbers = json.loads(capsys.readouterr().out)["all"]
    assert (numbers["MOTA"], numbers["IDF1"], numbers["IDSW"]) == (100, 100, 0)


def test_a_database_with_a_second_file_is_read_whole(tmp_path: Path) -> None:
    """A recorder that was killed leaves its last messages in a journal."""
    bag = recordings.write_bag(tmp_path / "bag", [1, 2, 3], storage="sqlite3")
    [file] = bag.glob("*.db3")
    connection = sqlite3.connect(file)
    assert connection.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",)
    connection.execute("PRAGMA wal_autocheckpoint=0")
    topic, stamp, data = connection.execute("SELECT topic_id, timestamp, data FROM messages LIMIT 1").fetchone()
    for number in range(5):
        row = (topic, stamp + 10**9 * (number + 1), data)
        connection.execute("INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)", row)
    connection.commit()
    shutil.copytree(bag, tmp_path / "killed")  # while the recorder has it open
    connection.close()
    source = open_source(tmp_path / "killed")
    assert len(list(source)) == 8
    assert any("journal" in problem for problem in source.problems)


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    file = io.BytesIO()
    writer = Writer(file)
    writer.start(profile="ros2")
    writer.finish()
    (tmp_path / "x.mcap").write_bytes(file.getvalue())
    with pytest.raises(DataError, match="holds no topic"):
        open_source(tmp_path / "x.mcap")

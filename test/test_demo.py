"""`make demo` on a short clip: real processes, real middleware, and everything that it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from imaging import picture

av = pytest.importorskip("av")
pytest.importorskip("rclpy")
rosbags = pytest.importorskip("rosbags.highlevel")

ROOT = Path(__file__).resolve().parents[1]
FRAMES = 60
SECOND = 1_000_000_000

pytestmark = pytest.mark.ros


class Demo:
    """A demo that was started."""

    def __init__(self, output: Path, *arguments: str) -> None:
        # In the environment of each of its processes, to find those that are left.
        self._mark = ("ALSTM_TEST_DEMO", str(uuid.uuid4()))
        command = [sys.executable, str(ROOT / "dev" / "demo.py"), "--output", str(output), *arguments]
        self._process = subprocess.Popen(
            command,
            env=dict([*os.environ.items(), self._mark]),
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def processes(self) -> dict[int, str]:
        """Process id and command line of all that belongs to it and runs."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it ended meanwhile
                if "=".join(self._mark).encode() in (folder / "environ").read_bytes():
                    found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        return found

    def find(self, name: str) -> int:
        """Waits for the process whose command line holds this; returns its id."""
        for _ in range(600):
            for key, command in self.processes().items():
                if name in command:
                    return key
            time.sleep(0.1)
        raise AssertionError(f"no {name} within a minute")

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def finish(self) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        out, err = self._process.communicate(timeout=600)
        return self._process.returncode, out, err


@dataclass(frozen=True)
class Outcome:
    folder: Path
    summary: dict[str, Any]
    printed: str
    left: dict[int, str]


@pytest.fixture(scope="module")
def outcome(vtest: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("demo")
    demo = Demo(folder, "--video", str(vtest), "--frames", str(FRAMES))
    code, out, err = demo.finish()
    assert code == 0, err
    return Outcome(folder, json.loads((folder / "summary.json").read_text()), out, demo.processes())


def messages(folder: Path) -> list[tuple[str, int, Any]]:
    """Topic, time of recording and message; the schemas are those in the file."""
    with rosbags.AnyReader([folder / "bag"]) as reader:
        return [(one.topic, at, reader.deserialize(data, one.msgtype)) for one, at, data in reader.messages()]


def stamp_ns(message: Any) -> int:
    return int(message.header.stamp.sec * SECOND + message.header.stamp.nanosec)


def frames(path: Path) -> list[Any]:
    with av.open(str(path)) as container:
        return [(frame.time, frame.to_ndarray(format="bgr24")) for frame in container.decode(video=0)]


def test_the_summary_adds_up(outcome: Outcome) -> None:
    summary, node = outcome.summary, outcome.summary["node"]
    assert summary["frames_sent"] == FRAMES
    assert summary["frames_sent"] == summary["frames_processed"] + summary["frames_dropped"]
    assert summary["frames_processed"] == node["processed"], "every result reached the recorder"
    assert node["received"] == node["processed"] + node["dropped for a newer one"] + node["damaged"] + node["failed"]
    assert summary["frames_processed"] > 0.2 * FRAMES, "on a machine that does much else"
    assert 0 < summary["latency_ms_p50"] <= summary["latency_ms_p99"] < 5000
    assert summary["objects_seen"] >= 3
    for value in ("frames_sent", "frames_processed", "latency_ms_p50", "objects_seen"):
        assert str(summary[value]) in outcome.printed
    assert not outcome.left, "every process has ended"


def test_the_bag_holds_what_the_node_said(outcome: Outcome) -> None:
    found = messages(outcome.folder)
    counts = Counter(topic for topic, _, _ in found)
    assert counts["/alstm/detections"] == counts["/alstm/tracks"] == outcome.summary["frames_processed"]
    assert counts["/alstm/labels"] == 1
    assert counts["/alstm/events"] >= outcome.summary["objects_seen"]
    detections = [message for topic, _, message in found if topic == "/alstm/detections"]
    stamps = [stamp_ns(message) for message in detections]
    assert stamps == sorted(set(stamps))
    assert {message.header.frame_id for message in detections} == {"camera"}
    ids = {one.id for message in detections for one in message.detections}
    assert len(ids) == outcome.summary["objects_seen"]
    born = {message.id for topic, _, message in found if topic == "/alstm/events" and message.kind == message.BORN}
    assert ids <= born


def test_ros2_bag_finds_what_it_needs(outcome: Outcome) -> None:
    told = yaml.safe_load((outcome.folder / "bag" / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert told["storage_identifier"] == "mcap"
    assert told["relative_file_paths"] == ["bag.mcap"]
    topics = {one["topic_metadata"]["name"]: one["topic_metadata"] for one in told["topics_with_message_count"]}
    assert topics["/alstm/labels"]["offered_qos_profiles"][0]["durability"] == "transient_local"
    # vision_msgs 4.1.1
    wanted = "RIHS01_214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968"
    assert topics["/alstm/detections"]["type_description_hash"] == wanted
    mcap_reader = pytest.importorskip("mcap.reader")
    with (outcome.folder / "bag" / "bag.mcap").open("rb") as file:
        reader = mcap_reader.make_reader(file)
        assert reader.get_header().profile == "ros2"
        assert {schema.encoding for schema in reader.get_summary().schemas.values()} == {"ros2msg"}


def test_the_video_shows_the_boxes(outcome: Outcome, vtest: Path) -> None:
    drawn = frames(outcome.folder / "annotated.mp4")
    assert len(drawn) == FRAMES
    assert np.allclose([time for time, _ in drawn], np.arange(FRAMES) / 10, atol=0.002), "the video's own rate"
    with av.open(str(vtest)) as container:
        plain = [frame.to_ndarray(format="bgr24") for frame in islice(container.decode(video=0), FRAMES)]
    assert drawn[0][1].shape == plain[0].shape == (576, 768, 3)
    start = outcome.summary["first_stamp_ns"]
    edges, rest = [], []
    for topic, _, message in messages(outcome.folder):
        if topic != "/alstm/detections":
            continue
        number = round((stamp_ns(message) - start) / SECOND * 10)
        changed = np.abs(drawn[number][1].astype(int) - plain[number]).max(axis=2)
        rest.append(np.median(changed))
        for box in (one.bbox for one in message.detections):
            left, middle = round(box.center.position.x - box.size_x / 2), round(box.center.position.y)
            if 2 <= left < 766 and 0 <= middle < 576:
                edges.append(changed[middle, left - 1 : left + 2].max())
    assert np.median(rest) < 6, "but for the drawing it is the video"
    assert len(edges) > outcome.summary["frames_processed"]
    assert np.median(edges) > 60


def test_any_video(tmp_path: Path) -> None:
    path = tmp_path / "odd one.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 162, 122, "yuv420p"
        for _ in range(15):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(122, 162), format="bgr24")))
        container.mux(stream.encode(None))
    code, _, err = Demo(tmp_path / "out", "--video", str(path)).finish()
    assert code == 0, err
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["frames_sent"] == 15
    assert len(frames(tmp_path / "out" / "annotated.mp4")) == 15


@pytest.mark.parametrize("content", [None, b"this is no video"])
def test_a_video_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "film.avi"
    if content is not None:
        path.write_bytes(content)
    demo = Demo(tmp_path / "out", "--video", str(path))
    code, out, err = demo.finish()
    assert code == 1
    assert out == ""
    assert str(path) in err
    assert err.count("\n") == 1, "one sentence"
    assert not (tmp_path / "out" / "bag").exists()
    assert not demo.processes()


@pytest.mark.parametrize(("number", "wanted"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_is_stopped_in_good_order(tmp_path: Path, vtest: Path, number: signal.Signals, wanted: int) -> None:
    demo = Demo(tmp_path, "--video", str(vtest))
    demo.find("play_video")
    time.sleep(4)
    demo.send(number)
    code, _, err = demo.finish()
    assert code == wanted
    assert "Traceback" not in err
    assert not demo.processes()
    assert "/alstm/labels" in {topic for topic, _, _ in messages(tmp_path)}, "the bag is whole"


def test_the_nodes_log_is_shown_when_it_dies(tmp_path: Path, vtest: Path) -> None:
    demo = Demo(tmp_path, "--video", str(vtest))
    node = demo.find("alstm_ros.ros")
    demo.find("play_video")
    os.kill(node, signal.SIGKILL)
    code, _, err = demo.finish()
    assert code == 1
    assert "The node ended with exit code -9." in err
    assert "Subscribed to /demo/image_raw" in err
    assert "Traceback" not in err
    assert not demo.processes()

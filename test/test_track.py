"""`alstm track`: every output holds the same tracks, and the same bytes every time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recordings
from blobs import Blobs
from tracked import track, two_walkers, write_walk

from alstm_ros.commands import track as command
from alstm_ros.recordings.bag import Bag
from alstm_ros.recordings.interfaces import HERE, typestore
from alstm_ros.recordings.mot import read_camera_motion, read_labels, read_sequence
from alstm_ros.recordings.track_files import read_result
from alstm_ros.recordings.video import Video
from alstm_ros.types import Image

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def bag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(recordings, "scene", two_walkers)
    monkeypatch.setattr(command, "load_detector", Blobs)
    return recordings.write_bag(tmp_path / "bag", range(1, 26))


@pytest.fixture
def sequence(tmp_path: Path) -> Path:
    return write_walk(tmp_path / "walk")


def test_all_outputs_tell_the_same(bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = {suffix: tmp_path / f"out{suffix}" for suffix in (".txt", ".jsonl", ".mcap", ".mp4")}
    assert track(bag, "--json", *(part for path in out.values() for part in ("--output", path))) == 0
    report = json.loads(capsys.readouterr().out)
    assert [(run["frames"], run["objects"], run["problems"]) for run in report["runs"]] == [(25, 2, [])]

    text = read_labels(out[".txt"], truth=False)
    assert set(text.ids.tolist()) == {1, 2}
    lines = [json.loads(line) for line in out[".jsonl"].read_text(encoding="utf-8").splitlines()]
    assert [line["frame"] for line in lines] == list(range(1, 26))
    assert [line["stamp_ns"] for line in lines] == [recordings.stamp(number) for number in range(1, 26)]
    shown = [(line["frame"], item) for line in lines for item in line["tracks"] if _is_shown(item)]
    assert [(frame, int(item["id"])) for frame, item in shown] == [*zip(text.frames, text.ids, strict=True)]
    np.testing.assert_allclose([item["box"] for _, item in shown], text.boxes, atol=0.011)  # text has two decimals

    recorded = Bag(out[".mcap"])
    kinds = {topic.name: (topic.type, topic.count) for topic in recorded.topics}
    assert kinds["/alstm/detections"] == ("vision_msgs/msg/Detection2DArray", 25)
    assert kinds["/alstm/tracks"] == ("alstm_ros/msg/TrackArray", 25)
    assert kinds["/alstm/labels"] == ("vision_msgs/msg/LabelInfo", 1)
    messages = [recorded.decode(message) for message in recorded.read(["/alstm/detections"])]
    assert [len(message.detections) for message in messages] == [(text.frames == f).sum() for f in range(1, 26)]
    assert all(message.header.frame_id == "camera" for message in messages)
    last = messages[-1].detections[0]
    assert (last.id, last.results[0].hypothesis.class_id) == ("1", "blue")

    video = list(Video(out[".mp4"], 10))
    assert len(video) == 25
    assert video[-1][1].image.shape == (120, 160, 3)


def _is_shown(item: dict[str, Any]) -> bool:
    return bool(item["published"])


def test_what_coasts_is_scored_from_every_format(tmp_path: Path, bag: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden_twice(number: int) -> Image:
        picture = two_walkers(number)
        picture[:60] *= number not in {16, 17}
        return picture

    monkeypatch.setattr(recordings, "scene", hidden_twice)
    bag = recordings.write_bag(tmp_path / "hidden", range(1, 26))
    out = {suffix: tmp_path / f"x{suffix}" for suffix in (".txt", ".jsonl", ".mcap")}
    changes = ("--set", "output.coast_seconds=0.15")
    assert track(bag, *changes, *(part for path in out.values() for part in ("--output", path))) == 0
    found = {suffix: read_result(path).labels for suffix, path in out.items()}
    lines = [json.loads(line) for line in out[".jsonl"].read_text(encoding="utf-8").splitlines()]
    coasting = [item for line in lines for item in line["tracks"] if item["published"] and item["detection"] is None]
    assert coasting
    for suffix, labels in found.items():
        assert len(labels) == 50 - 2 + len(coasting), suffix
        np.testing.assert_array_equal(labels.frames, found[".txt"].frames)
        np.testing.assert_allclose(labels.boxes, found[".txt"].boxes, atol=0.011)
    raw = read_result(out[".jsonl"]).raw
    other = read_result(out[".mcap"]).raw
    assert raw is not None
    assert other is not None
    np.testing.assert_allclose(raw.boxes, other.boxes, atol=0.002)


def test_bag_is_read_by_mcap_s_own_decoder(sequence: Path, tmp_path: Path) -> None:
    from mcap_ros2.reader import read_ros2_messages

    assert track(sequence, "--output", tmp_path / "x.mcap", "--output", tmp_path / "x.txt", "--frames", "1-20") == 0
    text = read_labels(tmp_path / "x.txt", truth=False)
    decoded = list(read_ros2_messages(tmp_path / "x.mcap", ["/alstm/detections"]))
    assert [item.schema.name for item in decoded] == ["vision_msgs/msg/Detection2DArray"] * 20
    ids = [int(found.id) for item in decoded for found in item.ros_msg.detections]
    assert ids == text.ids.tolist()
    boxes = [found.bbox for item in decoded for found in item.ros_msg.detections]
    width = text.boxes[:, 2] - text.boxes[:, 0]
    np.testing.assert_allclose([box.size_x for box in boxes], width, atol=0.011)
    [labels] = read_ros2_messages(tmp_path / "x.mcap", ["/alstm/labels"])
    assert [item.class_name for item in labels.ros_msg.class_map] == ["pedestrian"]
    assert labels.log_time_ns == 0


def test_same_input_same_bytes(sequence: Path, tmp_path: Path) -> None:
    for run in ("a", "b"):
        outputs = [part for suffix in ("txt", "jsonl", "mcap") for part in ("--output", tmp_path / run / f"x.{suffix}")]
        assert track(sequence, *outputs) == 0
    for suffix in ("txt", "jsonl", "mcap"):
        assert (tmp_path / "a" / f"x.{suffix}").read_bytes() == (tmp_path / "b" / f"x.{suffix}").read_bytes()


def test_detection_file_and_folder_are_the_same(sequence: Path, tmp_path: Path) -> None:
    assert track(sequence, "--output", tmp_path / "a.txt", "--frames", "101-200") == 0
    files = ("--detections", sequence / "det.txt", "--seqinfo", sequence / "seqinfo.ini")
    assert track(*files, "--output", tmp_path / "b.txt", "--frames", "101-200") == 0
    assert (tmp_path / "a.txt").read_bytes() == (tmp_path / "b.txt").read_bytes()
    found = read_labels(tmp_path / "a.txt", truth=False)
    assert (found.frames[0], found.frames[-1]) == (101, 200)
    assert len(set(found.ids.tolist())) == 3


def test_definitions_are_those_of_the_interfaces() -> None:
    for path in sorted((HERE / "alstm_ros").glob("*.msg")):
        assert path.read_text(encoding="utf-8") == (ROOT / "msg" / path.name).read_text(encoding="utf-8")
    assert len(list((HERE / "alstm_ros").glob("*.msg"))) == len(list((ROOT / "msg").glob("*.msg")))
    hashes = {  # vision_msgs 4.1.1
        "Detection2DArray": "RIHS01_214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968",
        "Detection2D": "RIHS01_0d12b69df5c593b3455b7346fac8205437a7d4bcb09b9e0e0b2dde787ded38ea",
        "BoundingBox2D": "RIHS01_008eacbb0cf8f26e83795547bed013eec3675485ef386ec056d80eaaf1c1ce2f",
        "LabelInfo": "RIHS01_3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783",
    }
    assert {name: typestore().hash_rihs01(f"vision_msgs/msg/{name}") for name in hashes} == hashes


def test_camera_motion_belongs_to_the_last_frames(tmp_path: Path) -> None:
    path = tmp_path / "gmc.txt"
    path.write_text("0 1 0 5 0 1 6\n1 1 0 7 0 1 8\n", encoding="utf-8")
    assert sorted(read_camera_motion(path, 2)[0]) == [1, 2]
    motion, left_out = read_camera_motion(path, 4)
    assert not left_out
    assert sorted(motion) == [3, 4]
    np.testing.assert_array_equal(motion[4], [[1, 0, 7], [0, 1, 8]])


def test_shared_sequences_are_read(shared: Path) -> None:
    for folder in (shared / "data" / "mot17").iterdir():
        facts = read_sequence(folder / "seqinfo.ini")
        truth = read_labels(folder / "gt.txt", truth=True, length=facts.length)
        assert len(truth) > 1000
        assert facts.length is not None
        assert max(read_camera_motion(folder / "gmc.txt", facts.length)[0]) == facts.length

"""What `alstm` says of itself, and that nothing done is never told as done."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import recordings
from blobs import Blobs
from recordings import scene, stamp, write_bag
from rosbags.rosbag2 import StoragePlugin, Writer
from walked_labels import walk, write_text

from alstm_ros import __version__, cli
from alstm_ros.cli import COMMANDS
from alstm_ros.commands import track as command
from alstm_ros.config import Config
from alstm_ros.recordings.interfaces import typestore
from alstm_ros.recordings.sources import SourceOptions, open_source


def alstm(*arguments: object) -> int:
    return cli.main([*map(str, arguments)])


@pytest.fixture
def bag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(command, "load_detector", Blobs)
    return write_bag(tmp_path / "drive", range(1, 13))


def test_version_and_list_of_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        alstm("--version")
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"alstm {__version__}\n"
    assert alstm() == 0
    listed = capsys.readouterr().out
    assert all(f"  {name} " in listed for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_an_example_that_the_command_takes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    if name == "train":
        pytest.importorskip("torch", reason="learning needs torch")
    with pytest.raises(SystemExit) as ended:
        alstm(name, "--help")
    assert ended.value.code == 0
    assert COMMANDS[name].example in " ".join(capsys.readouterr().out.split())


def test_a_model_in_short(bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(config: Config) -> Blobs:
        asked.append(config.detector.model)
        return Blobs(config)

    monkeypatch.setattr(command, "load_detector", load)
    assert alstm("track", bag, "--output", tmp_path / "x.txt", "--model", "yolo.onnx") == 0
    assert asked == ["yolo.onnx"]


def test_a_run_without_a_file_shows_who_was_seen(
    bag: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def scene(number: int) -> np.ndarray:
        picture = np.zeros((64, 96, 3), np.uint8)
        picture[10:40, 10 + number : 30 + number, 0] = 220
        return picture

    monkeypatch.setattr(recordings, "scene", scene)
    walker = write_bag(bag.parent / "walker", range(1, 13))
    assert alstm("track", walker) == 0
    told = capsys.readouterr()
    head, row = told.out.splitlines()
    assert head.split() == ["id", "class", "first", "frame", "last", "frame", "frames"]
    assert row.split()[0] == "1"
    assert [int(cell) for cell in row.split()[-3:]] == [1, 12, 12]
    assert "wrote nothing; --output keeps the tracks" in told.err
    assert alstm("track", walker, "--json") == 0


@pytest.mark.parametrize("frames", ["500-600", "9-3"])
def test_frames_that_are_not_there_are_refused(
    bag: Path, tmp_path: Path, frames: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert alstm("track", bag, "--frames", frames, "--output", tmp_path / "x.txt") == 2
    assert f"--frames {frames} asks for no frame of drive, which has 12." in capsys.readouterr().err
    assert not (tmp_path / "x.txt").exists()


def test_no_trials_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert alstm("tune", tmp_path, "--gt", tmp_path, "--output", tmp_path / "x.yaml", "--trials", 0) == 2
    assert "--trials is 0; it must be at least 1." in capsys.readouterr().err


def test_a_topic_is_found_as_the_node_finds_it(tmp_path: Path) -> None:
    made = write_bag(
        tmp_path / "bag", [1, 2], topics=["/front/image_raw/compressed", "/rear/image_raw"], compressed=True
    )
    assert len(list(open_source(made, SourceOptions(topic="/front/image_raw")))) == 2


def test_images_of_another_recording_are_refused(bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert alstm("track", bag, "--output", tmp_path / "x.jsonl") == 0
    given = ("export-labels", tmp_path / "x.jsonl", "--every", 4, "--output", tmp_path / "labels.json")
    assert alstm(*given, "--images", bag) == 0
    other = write_bag(tmp_path / "other", range(2, 14))
    assert alstm(*given, "--images", other) == 2
    assert "is another recording: its frame 1 is stamped" in capsys.readouterr().err
    text = write_text(tmp_path / "big.txt", walk(12, {9: (1, 12)}))
    assert alstm("export-labels", text, "--fps", 10, "--output", tmp_path / "o.json", "--images", bag) == 2
    assert "its frame 1 has 96x64 pixels, and a box" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
def test_depths_are_no_pictures(
    tmp_path: Path, encoding: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "load_detector", Blobs)
    store, kind = typestore(), "sensor_msgs/msg/Image"
    pixel = 2 if encoding == "16UC1" else 4
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection("/camera/depth/image_raw", kind, typestore=store)
        for number in (1, 2, 3):
            height, width = scene(number).shape[:2]
            image = store.types[kind](
                recordings.header(stamp(number)), height, width, encoding, 0, pixel * width,
                np.zeros(pixel * width * height, np.uint8),
            )  # fmt: skip
            writer.write(connection, stamp(number), store.serialize_cdr(image, kind))
    assert alstm("track", tmp_path / "bag", "--output", tmp_path / "x.txt") == 2
    assert f"/camera/depth/image_raw holds depths ({encoding}), not pictures." in capsys.readouterr().err


def test_a_report_says_how_it_was_made(tmp_path: Path) -> None:
    labels = walk(12, {1: (1, 12)})
    found = write_text(tmp_path / "x.txt", labels)
    truth = write_text(tmp_path / "gt.txt", labels, truth=True)
    given = ("evaluate", found, "--gt", truth, "--report", tmp_path / "r.html")
    assert alstm(*given) == 0
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    for text in (str(found), str(truth), f"alstm evaluate {found} --gt {truth}", f"alstm {__version__}", " UTC"):
        assert text in page

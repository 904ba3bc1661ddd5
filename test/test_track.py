"""`alstm track`: every output holds the same tracks, is whole after an interruption, and the same every time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recordings
from blobs import Blobs

from alstm_ros import cli
from alstm_ros.config import Config
from alstm_ros.evaluation import parallel
from alstm_ros.evaluation.bag import Bag
from alstm_ros.evaluation.commands import track as command
from alstm_ros.evaluation.interfaces import HERE, typestore
from alstm_ros.evaluation.mot import read_camera_motion, read_labels, read_sequence
from alstm_ros.evaluation.progress import Progress, duration
from alstm_ros.evaluation.reading import read_result
from alstm_ros.evaluation.video import Video
from alstm_ros.types import Image

ROOT = Path(__file__).resolve().parents[1]


def two_walkers(number: int) -> Image:
    """Two bright blobs that pass each other at different heights, as a picture."""
    picture = np.zeros((120, 160, 3), np.uint8)
    picture[20:50, 5 + 4 * number : 25 + 4 * number, 0] = 220
    picture[70:100, 130 - 4 * number : 150 - 4 * number, 2] = 200
    return picture


@pytest.fixture
def bag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(recordings, "scene", two_walkers)
    monkeypatch.setattr(command, "load_detector", Blobs)
    return recordings.write_bag(tmp_path / "bag", range(1, 26))


@pytest.fixture
def sequence(tmp_path: Path) -> Path:
    """Detections of three people who walk side by side for 300 frames, with noise and gaps."""
    folder = tmp_path / "walk"
    folder.mkdir()
    rng = np.random.default_rng(1)
    rows = []
    for frame in range(1, 301):
        for person in range(3):
            if rng.random() < 0.9:
                left, top = 2 * frame + rng.normal(0, 1), 100 + 150 * person + rng.normal(0, 1)
                rows.append(f"{frame},-1,{left:.2f},{top:.2f},50,120,{rng.uniform(0.6, 0.99):.3f},-1,-1,-1")
    (folder / "det.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "seqinfo.ini").write_text(
        "[Sequence]\nname=walk\nframeRate=30\nseqLength=300\nimWidth=1000\nimHeight=600\n", encoding="utf-8"
    )
    return folder


def track(*arguments: object) -> int:
    return cli.main(["track", *map(str, arguments)])


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


def test_interruption_leaves_whole_files(sequence: Path, tmp_path: Path) -> None:
    """Ctrl-C in the midst of a run that would go on for minutes."""
    rows = (sequence / "det.txt").read_text(encoding="utf-8").splitlines()
    many = [
        f"{300 * block + int(frame)},{rest}" for block in range(300) for frame, rest in (r.split(",", 1) for r in rows)
    ]
    (sequence / "det.txt").write_text("\n".join(many), encoding="utf-8")
    info = (sequence / "seqinfo.ini").read_text(encoding="utf-8").replace("seqLength=300", "seqLength=90000")
    (sequence / "seqinfo.ini").write_text(info, encoding="utf-8")
    out = [tmp_path / f"x.{suffix}" for suffix in ("txt", "jsonl", "mcap")]
    call = [sys.executable, "-m", "alstm_ros.cli", "track", str(sequence)]
    call += [part for path in out for part in ("--output", str(path))]
    process = subprocess.Popen(call, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE)
    part = tmp_path / "x.mcap.part"
    while not (part.exists() and part.stat().st_size > 100_000):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 130
    assert b"interrupted" in said
    assert not list(tmp_path.glob("*.part"))
    lines = [json.loads(line) for line in out[1].read_text(encoding="utf-8").splitlines()]
    assert 100 < len(lines) < 90000
    assert read_labels(out[0], truth=False).frames[-1] == lines[-1]["frame"] == len(lines)
    recorded = Bag(out[2])
    assert recorded.problems == []
    assert sum(1 for _ in recorded.read(["/alstm/tracks"])) == len(lines)


def test_problems_are_told_and_change_the_exit_code(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (bag / "metadata.yaml").unlink()
    assert track(bag, "--output", tmp_path / "x.txt") == 1
    assert "problem: metadata.yaml" in capsys.readouterr().err
    assert len(read_labels(tmp_path / "x.txt", truth=False)) > 30


@pytest.mark.parametrize("where", ["--jobs=2", "--dask"])
def test_many_sources_at_once(sequence: Path, tmp_path: Path, where: str, capsys: pytest.CaptureFixture[str]) -> None:
    folders = []
    for i in range(3):
        folder = tmp_path / f"s{i}"
        folder.mkdir()
        (folder / "det.txt").write_bytes((sequence / "det.txt").read_bytes())
        info = (sequence / "seqinfo.ini").read_text(encoding="utf-8").replace("name=walk", f"name=s{i}")
        (folder / "seqinfo.ini").write_text(info, encoding="utf-8")
        folders.append(folder)
    assert track(*folders, "--output", tmp_path / "one" / "{name}.txt") == 0
    capsys.readouterr()
    arguments = (*folders, "--json", "--output", tmp_path / "many" / "{name}.txt")
    if where == "--dask":
        from distributed import LocalCluster

        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:  # type: ignore[no-untyped-call]
            assert track(*arguments, "--dask", cluster.scheduler_address) == 0
    else:
        assert track(*arguments, where) == 0
    assert [run["name"] for run in json.loads(capsys.readouterr().out)["runs"]] == ["s0", "s1", "s2"]
    for i in range(3):
        assert (tmp_path / "many" / f"s{i}.txt").read_bytes() == (tmp_path / "one" / f"s{i}.txt").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Give either a SOURCE"),
        (["{bag}", "--detections", "d.txt"], "Give either a SOURCE"),
        (["--detections", "{walk}/det.txt"], "needs --seqinfo"),
        (["{walk}", "--output", "x.mp4"], "no images to draw on"),
        (["{walk}", "--output", "x.csv"], "must end in one of .txt, .jsonl, .mcap, .mp4"),
        (["{walk}", "{walk}", "--output", "x.txt"], "must hold {name}"),
        (["{walk}", "--output", "x.txt", "--output", "x.txt"], "given twice"),
        (["{walk}", "--set", "tracks.high_scor=0.5"], "did you mean 'tracks.high_score'"),
        (["{walk}", "--set", "tracks.high_score"], "lacks its '='"),
        (["{walk}", "--frames", "nine"], "--frames is 'nine'"),
        (["{walk}", "--jobs", "0"], "--jobs is 0"),
        (["{walk}/det.txt"], "is given with --detections"),
        (["{walk}/old.bag"], "rosbags-convert"),
        (["{walk}", "{walk}", "--dask", "tcp://127.0.0.1:9"], "No Dask scheduler answers"),
    ],
)
def test_refusals_are_sentences(
    sequence: Path,
    bag: Path,
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parallel, "CONNECT", "1s")
    (sequence / "old.bag").touch()
    given = [text.replace("{walk}", str(sequence)).replace("{bag}", str(bag)) for text in arguments]
    assert track(*given) == 2
    assert said in capsys.readouterr().err


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
    assert sorted(read_camera_motion(path, 2)) == [1, 2]
    motion = read_camera_motion(path, 4)
    assert sorted(motion) == [3, 4]
    np.testing.assert_array_equal(motion[4], [[1, 0, 7], [0, 1, 8]])


def test_shared_sequences_are_read(shared: Path) -> None:
    for folder in (shared / "data" / "mot17").iterdir():
        facts = read_sequence(folder / "seqinfo.ini")
        truth = read_labels(folder / "gt.txt", truth=True, length=facts.length)
        assert len(truth) > 1000
        assert max(read_camera_motion(folder / "gmc.txt", facts.length)) == facts.length


def test_progress_line() -> None:
    progress = Progress("bag", 100, quiet=True)
    progress.done = 25
    assert progress.line(5.0) == "bag: [########......................]  25 % 25/100, 5.0 frames/s, 0:15 left"
    assert Progress("live", None, quiet=True).line(1.0) == "live: 0 frames, 0.0 frames/s"
    assert (duration(59.6), duration(3661)) == ("1:00", "1:01:01")


def test_parameters_of_a_robot_with_several_cameras(bag: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("/**:\n  ros__parameters:\n    cameras: [front, rear]\n", encoding="utf-8")
    assert track(bag, "--config", path, "--output", tmp_path / "x.txt") == 0
    assert len(read_labels(tmp_path / "x.txt", truth=False)) > 30


def test_config_reaches_the_tracker(sequence: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("/**:\n  ros__parameters:\n    tracks.birth_score: 1.0\n", encoding="utf-8")
    assert track(sequence, "--config", path, "--output", tmp_path / "x.txt") == 0
    assert (tmp_path / "x.txt").read_text(encoding="utf-8") == ""
    assert track(sequence, "--config", path, "--set", "tracks.birth_score=0.5", "--output", tmp_path / "x.txt") == 0
    assert len(read_labels(tmp_path / "x.txt", truth=False)) > 500
    assert Config().tracks.birth_score != 1.0

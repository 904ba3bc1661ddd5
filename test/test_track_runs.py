"""`alstm track`: interrupted, on damaged recordings, on many at once, refused; and what reaches it from parameters."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import recordings
from blobs import Blobs
from tracked import track, two_walkers, write_walk

from alstm_ros.commands import track as command
from alstm_ros.config import Config
from alstm_ros.recordings import parallel
from alstm_ros.recordings.bag import Bag
from alstm_ros.recordings.mot import read_labels
from alstm_ros.recordings.progress import progress_bar

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def bag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(recordings, "scene", two_walkers)
    monkeypatch.setattr(command, "load_detector", Blobs)
    return recordings.write_bag(tmp_path / "bag", range(1, 26))


@pytest.fixture
def sequence(tmp_path: Path) -> Path:
    return write_walk(tmp_path / "walk")


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


def test_interruption_in_the_midst_of_a_video(vtest: Path, tmp_path: Path) -> None:
    """With frames in the detector and others waiting for it."""
    out = tmp_path / "x.jsonl"
    call = [sys.executable, "-m", "alstm_ros.cli", "track", str(vtest), "--output", str(out)]
    process = subprocess.Popen(call, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE)
    part = tmp_path / "x.jsonl.part"
    while not (part.exists() and part.stat().st_size > 10_000):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert b"interrupted" in said
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [line["frame"] for line in lines] == list(range(1, len(lines) + 1))
    assert len(lines) < 795


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


def test_a_short_run_leaves_no_progress_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("bag", 100) as bar:
        for _ in range(100):
            bar.update()
    assert bar.n == 100
    assert capsys.readouterr().err == ""


def test_progress_tells_how_far_how_fast_and_how_much_longer() -> None:
    with progress_bar("bag", 100) as bar:
        bar.update(25)
        line = str(bar)
    assert line.startswith("bag:  25%")
    assert "25/100" in line
    assert " frames/s" in line


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

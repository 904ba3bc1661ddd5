"""docs/detectors.md: its example runs, its tables are the code's, its messages are the ones that users see."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from alstm_ros import cli
from alstm_ros.detection.decoders import DECODERS
from alstm_ros.parameter_text import load_config

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "detectors.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def rows(header: str) -> list[list[str]]:
    """The cells of a table's rows."""
    table = TEXT[TEXT.index(header) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the example starts from: a YOLOv8 export with names in its metadata, and ten images."""
    pytest.importorskip("torch", reason="the example's network is written in torch")
    foreign = pytest.importorskip("foreign_models")
    onnx.save(foreign.export("yolov8", about={"names": "{0: 'cat', 1: 'dog', 2: 'yak'}"}), tmp_path / "my_yolo.onnx")
    (tmp_path / "frames").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (128, 160, 3)).astype(np.uint8)
    for number in range(1, 11):
        cv2.imwrite(str(tmp_path / "frames" / f"{number:06d}.png"), noise)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_example_runs_as_it_stands(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for line in blocks("sh")[0].splitlines():
        words = shlex.split(line)
        assert words[0] == "alstm"
        assert cli.main([*words[1:], "--set", "engine.runtime=onnxruntime"]) == 0, line
        said.append(capsys.readouterr().err)
    for name in ("as_it_is.txt", "exported.txt"):
        tracks = np.loadtxt(folder / name, delimiter=",", ndmin=2)
        assert len(set(tracks[:, 1])) == 2  # of what the network says, whatever it sees, two are above birth_score
        assert len(tracks) == 20
    report = blocks("text")[0].splitlines()
    assert report
    assert set(report) <= set(said[1].splitlines())


def test_the_yaml_is_taken(tmp_path: Path) -> None:
    [text] = blocks("yaml")
    (tmp_path / "alstm.yaml").write_text(text)
    config = load_config(tmp_path / "alstm.yaml")
    assert config.detector.model == "my_detector.onnx"
    assert config.detector.classes == ("cat", "dog")


def test_the_options_are_those_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["export", "--help"])
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert set(re.findall(r"--[a-z-]+", blocks("sh")[1])) <= known


def test_the_families_are_those_of_the_code() -> None:
    table = rows("| `detector.decoder` | family |")
    assert [cells[0].strip("`") for cells in table] == list(DECODERS)
    for cells in table[1:]:
        preprocess = DECODERS[cells[0].strip("`")].preprocess
        assert cells[3] == f"{preprocess.color}, {preprocess.place}, {preprocess.normalise}"


def test_the_parameters_exist() -> None:
    written = (ROOT / "docs" / "parameters.md").read_text(encoding="utf-8")
    for name in set(re.findall(r"`(detector\.\w+)`", TEXT)):
        assert f"`{name}`" in written, name


def test_every_message_of_the_table_is_said_by_the_code() -> None:
    paths = [*(ROOT / "alstm_ros" / "detection").rglob("*.py")]
    code = "".join(path.read_text(encoding="utf-8") for path in paths)
    code = re.sub(r'"\s*\n\s*f?"', "", code)  # texts that go over several lines
    messages = [cells[0].strip("`") for cells in rows("| what you see |") if cells[0].startswith("`")]
    assert len(messages) >= 6
    for message in messages:
        for part in re.split(r"\.\.\.", message):
            plain = part.strip().strip(",'")
            assert plain in re.sub(r"\{[^}]*\}", "", code) or plain in code, message

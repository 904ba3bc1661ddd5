"""docs/engines.md: its examples run, its messages are the ones that users see."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from alstm_ros import cli, detection
from alstm_ros.boxes import iou
from alstm_ros.config import Config, DetectorConfig, EngineConfig
from alstm_ros.engines import tensorrt_api
from alstm_ros.parameter_text import load_config

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "engines.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_the_yaml_is_taken_and_shows_the_defaults(tmp_path: Path) -> None:
    [text] = blocks("yaml")
    (tmp_path / "alstm.yaml").write_text(text)
    assert load_config(tmp_path / "alstm.yaml").engine == EngineConfig()


def test_the_program_runs() -> None:
    [text] = blocks("python")
    done = subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, check=True)
    runtime, *outputs = done.stdout.replace(",", "").split()
    assert runtime == "onnxruntime"
    assert {"boxes", "scores", "classes"} <= set(outputs)


@pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="needs tensorrt-rtx-cu13")
def test_the_command_for_another_machine_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tensorrt_api.find.cache_clear()
    [line] = [line for block in blocks("sh") for line in block.splitlines() if "--capability" in line]
    words = shlex.split(line, comments=True)
    assert words[0] == "alstm"
    assert cli.main(words[1:]) == 0
    assert len(list((tmp_path / "alstm_ros" / "engines").glob("*.engine"))) == 1


def test_the_command_that_puts_the_letterbox_inside_changes_no_box(
    tmp_path: Path, vtest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [line] = re.findall(r"`alstm (export [^`]*--preprocess inside[^`]*)`", TEXT)
    monkeypatch.chdir(tmp_path)
    assert cli.main(shlex.split(line)) == 0
    frame = cv2.VideoCapture(str(vtest)).read()[1]
    images = [frame, frame[:, :300]]  # of two sizes, as two cameras may be
    sure = DetectorConfig(score_threshold=0.3)
    plain = detection.load_detector(Config(detector=sure))(images)
    inside = detection.load_detector(Config(detector=replace(sure, model="inside.onnx")))(images)
    for one, other in zip(plain, inside, strict=True):
        assert len(one) >= 1
        np.testing.assert_allclose(one.scores, other.scores, atol=0.05)
        assert (iou(one.boxes, other.boxes).max(axis=1) > 0.9).all()


def test_every_message_of_the_table_is_said_by_the_code() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "alstm_ros" / "engines").glob("*.py")))
    code = re.sub(r'"\s*\n\s*f?"', "", code)  # texts that go over several lines
    table = TEXT[TEXT.index("| message |") :].split("\n\n")[0]
    messages = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    assert len(messages) >= 10
    for message in messages:
        for part in re.split(r"\.\.\.|, (?=and tries|for good)", message):
            # names and numbers stand where the code has a placeholder
            pattern = re.sub(r"\d(\\\.\d)?", ".*", re.escape(part.strip()))
            pattern = re.sub(r"^TensorRT(?=\\ (is|waits))", ".*", pattern)
            assert re.search(pattern, code), message

"""docs/engines.md: its examples run, its messages are the ones that users see."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from alstm_ros import cli
from alstm_ros.config import EngineConfig, load
from alstm_ros.engines import tensorrt_api

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "engines.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_the_yaml_is_taken_and_shows_the_defaults(tmp_path: Path) -> None:
    [text] = blocks("yaml")
    (tmp_path / "alstm.yaml").write_text(text)
    assert load(tmp_path / "alstm.yaml").engine == EngineConfig()


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

"""`alstm build`: engines for another machine's GPU, built for real by TensorRT-RTX; what it says when it cannot."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from tiny_models import recurrent_step

from alstm_ros import cli
from alstm_ros.engines import tensorrt_api
from alstm_ros.engines.tensorrt_api import Flavour

needs_rtx = pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="needs tensorrt-rtx-cu13")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "step.onnx"
    onnx.save(recurrent_step(), path)
    return path


def build(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any], str]:
    code = cli.main(["build", "--json", *arguments])
    said = capsys.readouterr()
    return code, json.loads(said.out or "{}"), said.err


@needs_rtx
@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_it_builds_once_and_reports_types_and_shapes(
    model: Path, tmp_path: Path, precision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tensorrt_api.find.cache_clear()
    options = [str(model), "--capability", "8.6", "--set", f"engine.cache_dir={tmp_path / 'cache'}"]
    options += ["--set", f"engine.precision={precision}"]
    code, first, said = build(capsys, *options)
    assert code == 0
    [report] = first["engines"]
    assert "built in" in said
    assert report["from_cache"] is False
    assert set(report["layers"]["matrix_multiply"]) == {precision}
    assert (
        report["shapes"] == "c:1x16..32x16..512x16 h:1x16..32x16..512x16 pairs:1x6..32x6..512x6 x:1x12..32x12..512x12"
    )
    assert (report["key"]["runtime"], report["key"]["capability"], report["key"]["gpu"]) == ("tensorrt_rtx", "8.6", "")
    assert Path(report["engine"]).stat().st_size > report["bytes"] > 1000
    code, second, said = build(capsys, *options)
    assert "was built before" in said
    [again] = second["engines"]
    assert (code, again["from_cache"], again["layers"], again["bytes"]) == (0, True, report["layers"], report["bytes"])
    _, third, _ = build(capsys, *options, "--anew")
    assert third["engines"][0]["from_cache"] is False


@needs_rtx
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--capability", "8.7"], "no code for compute capability 8.7; it offers SM120"),
        (["--capability", "Orin"], "--capability is 'Orin'; it must look like 8.6."),
        (
            ["no_such_model", "--capability", "8.6"],
            "There is no model file no_such_model; known names are association, ",
        ),
    ],
)
def test_what_cannot_be_built_is_a_sentence(
    model: Path, options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tensorrt_api.find.cache_clear()
    arguments = options if options[0] == "no_such_model" else [str(model), *options]
    code, report, said = build(capsys, *arguments)
    assert (code, report) == (2, {})
    assert sentence in said


@needs_rtx
@pytest.mark.skipif(tensorrt_api.driver_present(), reason="there is a driver here")
def test_without_a_gpu_it_asks_for_the_capability(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensorrt_api.find.cache_clear()
    code, _, said = build(capsys, str(model))
    assert code == 2
    assert "To build for another machine's GPU, give --capability, such as 8.6." in said


def test_tensorrt_proper_builds_only_for_its_own_gpu(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tensorrt_api, "find", lambda *_: Flavour("tensorrt", "10.3.0", None, None))
    code, _, said = build(capsys, str(model), "--capability", "8.6")
    assert code == 2
    assert "TensorRT 10.3.0 builds only for the GPU that it runs on; leave out --capability" in said


@needs_rtx
def test_two_commands_at_once_build_once(model: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "alstm_ros.cli", "build", str(model), "--capability", "8.6", "--json"]
    words += ["--set", f"engine.cache_dir={tmp_path / 'cache'}"]
    started = [
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[1])
        for _ in range(2)
    ]
    reports = [json.loads(process.communicate(timeout=600)[0]) for process in started]
    assert sorted(report["engines"][0]["from_cache"] for report in reports) == [False, True]

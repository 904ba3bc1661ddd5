"""The GPU bench without a GPU: it says so; rehearsed on the CPU it runs to its end; its torch is the same network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from tiny_models import painted_detector, recurrent_step, reference

from alstm_ros.engines import agreement, tensorrt_api

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = sorted((ROOT / "alstm_ros" / "models").glob("*.onnx"))


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench.gpu", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)


@pytest.mark.skipif(tensorrt_api.driver_present(), reason="there is a driver here")
def test_without_a_gpu_nothing_is_measured_and_that_is_said() -> None:
    done = bench("--frames", "1")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Nothing was measured: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_rehearsal_reaches_the_end_and_is_marked(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    onnx.save(recurrent_step(), tmp_path / "step.onnx")
    options = ["--rehearse", "--model", str(tmp_path / "step.onnx"), "--precision", "fp32", "--threads", "1"]
    done = bench(*options, "--frames", "3", "--runs", "2", "--output", str(tmp_path / "out.json"))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert json.loads((tmp_path / "out.json").read_text()) == result
    assert result["rehearsal"] is True
    contenders = result["models"]["step.onnx"]["fp32"]
    assert set(contenders) == {"tensorrt", "onnxruntime cuda", "torch eager", "torch compile"}
    for name, entry in contenders.items():
        assert "not_measured" not in entry, (name, entry)
        assert set(entry["parity"]["worst"]) == {"h_next", "c_next", "score", "correction"}
        assert entry["parity"]["within"]
        assert entry["latency"]["48"]["p50_ms"] > 0
    assert set(result["whole_frames"]["tensorrt fp32"]) == {
        "engine", "detect", "track", "frame", "before and after the engine",
    }  # fmt: skip


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_torch_runs_the_same_network(path: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from bench.gpu_torch import OnnxModule

    model = onnx.load(path)
    engine = reference(tmp_path, model)
    rng = np.random.default_rng(0)
    inputs = {}
    for value in engine.inputs:
        spec = engine.inputs[value]
        shape = [size or (2 if place == 0 else 192) for place, size in enumerate(spec.shape)]
        noise = rng.integers(0, 255, shape) if spec.dtype == np.uint8 else rng.random(shape)
        inputs[value] = noise.astype(spec.dtype)
    given = {name: torch.from_numpy(array) for name, array in inputs.items()}
    with torch.inference_mode():
        module = OnnxModule(path).eval()
        plain = module(given)
        before = len(module.steps)
        folded = module.specialise(given)(given)
    assert len(module.steps) <= before
    for name, output in engine(inputs).items():
        assert agreement.deviation(output, plain[name].numpy()) < 5e-3
        np.testing.assert_array_equal(plain[name].numpy(), folded[name].numpy())


def test_an_operation_that_is_not_known_is_named(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from bench.gpu_torch import OnnxModule

    model = painted_detector()
    model.graph.node[0].op_type = "Det"
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(NotImplementedError, match=r"odd\.onnx has the operation Det"):
        OnnxModule(tmp_path / "odd.onnx")

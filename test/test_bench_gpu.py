"""The GPU bench without a GPU: it says so; rehearsed on the CPU it runs to its end; its torch is the same network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tiny_models import painted_detector, recurrent_step, reference

from alstm_ros.engines import agreement, tensorrt_api
from alstm_ros.engines.failures import UnsupportedModelError

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = sorted((ROOT / "alstm_ros" / "models").glob("*.onnx"))


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench.gpu", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=800, check=False)


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
    assert set(contenders) == {"tensorrt", "onnxruntime cuda", "onnxruntime cpu", "torch eager", "torch compile"}
    for name, entry in contenders.items():
        assert "not_measured" not in entry, (name, entry)
        assert set(entry["parity"]["worst"]) == {"h_next", "c_next", "score", "correction"}
        assert entry["parity"]["within"]
        assert entry["latency"]["48"]["p50_ms"] > 0
    assert set(result["whole_frames"]) == {"tensorrt fp32", "onnxruntime cuda fp32", "onnxruntime cpu fp32"}
    assert set(result["whole_frames"]["tensorrt fp32"]) == {
        "engine", "detect", "track", "frame", "before and after the engine",
    }  # fmt: skip


def test_what_is_missing_or_fails_has_a_sentence_and_the_rest_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on a GPU that TensorRT-RTX has no code for, without onnxruntime-gpu, with a torch that breaks."""
    from bench import gpu, gpu_contenders

    def fail(error: Exception) -> Any:
        def make(*_: object) -> None:
            raise error

        return make

    torch_error = RuntimeError("Triton found no compiler\nand so on")
    monkeypatch.setitem(gpu_contenders.CONTENDERS, "tensorrt", fail(UnsupportedModelError("No code for 9.0.")))
    monkeypatch.setitem(gpu_contenders.CONTENDERS, "onnxruntime cuda", fail(gpu_contenders.Unavailable("No provider.")))
    monkeypatch.setitem(gpu_contenders.CONTENDERS, "torch eager", fail(torch_error))
    monkeypatch.setitem(gpu_contenders.CONTENDERS, "torch compile", fail(torch_error))
    onnx.save(recurrent_step(), tmp_path / "step.onnx")
    written: list[int] = []
    write = gpu.write

    def count(result: Any, path: Path) -> None:
        written.append(len(str(result)))
        write(result, path)

    monkeypatch.setattr(gpu, "write", count)
    output = tmp_path / "folder" / "out.json"
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    models = ["--model", str(tmp_path / "broken.onnx"), "--model", str(tmp_path / "step.onnx")]
    options = ["--rehearse", *models, "--precision", "fp16", "--threads", "1"]
    assert gpu.main([*options, "--frames", "2", "--runs", "1", "--output", str(output)]) == 0
    result = json.loads(output.read_text())
    assert json.loads(capsys.readouterr().out) == result
    assert "broken.onnx cannot be loaded" in result["models"]["broken.onnx"]["fp16"]["not_measured"]
    found = result["models"]["step.onnx"]["fp16"]
    assert found["tensorrt"]["not_measured"] == "No code for 9.0."
    assert found["onnxruntime cuda"]["not_measured"] == "No provider."
    assert found["torch eager"]["not_measured"] == "It fails with RuntimeError: Triton found no compiler"
    assert found["onnxruntime cpu"]["latency"]["48"]["p50_ms"] > 0
    assert result["whole_frames"]["tensorrt fp16"] == {"not_measured": "No code for 9.0."}
    assert result["whole_frames"]["onnxruntime cpu fp16"]["frame"]["p50_ms"] > 0
    assert len(set(written)) >= 6  # after each measurement, so that a run that is cut off leaves what it had


def test_it_asks_for_no_more_than_the_engines_need(tmp_path: Path) -> None:
    """A machine with a GPU may have neither OpenCV nor SciPy: only whole frames need them."""
    onnx.save(recurrent_step(), tmp_path / "step.onnx")
    arguments = ["--rehearse", "--model", str(tmp_path / "step.onnx"), "--frames", "2", "--runs", "1", "--threads", "1"]
    code = f"""
import sys
for name in ("cv2", "scipy", "tqdm", "rclpy", "torch", "tensorrt", "tensorrt_rtx", "cuda"):
    sys.modules[name] = None
from bench import gpu
sys.exit(gpu.main({[*arguments, "--precision", "fp32", "--contender", "onnxruntime cpu"]!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert list(result["models"]["step.onnx"]["fp32"]) == ["onnxruntime cpu"]
    assert "cv2" in result["whole_frames"]["onnxruntime cpu fp32"]["not_measured"]
    assert result["machine"]["tensorrt"].startswith("Running models through TensorRT needs TensorRT")


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

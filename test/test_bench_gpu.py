"""The GPU bench without a GPU: it says so; rehearsed on the CPU it runs to its end; what dies takes nothing along.

GPU and TensorRT of the bare loop are simulated (see `simulated_gpu`); onnx2torch is real, where it is installed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from simulated_gpu import SimulatedDevice, SimulatedTensorRT
from tiny_models import painted_detector, recurrent_step, reference

from alstm_ros.engines import agreement, tensorrt_api, tensorrt_graph
from alstm_ros.engines.loaded_plan import LoadedPlan
from alstm_ros.engines.profiles import make_profile
from alstm_ros.engines.tensorrt_api import Flavour
from alstm_ros.engines.tensorrt_engine import Interface, TensorRTEngine
from bench import gpu, gpu_measurements
from bench.gpu_task import Task

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = sorted((ROOT / "alstm_ros" / "models").glob("*.onnx"))
NO_ONNX2TORCH = "onnx2torch is not installed; docs/engines.md says how, in an environment of its own"


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench.gpu", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=800, check=False)


def told(code: str, seconds: float = 60.0, said: str = '{"a": {"1": 2}}') -> dict[str, Any]:
    """What is told of a process that says one thing and then runs this code."""
    program = f"import os, sys, time, ctypes, signal, resource; print({said!r}, flush=True); {code}"
    found: dict[str, Any] = {}
    task = Task("model", {}, rehearsal=True)
    gpu.run(task, (sys.executable, "-c", program), seconds, lambda more: gpu.merge(found, more))
    return found


@pytest.mark.skipif(tensorrt_api.driver_present(), reason="there is a driver here")
def test_without_a_gpu_nothing_is_measured_and_that_is_said(tmp_path: Path) -> None:
    done = bench("--frames", "1", "--output", str(tmp_path / "out.json"))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Nothing was measured: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out.json").exists()


@pytest.mark.slow
def test_a_rehearsal_reaches_the_end_and_is_marked(tmp_path: Path) -> None:
    onnx.save(recurrent_step(), tmp_path / "step.onnx")
    options = ["--rehearse", "--model", str(tmp_path / "step.onnx"), "--precision", "fp32", "--threads", "1"]
    done = bench(*options, "--frames", "3", "--runs", "2", "--output", str(tmp_path / "out.json"))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert json.loads((tmp_path / "out.json").read_text()) == result
    assert result["rehearsal"] is True
    versions = subprocess.run(
        [sys.executable, "-c", "import onnxruntime, onnx; print(onnxruntime.__version__, onnx.__version__)"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert [result["machine"]["onnxruntime"], result["machine"]["onnx"]] == versions
    contenders = result["models"]["step.onnx"]["fp32"]
    assert list(contenders) == ["tensorrt", "onnxruntime cuda", "onnxruntime cpu", "torch eager", "torch compile"]
    for name, entry in contenders.items():
        if name.startswith("torch") and "not_measured" in entry:
            assert result["machine"]["onnx2torch"] is None
            assert entry["not_measured"].startswith("Torch or onnx2torch is not installed")
            continue
        assert "not_measured" not in entry, (name, entry)
        assert set(entry["parity"]["worst"]) == {"h_next", "c_next", "score", "correction"}
        assert entry["parity"]["within"]
        assert list(entry["latency"]) == ["8", "23", "48", "100", "300"]
        assert entry["latency"]["300"]["p50_ms"] > 0
        assert entry["host_peak_bytes"] > 10 << 20
    assert set(result["whole_frames"]) == {"tensorrt fp32", "onnxruntime cuda fp32", "onnxruntime cpu fp32"}
    assert set(result["whole_frames"]["tensorrt fp32"]) == {
        "engine", "detect", "track", "frame", "before and after the engine", "host_peak_bytes",
    }  # fmt: skip
    assert set(result["live_switch"]) == {"tensorrt fp32", "onnxruntime cuda fp32"}
    for starts in result["live_switch"].values():
        for start in ("first start", "second start"):
            assert "not_measured" not in starts[start]
            assert 0 < starts[start]["first_answer_seconds"] <= starts[start]["until_switch_seconds"]
            assert starts[start]["answers_before"] >= 1


def test_what_is_missing_or_dies_has_a_sentence_and_the_rest_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As where TensorRT's parser crashes, onnxruntime-gpu is not there, torch breaks, and a file is no model."""
    task = tmp_path / "task.py"
    task.write_text(f"""
import ctypes, sys
sys.path.insert(0, {str(ROOT)!r})
from bench import gpu_contenders, gpu_task
def crash(*_): print("TensorRT parses Range_142", file=sys.stderr, flush=True); ctypes.string_at(0)
def fail(error):
    def make(*_): raise error
    return make
gpu_contenders.CONTENDERS |= {{
    "tensorrt": crash,
    "onnxruntime cuda": fail(gpu_contenders.Unavailable("No provider.")),
    "torch eager": fail(RuntimeError("Triton found no compiler\\nand so on")),
}}
sys.exit(gpu_task.main(sys.argv[1]))
""")
    onnx.save(recurrent_step(), tmp_path / "step.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    output = tmp_path / "folder" / "out.json"
    contenders = ["tensorrt", "onnxruntime cuda", "onnxruntime cpu", "torch eager"]
    options = ["--rehearse", *(word for name in contenders for word in ("--contender", name)), "--precision", "fp16"]
    models = ["--model", str(tmp_path / "broken.onnx"), "--model", str(tmp_path / "step.onnx")]
    counts = ["--threads", "1", "--frames", "2", "--runs", "1", "--output", str(output)]
    assert gpu.main([*options, *models, *counts], (sys.executable, str(task))) == 0
    result = json.loads(output.read_text())
    assert json.loads(capsys.readouterr().out) == result
    assert "broken.onnx cannot be loaded" in result["models"]["broken.onnx"]["fp16"]["onnxruntime cpu"]["not_measured"]
    found = result["models"]["step.onnx"]["fp16"]
    why = "The process died of SIGSEGV. The last that it said: TensorRT parses Range_142"
    assert found["tensorrt"]["not_measured"] == why
    assert found["onnxruntime cuda"]["not_measured"] == "No provider."
    assert found["torch eager"]["not_measured"] == "It fails with RuntimeError: Triton found no compiler"
    assert found["onnxruntime cpu"]["latency"]["48"]["p50_ms"] > 0
    assert result["whole_frames"]["tensorrt fp16"]["not_measured"] == why
    assert result["whole_frames"]["onnxruntime cpu fp16"]["frame"]["p50_ms"] > 0


def test_what_a_process_told_before_it_died_is_kept() -> None:
    found = told("print('assertion failed', file=sys.stderr, flush=True); ctypes.string_at(0)")
    assert found["a"] == {"1": 2}
    assert found["not_measured"] == "The process died of SIGSEGV. The last that it said: assertion failed"
    assert found["host_peak_bytes"] > 1 << 20
    killed = told("os.kill(os.getpid(), signal.SIGKILL)")
    assert (killed["a"], killed["not_measured"]) == ({"1": 2}, "The process died of SIGKILL.")
    assert told("time.sleep(60)", 1.0)["not_measured"] == "The process took longer than 1 s and was ended."
    full = told("resource.setrlimit(resource.RLIMIT_AS, (1 << 29,) * 2); bytearray(1 << 30)")
    assert full["not_measured"] == "The process ended with exit code 1. The last that it said: MemoryError"
    cut_off = told("sys.stdout.write('{')")
    assert cut_off.keys() == {"a", "host_peak_bytes"}


def test_findings_are_put_beside_the_earlier_ones() -> None:
    found: dict[str, Any] = {"latency": {"1": {"p50_ms": 1}}, "not_measured": "x"}
    gpu.merge(found, {"latency": {"4": {"p50_ms": 2}}, "not_measured": "y"})
    assert found == {"latency": {"1": {"p50_ms": 1}, "4": {"p50_ms": 2}}, "not_measured": "y"}


def test_it_asks_for_no_more_than_the_engines_need(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A machine with a GPU may have neither OpenCV nor SciPy: only whole frames need them."""
    onnx.save(recurrent_step(), tmp_path / "step.onnx")
    task = tmp_path / "task.py"
    task.write_text(f"""
import sys
for name in ("cv2", "scipy", "tqdm", "rclpy", "torch", "tensorrt", "tensorrt_rtx", "cuda"):
    sys.modules[name] = None
sys.path.insert(0, {str(ROOT)!r})
from bench import gpu_task
sys.exit(gpu_task.main(sys.argv[1]))
""")
    options = ["--rehearse", "--model", str(tmp_path / "step.onnx"), "--precision", "fp32", "--threads", "1"]
    counts = ["--frames", "2", "--runs", "1", "--contender", "onnxruntime cpu"]
    assert gpu.main([*options, *counts], (sys.executable, str(task))) == 0
    result = json.loads(capsys.readouterr().out)
    assert list(result["models"]["step.onnx"]["fp32"]) == ["onnxruntime cpu"]
    assert result["models"]["step.onnx"]["fp32"]["onnxruntime cpu"]["latency"]["8"]["p50_ms"] > 0
    assert "cv2" in result["whole_frames"]["onnxruntime cpu fp32"]["not_measured"]
    assert result["machine"]["torch"] is None
    assert result["machine"]["tensorrt"].startswith("Running models through TensorRT needs TensorRT")


def test_the_bare_loop_runs_the_plan_and_leaves_the_engine_as_it_was(tmp_path: Path) -> None:
    model = recurrent_step()
    device = SimulatedDevice()
    module = SimulatedTensorRT(device)
    processor, prepared = reference(tmp_path, model), tensorrt_graph.prepare(model, "fp32")
    engine = TensorRTEngine(
        LoadedPlan(Flavour("tensorrt", "10.3.0", module, tensorrt_api._logger(module)), prepared.onnx),
        device,
        make_profile(prepared.inputs, prepared.outputs, prepared.metadata, 4),
        Interface(processor.inputs, processor.outputs, processor.metadata, "fp32"),
    )
    feed = next(gpu_measurements.feeds(tmp_path / "model.onnx", processor, None, 23))
    before = engine(feed)
    left, enqueued = device.left, module.enqueued
    found = gpu_measurements.bare_loop(engine, feed, 5)
    assert found["p50_ms"] > 0
    assert module.enqueued - enqueued == 10  # as many to warm up
    assert module.ran[-1] == {name: array.shape for name, array in feed.items()}  # no padding
    assert device.left == left
    after = engine(feed)
    for name, output in before.items():
        np.testing.assert_array_equal(output, after[name])
    engine.close()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_torch_runs_the_same_network(path: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx2torch", reason=NO_ONNX2TORCH)
    from bench.gpu_torch import OnnxModule

    engine = reference(tmp_path, onnx.load(path))
    rng = np.random.default_rng(0)
    inputs = {}
    for value in engine.inputs:
        spec = engine.inputs[value]
        shape = [size or (2 if place == 0 else 192) for place, size in enumerate(spec.shape)]
        noise = rng.integers(0, 255, shape) if spec.dtype == np.uint8 else rng.random(shape)
        inputs[value] = noise.astype(spec.dtype)
    with torch.inference_mode():
        found: Mapping[str, Any] = OnnxModule(path).eval()(
            {name: torch.from_numpy(array) for name, array in inputs.items()}
        )
    wanted = engine(inputs)
    assert set(found) == set(wanted)
    for name, output in wanted.items():
        assert agreement.deviation(output, found[name].numpy()) < 5e-3


def test_an_operation_that_is_not_known_is_named(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnx2torch", reason=NO_ONNX2TORCH)
    from bench.gpu_torch import OnnxModule

    model = painted_detector()
    model.graph.node[0].op_type = "Det"
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(NotImplementedError, match="Det"):
        OnnxModule(tmp_path / "odd.onnx")

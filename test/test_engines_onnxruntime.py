"""Model files through ONNX Runtime: what goes in, what comes out, what is refused and with which sentence."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from tiny_models import Graph

from alstm_ros import engines
from alstm_ros.config import EngineConfig
from alstm_ros.engines import Engine, TensorSpec
from alstm_ros.errors import DependencyError, ModelError

CPU = EngineConfig(threads=1, runtime="onnxruntime")


def write(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


def scaled_sum() -> onnx.ModelProto:
    g = Graph()
    g.add("Add", g.add("Mul", "a", g.weight(2.0)), "b", name="sum")
    kind = TensorProto.FLOAT
    return g.model({"a": (kind, ("N", 3)), "b": (kind, ("N", 3))}, {"sum": (kind, ("N", 3))}, colour="blue")


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return engines.open_engine(write(tmp_path, scaled_sum()), CPU)


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_named_tensors_of_any_batch(engine: Engine, rows: int) -> None:
    a, b = (np.random.default_rng(seed).random((rows, 3), np.float32) for seed in (0, 1))
    found = engine({"b": b, "a": a})
    assert list(found) == ["sum"]
    np.testing.assert_array_equal(found["sum"], 2 * a + b)


def test_it_describes_its_tensors_and_metadata(engine: Engine) -> None:
    spec = TensorSpec((None, 3), np.dtype(np.float32))
    assert dict(engine.inputs) == {"a": spec, "b": spec}
    assert dict(engine.outputs) == {"sum": spec}
    assert str(spec) == "float32 ?x3"
    assert engine.metadata == {"colour": "blue"}
    assert engine.status.runtime == "onnxruntime"
    engine.settle()


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "it was given nothing"),
        ({"a": np.zeros((2, 3), np.float32)}, r"takes a \(float32 \?x3\), b \(float32 \?x3\); .* given a \(.* 2x3\)"),
        ({"a": np.zeros((2, 3), np.float32), "c": np.zeros((2, 3), np.float32)}, r"given a .*, c"),
        ({"a": np.zeros((2, 4), np.float32), "b": np.zeros((2, 3), np.float32)}, r"given a \(float32 2x4\)"),
        ({"a": np.zeros((2, 3)), "b": np.zeros((2, 3), np.float32)}, r"given a \(float64 2x3\)"),
        ({"a": np.zeros((2, 3), ">f4"), "b": np.zeros((2, 3), np.float32)}, "given a"),
        ({"a": np.zeros((2, 3), np.float32), "b": np.zeros((5, 3), np.float32)}, "could not run the model: .*Add"),
    ],
)  # fmt: skip
def test_inputs_that_do_not_fit(engine: Engine, inputs: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        engine(inputs)


def test_a_closed_engine_says_so(engine: Engine) -> None:
    engine.close()
    engine.close()
    with pytest.raises(ModelError, match="closed"):
        engine({})


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x07" * 100])
def test_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"broken\.onnx cannot be loaded by ONNX Runtime \d"):
        engines.open_engine(path, CPU)


def test_a_truncated_model(tmp_path: Path) -> None:
    path = write(tmp_path, scaled_sum())
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ModelError, match=r"model\.onnx cannot be loaded"):
        engines.open_engine(path, CPU)


@pytest.mark.parametrize("name", ["nowhere.onnx", "."])
def test_no_such_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="There is no model file"):
        engines.open_engine(tmp_path / name, CPU)


def test_an_element_type_that_arrays_lack(tmp_path: Path) -> None:
    g = Graph()
    g.add("Identity", "text", name="same")
    model = g.model({"text": (TensorProto.STRING, ("N",))}, {"same": (TensorProto.STRING, ("N",))})
    with pytest.raises(ModelError, match=r"'text' is a tensor\(string\); it must be one of tensor\(float\)"):
        engines.open_engine(write(tmp_path, model), CPU)


def test_without_onnxruntime_the_sentence_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, scaled_sum())
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(DependencyError, match="no rosdep key; install it with 'pip install onnxruntime'"):
        engines.open_engine(path, CPU)


def test_onnxruntime_is_imported_when_a_model_is_opened_and_not_before() -> None:
    code = "import sys, alstm_ros.engines, alstm_ros.detection; assert 'onnxruntime' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads in /proc, which Linux has")
@pytest.mark.parametrize("threads", [1, 3])
def test_threads_are_bounded(tmp_path: Path, threads: int) -> None:
    path = write(tmp_path, scaled_sum())
    code = f"""
import os, onnxruntime, numpy as np
from pathlib import Path
from alstm_ros import engines
from alstm_ros.config import EngineConfig
before = len(os.listdir("/proc/self/task"))
engine = engines.open_engine(Path({str(path)!r}), EngineConfig(threads={threads}, runtime="onnxruntime"))
rows = np.zeros((1000, 3), np.float32)
engine({{"a": rows, "b": rows}})
print(len(os.listdir("/proc/self/task")) - before)
"""
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(found.stdout) == threads - 1  # the caller's thread works too


def test_other_threads_go_on_while_a_model_runs(tmp_path: Path) -> None:
    """The GIL is free meanwhile; were it not, the counting below would stand still from start to end."""
    g = Graph()
    tensor = "x"
    for _ in range(60):
        tensor = g.add("MatMul", tensor, g.noise(512, 512, scale=0.01))
    g.add("Identity", tensor, name="y")
    kind = TensorProto.FLOAT
    engine = engines.open_engine(write(tmp_path, g.model({"x": (kind, ("N", 512))}, {"y": (kind, ("N", 512))})), CPU)
    rows = np.zeros((2000, 512), np.float32)
    started, ended = threading.Event(), threading.Event()

    def run() -> None:
        started.set()
        engine({"x": rows})
        ended.set()

    thread = threading.Thread(target=run)
    thread.start()
    started.wait()
    begun = time.process_time()
    counted = 0
    while not ended.is_set():
        counted += 1
    assert time.process_time() - begun > 0.1  # it was work
    assert counted > 10_000
    thread.join()

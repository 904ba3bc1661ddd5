"""ONNX Runtime's CUDA provider, without a GPU: when it is chosen, what it is asked for, what its failures come to.

Where a test needs the provider to work, the processor's stands in for it under its name; so sessions, files and
answers are real, and what a GPU would compute is not shown.
"""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from tiny_models import FEATURES, HIDDEN, PAIR, assert_same, painted_detector, recurrent_step

from alstm_ros import engines
from alstm_ros.config import EngineConfig
from alstm_ros.engines import choice, onnxruntime_cuda, onnxruntime_engine, tensorrt_api
from alstm_ros.engines.engine import Engine
from alstm_ros.engines.failures import BuildFailedError, DeviceLostError, DeviceMemoryError, UnsupportedModelError
from alstm_ros.engines.onnxruntime_cuda import OnnxRuntimeCudaEngine
from alstm_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from alstm_ros.errors import AlstmError, DependencyError, ModelError

CUDA = EngineConfig(threads=1, runtime="cuda", precision="fp32")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    onnx.save(recurrent_step(), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The processor's provider under the CUDA provider's name; the list fills with what it is asked for."""
    asked: list[Any] = []
    real = onnxruntime_engine.open_session

    def session(model: Path | bytes, name: str, config: EngineConfig, providers: list[Any]) -> Any:
        asked.append((model, providers))
        return real(model, name, config, [onnxruntime_engine.CPU])

    monkeypatch.setattr(onnxruntime_engine, "CUDA", onnxruntime_engine.CPU)
    monkeypatch.setattr(onnxruntime_engine, "open_session", session)
    monkeypatch.setattr(tensorrt_api, "driver_present", lambda: True)
    monkeypatch.setattr(tensorrt_api, "installed", lambda: False)
    return asked


def step_inputs(seed: int = 0) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(seed)
    shapes = {"x": (5, FEATURES), "h": (5, HIDDEN), "c": (5, HIDDEN), "pairs": (3, PAIR)}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def settled(model: Path, config: EngineConfig) -> Engine:
    engine = engines.open_engine(model, config)
    engine.settle()
    return engine


@pytest.mark.parametrize("runtime", ["cuda", "auto"])
def test_it_answers_once_it_agrees_with_the_processor(model: Path, provider: list[Any], runtime: str) -> None:
    engine = settled(model, EngineConfig(threads=1, runtime=runtime, precision="fp32", device=1))
    assert (engine.status.runtime, engine.status.precision) == ("onnxruntime_cuda", "fp32")
    assert_same(OnnxRuntimeEngine(model, CUDA)(step_inputs()), engine(step_inputs()))
    [(path, [(name, wanted), spare])] = [asked for asked in provider if len(asked[1]) == 2]
    assert (path, name, spare) == (model, onnxruntime_engine.CUDA, onnxruntime_engine.CPU)
    assert wanted["device_id"] == "1"
    assert wanted["use_tf32"] == "0"
    assert wanted["cudnn_conv_algo_search"] == "HEURISTIC"
    engine.close()


def time_of(monkeypatch: pytest.MonkeyPatch, half: float, plain: float) -> None:
    """Lets the two precisions take so many seconds."""
    now = itertools.accumulate(itertools.cycle([0.0, half, plain]))
    monkeypatch.setattr(choice, "faster", functools.partial(choice.faster, clock=lambda: next(now)))


def test_in_fp16_it_runs_the_fp16_version(model: Path, provider: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    time_of(monkeypatch, 0.002, 0.003)
    engine = settled(model, EngineConfig(threads=1, runtime="cuda"))
    assert engine.status.precision == "fp16"
    [content] = [asked[0] for asked in provider if isinstance(asked[0], bytes)]
    kinds = {weight.data_type for weight in onnx.load_from_string(content).graph.initializer}
    assert onnx.TensorProto.FLOAT16 in kinds
    off = np.abs(engine(step_inputs())["c_next"] - OnnxRuntimeEngine(model, CUDA)(step_inputs())["c_next"]).max()
    assert 0 < off < 0.02
    engine.close()


@pytest.mark.usefixtures("provider")
def test_fp32_is_taken_where_it_is_faster(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    time_of(monkeypatch, 0.003, 0.002)
    closed: list[str] = []
    close = OnnxRuntimeCudaEngine.close

    def note(self: OnnxRuntimeCudaEngine) -> None:
        closed.append(self.status.precision)
        close(self)

    monkeypatch.setattr(OnnxRuntimeCudaEngine, "close", note)
    engine = settled(model, EngineConfig(threads=1, runtime="cuda"))
    assert (engine.status.precision, closed) == ("fp32", ["fp16"])
    assert "takes 3.00 ms in fp16 and 2.00 ms in fp32; fp32 is used." in caplog.text
    assert_same(OnnxRuntimeEngine(model, CUDA)(step_inputs()), engine(step_inputs()))
    engine.close()


@pytest.mark.usefixtures("provider")
def test_where_both_do_not_fit_fp16_serves(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warm_up = OnnxRuntimeCudaEngine.warm_up

    def full(self: OnnxRuntimeCudaEngine) -> None:
        if self.status.precision == "fp32":
            raise DeviceMemoryError("The GPU has not enough free memory.")
        warm_up(self)

    monkeypatch.setattr(OnnxRuntimeCudaEngine, "warm_up", full)
    engine = settled(model, EngineConfig(threads=1, runtime="cuda"))
    assert (engine.status.runtime, engine.status.precision) == ("onnxruntime_cuda", "fp16")
    engine.close()


def test_images_of_free_size_are_warmed_up(tmp_path: Path, provider: list[Any]) -> None:
    onnx.save(painted_detector(), tmp_path / "model.onnx")
    engine = OnnxRuntimeCudaEngine(tmp_path / "model.onnx", CUDA)
    assert engine.usual == {"images": (1, 64, 96, 3)}
    engine.warm_up()
    assert provider


@pytest.mark.parametrize(
    ("said", "kind", "sentence"),
    [
        ("CUDA failure 719: unspecified launch failure ; GPU=0", DeviceLostError, "the GPU reports an error"),
        ("bfc_arena.cc:376 Failed to allocate memory for requested buffer of size 9", DeviceMemoryError, "not enough"),
        ("CUDA failure 2: out of memory ; GPU=0", DeviceMemoryError, "not enough free memory"),
        ("something else", BuildFailedError, "could not run the model: ONNX Runtime could not run the model: somethi"),
    ],
)
def test_a_failure_while_running_is_told_for_what_it_is(
    model: Path, provider: list[Any], said: str, kind: type[AlstmError], sentence: str
) -> None:
    assert provider == []
    engine = OnnxRuntimeCudaEngine(model, CUDA)

    class Broken:
        def __init__(self, session: Any) -> None:
            self.get_inputs = session.get_inputs

        def run(self, *_: Any) -> Any:
            raise RuntimeError(said)

    engine._session = Broken(engine._session)
    with pytest.raises(kind, match=sentence):
        engine(step_inputs())


def test_a_failure_costs_no_answer_and_is_tried_again(
    model: Path, provider: list[Any], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine: Any = settled(model, CUDA)
    assert provider

    def fail(*_: Any) -> Any:
        raise DeviceLostError("ONNX Runtime's CUDA provider could not run the model: the GPU reports an error (719).")

    monkeypatch.setattr(OnnxRuntimeCudaEngine, "__call__", fail)
    wanted = OnnxRuntimeEngine(model, CUDA)(step_inputs())
    for _ in range(3):
        assert_same(wanted, engine(step_inputs()))
    for _ in range(1000):
        if "tries again in 5 s" in engine.status.message:
            break
        engine._ended.wait(0.01)
    assert (engine.status.runtime, engine.status.degraded) == ("onnxruntime", True)
    assert "ONNX Runtime answers on the processor instead, and tries again in 5 s." in engine.status.message
    assert [record.levelno for record in caplog.records].count(logging.WARNING) == 1
    engine.close()


def test_a_provider_that_is_listed_but_does_not_load_is_a_sentence(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for a provider that it cannot load, ONNX Runtime goes on without; here it really does."""
    if onnxruntime_cuda.offered():
        pytest.skip("this ONNX Runtime has the provider")
    monkeypatch.setattr(onnxruntime_cuda, "offered", lambda: True)
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):
        engine = settled(model, CUDA)
    assert engine.status.degraded
    assert engine.status.message.startswith("ONNX Runtime's CUDA provider cannot be loaded. It needs NVIDIA's driver")
    assert engine.status.message.endswith("ONNX Runtime answers on the processor instead, for good.")
    assert engine(step_inputs())["score"].shape == (5,)
    engine.close()


def test_cuda_without_the_provider_is_a_sentence(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime_cuda, "offered", lambda: False)
    with pytest.raises(DependencyError, match=r"'engine.runtime' is 'cuda', .* install onnxruntime-gpu in place of"):
        engines.open_engine(model, CUDA)


def test_auto_takes_neither_where_there_is_no_driver(
    model: Path, provider: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt_api, "driver_present", lambda: False)
    assert isinstance(engines.open_engine(model, EngineConfig(threads=1)), OnnxRuntimeEngine)
    assert isinstance(engines.open_engine(model, EngineConfig(threads=1, runtime="onnxruntime")), OnnxRuntimeEngine)
    assert all(asked[1] == [onnxruntime_engine.CPU] for asked in provider)


def test_a_damaged_file_is_told_by_the_processor_first(tmp_path: Path, provider: list[Any]) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"model\.onnx cannot be loaded by ONNX Runtime"):
        engines.open_engine(tmp_path / "model.onnx", CUDA)
    assert len(provider) == 1


# --- One after the other ----------------------------------------------------------------------------------------------


def ways(outcomes: dict[str, Any], tried: list[str]) -> Callable[[Any], Any]:
    def way(name: str) -> Callable[[Any], Any]:
        def start(_: Any) -> Any:
            tried.append(name)
            if isinstance(outcomes[name], Exception):
                raise outcomes[name]
            return outcomes[name]

        return start

    return choice.FirstThatCan({name: way(name) for name in outcomes})


@pytest.mark.parametrize("reason", [UnsupportedModelError("No code for 8.7."), DependencyError("No cuda-python.")])
def test_what_tensorrt_never_can_the_cuda_provider_does(reason: AlstmError, caplog: pytest.LogCaptureFixture) -> None:
    tried: list[str] = []
    start = ways({"tensorrt_rtx": reason, "onnxruntime_cuda": "engine"}, tried)
    assert start(lambda _: True) == "engine"
    assert start(lambda _: True) == "engine"  # after a failure: what never can is not tried again
    assert tried == ["tensorrt_rtx", "onnxruntime_cuda", "onnxruntime_cuda"]
    assert [r.getMessage() for r in caplog.records] == [f"{reason} ONNX Runtime's CUDA provider is tried instead."]


def test_what_tensorrt_cannot_now_is_left_to_a_later_attempt() -> None:
    tried: list[str] = []
    start = ways({"tensorrt": DeviceMemoryError("Full."), "onnxruntime_cuda": "engine"}, tried)
    with pytest.raises(DeviceMemoryError):
        start(lambda _: True)
    assert tried == ["tensorrt"]


def test_the_last_ones_reason_is_the_reason_and_a_closed_engine_tries_no_other() -> None:
    tried: list[str] = []
    start = ways({"tensorrt": UnsupportedModelError("Det."), "onnxruntime_cuda": DependencyError("No cuDNN.")}, tried)
    with pytest.raises(UnsupportedModelError):
        start(lambda _: False)
    with pytest.raises(DependencyError, match="No cuDNN"):
        start(lambda _: True)
    assert tried == ["tensorrt", "tensorrt", "onnxruntime_cuda"]

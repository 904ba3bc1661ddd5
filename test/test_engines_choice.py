"""Which engine is chosen, and what is said where the wanted one cannot be had."""

from __future__ import annotations

import threading
from pathlib import Path

import onnx
import pytest
from switching_world import step_inputs
from tiny_models import recurrent_step

from alstm_ros import engines
from alstm_ros.config import EngineConfig
from alstm_ros.engines import cuda_device, tensorrt_api
from alstm_ros.engines.failures import DeviceLostError
from alstm_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from alstm_ros.engines.status import EngineStatus
from alstm_ros.errors import DependencyError


def test_auto_without_a_driver_is_plain_onnx_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx.save(recurrent_step(), tmp_path / "model.onnx")
    monkeypatch.setattr(tensorrt_api, "driver_present", lambda: False)
    before = threading.active_count()
    engine = engines.open_engine(tmp_path / "model.onnx", EngineConfig(threads=1))
    assert isinstance(engine, OnnxRuntimeEngine)
    assert engine.status == EngineStatus("onnxruntime", "fp32")
    assert threading.active_count() == before


def test_tensorrt_that_is_not_installed_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx.save(recurrent_step(), tmp_path / "model.onnx")
    monkeypatch.setattr(tensorrt_api, "MODULES", ("no_such_tensorrt",))
    tensorrt_api.find.cache_clear()
    with pytest.raises(DependencyError, match="needs TensorRT: on a Jetson it comes with JetPack"):
        engines.open_engine(tmp_path / "model.onnx", EngineConfig(threads=1, runtime="tensorrt"))
    tensorrt_api.find.cache_clear()


def test_tensorrt_without_a_gpu_answers_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: int) -> None:
        raise DeviceLostError("The GPU cannot be used: cudaGetDeviceCount answers cudaErrorNoDevice (100).")

    onnx.save(recurrent_step(), tmp_path / "model.onnx")
    monkeypatch.setattr(tensorrt_api, "installed", lambda: True)
    monkeypatch.setattr(tensorrt_api, "find", lambda *_: tensorrt_api.Flavour("tensorrt", "10.3.0", None, None))
    monkeypatch.setattr(cuda_device, "CudaDevice", gone)
    engine = engines.open_engine(tmp_path / "model.onnx", EngineConfig(threads=1, runtime="tensorrt"))
    engine.settle()
    assert engine.status.degraded
    assert (
        "cudaErrorNoDevice (100). ONNX Runtime answers on the processor instead, and tries again in 5 s."
        in engine.status.message
    )
    assert engine(step_inputs())["score"].shape == (5,)
    engine.close()

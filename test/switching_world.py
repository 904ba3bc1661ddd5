"""An engine on ONNX Runtime that switches to a simulated TensorRT when a test lets it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from simulated_gpu import SimulatedDevice, SimulatedTensorRT
from tiny_models import FEATURES, HIDDEN, PAIR, layer_types, reference

from alstm_ros.config import EngineConfig
from alstm_ros.engines import accelerated, tensorrt_api, tensorrt_build, tensorrt_graph
from alstm_ros.engines.status import EngineStatus
from alstm_ros.engines.switching import FastEngine, SwitchingEngine
from alstm_ros.engines.tensorrt_build import Plan

PATIENCE = 60.0  # s; reached only where something is wrong


class SteppedClock:
    """A clock that stands until the test lets it go on."""

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self.waiting, self._on = threading.Event(), threading.Semaphore(0)

    def pause(self, seconds: float, ended: threading.Event) -> None:
        self.pauses.append(seconds)
        self.waiting.set()
        while not ended.is_set() and not self._on.acquire(timeout=0.01):
            pass
        self.waiting.clear()

    def go_on(self) -> None:
        assert self.waiting.wait(PATIENCE)
        self._on.release()


class World:
    """A model on ONNX Runtime with a simulated TensorRT before it, built when the test opens the gate."""

    def __init__(self, folder: Path, model: onnx.ModelProto, precision: str = "fp32") -> None:
        self.device = SimulatedDevice()
        self.module = SimulatedTensorRT(self.device)
        self.gate, self.clock = threading.Event(), SteppedClock()
        self.failures: list[Exception] = []
        self.starts = 0
        self.fallback = reference(folder, model)
        config = EngineConfig(threads=1, runtime="tensorrt", precision=precision, cache_dir=str(folder / "cache"))
        self.job = accelerated.Job(folder / "model.onnx", config, self.fallback.inputs, self.fallback.outputs, {})
        self.engine = SwitchingEngine(self.fallback, self._start, EngineStatus("tensorrt", precision), self.clock)

    def _start(self, progress: Callable[[float], bool]) -> FastEngine:
        self.starts += 1
        progress(0.25)
        while not self.gate.wait(0.01):
            if not progress(0.5):
                break
        if self.failures:
            raise self.failures.pop(0)
        self.device.lost = self.device.closed = False
        self.device.blocks, self.device.locked, self.device.jobs = {}, {}, []
        engine: FastEngine = self.job.start(progress, self.device)
        return engine

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Puts the simulated TensorRT in the real one's place; it builds what the simulated GPU runs: the model."""
        flavour = tensorrt_api.Flavour("tensorrt", "10.3.0", self.module, tensorrt_api._logger(self.module))
        monkeypatch.setattr(tensorrt_api, "find", lambda *_: flavour)

        def build(_: object, model: tensorrt_graph.PreparedModel, *__: object) -> Plan:
            return Plan(model.onnx, layer_types(onnx.load_from_string(model.onnx)))

        monkeypatch.setattr(tensorrt_build, "build_engine", build)

    def until(self, condition: Callable[[], object], inputs: dict[str, NDArray[Any]] | None = None) -> None:
        """Waits; frames go on meanwhile where given."""
        for _ in range(int(PATIENCE / 0.01)):
            if condition():
                return
            if inputs is not None:
                self.engine(inputs)
            threading.Event().wait(0.01)
        raise AssertionError(f"still {self.engine.status}")

    def switched(self) -> bool:
        return self.engine.status.runtime == "tensorrt"


def step_inputs(rows: int = 5, pairs: int = 3, seed: int = 0) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(seed)
    shapes = {"x": (rows, FEATURES), "h": (rows, HIDDEN), "c": (rows, HIDDEN), "pairs": (pairs, PAIR)}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}

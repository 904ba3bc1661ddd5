"""Answering at once, switching to the built engine, settling, closing. The GPU is simulated (see `simulated_gpu`)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from switching_world import PATIENCE, World, step_inputs
from tiny_models import assert_same, recurrent_step

from alstm_ros.engines import tensorrt_api, tensorrt_build
from alstm_ros.engines.cache import open_cache
from alstm_ros.engines.failures import BuildFailedError
from alstm_ros.engines.status import EngineStatus
from alstm_ros.engines.tensorrt_engine import TensorRTEngine
from alstm_ros.errors import ModelError


def test_it_answers_while_it_builds_and_tells_how_far(world: World) -> None:
    world.until(lambda: world.engine.status.progress == 0.5)
    assert world.engine.status == EngineStatus("onnxruntime", "fp32", 0.5, "TensorRT is being built.")
    assert_same(world.fallback(step_inputs()), world.engine(step_inputs()))
    world.gate.set()
    world.until(lambda: world.engine.status.message == "TensorRT waits for a frame.")
    world.until(world.switched, step_inputs())
    status = world.engine.status
    assert status == EngineStatus("tensorrt", "fp32", layers=status.layers)
    assert {kind for counts in status.layers.values() for kind in counts} == {"fp32"}
    ran = len(world.module.ran)
    assert_same(world.fallback(step_inputs(seed=4)), world.engine(step_inputs(seed=4)))
    assert len(world.module.ran) == ran + 1


@pytest.mark.parametrize(
    ("kinds", "precision"), [(["Half", "Float"], "fp16"), (["Float", "Float"], "fp32"), ([], "fp16")]
)
def test_fp16_is_said_only_where_a_layer_runs_in_it(
    make_world: Callable[..., World], caplog: pytest.LogCaptureFixture, kinds: list[str], precision: str
) -> None:
    caplog.set_level(logging.INFO, "alstm_ros")
    world = make_world(recurrent_step(), "fp16")
    world.module.inspected = [{"LayerType": "Gemm", "Outputs": [{"Format/Datatype": kind}]} for kind in kinds]
    world.gate.set()
    world.engine.settle()
    assert world.engine.status.precision == precision
    warned = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert warned == (
        ["engine.precision is fp16, but TensorRT runs model.onnx in gemm 2 fp32."] if precision == "fp32" else []
    )
    [line] = [r.getMessage() for r in caplog.records if "runs on Orin; layers: " in r.getMessage()]
    assert ("fp16" in line, "fp32" in line) == ("Half" in kinds or not kinds, True)


def test_what_it_was_not_built_for_goes_to_the_fallback(world: World) -> None:
    world.gate.set()
    world.until(world.switched, step_inputs())
    ran = len(world.module.ran)
    assert_same(world.fallback(step_inputs(513)), world.engine(step_inputs(513)))
    assert len(world.module.ran) == ran
    assert world.engine._fast is not None


def test_a_caller_may_reuse_its_memory(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    overwritten = threading.Event()
    takes = TensorRTEngine.takes

    def slow(self: TensorRTEngine, inputs: Any) -> bool:
        assert threading.current_thread() is threading.main_thread() or overwritten.wait(PATIENCE)
        return takes(self, inputs)

    monkeypatch.setattr(TensorRTEngine, "takes", slow)
    world.gate.set()
    world.until(lambda: world.engine.status.message.endswith("waits for a frame."))
    inputs = step_inputs()
    world.engine(inputs)
    for array in inputs.values():
        array[...] = 3.0
    overwritten.set()
    world.until(world.switched)


def test_settling_waits_and_makes_runs_alike(world: World) -> None:
    threading.Timer(0.2, world.gate.set).start()
    world.engine.settle()
    assert world.switched()
    world.engine.settle()


def test_settling_ends_with_a_failure_too(world: World) -> None:
    world.failures = [BuildFailedError("no tactic.")]
    world.gate.set()
    world.engine.settle()
    assert world.engine.status.degraded


def test_closing_stops_a_build_and_frees_everything(world: World) -> None:
    world.until(lambda: world.engine.status.progress == 0.5)
    world.engine.close()
    assert not world.engine._thread.is_alive()
    assert world.starts == 1
    with pytest.raises(ModelError, match="closed"):
        world.engine(step_inputs())


def test_closing_a_switched_engine_frees_the_gpu(world: World) -> None:
    world.gate.set()
    world.until(world.switched, step_inputs())
    world.engine.close()
    world.engine.close()
    assert (world.device.blocks, world.device.graphs, world.device.closed) == ({}, 0, True)


def test_a_second_start_loads_what_the_first_built(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    build = tensorrt_build.build_engine
    monkeypatch.setattr(tensorrt_build, "build_engine", lambda *args: built.append(args[1].precision) or build(*args))  # type: ignore[func-returns-value]
    world.gate.set()
    world.until(world.switched, step_inputs())
    world.device.lost = True
    world.engine(step_inputs())
    world.clock.go_on()
    world.until(world.switched, step_inputs())
    assert built == ["fp32"]
    cache = open_cache(world.job.config.cache_dir)
    [entry] = cache.folder.glob("*.engine")
    entry.write_bytes(entry.read_bytes()[:-5])  # damaged
    world.device.lost = True
    world.engine(step_inputs())
    world.clock.go_on()
    world.until(world.switched, step_inputs())
    assert built == ["fp32", "fp32"]
    world.module.__version__ = "10.4.0"
    newer = replace(tensorrt_api.find(), version="10.4.0")
    monkeypatch.setattr(tensorrt_api, "find", lambda *_: newer)
    world.device.lost = True
    world.engine(step_inputs())
    world.clock.go_on()
    world.until(world.switched, step_inputs())
    assert built == ["fp32", "fp32", "fp32"]

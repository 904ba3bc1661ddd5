"""Whatever fails in a build or on the GPU, every frame is answered, and the sentence is told once."""

from __future__ import annotations

import logging
import threading

import pytest
from switching_world import PATIENCE, World, step_inputs
from tiny_models import assert_same

from alstm_ros.engines.failures import BuildFailedError, DeviceLostError, UnsupportedModelError
from alstm_ros.engines.switching import FIRST_PAUSE, LONGEST_PAUSE
from alstm_ros.errors import DependencyError


@pytest.mark.parametrize("how", ["lost", "refused", "raises"])
def test_a_failure_while_running_costs_no_answer_and_is_told_once(
    world: World, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "alstm_ros")
    world.gate.set()
    world.until(world.switched, step_inputs())
    if how == "lost":
        world.device.lost = True
    elif how == "refused":
        world.module.fail = "Error Code 1: Cuda Runtime (cudaError 700: an illegal memory access was encountered)"
    else:
        world.module.raises = TypeError("incompatible function arguments")
    assert_same(world.fallback(step_inputs(seed=1)), world.engine(step_inputs(seed=1)))
    assert world.clock.waiting.wait(PATIENCE)
    status = world.engine.status
    assert (status.runtime, status.degraded, status.progress) == ("onnxruntime", True, None)
    assert "ONNX Runtime answers on the processor instead, and tries again in 5 s." in status.message
    for seed in range(5):
        assert_same(world.fallback(step_inputs(seed=seed)), world.engine(step_inputs(seed=seed)))
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warnings == [status.message]
    world.module.fail, world.module.raises = "", None
    world.clock.go_on()
    world.until(world.switched, step_inputs())
    assert not world.engine.status.degraded
    assert world.starts == 2


def test_failed_builds_are_tried_again_ever_less_often_and_told_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.failures = [BuildFailedError("TensorRT 10.3.0 cannot build the model: no tactic.") for _ in range(9)]
    world.gate.set()
    for _ in range(9):
        assert_same(world.fallback(step_inputs()), world.engine(step_inputs()))
        world.clock.go_on()
    world.until(world.switched, step_inputs())
    assert world.clock.pauses == [5, 10, 20, 40, 80, 160, 320, 600, 600]
    assert (world.clock.pauses[0], world.clock.pauses[-1]) == (FIRST_PAUSE, LONGEST_PAUSE)
    assert [record.levelno for record in caplog.records].count(logging.WARNING) == 1


def test_a_gpu_that_goes_while_the_engine_is_loaded_is_named_itself(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def close() -> None:
        raise DeviceLostError("cudaStreamDestroy answers cudaErrorDevicesUnavailable (46).")

    monkeypatch.setattr(world.device, "close", close)
    world.module.refuse_contexts = True
    world.gate.set()
    assert world.clock.waiting.wait(PATIENCE)
    assert "TensorRT cannot prepare the engine to run" in world.engine.status.message


def test_too_little_memory_is_tried_again(world: World) -> None:
    world.device.left = 50_000
    world.gate.set()
    assert world.clock.waiting.wait(PATIENCE)
    assert "not enough free memory" in world.engine.status.message
    assert_same(world.fallback(step_inputs()), world.engine(step_inputs()))
    world.device.left = 1 << 30
    world.clock.go_on()
    world.until(world.switched, step_inputs())


@pytest.mark.parametrize(
    "failure", [UnsupportedModelError("It cannot parse Det."), DependencyError("cuda-python is missing.")]
)
def test_what_cannot_change_is_not_tried_again(world: World, failure: Exception) -> None:
    world.failures = [failure]
    world.gate.set()
    world.until(lambda: world.engine.status.degraded)
    assert world.engine.status.message == f"{failure} ONNX Runtime answers on the processor instead, for good."
    world.until(lambda: not world.engine._thread.is_alive())
    assert (world.starts, world.clock.pauses) == (1, [])
    assert_same(world.fallback(step_inputs()), world.engine(step_inputs()))


def test_a_fault_of_the_program_does_not_take_the_node_down(world: World) -> None:
    world.failures = [ZeroDivisionError("division by zero")]
    world.gate.set()
    assert world.clock.waiting.wait(PATIENCE)
    assert "TensorRT fails with ZeroDivisionError: division by zero" in world.engine.status.message


def test_an_engine_that_answers_something_else_never_answers(world: World) -> None:
    world.module.distort = 1.05  # what a wrong kernel might do
    world.gate.set()

    def degraded() -> bool:
        assert_same(world.fallback(step_inputs()), world.engine(step_inputs()))
        return world.engine.status.degraded

    world.until(degraded)
    assert "answers the same frame differently than ONNX Runtime" in world.engine.status.message
    assert "0.002 is allowed in fp32" in world.engine.status.message


def test_many_threads_lose_no_answer_when_the_device_goes(world: World) -> None:
    world.gate.set()
    world.until(world.switched, step_inputs())
    wanted = [world.fallback(step_inputs(seed=seed)) for seed in range(4)]
    wrong: list[object] = []

    def ask(seed: int) -> None:
        for _ in range(200):
            try:
                assert_same(wanted[seed], world.engine(step_inputs(seed=seed)))
            except Exception as error:  # noqa: BLE001, PERF203  # whatever it is, the answer is lost
                wrong.append(error)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    world.device.lost = True
    for thread in threads:
        thread.join(PATIENCE)
    assert wrong == []
    assert world.engine.status.degraded

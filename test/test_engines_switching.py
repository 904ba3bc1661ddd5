"""Answering at once and switching: no frame lost, no id changed, whatever happens to the build or to the GPU.

The GPU is simulated (see `simulated_gpu`); TensorRT-RTX's build in the last part is real.
"""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from simulated_gpu import SimulatedDevice, SimulatedTensorRT
from tiny_models import FEATURES, HIDDEN, PAIR, assert_same, paint, painted_detector, recurrent_step, reference

from alstm_ros import detection, engines
from alstm_ros.config import Config, DetectorConfig, EngineConfig
from alstm_ros.detection.detector import Detector
from alstm_ros.engines import accelerated, agreement, cuda_device, tensorrt_api, tensorrt_build, tensorrt_graph
from alstm_ros.engines.cache import open_cache
from alstm_ros.engines.failures import BuildFailedError, DeviceLostError, DisagreementError, UnsupportedModelError
from alstm_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from alstm_ros.engines.status import EngineStatus
from alstm_ros.engines.switching import FIRST_PAUSE, LONGEST_PAUSE, FastEngine, SwitchingEngine
from alstm_ros.engines.tensorrt_build import Plan
from alstm_ros.engines.tensorrt_engine import TensorRTEngine
from alstm_ros.errors import DependencyError, ModelError
from alstm_ros.evaluation.replay import image_step
from alstm_ros.pipeline import Frame, Pipeline

PATIENCE = 20.0


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


@pytest.fixture(autouse=True)
def simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulated TensorRT builds what the simulated GPU runs: the model itself."""
    real = tensorrt_build.build

    def build(flavour: Any, model: tensorrt_graph.PreparedModel, *rest: Any) -> Plan:
        if flavour.name == "tensorrt_rtx":
            return real(flavour, model, *rest)
        return Plan(model.onnx, model.layers, strongly_typed=True)

    monkeypatch.setattr(tensorrt_build, "build", build)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World(tmp_path, recurrent_step())
    flavour = tensorrt_api.Flavour("tensorrt", "10.3.0", world.module, tensorrt_api._logger(world.module))
    monkeypatch.setattr(tensorrt_api, "find", lambda *_: flavour)
    yield world
    world.engine.close()


def step_inputs(rows: int = 5, pairs: int = 3, seed: int = 0) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(seed)
    shapes = {"x": (rows, FEATURES), "h": (rows, HIDDEN), "c": (rows, HIDDEN), "pairs": (pairs, PAIR)}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


# --- One engine -----------------------------------------------------------------------------------------------------


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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kinds: list[str], precision: str
) -> None:
    caplog.set_level(logging.INFO, "alstm_ros")
    world = World(tmp_path, recurrent_step(), "fp16")
    flavour = tensorrt_api.Flavour("tensorrt", "10.3.0", world.module, tensorrt_api._logger(world.module))
    monkeypatch.setattr(tensorrt_api, "find", lambda *_: flavour)
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
    world.engine.close()


def test_what_it_was_not_built_for_goes_to_the_fallback(world: World) -> None:
    world.gate.set()
    world.until(world.switched, step_inputs())
    ran = len(world.module.ran)
    assert_same(world.fallback(step_inputs(513)), world.engine(step_inputs(513)))
    assert len(world.module.ran) == ran
    assert world.engine._fast is not None


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
    world.module.distort = 1.05  # type: ignore[assignment]  # what a wrong kernel might do
    world.gate.set()
    for _ in range(100):
        assert_same(world.fallback(step_inputs()), world.engine(step_inputs()))
        if world.engine.status.degraded:
            break
        threading.Event().wait(0.05)
    assert "answers the same frame differently than ONNX Runtime" in world.engine.status.message
    assert "0.002 is allowed in fp32" in world.engine.status.message


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


def test_a_second_start_loads_what_the_first_built(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    build = tensorrt_build.build
    monkeypatch.setattr(tensorrt_build, "build", lambda *args: built.append(args[3]) or build(*args))  # type: ignore[func-returns-value]
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


# --- Tracking -------------------------------------------------------------------------------------------------------


def street(frames: int) -> list[Frame]:
    """Four people who walk, one of whom is hidden for a while."""
    steps = np.arange(frames)
    shown = []
    for step in steps:
        centres = np.array([[10 + step, 15], [90 - step, 30], [48, 10 + step * 0.7], [30 + step * 0.5, 50]])
        boxes = np.concatenate([centres, np.tile([[10.0, 18.0]], (4, 1))], axis=1).round().clip(2, 95)
        visible = [0, 1, 2] if 15 < step < 22 else [0, 1, 2, 3]
        shown.append(Frame(paint(boxes[visible], np.full(len(visible), 0.9)), int(step) * 100_000_000))
    return shown


def test_a_switch_a_loss_and_a_return_change_no_id_and_lose_no_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, painted_detector())
    flavour = tensorrt_api.Flavour("tensorrt", "10.3.0", world.module, tensorrt_api._logger(world.module))
    monkeypatch.setattr(tensorrt_api, "find", lambda *_: flavour)
    config = Config(detector=DetectorConfig(score_threshold=0.5))
    frames = street(60)
    alone = Pipeline(config, Detector(world.fallback, config, "painted"))
    expected = [alone.process(frame) for frame in frames]
    assert {int(i) for result in expected for i in result.tracks.ids} >= {1, 2, 3, 4}

    pipeline = Pipeline(config, Detector(world.engine, config, "painted"))
    runtimes = []
    for number, (frame, wanted) in enumerate(zip(frames, expected, strict=True)):
        if number == 12:
            world.gate.set()
            world.until(lambda: world.engine.status.message.endswith("waits for a frame."))
        if number == 18:  # within the time in which somebody is hidden
            world.until(world.switched)
        if number == 35:
            world.device.lost = True
        if number == 45:
            world.clock.go_on()
            world.until(lambda: world.engine.status.message.endswith("waits for a frame."))
        if number == 50:
            world.until(world.switched)
        found = pipeline.process(frame)
        runtimes.append(world.engine.status.runtime)
        np.testing.assert_array_equal(found.tracks.ids, wanted.tracks.ids)
        np.testing.assert_array_equal(found.tracks.boxes, wanted.tracks.boxes)
        assert [(event.kind, event.id) for event in found.events] == [(event.kind, event.id) for event in wanted.events]
    assert runtimes[11] == "onnxruntime"
    assert set(runtimes[18:35]) == {"tensorrt"}
    assert set(runtimes[36:45]) == {"onnxruntime"}
    assert set(runtimes[50:]) == {"tensorrt"}
    world.engine.close()


def test_a_replay_waits_for_the_switch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, painted_detector())
    flavour = tensorrt_api.Flavour("tensorrt", "10.3.0", world.module, tensorrt_api._logger(world.module))
    monkeypatch.setattr(tensorrt_api, "find", lambda *_: flavour)
    threading.Timer(0.2, world.gate.set).start()
    config = Config(detector=DetectorConfig(score_threshold=0.5))
    step = image_step(config, Detector(world.engine, config, "painted"))
    assert world.switched()
    ran = len(world.module.ran)
    for frame in street(3):
        step(frame)
    assert len(world.module.ran) == ran + 3
    world.engine.close()


def test_a_recurrent_state_goes_along_with_the_switch(world: World) -> None:
    rng = np.random.default_rng(5)
    state = {"h": np.zeros((6, HIDDEN), np.float32), "c": np.zeros((6, HIDDEN), np.float32)}
    expected = dict(state)
    for number in range(60):
        if number == 20:
            world.gate.set()
            world.until(lambda: world.engine.status.message.endswith("waits for a frame."))
        if number == 22:
            world.until(world.switched)
        if number == 40:
            world.device.lost = True
        fresh = {
            "x": rng.standard_normal((6, FEATURES)).astype(np.float32),
            "pairs": rng.standard_normal((2, PAIR)).astype(np.float32),
        }
        found, wanted = world.engine(state | fresh), world.fallback(expected | fresh)
        assert_same(wanted, found)
        state = {name: found[f"{name}_next"] for name in state}
        expected = {name: wanted[f"{name}_next"] for name in expected}


# --- Choosing -------------------------------------------------------------------------------------------------------


def test_auto_without_a_driver_is_plain_onnx_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx.save(recurrent_step(), tmp_path / "model.onnx")
    monkeypatch.setattr(tensorrt_api, "driver_present", lambda: False)
    before = threading.active_count()
    engine = engines.load(tmp_path / "model.onnx", EngineConfig(threads=1))
    assert isinstance(engine, OnnxRuntimeEngine)
    assert engine.status == EngineStatus("onnxruntime", "fp32")
    assert threading.active_count() == before


def test_tensorrt_that_is_not_installed_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx.save(recurrent_step(), tmp_path / "model.onnx")
    monkeypatch.setattr(tensorrt_api, "MODULES", ("no_such_tensorrt",))
    tensorrt_api.find.cache_clear()
    with pytest.raises(DependencyError, match="needs TensorRT: on a Jetson it comes with JetPack"):
        engines.load(tmp_path / "model.onnx", EngineConfig(threads=1, runtime="tensorrt"))
    tensorrt_api.find.cache_clear()


def test_tensorrt_without_a_gpu_answers_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: int) -> None:
        raise DeviceLostError("The GPU cannot be used: cudaGetDeviceCount answers cudaErrorNoDevice (100).")

    onnx.save(recurrent_step(), tmp_path / "model.onnx")
    monkeypatch.setattr(tensorrt_api, "installed", lambda: True)
    monkeypatch.setattr(tensorrt_api, "find", lambda *_: tensorrt_api.Flavour("tensorrt", "10.3.0", None, None))
    monkeypatch.setattr(cuda_device, "CudaDevice", gone)
    engine = engines.load(tmp_path / "model.onnx", EngineConfig(threads=1, runtime="tensorrt"))
    engine.settle()
    assert engine.status.degraded
    assert (
        "cudaErrorNoDevice (100). ONNX Runtime answers on the processor instead, and tries again in 5 s."
        in engine.status.message
    )
    assert engine(step_inputs())["score"].shape == (5,)
    engine.close()


# --- Agreement ------------------------------------------------------------------------------------------------------


def test_agreement_sees_through_swapped_rows_and_not_through_wrong_ones() -> None:
    rng = np.random.default_rng(0)
    boxes = rng.random((2, 300, 4)).astype(np.float32) * 600
    assert agreement.deviation(boxes, boxes) == 0
    assert agreement.deviation(boxes, boxes[:, ::-1]) == 0
    assert agreement.deviation(boxes, boxes + 3) == pytest.approx(3 / boxes.max(), rel=1e-3)
    assert agreement.deviation(boxes, boxes * 0) > 0.5
    assert agreement.deviation(boxes, np.where(boxes > 500, np.nan, boxes)) == float("inf")
    assert agreement.deviation(boxes, boxes[:1]) == float("inf")
    assert agreement.deviation(boxes[:0], boxes[:0]) == 0
    last = boxes.copy()
    last[:, -10:] = 0  # candidates exchanged at the end of the list
    assert agreement.deviation(boxes, last) < 0.02
    with pytest.raises(
        DisagreementError, match=r"output 'b' is off by 0\.\d+ of its range, and 0\.05 is allowed in fp16"
    ):
        agreement.check(
            {"a": boxes, "b": boxes, "n": np.arange(3)}, {"a": boxes, "b": boxes * 2, "n": np.ones(3)}, "fp16"
        )


# --- A real build in the background ---------------------------------------------------------------------------------


@pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="needs tensorrt-rtx-cu13")
def test_frames_are_answered_while_tensorrt_rtx_really_builds(tmp_path: Path) -> None:
    """What cannot be had without a GPU is only the end: the plan cannot be loaded, and that is told."""
    model = detection.MODELS["default"]
    config = EngineConfig(threads=1, runtime="tensorrt", cache_dir=str(tmp_path))
    fallback = OnnxRuntimeEngine(model, config)
    job = accelerated.Job(model, config, fallback.inputs, fallback.outputs, {}, ("tensorrt_rtx",))
    flavour, finished = tensorrt_api.find("tensorrt_rtx"), threading.Event()

    def start(progress: Callable[[float], bool]) -> FastEngine:
        job.plan(flavour, open_cache(str(tmp_path)), (8, 6), "", progress)
        finished.set()
        raise DeviceLostError("There is no GPU here.")

    engine = SwitchingEngine(fallback, start, EngineStatus("tensorrt_rtx", "fp16"), SteppedClock())
    images = {"images": np.zeros((1, 192, 192, 3), np.uint8)}
    answers, fractions = 0, set()
    while not finished.is_set():
        engine(images)
        answers += 1
        fractions.add(engine.status.progress)
    assert answers > 10
    assert len(fractions) > 3
    engine.close()
    found = job.plan(flavour, open_cache(str(tmp_path)), (8, 6), "", lambda _: True)
    assert found.cached
    assert found.key.gpu == ""  # portable within its compute capability


@pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="needs tensorrt-rtx-cu13")
def test_a_program_that_ends_during_a_build_ends_well(tmp_path: Path) -> None:
    code = f"""
        from alstm_ros import detection
        from alstm_ros.config import EngineConfig
        from alstm_ros.engines import accelerated, onnxruntime_engine, status, switching, tensorrt_api
        from alstm_ros.engines.cache import open_cache
        model = detection.MODELS["default"]
        config = EngineConfig(threads=1, runtime="tensorrt", cache_dir={str(tmp_path)!r})
        fallback = onnxruntime_engine.OnnxRuntimeEngine(model, config)
        job = accelerated.Job(model, config, fallback.inputs, fallback.outputs, {{}}, ("tensorrt_rtx",))
        flavour = tensorrt_api.find("tensorrt_rtx")
        def start(progress):
            return job.plan(flavour, open_cache({str(tmp_path)!r}), (8, 6), "", progress)
        engine = switching.SwitchingEngine(fallback, start, status.EngineStatus("tensorrt_rtx", "fp16"))
        while not engine.status.progress:
            pass
        print("leaving")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=Path(__file__).parents[1], capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "leaving\n", "")
    assert list((tmp_path / "engines").glob("*.engine")) == []

"""The association's step on a GPU: ids hold through switches, the state stays there, the faster runtime takes it.

The GPU is simulated (see `simulated_gpu`); the association is the shipped one.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from switching_world import World
from tiny_models import recurrent_step

from alstm_ros.association.learned.associator import MODELS, Layout, OpenAssociation, configured
from alstm_ros.association.tracker import IdCounter, TrackManager
from alstm_ros.config import Config, EngineConfig
from alstm_ros.detection.given import GivenDetections
from alstm_ros.engines import step, tensorrt_api, tensorrt_graph
from alstm_ros.engines.engine import Engine
from alstm_ros.engines.failures import DisagreementError, SlowerError
from alstm_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from alstm_ros.engines.status import EngineStatus
from alstm_ros.engines.switching import SwitchingEngine
from alstm_ros.options import replace
from alstm_ros.pipeline import Pipeline
from alstm_ros.types import Detections

MODEL = MODELS["default"]


def frame(number: int) -> Detections:
    """Six people who walk past one another; one is hidden for a while."""
    left = np.array([50 + 4 * number, 400 - 4 * number, 120, 300 + number, 200 - number, 500 - 2 * number], np.float32)
    boxes = np.stack([left, np.full(6, 50), left + 40, np.full(6, 150)], axis=1).astype(np.float32)
    shown = [0, 1, 2, 3, 5] if 14 < number < 19 else list(range(6))
    return Detections(boxes[shown], np.linspace(0.95, 0.9, 6).astype(np.float32)[shown], np.zeros(len(shown), np.int64))


def clock_that_says(gpu: float, processor: float) -> Callable[[], float]:
    """Seconds, of which the two take so many in turn: begin, between, end."""
    spans: Iterator[float] = itertools.cycle([0.0, gpu, processor])
    now = itertools.accumulate(spans)
    return lambda: next(now)


def axes(model: Path) -> Any:
    return tensorrt_graph.axes(tensorrt_graph.read(model))[0]


def test_switches_change_no_id_and_the_state_stays_on_the_gpu(make_world: Callable[..., World]) -> None:
    world = make_world(onnx.load(MODEL))
    config = Config()
    alone = TrackManager(config, IdCounter(), configured(config)())
    switching = OpenAssociation(world.engine, Layout.read(world.engine.metadata))
    tracker = TrackManager(config, IdCounter(), switching())
    uploads = {}
    for number in range(50):
        if number == 8:
            world.gate.set()
            world.until(lambda: world.engine.status.message.endswith("waits for a frame."))
        if number == 10:
            world.until(world.switched)
        if number == 32:
            world.device.lost = True
        if number == 38:
            world.clock.go_on()
            world.until(lambda: world.engine.status.message.endswith("waits for a frame."))
        if number == 40:
            world.until(world.switched)
        before, ran = world.device.uploads, len(world.module.ran)
        wanted, found = (each.update(frame(number), number * 100_000_000) for each in (alone, tracker))
        np.testing.assert_array_equal(found.tracks.ids, wanted.tracks.ids)
        np.testing.assert_allclose(found.tracks.boxes, wanted.tracks.boxes, atol=1e-3)
        np.testing.assert_allclose(found.tracks.scores, wanted.tracks.scores, atol=1e-5)
        if len(world.module.ran) == ran + 2:  # both halves were answered by the GPU
            uploads[number] = world.device.uploads - before
    assert {*range(11, 32), *range(41, 50)} <= set(uploads)
    # each half sends x, pairs and keys; four states go along only where the tracks changed or the GPU was new
    assert {number: count for number, count in uploads.items() if count == 6}.keys() >= {12, 13, 17, 25, 31, 45, 49}
    assert all(count in {6, 10} for count in uploads.values())
    assert uploads[15] == uploads[19] == 10  # one is hidden, and comes again


@pytest.mark.parametrize(("gpu", "processor"), [(0.0003, 0.0004), (0.0004, 0.0003)])
def test_the_faster_takes_the_step(
    make_world: Callable[..., World], caplog: pytest.LogCaptureFixture, gpu: float, processor: float
) -> None:
    caplog.set_level(logging.INFO)
    world = make_world(onnx.load(MODEL))
    begin = step.IfFaster(
        lambda progress: world.job.start(progress, world.device),
        world.fallback,
        axes(MODEL),
        clock_that_says(gpu, processor),
    )
    engine = SwitchingEngine(world.fallback, begin, EngineStatus("tensorrt", "fp32"), world.clock)
    engine.settle()
    told = f"takes {gpu * 1000:.2f} ms on the GPU and {processor * 1000:.2f} ms on the processor"
    assert sum(told in record.message for record in caplog.records) == 1
    assert engine.status.runtime == ("tensorrt" if gpu < processor else "onnxruntime")
    assert not engine.status.degraded
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    if gpu > processor:
        assert world.device.closed
    # as the tracker steps: one half after the other, each padded to its bucket, the other half to the smallest
    sizes = [(shape["x"][0], shape["pairs"][0]) for shape in world.module.ran]
    assert sizes.count((64, 8)) == sizes.count((8, 64)) == step.STEPS
    engine.close()


def test_an_engine_that_answers_otherwise_is_not_taken_however_fast(make_world: Callable[..., World]) -> None:
    world = make_world(recurrent_step())
    world.module.distort = 1.1
    path = world.job.path
    with pytest.raises(DisagreementError):
        step.IfFaster(
            lambda progress: world.job.start(progress, world.device), world.fallback, axes(path), clock_that_says(1, 2)
        )(lambda _: True)
    assert world.device.closed
    world.module.distort = 1
    with pytest.raises(SlowerError, match=r"takes 2000\.00 ms on the GPU and 2000\.00 ms on the processor\."):
        step.IfFaster(
            lambda progress: world.job.start(progress, world.device), world.fallback, axes(path), clock_that_says(2, 2)
        )(lambda _: True)


@pytest.fixture
def with_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a driver and TensorRT are; the start fails in the background."""
    monkeypatch.setattr(tensorrt_api, "driver_present", lambda: True)
    monkeypatch.setattr(tensorrt_api, "installed", lambda: True)


def opened(runtime: str, engine: str = "auto") -> Engine:
    fallback = OnnxRuntimeEngine(MODEL, EngineConfig(threads=1))
    found = step.load_step(MODEL, fallback, EngineConfig(runtime=engine), runtime)
    found.close()
    return found


@pytest.mark.usefixtures("with_gpu")
def test_the_parameter_says_where() -> None:
    assert isinstance(opened("auto"), SwitchingEngine)
    assert isinstance(opened("gpu"), SwitchingEngine)
    assert isinstance(opened("gpu", "onnxruntime"), SwitchingEngine)
    assert isinstance(opened("auto", "onnxruntime"), OnnxRuntimeEngine)  # whoever wants no GPU gets none
    assert isinstance(opened("cpu"), OnnxRuntimeEngine)


def test_without_a_gpu_the_processor_serves_and_is_told_where_it_was_not_asked_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tensorrt_api, "driver_present", lambda: False)
    assert isinstance(opened("auto"), OnnxRuntimeEngine)
    assert not caplog.records
    assert isinstance(opened("gpu"), OnnxRuntimeEngine)
    assert [record.message.startswith("Parameter 'association.runtime' is 'gpu'") for record in caplog.records] == [
        True
    ]


@pytest.mark.usefixtures("with_gpu")
def test_replays_stay_on_the_processor_and_the_live_node_does_not() -> None:
    config = replace(Config(), {"association.runtime": "gpu"})
    for live, kind in ((False, OnnxRuntimeEngine), (True, SwitchingEngine)):
        association = configured(config, live=live)
        assert isinstance(association, OpenAssociation)
        assert isinstance(association.engine, kind)
        association.close()
    pipeline = Pipeline(config, GivenDetections(config), live=True)
    pipeline.close()
    assert not configured(replace(config, {"association.model": ""}), live=True)()

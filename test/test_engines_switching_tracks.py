"""A switch of engines changes no id and loses no frame, and a recurrent state goes along."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from switching_world import World
from tiny_models import FEATURES, HIDDEN, PAIR, assert_same, paint, painted_detector

from alstm_ros.config import Config, DetectorConfig
from alstm_ros.detection.detector import OnnxDetector
from alstm_ros.pipeline import Frame, Pipeline
from alstm_ros.recordings.detector_pool import DetectorPool
from alstm_ros.recordings.replay import image_step


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
    make_world: Callable[..., World],
) -> None:
    world = make_world(painted_detector())
    config = Config(detector=DetectorConfig(score_threshold=0.5))
    frames = street(60)
    alone = Pipeline(config, OnnxDetector(world.fallback, config, "painted"))
    expected = [alone.process(frame) for frame in frames]
    assert {int(i) for result in expected for i in result.tracks.ids} >= {1, 2, 3, 4}

    pipeline = Pipeline(config, OnnxDetector(world.engine, config, "painted"))
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


def test_a_replay_waits_for_the_switch(make_world: Callable[..., World]) -> None:
    world = make_world(painted_detector())
    threading.Timer(0.2, world.gate.set).start()
    config = Config(detector=DetectorConfig(score_threshold=0.5))
    step = image_step(config, DetectorPool(OnnxDetector(world.engine, config, "painted")))
    assert world.switched()
    ran = len(world.module.ran)
    for frame in street(3):
        step(frame)
    assert len(world.module.ran) == ran + 3


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

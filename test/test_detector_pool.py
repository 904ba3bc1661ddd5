"""Several frames in the detector at once: the bits of the live node's one by one, and turns on a GPU."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import recordings
from blobs import Blobs
from switching_world import World, step_inputs
from tiny_models import assert_same

from alstm_ros.config import Config, EngineConfig
from alstm_ros.detection import load_detector
from alstm_ros.engines import Engine
from alstm_ros.options import replace
from alstm_ros.pipeline import Frame, Pipeline
from alstm_ros.recordings import detection_cache
from alstm_ros.recordings.detection_cache import CLASSES, DetectedSource
from alstm_ros.recordings.detector_pool import DetectorPool
from alstm_ros.recordings.replay import image_step
from alstm_ros.recordings.sources import Window, open_source

FIELDS = ("boxes", "scores", "classes", "features")


def test_one_thread_a_frame_gives_the_bits_that_several_threads_give(vtest: Path) -> None:
    """The live node has `engine.threads` on each frame; `bench/track.py --part bits` compares all frames."""
    live = load_detector(replace(Config(), {"engine.threads": 2}))
    pool = DetectorPool.open(load_detector, replace(Config(), {"engine.threads": 2}))
    assert pool.count == 2
    step = image_step(Config(), pool)
    for _, frame, found in step.detected(Window(open_source(vtest), "1-8")):
        assert isinstance(frame, Frame)
        [wanted] = live([frame.image])
        assert len(found) > 0
        for name in FIELDS:
            assert getattr(found, name).tobytes() == getattr(wanted, name).tobytes(), name


def test_the_tracks_of_a_video_are_the_live_ones(vtest: Path) -> None:
    pipeline, step = (
        Pipeline(Config(), load_detector(Config())),
        image_step(Config(), DetectorPool.open(load_detector, Config())),
    )
    for _, frame, found in step.detected(Window(open_source(vtest), "1-6")):
        assert isinstance(frame, Frame)
        now, wanted = step.track(frame, found).tracks, pipeline.process(frame).tracks
        assert now.boxes.tobytes() == wanted.boxes.tobytes()
        assert now.ids.tolist() == wanted.ids.tolist()


def test_as_many_frames_at_once_as_threads() -> None:
    opened = []

    def open_blobs(config: Config) -> Blobs:
        opened.append(config.engine)
        return Blobs(config)

    assert DetectorPool.open(open_blobs, replace(Config(), {"engine.threads": 3})).count == 3
    assert DetectorPool.open(open_blobs, replace(Config(), {"engine.threads": 0})).count >= 1
    assert opened == [EngineConfig(threads=1)] * 2


def test_many_threads_take_turns_on_a_gpu_and_lose_nothing_when_it_goes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.gate.set()
    world.until(world.switched, step_inputs())
    inside, most = 0, 0
    assert world.engine._fast is not None
    kind = type(world.engine._fast)
    run = kind.__call__

    def watched(engine: Engine, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        threading.Event().wait(0.001)
        try:
            return run(engine, inputs)
        finally:
            inside -= 1

    monkeypatch.setattr(kind, "__call__", watched)
    inputs = [step_inputs(seed=seed) for seed in range(60)]

    def answer(seed: int) -> dict[str, np.ndarray]:
        if seed == 30:
            world.device.lost = True
        return world.engine(inputs[seed])

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(answer, range(60)))
    for given, found in zip(inputs, answers, strict=True):
        assert_same(world.fallback(given), found)
    assert most == 1
    assert world.engine.status.degraded


def test_detections_are_kept_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bag, cache = recordings.write_bag(tmp_path / "bag", range(1, 14)), tmp_path / "cache"
    opened = []

    def open_blobs(config: Config) -> Blobs:
        opened.append(config)
        return Blobs(config)

    def walked() -> DetectedSource:
        return DetectedSource(open_source(bag), Config(), open_blobs, bag, cache, quiet=True)

    monkeypatch.setattr(detection_cache, "PIECE", 5)
    assert len(list(islice(walked(), 7))) == 7  # who stops early leaves nothing
    assert not list(cache.glob("*/*"))
    first, second = walked(), walked()
    made, read = list(first), list(second)
    assert len(opened) == 2
    [kept] = cache.iterdir()
    assert sorted(path.name for path in kept.iterdir()) == ["000000.npz", "000001.npz", "000002.npz", CLASSES]
    assert (first.classes, first.length, first.images) == (second.classes, second.length, second.images)
    assert [number for number, _ in made] == [number for number, _ in read] == list(range(1, 14))
    for (_, one), (_, other) in zip(made, read, strict=True):
        assert one.stamp_ns == other.stamp_ns
        assert one.detections.boxes.tobytes() == other.detections.boxes.tobytes()

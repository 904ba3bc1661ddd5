"""TensorRT-RTX really builds in the background."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from switching_world import SteppedClock

from alstm_ros import detection
from alstm_ros.config import EngineConfig
from alstm_ros.engines import accelerated, tensorrt_api
from alstm_ros.engines.cache import open_cache
from alstm_ros.engines.failures import DeviceLostError
from alstm_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from alstm_ros.engines.status import EngineStatus
from alstm_ros.engines.switching import FastEngine, SwitchingEngine


@pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="needs tensorrt-rtx-cu13")
def test_frames_are_answered_while_tensorrt_rtx_really_builds(tmp_path: Path) -> None:
    """What cannot be had without a GPU is only the end: the plan cannot be loaded, and that is told."""
    model = detection.MODELS["default"]
    config = EngineConfig(threads=1, runtime="tensorrt", cache_dir=str(tmp_path))
    fallback = OnnxRuntimeEngine(model, config)
    job = accelerated.Job(model, config, fallback.inputs, fallback.outputs, {}, ("tensorrt_rtx",))
    flavour, finished = tensorrt_api.find("tensorrt_rtx"), threading.Event()

    def start(progress: Callable[[float], bool]) -> FastEngine:
        job.plan(accelerated.Target(flavour, open_cache(str(tmp_path)), (8, 6)), progress)
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
    found = job.plan(accelerated.Target(flavour, open_cache(str(tmp_path)), (8, 6)), lambda _: True)
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
            return job.plan(accelerated.Target(flavour, open_cache({str(tmp_path)!r}), (8, 6)), progress)
        engine = switching.SwitchingEngine(fallback, start, status.EngineStatus("tensorrt_rtx", "fp16"))
        while not engine.status.progress:
            pass
        print("leaving")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=Path(__file__).parents[1], capture_output=True, text=True,
        timeout=600, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "leaving\n", "")
    assert list((tmp_path / "engines").glob("*.engine")) == []

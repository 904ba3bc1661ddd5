"""What `gpu.py` measures of one contender: parity, latency, a bare loop beside it, whole frames, the live switch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from alstm_ros.config import Config, DetectorConfig
from alstm_ros.engines import agreement, tensorrt_graph
from alstm_ros.engines.buffers import Buffers
from alstm_ros.engines.engine import Engine
from alstm_ros.engines.profiles import states
from alstm_ros.engines.tensorrt_engine import TensorRTEngine
from alstm_ros.errors import AlstmError
from bench.gpu_contenders import Contender

Feed = dict[str, NDArray[Any]]
"""A model's inputs, or its outputs: arrays by name."""
ROWS = (8, 23, 48, 100, 300)
"""Tracks and pairs in a step of the association: a quiet scene to a crowd, and 48, which earlier runs measured."""
SWITCH_SECONDS = 600.0
"""After so many seconds without a switch the measurement of the live switch ends."""
USED = 10
"""So many frames come before those whose time counts."""


def pictures(source: Path | None, height: int, width: int) -> Iterator[NDArray[np.uint8]]:
    """Frames of a video, again and again, in the network's size; drawn ones where none is given."""
    if source is None:
        y, x = np.mgrid[:height, :width]
        for step in range(1_000_000):
            waves = 120 + 60 * np.sin((x + 3 * step) / 37) + 50 * np.cos(y / 23) + 20 * ((x // 50 + y // 80 + step) % 2)
            yield np.stack([waves, waves[::-1], waves[:, ::-1]], 2).clip(0, 255).astype(np.uint8)
    import cv2  # noqa: PLC0415  # only where a video is given

    video = cv2.VideoCapture(str(source))
    if not video.isOpened():
        raise AlstmError(f"The video {source} cannot be opened.")
    while True:
        found, image = video.read()
        if found:
            yield cv2.resize(image, (width, height))
        else:
            video.set(cv2.CAP_PROP_POS_FRAMES, 0)


def feeds(path: Path, engine: Engine, source: Path | None, batch: int) -> Iterator[Feed]:
    """Inputs of a model: frames for a detector, features for a recurrent step."""
    rng = np.random.default_rng(0)
    inputs, _ = tensorrt_graph.axes(onnx.load(str(path)))
    if any(len(dims) == 4 for dims in inputs.values()):
        [name] = inputs
        sizes = int(engine.metadata["height"]), int(engine.metadata["width"])
        frames = pictures(source, *sizes)
        while True:
            yield {name: np.stack([next(frames) for _ in range(batch)])}
    while True:
        shapes = {n: tuple(size if isinstance(size, int) else batch for size in dims) for n, dims in inputs.items()}
        yield {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def parity(answer: Contender, reference: Engine, inputs: Iterator[Feed], count: int) -> dict[str, Any]:
    """Deviation of each output over many frames; recurrent states are fed back on both sides, each its own."""
    pairs = states(reference.inputs, reference.outputs)
    worst: dict[str, float] = {}
    typical: dict[str, list[float]] = {}
    mine: Feed = {}
    theirs: Feed = {}
    for _ in range(count):
        fresh = next(inputs)
        found, wanted = answer(fresh | mine), reference(fresh | theirs)
        for name, output in wanted.items():
            if output.dtype.kind == "f":
                off = agreement.deviation(output, np.asarray(found[name]))
                worst[name] = max(worst.get(name, 0.0), off)
                typical.setdefault(name, []).append(off)
        mine = {name: found[following] for name, following in pairs.items()}
        theirs = {name: wanted[following] for name, following in pairs.items()}
    return {
        "frames": count,
        "worst": {name: float(f"{off:.3g}") for name, off in worst.items()},
        "median": {name: float(f"{np.median(offs):.3g}") for name, offs in typical.items()},
    }


def latency(answer: Contender, inputs: Feed, runs: int) -> dict[str, float]:
    """Milliseconds from arrays in to arrays out, after warming up."""
    for _ in range(min(runs, 20)):
        answer(inputs)
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        answer(inputs)
        taken.append(time.perf_counter() - start)
    rows = len(next(iter(inputs.values())))
    p50, p99 = np.percentile(taken, [50, 99]) * 1000
    return {"p50_ms": round(p50, 4), "p99_ms": round(p99, 4), "rows_per_s": round(rows * runs / sum(taken), 1)}


def bare_loop(engine: TensorRTEngine, inputs: Feed, runs: int) -> dict[str, float]:
    """The time of the same plan without our engine: copies in, `execute_async_v3`, copies out, and nothing else."""
    plan, device = engine._plan, engine._device  # noqa: SLF001  # what is measured is what the engine adds to these
    device.activate()
    context, buffers = plan.context(device), Buffers(device)
    try:
        for name, array in inputs.items():
            context.set_shape(name, array.shape)
        shapes = {name: array.shape for name, array in inputs.items()}
        shapes |= {name: context.shape(name) for name in engine.outputs}
        for name, shape in shapes.items():
            buffers.add(name, shape, plan.dtype(name))
            context.set_address(name, buffers[name].address)
        staged = {name: buffers[name].view(shape) for name, shape in shapes.items()}
        for name, array in inputs.items():
            staged[name][...] = array

        def run(_: Mapping[str, NDArray[Any]]) -> Feed:
            for name in inputs:
                device.upload(buffers[name].address, staged[name])
            context.enqueue()
            for name in engine.outputs:
                device.download(staged[name], buffers[name].address)
            device.synchronize()
            return staged

        return latency(run, inputs, runs)
    finally:
        context.close()
        buffers.close()


def whole_frames(engine: Engine, source: Path | None, count: int) -> dict[str, Any]:
    """The time of a frame from picture to tracks, and of its parts."""
    from alstm_ros.detection.detector import OnnxDetector  # noqa: PLC0415  # needs OpenCV, which the rest does without
    from alstm_ros.pipeline import Frame, Pipeline  # noqa: PLC0415  # needs SciPy, likewise

    config = Config(detector=DetectorConfig(score_threshold=0.1))
    parts: dict[str, list[float]] = {}

    def timed(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            start = time.perf_counter()
            out = work(*arguments)
            parts.setdefault(name, []).append(time.perf_counter() - start)
            return out

        return run

    class Timed:
        """The engine, with its time told apart."""

        inputs, outputs, metadata = engine.inputs, engine.outputs, engine.metadata
        status, settle, close = engine.status, engine.settle, engine.close
        __call__ = staticmethod(timed("engine", engine))

    pipeline = Pipeline(config, OnnxDetector(Timed(), config, "bench"))
    detect, track = timed("detect", pipeline.detect), timed("track", pipeline.track)
    frames = pictures(source, 576, 768)
    for number in range(count):
        frame = Frame(next(frames), number * 100_000_000)
        start = time.perf_counter()
        track(frame, detect([frame])[0])
        parts.setdefault("frame", []).append(time.perf_counter() - start)
    taken = {name: np.array(times[min(USED, len(times) - 1) :]) * 1000 for name, times in parts.items()}
    taken["before and after the engine"] = taken["detect"] - taken["engine"]
    return {
        name: {"p50_ms": round(float(np.median(times)), 3), "p99_ms": round(float(np.percentile(times, 99)), 3)}
        for name, times in taken.items()
    }


def live_switch(start: Callable[[], Engine], inputs: Iterator[Feed]) -> dict[str, Any]:
    """How long a starting node takes to its first answer and to the GPU's, and how long frames take meanwhile.

    Args:
        start: makes an engine that answers at once and switches by itself.
        inputs: one frame after the other.
    """
    begun = time.perf_counter()
    engine = start()
    try:
        taken: list[float] = []
        first = 0.0
        while True:
            frame = next(inputs)
            before = time.perf_counter()
            engine(frame)
            now = time.perf_counter()
            taken.append(now - before)
            first = first or now - begun
            status = engine.status
            if status.progress is None or now - begun > SWITCH_SECONDS:
                break
        found: dict[str, Any] = {
            "first_answer_seconds": round(first, 3),
            "until_switch_seconds": round(now - begun, 3),
            "answers_before": len(taken),
            "slowest_answer_ms": round(max(taken) * 1000, 3),
            "runtime": status.runtime,
            "precision": status.precision,
        }
        return found | ({"not_measured": status.message} if status.degraded or status.progress is not None else {})
    finally:
        engine.close()

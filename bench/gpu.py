"""What only a GPU can show: that TensorRT answers as ONNX Runtime does, how fast, and next to whom.

    python -m bench.gpu --source .cache/vtest.avi --output docs/measurements/gpu-NAME.json

For each model and precision: build and load time, memory, parity with ONNX Runtime (CPU, FP32) over frames or recurrent
steps, latency p50/p99 and throughput for each batch, the same for torch eager, `torch.compile` and ONNX Runtime CUDA in
this run, and the time of whole frames with its parts. It asks nothing and goes on without whatever is missing: what
could not be measured has a sentence in its place. The file is written anew after each measurement, so that a run
that is cut off leaves what it had. Without a GPU it says so and measures nothing;
`--rehearse` runs all of it on the processor with ONNX Runtime in the GPU's place, to check this script, and marks the
result as such.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

import alstm_ros
from alstm_ros.config import Config, DetectorConfig, EngineConfig
from alstm_ros.engines import agreement, tensorrt_api, tensorrt_graph
from alstm_ros.engines.engine import Engine
from alstm_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from alstm_ros.engines.profiles import states
from alstm_ros.errors import AlstmError
from alstm_ros.options import replace
from bench.gpu_contenders import CONTENDERS, ENGINES, Contender, Make, Unavailable, Workplace

Feed = dict[str, NDArray[Any]]
SHIPPED = Path(alstm_ros.__file__).parent / "models"
ROWS = 48
"""Tracks and pairs in a step of the association's latency."""


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


def measure(
    name: str, path: Path, precision: str, args: argparse.Namespace, place: Workplace, found: dict[str, Any]
) -> None:
    """One model in one precision through every contender."""
    reference = OnnxRuntimeEngine(path, EngineConfig(threads=args.threads))
    images = any(len(spec.shape) == 4 for spec in reference.inputs.values())
    batches = args.batches if images else [ROWS]
    for title, make in CONTENDERS.items():
        if args.contender and title not in args.contender:
            continue
        entry: dict[str, Any] = {"latency": {}}
        found[title] = entry
        try:
            with place.contender(make, path, precision, reference) as (answer, about):
                entry |= about
                count = args.frames if title == "tensorrt" else min(args.frames, 20)
                entry["parity"] = parity(
                    answer, reference, feeds(path, reference, args.source, 1 if images else 16), count
                )
                limit = agreement.TOLERANCES[precision]
                entry["parity"] |= {"limit": limit, "within": max(entry["parity"]["worst"].values()) <= limit}
                for batch in batches:
                    inputs = next(feeds(path, reference, args.source, batch))
                    entry["latency"][str(batch)] = latency(answer, inputs, args.runs)
        except Exception as error:  # noqa: BLE001  # unattended: whatever fails is told, and the others are measured
            entry["not_measured"] = reason(error)
        place.report()
        sys.stderr.write(f"{name} {precision} {title}: {json.dumps(entry)}\n")


def reason(error: Exception) -> str:
    """Why something was not measured, as one sentence."""
    text = str(error).split("\n", maxsplit=1)[0]
    return text if isinstance(error, (AlstmError, Unavailable)) else f"It fails with {type(error).__name__}: {text}"


def whole_frames(engine: Engine, args: argparse.Namespace) -> dict[str, Any]:
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
    frames = pictures(args.source, 576, 768)
    for number in range(args.frames):
        frame = Frame(next(frames), number * 100_000_000)
        start = time.perf_counter()
        track(frame, detect([frame])[0])
        parts.setdefault("frame", []).append(time.perf_counter() - start)
    taken = {name: np.array(times[min(10, len(times) - 1) :]) * 1000 for name, times in parts.items()}
    taken["before and after the engine"] = taken["detect"] - taken["engine"]
    return {
        name: {"p50_ms": round(float(np.median(times)), 3), "p99_ms": round(float(np.percentile(times, 99)), 3)}
        for name, times in taken.items()
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and writes; 0 where all that TensorRT answered is within the limits, 2 where nothing was measured."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else "")
    parser.add_argument("--source", type=Path, help="a video; drawn pictures when not given")
    parser.add_argument(
        "--model", type=Path, action="append", default=[], help="an ONNX file; all shipped ones without"
    )
    parser.add_argument("--precision", choices=("fp32", "fp16"), action="append", default=[])
    parser.add_argument("--contender", choices=tuple(CONTENDERS), action="append", default=[], help="all without")
    parser.add_argument("--frames", type=int, default=1000, help="frames and recurrent steps of the parity")
    parser.add_argument("--runs", type=int, default=300, help="runs of each latency")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--threads", type=int, default=0, help="of ONNX Runtime on the CPU; 0: every core")
    parser.add_argument("--device", type=int, default=0)
    parser.add_argument("--output", type=Path, help="a JSON file to write")
    parser.add_argument("--rehearse", action="store_true", help="run the script without a GPU; measures nothing of use")
    args = parser.parse_args(arguments)
    result: dict[str, Any] = {"rehearsal": args.rehearse}
    try:
        with tempfile.TemporaryDirectory() as cache:
            config = replace(EngineConfig(), {"runtime": "tensorrt", "device": args.device, "cache_dir": cache})
            config = replace(config, {"max_batch": max(args.batches), "threads": args.threads})
            place = Workplace(config, rehearsal=args.rehearse)
            place.report = lambda: write(result, args.output)
            run(args, place, result)
    except AlstmError as error:
        sys.stderr.write(f"Nothing was measured: {error}\n")
        return 2
    write(result, args.output)
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    within = [
        contenders.get("tensorrt", {}).get("parity", {}).get("within", True)
        for precisions in result["models"].values()
        for contenders in precisions.values()
    ]
    return 0 if all(within) else 1


def write(result: Mapping[str, Any], path: Path | None) -> None:
    """Writes what there is so far."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def run(args: argparse.Namespace, place: Workplace, result: dict[str, Any]) -> None:
    """Everything."""
    precisions = args.precision or ["fp32", "fp16"]
    result["machine"] = machine(place)
    result["models"] = {}
    for path in args.model or sorted(SHIPPED.glob("*.onnx")):
        entry: dict[str, dict[str, Any]] = {precision: {} for precision in precisions}
        result["models"][path.name] = entry
        for precision in precisions:
            try:
                measure(path.name, path, precision, args, place, entry[precision])
            except AlstmError as error:  # noqa: PERF203  # not even the reference runs it; two turns a model
                entry[precision]["not_measured"] = reason(error)
    result["whole_frames"] = {}
    for title, make in CONTENDERS.items():
        if title not in ENGINES or (args.contender and title not in args.contender):
            continue
        for precision in precisions:
            result["whole_frames"][f"{title} {precision}"] = frames_of(make, precision, args, place)
            place.report()


def frames_of(make: Make, precision: str, args: argparse.Namespace, place: Workplace) -> dict[str, Any]:
    """Whole frames with the default detector on one of the engines."""
    try:
        from alstm_ros import detection  # noqa: PLC0415  # needs OpenCV, which the rest does without

        path = detection.MODELS["default"]
        reference = OnnxRuntimeEngine(path, EngineConfig(threads=args.threads))
        with place.contender(make, path, precision, reference) as (engine, _):
            return whole_frames(engine, args)  # type: ignore[arg-type]  # `ENGINES` are engines
    except Exception as error:  # noqa: BLE001  # unattended: it is told, and the others are measured
        return {"not_measured": reason(error)}


def machine(place: Workplace) -> dict[str, Any]:
    """What it runs on, and what it is missing."""
    info = place.device_info
    found: dict[str, Any] = {
        "gpu": None if info is None else info.name,
        "compute_capability": None if info is None else ".".join(map(str, info.capability)),
        "driver_cuda": None if info is None else info.driver,
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.platform(),
    }
    for name in ("onnxruntime", "onnx", "torch", "numpy"):
        module = sys.modules.get(name)
        found[name] = None if module is None else str(module.__version__)
    try:
        found["tensorrt"] = f"{tensorrt_api.find().name} {tensorrt_api.find().version}"
    except AlstmError as error:
        found["tensorrt"] = reason(error)
    return found


if __name__ == "__main__":
    sys.exit(main())

"""What can be said of the engines without a GPU: answers in FP16, builds of TensorRT-RTX, ONNX Runtime's times.

    python -m bench.engines --source .cache/vtest.avi --output docs/measurements/engines.json

TensorRT-RTX builds for a GPU that is not here, so its build times are real and its answers are not had; the FP16
export is compared with the FP32 file through ONNX Runtime, which shows the rounding that the file prescribes and not a
GPU's own.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from alstm_ros import detection
from alstm_ros.association.learned import associator as lstm
from alstm_ros.config import EngineConfig
from alstm_ros.engines import agreement, tensorrt_api, tensorrt_build, tensorrt_graph
from alstm_ros.engines.accelerated import Job, Target
from alstm_ros.engines.cache import PlanKey, open_cache
from alstm_ros.engines.failures import DeviceLostError
from alstm_ros.engines.letterbox_graph import LetterboxRoom, letterbox_inside
from alstm_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from alstm_ros.engines.precision import half
from alstm_ros.engines.profiles import make_profile
from alstm_ros.engines.status import EngineStatus
from alstm_ros.engines.switching import FastEngine, SwitchingEngine
from alstm_ros.errors import AlstmError
from bench.gpu_measurements import feeds, latency, parity, pictures

CAPABILITY = (8, 6)
ROWS = 48
"""Tracks and pairs in a step of the association."""


def seconds(work: Callable[[], object], runs: int) -> float:
    """The least time of some runs."""
    least = float("inf")
    for _ in range(runs):
        start = time.perf_counter()
        work()
        least = min(least, time.perf_counter() - start)
    return round(least, 4)


def builds(path: Path, runs: int) -> dict[str, Any]:
    """Parsing and building with TensorRT-RTX in both precisions."""
    flavour = tensorrt_api.find("tensorrt_rtx")
    found: dict[str, Any] = {"version": flavour.version, "capability": "8.6"}
    for precision in ("fp32", "fp16"):
        model = tensorrt_graph.prepare(tensorrt_graph.read(path), precision)
        profile = make_profile(model.inputs, model.outputs, model.metadata, 4)

        def build(model: Any = model, profile: Any = profile) -> tensorrt_build.Plan:
            return tensorrt_build.build_engine(flavour, model, profile, CAPABILITY)

        plan = build()
        found[precision] = {
            "prepare_s": seconds(
                lambda precision=precision: tensorrt_graph.prepare(tensorrt_graph.read(path), precision),  # type: ignore[misc]
                runs,
            ),
            "build_s": seconds(build, runs),
            "onnx_mb": round(len(model.onnx) / 1e6, 2),
            "engine_mb": round(len(plan.data) / 1e6, 2),
            "shapes": profile.key,
            "layers": plan.layers,
        }
    return found


def rounding(path: Path, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """How far the FP16 export is from the FP32 file, over frames or recurrent steps."""
    lowered = folder / path.name
    onnx.save(half(onnx.load(str(path))), lowered)
    config = EngineConfig(threads=args.threads)
    reference, answer = OnnxRuntimeEngine(path, config), OnnxRuntimeEngine(lowered, config)
    recurrent = not any(len(spec.shape) == 4 for spec in reference.inputs.values())
    found = parity(answer, reference, feeds(path, reference, args.source, 16 if recurrent else 1), args.frames)
    return found | {"limit": agreement.TOLERANCES["fp16"]}


def cpu_times(path: Path, args: argparse.Namespace) -> dict[str, Any]:
    """ONNX Runtime on the processor."""
    found: dict[str, Any] = {}
    for threads in (1, 2):
        engine = OnnxRuntimeEngine(path, EngineConfig(threads=threads))
        images = any(len(spec.shape) == 4 for spec in engine.inputs.values())
        for batch in args.batches if images else [ROWS]:
            inputs = next(feeds(path, engine, args.source, batch))
            found[f"{threads} threads, {batch} rows"] = latency(engine, inputs, args.runs)
    return found


def letterboxes(path: Path, runs: int, folder: Path) -> dict[str, Any]:
    """Letterbox and network together on the processor: OpenCV in front of the graph, or the graph's own; least ms."""
    from alstm_ros.detection.letterbox import Canvas  # noqa: PLC0415  # only detectors have one

    model = onnx.load(str(path))
    about = tensorrt_graph.metadata(model)
    sizes: dict[str, Any] = {key: int(about[key]) for key in ("height", "width", "multiple", "minimum")}
    inside = folder / f"inside_{path.name}"
    onnx.save(letterbox_inside(model, LetterboxRoom(**sizes)), inside)
    canvas, config, found = Canvas(**sizes), EngineConfig(threads=2), {}
    plain, whole = OnnxRuntimeEngine(path, config), OnnxRuntimeEngine(inside, config)
    [name] = plain.inputs
    for height, width in ((480, 640), (720, 1280), (1080, 1920)):
        image = next(pictures(None, height, width))
        outside_s = seconds(lambda image=image: plain({name: canvas.letterbox([image])[0]}), runs)  # type: ignore[misc]
        inside_s = seconds(lambda image=image: whole({name: image[None]}), runs)  # type: ignore[misc]
        found[f"{width}x{height}"] = {"opencv_ms": round(1e3 * outside_s, 1), "graph_ms": round(1e3 * inside_s, 1)}
    return found


def first_answer(path: Path, folder: Path) -> dict[str, Any]:
    """From the start to the first answer while TensorRT-RTX builds, and how many answers the build leaves time for."""
    start = time.perf_counter()
    config = EngineConfig(threads=1, runtime="tensorrt", cache_dir=str(folder))
    fallback = OnnxRuntimeEngine(path, config)
    job = Job(path, config, fallback.inputs, fallback.outputs, {}, ("tensorrt_rtx",))
    built = threading.Event()

    def begin(progress: Callable[[float], bool]) -> FastEngine:
        cache = open_cache(str(folder))
        job.plan(Target(tensorrt_api.find("tensorrt_rtx"), cache, CAPABILITY), progress)
        built.set()
        raise DeviceLostError("There is no GPU here.")

    engine = SwitchingEngine(fallback, begin, EngineStatus("tensorrt_rtx", "fp16"))
    inputs = next(feeds(path, fallback, None, 1))
    engine(inputs)
    first = time.perf_counter() - start
    answers = 1
    while not built.is_set():
        engine(inputs)
        answers += 1
    ready = time.perf_counter() - start
    engine.close()
    return {"first_answer_s": round(first, 3), "engine_built_s": round(ready, 3), "answers_until_then": answers}


def cache_times(folder: Path, runs: int) -> dict[str, float]:
    """Storing and loading an engine of 16 MB, checksum and flush to the disk included."""
    cache = open_cache(str(folder))
    key = dataclasses.replace(PlanKey("", "", "", "", "", "", "", ""), model="bench")
    plan = np.random.default_rng(0).bytes(16 << 20)
    store = seconds(lambda: cache.store(key, plan), runs)
    return {"store_s": store, "load_s": seconds(lambda: cache.load(key), runs)}


def main() -> int:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else "")
    parser.add_argument("--source", type=Path, help="a video; drawn pictures when not given")
    parser.add_argument(
        "--model", type=Path, action="append", default=[], help="an ONNX file; all shipped ones without"
    )
    parser.add_argument("--frames", type=int, default=1000, help="frames and recurrent steps of the FP16 comparison")
    parser.add_argument("--runs", type=int, default=50, help="runs of each latency")
    parser.add_argument("--builds", type=int, default=3, help="runs of each build; the fastest counts")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--threads", type=int, default=2, help="of ONNX Runtime in the FP16 comparison")
    parser.add_argument("--output", type=Path, help="a JSON file to write")
    args = parser.parse_args()
    logging.getLogger("alstm_ros").setLevel(logging.ERROR)
    known = {*detection.MODELS.values(), lstm.MODELS["default"]}
    try:
        with tempfile.TemporaryDirectory() as text:
            folder = Path(text)
            result: dict[str, Any] = {
                "machine": machine(),
                "models": {},
                "cache_16_mb": cache_times(folder, args.builds),
            }
            for path in args.model or sorted(path for path in known if path.is_file()):
                result["models"][path.name] = {
                    "tensorrt_rtx": builds(path, args.builds),
                    "fp16_against_fp32": rounding(path, args, folder),
                    "onnxruntime": cpu_times(path, args),
                    "start": first_answer(path, folder / path.stem),
                }
                if any(len(dims) == 4 for dims in tensorrt_graph.axes(onnx.load(str(path)))[0].values()):
                    result["models"][path.name]["letterbox"] = letterboxes(path, args.runs, folder)
                sys.stderr.write(f"{path.name}: {json.dumps(result['models'][path.name])}\n")
    except AlstmError as error:
        sys.stderr.write(f"Nothing was measured: {error}\n")
        return 2
    result["machine"]["load_after"] = round(os.getloadavg()[0], 2)
    text = json.dumps(result, indent=2) + "\n"
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 0


def machine() -> dict[str, Any]:
    """What it runs on; the load tells whether others were at work."""
    import onnxruntime  # noqa: PLC0415  # its version alone

    return {
        "processors": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "onnxruntime": onnxruntime.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
    }


if __name__ == "__main__":
    sys.exit(main())

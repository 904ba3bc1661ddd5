"""Who runs a model file in `gpu.py`: TensorRT, ONNX Runtime on GPU and processor, torch eager, `torch.compile`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alstm_ros.config import EngineConfig
from alstm_ros.engines import onnxruntime_cuda as onnxruntime_cuda_engine
from alstm_ros.engines.accelerated import Job
from alstm_ros.engines.engine import Engine
from alstm_ros.engines.gpu import open_gpu
from alstm_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from alstm_ros.options import replace

Contender = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]
"""Answers arrays by input name with arrays by output name."""
Made = tuple[Contender, dict[str, Any], Callable[[], None]]
"""A contender that is ready, what is told of its start, and what frees it."""
Make = Callable[["Workplace", Path, str, Engine], Made]
"""Makes a contender of a model file and a precision; the engine is the reference, whose tensors it shares."""


class Unavailable(Exception):  # noqa: N818  # not an error: it is reported and the others go on
    """A contender cannot run here; its text says why."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """The GPU and what can run on it, or their stand-ins in a rehearsal.

    Attributes:
        config: the group `engine.*` for every contender.
        rehearsal: whether the processor stands in for the GPU.
    """

    config: EngineConfig
    rehearsal: bool

    @contextmanager
    def contender(
        self, make: Make, path: Path, precision: str, reference: Engine
    ) -> Iterator[tuple[Contender, dict[str, Any]]]:
        """A contender, ready; freed at the end."""
        answer, about, close = make(self, path, precision, reference)
        try:
            yield answer, about
        finally:
            close()

    def at(self, precision: str) -> EngineConfig:
        """The config in a precision."""
        return replace(self.config, {"precision": precision})

    def start(self, path: Path, precision: str, reference: Engine) -> Engine:
        """TensorRT's engine, built or from the cache.

        Raises:
            AlstmError: TensorRT is missing, or cannot run this model on this GPU.
        """
        if self.rehearsal:
            return OnnxRuntimeEngine(path, self.config)
        job = Job(path, self.at(precision), reference.inputs, reference.outputs, {})
        engine: Engine = job.start(lambda _: True)
        return engine

    def free_memory(self) -> int:
        """Bytes free on the GPU."""
        if self.rehearsal:
            return 0
        device = open_gpu(self.config.device)
        free = device.free_memory()
        device.close()
        return free


def tensorrt(place: Workplace, path: Path, precision: str, reference: Engine) -> Made:
    """TensorRT through this package's engine; the first start builds, the second loads what the first built."""
    free, start = place.free_memory(), time.perf_counter()
    place.start(path, precision, reference).close()
    built = time.perf_counter() - start
    start = time.perf_counter()
    engine = place.start(path, precision, reference)
    loaded = time.perf_counter() - start
    about = {
        "build_seconds": round(built, 3),
        "load_seconds": round(loaded, 3),
        "memory_bytes": free - place.free_memory(),
        "precision": engine.status.precision,
        "layers": dict(engine.status.layers),
    }
    return engine, about, engine.close


def onnxruntime_cuda(place: Workplace, path: Path, precision: str, _: Engine) -> Made:
    """ONNX Runtime's CUDA provider through this package's engine."""
    if place.rehearsal:
        stand_in = OnnxRuntimeEngine(path, place.config)
        return stand_in, {}, stand_in.close
    if not onnxruntime_cuda_engine.offered():
        raise Unavailable("This onnxruntime has no CUDA provider; install onnxruntime-gpu in its place.")
    free, start = place.free_memory(), time.perf_counter()
    engine = onnxruntime_cuda_engine.OnnxRuntimeCudaEngine(path, place.at(precision))
    engine.warm_up()
    about = {
        "load_seconds": round(time.perf_counter() - start, 3),
        "memory_bytes": free - place.free_memory(),
    }
    return engine, about, engine.close


def onnxruntime_cpu(place: Workplace, path: Path, _: str, __: Engine) -> Made:
    """ONNX Runtime on the processor, which computes in FP32 whatever is asked for."""
    start = time.perf_counter()
    engine = OnnxRuntimeEngine(path, place.config)
    return engine, {"load_seconds": round(time.perf_counter() - start, 3), "precision": "fp32"}, engine.close


def torch_eager(place: Workplace, path: Path, precision: str, _: Engine) -> Made:
    """Torch, operation by operation; in FP16 through autocast."""
    return _torch(place, path, precision, compiled=False)


def torch_compiled(place: Workplace, path: Path, precision: str, _: Engine) -> Made:
    """`torch.compile` in its fastest mode for small batches."""
    return _torch(place, path, precision, compiled=True)


def _torch(place: Workplace, path: Path, precision: str, *, compiled: bool) -> Made:
    try:
        import torch  # noqa: PLC0415  # a contender, loaded where it runs

        from bench.gpu_torch import OnnxModule  # noqa: PLC0415  # likewise
    except ImportError as error:
        raise Unavailable(f"Torch or onnx2torch is not installed ({error}).") from error
    if not place.rehearsal and not torch.cuda.is_available():
        raise Unavailable(f"Torch {torch.__version__} has no CUDA here.")
    # cuDNN's convolutions use TF32 unless told not to, which is no FP32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    where = torch.device("cpu" if place.rehearsal else f"cuda:{place.config.device}")
    start = time.perf_counter()
    try:
        network: Any = OnnxModule(path).eval().to(where)
    except NotImplementedError as error:
        raise Unavailable(f"onnx2torch cannot convert {path.name}: {error}") from error
    loaded = time.perf_counter() - start
    # a rehearsal has no C++ compiler to rely on; "eager" checks the tracing alone
    options: dict[str, Any] = {"backend": "eager"} if place.rehearsal else {"mode": "max-autotune"}
    module = torch.compile(network, **options) if compiled else network

    def answer(inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        given = {name: torch.from_numpy(np.array(array)).to(where) for name, array in inputs.items()}
        with torch.inference_mode(), torch.autocast(where.type, torch.float16, enabled=precision == "fp16"):
            found = module(given)
        return {name: tensor.float().cpu().numpy() if tensor.is_floating_point() else tensor.cpu().numpy()
                for name, tensor in found.items()}  # fmt: skip

    return answer, {"torch": torch.__version__, "tf32": False, "load_seconds": round(loaded, 3)}, lambda: None


CONTENDERS: dict[str, Make] = {
    "tensorrt": tensorrt,
    "onnxruntime cuda": onnxruntime_cuda,
    "onnxruntime cpu": onnxruntime_cpu,
    "torch eager": torch_eager,
    "torch compile": torch_compiled,
}
"""Name of a contender to what makes it."""
ENGINES = ("tensorrt", "onnxruntime cuda", "onnxruntime cpu")
"""The contenders that are engines of this package, with which whole frames run."""
SWITCHES = {"tensorrt": "tensorrt", "onnxruntime cuda": "cuda"}
"""The contenders that the node switches to while it answers, to their `engine.runtime`."""

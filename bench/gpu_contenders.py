"""Who runs a model file on the GPU in `gpu.py`: TensorRT, ONNX Runtime CUDA, torch eager, `torch.compile`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alstm_ros.config import EngineConfig
from alstm_ros.engines import tensorrt_api
from alstm_ros.engines.accelerated import Job
from alstm_ros.engines.cuda_device import CudaDevice
from alstm_ros.engines.device import DeviceInfo
from alstm_ros.engines.engine import Engine
from alstm_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from alstm_ros.engines.tensorrt_api import Flavour
from alstm_ros.options import replace

Contender = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]
Made = tuple[Contender, dict[str, Any], Callable[[], None]]


class Unavailable(Exception):  # noqa: N818  # not an error: it is reported and the others go on
    """A contender cannot run here; its text says why."""


class Workplace:
    """The GPU and TensorRT, or their stand-ins in a rehearsal."""

    def __init__(self, config: EngineConfig, *, rehearsal: bool) -> None:
        """Looks for the GPU.

        Raises:
            DependencyError: TensorRT or cuda-python is missing.
            DeviceLostError: there is no GPU.
        """
        self.config, self.rehearsal = config, rehearsal
        self.device_info: DeviceInfo | None = None
        self.flavour: Flavour | None = None
        if not rehearsal:
            self.flavour = tensorrt_api.find()
            device = CudaDevice(config.device)
            self.device_info = device.info
            device.close()

    @contextmanager
    def contender(
        self, make: Callable[[Workplace, Path, str, Engine], Made], path: Path, precision: str, reference: Engine
    ) -> Iterator[tuple[Contender, dict[str, Any]]]:
        """A contender, ready; freed at the end."""
        answer, about, close = make(self, path, precision, reference)
        try:
            yield answer, about
        finally:
            close()

    @contextmanager
    def engine(self, path: Path, precision: str, reference: Engine) -> Iterator[Engine]:
        """TensorRT's engine for whole frames."""
        engine = self.start(path, precision, reference)
        try:
            yield engine
        finally:
            engine.close()

    def start(self, path: Path, precision: str, reference: Engine) -> Engine:
        """TensorRT's engine, built or from the cache."""
        if self.rehearsal:
            return OnnxRuntimeEngine(path, self.config)
        engine: Engine = self.job(path, precision, reference).start(lambda _: True)
        return engine

    def job(self, path: Path, precision: str, reference: Engine) -> Job:
        """The engine's job description."""
        return Job(path, replace(self.config, {"precision": precision}), reference.inputs, reference.outputs, {})

    def free_memory(self) -> int:
        """Bytes free on the GPU."""
        if self.rehearsal:
            return 0
        device = CudaDevice(self.config.device)
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
        "layers": dict(engine.status.layers),
    }
    return engine, about, engine.close


def onnxruntime_cuda(place: Workplace, path: Path, precision: str, reference: Engine) -> Made:
    """ONNX Runtime's CUDA provider on the file as it is, or on its FP16 export."""
    import onnxruntime as ort  # noqa: PLC0415  # a contender, loaded where it runs

    from alstm_ros.engines import tensorrt_graph  # noqa: PLC0415  # likewise

    if "CUDAExecutionProvider" not in ort.get_available_providers() and not place.rehearsal:
        raise Unavailable("this onnxruntime has no CUDA provider; install onnxruntime-gpu in its place")
    model = tensorrt_graph.prepare(tensorrt_graph.read(path), precision).onnx
    providers: list[Any] = [("CUDAExecutionProvider", {"device_id": place.config.device})]
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"] if place.rehearsal else providers)
    if not place.rehearsal and "CUDAExecutionProvider" not in session.get_providers():
        raise Unavailable("onnxruntime could not load its CUDA provider (see its log)")
    names = list(reference.outputs)

    def answer(inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    return answer, {}, lambda: None


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
        raise Unavailable(f"torch is not installed ({error})") from error
    if not place.rehearsal and not torch.cuda.is_available():
        raise Unavailable("this torch has no CUDA")
    where = torch.device("cpu" if place.rehearsal else f"cuda:{place.config.device}")
    ready: dict[tuple[tuple[int, ...], ...], Any] = {}

    def answer(inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        key = tuple(array.shape for array in inputs.values())
        given = {name: torch.from_numpy(np.array(array)).to(where) for name, array in inputs.items()}
        with torch.inference_mode(), torch.autocast(where.type, torch.float16, enabled=precision == "fp16"):
            if key not in ready:
                module: Any = OnnxModule(path).eval().to(where).specialise(given)
                # a rehearsal has no C++ compiler to rely on; "eager" checks the tracing alone
                options: dict[str, Any] = {"backend": "eager"} if place.rehearsal else {"mode": "max-autotune"}
                ready[key] = torch.compile(module, **options) if compiled else module
            found = ready[key](given)
        return {name: tensor.float().cpu().numpy() if tensor.is_floating_point() else tensor.cpu().numpy()
                for name, tensor in found.items()}  # fmt: skip

    try:
        OnnxModule(path)
    except NotImplementedError as error:
        raise Unavailable(str(error)) from error
    return answer, {"torch": torch.__version__}, ready.clear


CONTENDERS: dict[str, Callable[[Workplace, Path, str, Engine], Made]] = {
    "tensorrt": tensorrt,
    "onnxruntime cuda": onnxruntime_cuda,
    "torch eager": torch_eager,
    "torch compile": torch_compiled,
}
"""Name to what makes it."""

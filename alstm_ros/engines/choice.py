"""Which runtime stands before the processor's: TensorRT, ONNX Runtime's CUDA provider, or none."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from alstm_ros.config import EngineConfig
from alstm_ros.engines import onnxruntime_cuda, tensorrt_api
from alstm_ros.engines.accelerated import Job
from alstm_ros.engines.engine import Engine
from alstm_ros.engines.failures import EngineFailure
from alstm_ros.engines.status import EngineStatus, title
from alstm_ros.engines.switching import FastEngine, Start, SwitchingEngine
from alstm_ros.engines.trial import Trial
from alstm_ros.errors import AlstmError, DependencyError
from alstm_ros.options import replace

LOG = logging.getLogger(__name__)

_RUNS = 20
"""The number of runs of each precision whose times are compared."""


def accelerate(path: Path, config: EngineConfig, fallback: Engine, sizes: Mapping[str, int] | None = None) -> Engine:
    """Puts a GPU's runtime before an engine, as the config wants it.

    Args:
        path: the model file.
        config: the group `engine.*`.
        fallback: the same file in ONNX Runtime on the processor.
        sizes: name of a free axis, such as `height`, to the largest size that will be used.

    Returns:
        An engine that answers at once; `fallback` itself where no GPU is wanted or possible.

    Raises:
        DependencyError: the runtime that the config names is not installed.
    """
    if config.runtime == "onnxruntime" or (config.runtime == "auto" and not tensorrt_api.driver_present()):
        return fallback
    job = Job(path, config, fallback.inputs, fallback.outputs, dict(sizes or {}))
    ways: dict[str, Start] = {}
    if config.runtime in {"auto", "tensorrt"} and tensorrt_api.installed():
        ways["tensorrt"] = Trial(job).start
    if config.runtime in {"auto", "cuda"} and onnxruntime_cuda.offered():
        ways["onnxruntime_cuda"] = lambda progress: _cuda(path, config, job.sizes, progress)
    if not ways:
        if config.runtime == "tensorrt":
            tensorrt_api.find()  # raises the sentence that says what to install
        if config.runtime == "cuda":
            raise DependencyError(
                "Parameter 'engine.runtime' is 'cuda', and the ONNX Runtime that is installed has no CUDA provider; "
                "install onnxruntime-gpu in place of onnxruntime ('pip uninstall onnxruntime; pip install "
                "onnxruntime-gpu')."
            )
        return fallback
    return SwitchingEngine(fallback, FirstThatCan(ways), EngineStatus(next(iter(ways)), config.precision))


def _cuda(path: Path, config: EngineConfig, sizes: Mapping[str, int], progress: Callable[[float], bool]) -> FastEngine:
    progress(0.0)
    engine: FastEngine
    engine = asked = onnxruntime_cuda.OnnxRuntimeCudaEngine(path, config, sizes)
    asked.warm_up()
    if config.precision == "fp16":
        try:
            plain = onnxruntime_cuda.OnnxRuntimeCudaEngine(path, replace(config, {"precision": "fp32"}), sizes)
            plain.warm_up()
        except EngineFailure as error:  # such as too little memory for both
            LOG.info("FP16 is not compared with FP32: %s", error)
        else:
            engine = faster(asked, plain)
    progress(1.0)
    return engine


def faster(half: FastEngine, plain: FastEngine, clock: Callable[[], float] = time.perf_counter) -> FastEngine:
    """Which of two precisions takes less time here; the other is closed.

    ONNX Runtime's CUDA provider has no FP16 kernel for some convolutions; what it does instead may be slower than FP32.

    Args:
        half: computes in FP16.
        plain: computes in FP32; taken where it is faster.
        clock: seconds.
    """
    zeros = {name: np.zeros(shape, half.inputs[name].dtype) for name, shape in half.usual.items()}
    taken = []
    for _ in range(_RUNS):
        begin = clock()
        half(zeros)
        between = clock()
        plain(zeros)
        taken.append((between - begin, clock() - between))
    milliseconds = np.median(taken, axis=0) * 1000
    better, other = (plain, half) if milliseconds[1] < milliseconds[0] else (half, plain)
    LOG.info(
        "ONNX Runtime's CUDA provider takes %.2f ms in fp16 and %.2f ms in fp32; %s is used.",
        *milliseconds,
        better.status.precision,
    )
    other.close()
    return better


@dataclass(slots=True)
class FirstThatCan:
    """Starts the first runtime that can ever run the model here; one that never can is left out from then on.

    Attributes:
        ways: runtime to what starts it, the best first.
    """

    ways: dict[str, Start]
    _left: list[str] = field(init=False)

    def __post_init__(self) -> None:
        """All of them may still be able to."""
        self._left = list(self.ways)

    def __call__(self, progress: Callable[[float], bool]) -> FastEngine:
        """Starts one; see `switching.Start`.

        Raises:
            AlstmError: the best one left cannot now, or the last one never can.
        """
        while True:
            name = self._left[0]
            try:
                return self.ways[name](progress)
            except AlstmError as error:
                lasting = not isinstance(error, EngineFailure) or error.lasting
                if not lasting or len(self._left) == 1 or not progress(0.0):
                    raise
                LOG.warning("%s %s is tried instead.", error, title(self._left[1]))
                del self._left[0]

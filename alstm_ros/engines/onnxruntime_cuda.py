"""Model files through ONNX Runtime's CUDA provider, where `onnxruntime-gpu` stands in place of `onnxruntime`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alstm_ros.config import EngineConfig
from alstm_ros.engines import failures, onnxruntime_engine
from alstm_ros.engines.engine import Tensors
from alstm_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from alstm_ros.engines.profiles import USUAL_ROWS
from alstm_ros.engines.status import EngineStatus
from alstm_ros.errors import DependencyError, ModelError

_ANY_SIZE = 320
"""Pixels taken for an axis of an image that nothing bounds, in the made-up frame alone."""


def offered() -> bool:
    """Whether the ONNX Runtime that is installed has the CUDA provider; whether it works shows when it is opened."""
    return onnxruntime_engine.CUDA in onnxruntime_engine.runtime().get_available_providers()


def provider_options(config: EngineConfig) -> dict[str, str]:
    """What the provider is asked for: runs that repeat bit for bit, FP32 that is FP32, and no memory in advance."""
    return {
        "device_id": str(config.device),
        "cudnn_conv_algo_search": "HEURISTIC",  # the default times every algorithm, and may choose anew at each start
        "use_tf32": "0",  # on by default, with a 10-bit mantissa
        "arena_extend_strategy": "kSameAsRequested",  # the default doubles, on a Jetson at the cost of all others
    }


class OnnxRuntimeCudaEngine(OnnxRuntimeEngine):
    """An ONNX file in an ONNX Runtime session on the GPU; the first call of a shape is slow."""

    def __init__(self, path: Path, config: EngineConfig, sizes: Mapping[str, int] | None = None) -> None:
        """Reads and optimises the model, its FP16 version where the config says so.

        Args:
            path: the file.
            config: the group `engine.*`.
            sizes: name of a free axis to the largest size that will be used.

        Raises:
            DependencyError: ONNX Runtime, its CUDA provider, or what that needs is not installed.
            ModelError: the file is no ONNX model that it can run.
            EngineFailure: the GPU fails or has too little memory.
        """
        model: Path | bytes = path
        if config.precision == "fp16":
            from alstm_ros.engines import precision, tensorrt_graph  # noqa: PLC0415  # needs onnx, which FP32 does not

            model = precision.half(tensorrt_graph.read(path)).SerializeToString()
        wanted = [(onnxruntime_engine.CUDA, provider_options(config)), onnxruntime_engine.CPU]
        try:
            session = onnxruntime_engine.open_session(model, path.name, config, wanted)
        except ModelError as error:
            raise failures.from_log("ONNX Runtime's CUDA provider cannot take the model", [str(error)]) from error
        if onnxruntime_engine.CUDA not in session.get_providers():  # it goes on without, and tells only its own log
            raise DependencyError(
                "ONNX Runtime's CUDA provider cannot be loaded. It needs NVIDIA's driver, and the CUDA and cuDNN that "
                f"onnxruntime-gpu {onnxruntime_engine.runtime().__version__} was built for."
            )
        super().__init__(path, config, session)
        self._precision = config.precision
        self._sizes = {**self._own_sizes(), **(sizes or {})}

    @property
    def status(self) -> EngineStatus:
        """That this runtime answers."""
        return EngineStatus("onnxruntime_cuda", self._precision)

    @property
    def usual(self) -> Mapping[str, tuple[int, ...]]:
        """A likely shape of each input: one image, or some tracks."""
        return {
            value.name: tuple(self._usual(size, place, len(value.shape)) for place, size in enumerate(value.shape))
            for value in self._session.get_inputs()
        }

    def takes(self, inputs: Tensors) -> bool:
        """Whether the model takes these inputs; any shape that it takes runs."""
        return inputs.keys() == self.inputs.keys() and all(self.inputs[name].takes(a) for name, a in inputs.items())

    def __call__(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Runs the model.

        Raises:
            EngineFailure: the inputs do not fit, the GPU fails, or it has too little memory.
        """
        try:
            return super().__call__(inputs)
        except ModelError as error:
            raise failures.from_log("ONNX Runtime's CUDA provider could not run the model", [str(error)]) from error

    def warm_up(self) -> None:
        """Runs the usual shape once, so that the first frame does not wait for CUDA's libraries."""
        self({name: np.zeros(shape, self.inputs[name].dtype) for name, shape in self.usual.items()})

    def _own_sizes(self) -> dict[str, int]:
        return {
            key: int(text) for key, text in self.metadata.items() if key in {"height", "width"} and text.isdecimal()
        }

    def _usual(self, size: int | str | None, place: int, axes: int) -> int:
        if isinstance(size, int):
            return size
        if place == 0:
            return USUAL_ROWS if axes < 3 else 1
        return self._sizes.get(size or "", _ANY_SIZE)

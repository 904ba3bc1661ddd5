"""Running model files. Every runtime stands behind the `Engine` protocol, under a name in `ENGINES`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from alstm_ros.config import EngineConfig
from alstm_ros.engines.engine import Engine, TensorSpec
from alstm_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from alstm_ros.engines.status import EngineStatus
from alstm_ros.errors import ModelError

__all__ = ["ENGINES", "Engine", "EngineStatus", "TensorSpec", "open_engine"]

Sizes = Mapping[str, int]
"""Name of a free axis, such as `height`, to the largest size that will be used."""


def _onnxruntime(model: Path, config: EngineConfig, _: Sizes) -> Engine:
    return OnnxRuntimeEngine(model, config)


def _accelerated(model: Path, config: EngineConfig, sizes: Sizes) -> Engine:
    from alstm_ros.engines.choice import accelerate  # noqa: PLC0415  # ONNX Runtime alone needs nothing of it

    return accelerate(model, config, OnnxRuntimeEngine(model, config), sizes)


ENGINES: dict[str, Callable[[Path, EngineConfig, Sizes], Engine]] = {
    "auto": _accelerated,
    "onnxruntime": _onnxruntime,
    "cuda": _accelerated,
    "tensorrt": _accelerated,
}
"""Value of `engine.runtime` to what opens a model file with it; a runtime is imported when it is opened, not before."""


def open_engine(model: Path, config: EngineConfig, sizes: Sizes | None = None) -> Engine:
    """Opens a model file in the runtime that the config names.

    Args:
        model: an ONNX file.
        config: the group `engine.*`.
        sizes: name of a free axis to the largest size that will be used, where that is not in the file's metadata.

    Raises:
        ModelError: there is no such file, or it is no ONNX model that the runtime can run.
        DependencyError: the runtime is not installed.
    """
    if not model.is_file():
        raise ModelError(f"There is no model file {model}.")
    return ENGINES[config.runtime](model, config, sizes or {})


load = open_engine
"""The name that `open_engine` had before; it goes with the next release."""

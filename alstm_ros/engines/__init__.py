"""Running model files. Every runtime stands behind the `Engine` protocol, under a name in `ENGINES`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alstm_ros.config import EngineConfig
from alstm_ros.engines.engine import Engine, TensorSpec
from alstm_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from alstm_ros.errors import ModelError

__all__ = ["ENGINES", "Engine", "TensorSpec", "load"]

ENGINES: dict[str, Callable[[Path, EngineConfig], Engine]] = {"onnxruntime": OnnxRuntimeEngine}
"""Name of a runtime to what opens a model file with it; a runtime is imported when it is opened, not before."""


def load(model: Path, config: EngineConfig, runtime: str = "onnxruntime") -> Engine:
    """Opens a model file.

    Args:
        model: an ONNX file.
        config: the group `engine.*`.
        runtime: a name in `ENGINES`.

    Raises:
        ModelError: there is no such file or runtime, or the file is no ONNX model that it can run.
        DependencyError: the runtime is not installed.
    """
    if runtime not in ENGINES:
        raise ModelError(f"There is no engine '{runtime}'; it must be one of {', '.join(sorted(ENGINES))}.")
    if not model.is_file():
        raise ModelError(f"There is no model file {model}.")
    return ENGINES[runtime](model, config)

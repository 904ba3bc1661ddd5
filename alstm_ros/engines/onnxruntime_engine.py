"""Model files through ONNX Runtime; the only importer of onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alstm_ros.config import EngineConfig
from alstm_ros.engines.engine import Tensors, TensorSpec, check_inputs
from alstm_ros.engines.status import EngineStatus
from alstm_ros.errors import DependencyError, ModelError

DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}


CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"


def runtime() -> Any:
    """The module onnxruntime.

    Raises:
        DependencyError: it is not installed.
    """
    try:
        import onnxruntime  # noqa: PLC0415  # `import alstm_ros` must not load it
    except ImportError as error:
        raise DependencyError(
            "Running model files needs ONNX Runtime, for which there is no rosdep key; "
            f"install it with 'pip install onnxruntime' ({error})."
        ) from error
    return onnxruntime


def open_session(model: Path | bytes, name: str, config: EngineConfig, providers: list[Any]) -> Any:
    """Reads and optimises a model.

    Args:
        model: the file, or its content.
        name: of the file, for the sentence.
        config: the group `engine.*`.
        providers: what may run it, the first choice first, as ONNX Runtime takes them.

    Raises:
        DependencyError: ONNX Runtime is not installed.
        ModelError: this is no ONNX model that it can run.
    """
    ort = runtime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = config.threads
    options.inter_op_num_threads = 1
    # Waiting threads sleep: where other nodes share the processors, threads that spin delay the one that works.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # nothing is printed beside; errors reach the user as ModelError
    try:
        return ort.InferenceSession(model if isinstance(model, bytes) else str(model), options, providers=providers)
    except Exception as error:  # onnxruntime's errors have no public base class
        raise ModelError(
            f"The model file {name} cannot be loaded by ONNX Runtime {ort.__version__}: {error}"
        ) from error


class OnnxRuntimeEngine:
    """An ONNX file in an ONNX Runtime session on the processor."""

    def __init__(self, model: Path, config: EngineConfig, session: Any = None) -> None:
        """Reads and optimises the model.

        Args:
            model: the file.
            config: the group `engine.*`.
            session: the model in another session; one on the processor is opened when None.

        Raises:
            DependencyError: ONNX Runtime is not installed.
            ModelError: the file is no ONNX model that it can run.
        """
        self._session = session or open_session(model, model.name, config, [CPU])
        self._inputs = {value.name: _spec(value) for value in self._session.get_inputs()}
        self._outputs = {value.name: _spec(value) for value in self._session.get_outputs()}
        self._metadata = dict(self._session.get_modelmeta().custom_metadata_map)

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """Name to shape and type."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """Name to shape and type."""
        return self._outputs

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the file says about itself."""
        return self._metadata

    @property
    def status(self) -> EngineStatus:
        """That this runtime answers, in the types of the file."""
        return EngineStatus("onnxruntime", "fp32")

    def settle(self) -> None:
        """Returns at once: this is the runtime that answers."""

    def __call__(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Runs the model.

        Raises:
            ModelError: the inputs do not fit, the engine is closed, or ONNX Runtime fails.
        """
        if self._session is None:
            raise ModelError("The engine is closed and cannot run its model.")
        if not all(array.dtype.isnative for array in inputs.values()):  # it would not refuse these, but misread them
            check_inputs(self._inputs, inputs)
        try:
            values = self._session.run(list(self._outputs), dict(inputs))
        except Exception as error:  # onnxruntime's errors have no public base class
            check_inputs(self._inputs, inputs)  # it refuses the same, in words that say less
            raise ModelError(f"ONNX Runtime could not run the model: {error}") from error
        return dict(zip(self._outputs, values, strict=True))

    def close(self) -> None:
        """Frees the session."""
        self._session = None


def _spec(value: Any) -> TensorSpec:
    sizes = tuple(size if isinstance(size, int) else None for size in value.shape)
    if value.type not in DTYPES:
        raise ModelError(f"The tensor '{value.name}' is a {value.type}; it must be one of {', '.join(DTYPES)}.")
    return TensorSpec(sizes, np.dtype(DTYPES[value.type]))

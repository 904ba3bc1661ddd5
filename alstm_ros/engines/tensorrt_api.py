"""Finding TensorRT, and what differs between its releases.

One code serves TensorRT 8.6, 10.x and 11.x (`tensorrt`) and TensorRT-RTX 1.x (`tensorrt_rtx`): all have named tensors
and `execute_async_v3`. What they do not share is asked for by name here, never by version number:

| | 8.6 | 10.x | 11.x | RTX 1.x |
| --- | --- | --- | --- | --- |
| `NetworkDefinitionCreationFlag.EXPLICIT_BATCH` | needed | has no effect | gone | gone |
| `NetworkDefinitionCreationFlag.STRONGLY_TYPED` | - | yes | yes, always so | yes, always so |
| `BuilderFlag.FP16` | yes | yes | gone | gone |
| `IProgressMonitor` | - | yes | yes | yes |
| INT64 tensors | - | yes | yes | yes |
| builds without a GPU | no | no | no | yes |
| captures CUDA graphs itself | no | no | no | yes |
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import logging
import threading
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from alstm_ros.engines.failures import BuildFailedError
from alstm_ros.errors import DependencyError

LOG = logging.getLogger(__name__)

MODULES = ("tensorrt", "tensorrt_rtx")
"""Looked for in this order: where both are there (a workstation), the one that is tuned for this very GPU."""

DTYPES = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT8": np.int8,
    "INT32": np.int32,
    "INT64": np.int64,
    "UINT8": np.uint8,
    "BOOL": np.bool_,
}


@dataclass(frozen=True, slots=True)
class Flavour:
    """An installed TensorRT.

    Attributes:
        name: `tensorrt` or `tensorrt_rtx`.
        version: such as `10.3.0`.
        module: the Python module.
        logger: its one logger; TensorRT wants the same for everything in a process.
    """

    name: str
    version: str
    module: Any
    logger: Any

    @property
    def portable(self) -> bool:
        """Whether an engine serves every GPU of its compute capability and is built without one."""
        return self.name == "tensorrt_rtx"

    def errors(self) -> list[str]:
        """The errors logged since the last call, oldest first; the warnings where there was no error.

        TensorRT 8.6 tells of some failures, such as a CUDA that cannot be initialised, as a warning alone.
        """
        found: list[str] = self.logger.errors.take()
        return found


_KEPT = 20
"""This many of the first errors and warnings are kept: what comes later is most often their consequence."""


@dataclass(slots=True)
class _Errors:
    """The first errors and warnings that TensorRT logged; its calls return None or False and say why only there."""

    lines: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, line: str, *, warning: bool = False) -> None:
        with self.lock:
            kept = self.warnings if warning else self.lines
            if len(kept) < _KEPT:
                kept.append(line)

    def take(self) -> list[str]:
        with self.lock:
            lines, self.lines = self.lines or self.warnings, []
            self.warnings = []
        return lines


def installed() -> bool:
    """Whether a TensorRT is installed; loads none."""
    return any(importlib.util.find_spec(name) is not None for name in MODULES)


def driver_present() -> bool:
    """Whether NVIDIA's driver library is on this machine; costs a failing `dlopen` where it is not."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


@cache
def find(*names: str) -> Flavour:
    """Loads TensorRT.

    Args:
        names: modules to look for, in this order; `MODULES` when none is given.

    Raises:
        DependencyError: none is installed, or what is installed cannot be loaded.
    """
    reasons = []
    for name in names or MODULES:
        try:
            module = importlib.import_module(name)
        except (ImportError, OSError, RuntimeError) as error:  # a missing library below the module shows in three ways
            reasons.append(f"{name}: {error}")
            continue
        return Flavour(name, str(module.__version__), module, _logger(module))
    raise DependencyError(
        "Running models through TensorRT needs TensorRT: on a Jetson it comes with JetPack ('apt install "
        "python3-libnvinfer'; a virtual environment must see the system's packages), elsewhere 'pip install tensorrt' "
        f"or, for RTX GPUs, 'pip install tensorrt-rtx-cu13'. Tried {'; '.join(reasons)}."
    )


def _logger(module: Any) -> Any:
    errors = _Errors()
    severity = module.ILogger.Severity
    base: Any = module.ILogger

    class Logger(base):  # type: ignore[misc]  # the base class comes with the module
        """Hands TensorRT's lines to `logging` and keeps the errors."""

        def __init__(self) -> None:
            base.__init__(self)
            self.errors = errors

        def log(self, level: Any, message: str) -> None:
            if level in {severity.INTERNAL_ERROR, severity.ERROR, severity.WARNING}:
                errors.add(message, warning=level == severity.WARNING)
            if level != severity.VERBOSE:
                LOG.debug("%s", message)  # what matters to a user comes as a sentence of ours

    return Logger()


def create_network(flavour: Flavour, builder: Any) -> tuple[Any, bool]:
    """An empty network in the typing that this release offers.

    Returns:
        The network, and whether it computes in the types of the file (strongly typed).
    """
    flags = flavour.module.NetworkDefinitionCreationFlag
    strong = getattr(flags, "STRONGLY_TYPED", None)
    if strong is not None:
        return builder.create_network(1 << int(strong)), True
    return builder.create_network(1 << int(flags.EXPLICIT_BATCH)), False


def numpy_dtype(dtype: Any) -> np.dtype[Any]:
    """TensorRT's element type as numpy's.

    Raises:
        BuildFailedError: numpy has none, such as FP8.
    """
    name = str(dtype).rpartition(".")[2]
    if name not in DTYPES:
        raise BuildFailedError(f"A tensor is of type {name}; the engine takes {', '.join(DTYPES)}.")
    return np.dtype(DTYPES[name])

"""Why a runtime cannot answer. Whoever holds another runtime catches these and answers with that one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from alstm_ros.errors import AlstmError


class EngineFailure(AlstmError):  # noqa: N818  # the family; its members end in Error
    """A runtime cannot go on; another one may.

    Attributes:
        lasting: whether trying again later cannot help, such as a model that the runtime does not know.
    """

    lasting = False


class BuildFailedError(EngineFailure):
    """An engine could not be built or loaded."""


class UnsupportedModelError(EngineFailure):
    """The runtime cannot run this model at all."""

    lasting = True


class DisagreementError(EngineFailure):
    """Two runtimes answer the same inputs differently, beyond the stated tolerance."""

    lasting = True


class CrashedError(EngineFailure):
    """The process in which an engine was tried died, or was ended because it took too long."""

    lasting = True


class SlowerError(EngineFailure):
    """It would answer, but the processor does so in less time."""

    lasting = True


class DeviceLostError(EngineFailure):
    """The GPU is gone, was reset, or reports an error after which its context is unusable."""


class DeviceMemoryError(EngineFailure):
    """The GPU has not enough free memory."""


class CancelledError(EngineFailure):
    """The build was stopped because its engine is no longer wanted."""

    lasting = True


_MEMORY = r"out of memory|OutOfMemory|FAILED_ALLOCATION|cudaError 2\b|Failed to allocate memory|_ALLOC_FAILED"
_DEVICE = r"cudaError|Cuda Runtime|Cuda Driver|CUDA failure|CUDNN failure|CUBLAS failure|CUDA error"


def from_log(what: str, lines: Sequence[str]) -> EngineFailure:
    """The failure that a library's log tells of.

    Args:
        what: beginning of the sentence, such as `TensorRT could not run the model`.
        lines: the errors that it logged, oldest first.
    """
    text = " ".join(lines)
    reason = _shorten(lines[0]) if lines else "it gave no reason"  # what follows is most often its consequence
    if re.search(_MEMORY, text, re.IGNORECASE):
        return DeviceMemoryError(f"{what}: the GPU has not enough free memory ({reason}).")
    if re.search(_DEVICE, text):
        return DeviceLostError(f"{what}: the GPU reports an error ({reason}).")
    return BuildFailedError(f"{what}: {reason}.")


def _shorten(line: str) -> str:
    """Without the place in the library's own source, which tells a user nothing."""
    return re.sub(r"\s*\(?\bIn \w+ at \S+:\d+\)?", "", line).strip().rstrip(".")[:400]

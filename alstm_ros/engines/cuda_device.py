"""An NVIDIA GPU through NVIDIA's cuda-python."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alstm_ros.engines.device import DeviceInfo
from alstm_ros.engines.failures import DeviceLostError, DeviceMemoryError
from alstm_ros.errors import DependencyError
from alstm_ros.types import UInt8


def _runtime() -> Any:
    """The CUDA runtime's module.

    Raises:
        DependencyError: cuda-python is missing.
    """
    reasons = []
    for name in ("cuda.bindings.runtime", "cuda.cudart"):  # the second until cuda-python 12.6
        try:
            return importlib.import_module(name)
        except ImportError as error:  # noqa: PERF203  # two turns at most
            reasons.append(str(error))
    raise DependencyError(
        "TensorRT needs NVIDIA's cuda-python for the GPU's memory; install the one of your CUDA's major version, "
        f"such as 'pip install \"cuda-python<13\"' on JetPack 6 ({'; '.join(reasons)})."
    )


class CudaDevice:
    """One GPU, one stream; see `device.Device`."""

    def __init__(self, index: int = 0) -> None:
        """Opens a GPU.

        Args:
            index: which one.

        Raises:
            DependencyError: cuda-python is missing.
            DeviceLostError: there is no driver or no such GPU.
        """
        self._cuda = _runtime()
        self._index = index
        self._closed = False
        count = self._call("cudaGetDeviceCount")
        if index >= count:
            raise DeviceLostError(f"There is no GPU {index}; this machine has {count}. Set engine.device.")
        self.activate()
        facts = self._call("cudaGetDeviceProperties", index)
        driver = int(self._call("cudaDriverGetVersion"))
        name = facts.name.decode() if isinstance(facts.name, bytes) else str(facts.name)
        self._info = DeviceInfo(
            name.rstrip("\0"),
            (int(facts.major), int(facts.minor)),
            f"{driver // 1000}.{driver % 1000 // 10}",
            int(facts.totalGlobalMem),
        )
        self._stream = self._call("cudaStreamCreateWithFlags", self._cuda.cudaStreamNonBlocking)

    @property
    def info(self) -> DeviceInfo:
        """Which GPU it is."""
        return self._info

    @property
    def stream(self) -> int:
        """Handle of the stream."""
        return int(self._stream)

    def activate(self) -> None:
        """Makes this GPU the calling thread's; the CUDA runtime keeps that per thread."""
        self._call("cudaSetDevice", self._index)

    def allocate(self, size: int) -> int:
        """Address of `size` bytes of device memory, zeroed."""
        address = int(self._call("cudaMalloc", max(size, 1)))
        self._call("cudaMemset", address, 0, max(size, 1))
        return address

    def free(self, address: int) -> None:
        """Gives device memory back."""
        self._call("cudaFree", address)

    def pinned(self, size: int) -> UInt8:
        """`(size,)` uint8, page-locked memory of the host."""
        address = int(self._call("cudaHostAlloc", max(size, 1), self._cuda.cudaHostAllocDefault))
        memory: UInt8 = np.ctypeslib.as_array((ctypes.c_uint8 * max(size, 1)).from_address(address))
        return memory[:size]

    def unpin(self, memory: UInt8) -> None:
        """Gives page-locked memory back."""
        self._call("cudaFreeHost", memory.ctypes.data)

    def upload(self, address: int, memory: NDArray[Any]) -> None:
        """Puts a copy to the device on the stream."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", address, memory.ctypes.data, memory.nbytes, kind, self._stream)

    def download(self, memory: NDArray[Any], address: int) -> None:
        """Puts a copy from the device on the stream."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", memory.ctypes.data, address, memory.nbytes, kind, self._stream)

    def capture(self, work: Callable[[], None]) -> CudaGraph:
        """Records what `work` puts on the stream.

        Only this thread's work is watched, since the builder's thread may allocate meanwhile.
        """
        cuda = self._cuda
        self._call("cudaStreamBeginCapture", self._stream, cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal)
        try:
            work()
        except BaseException:
            cuda.cudaStreamEndCapture(self._stream)  # whatever it answers, the stream must leave capture mode
            cuda.cudaGetLastError()
            raise
        graph = self._call("cudaStreamEndCapture", self._stream)
        try:
            return CudaGraph(self, self._call("cudaGraphInstantiate", graph, 0))
        finally:
            self._call("cudaGraphDestroy", graph)

    def synchronize(self) -> None:
        """Waits until the stream is done."""
        self._call("cudaStreamSynchronize", self._stream)

    def free_memory(self) -> int:
        """Bytes of the GPU's memory that nobody uses."""
        return int(self._call("cudaMemGetInfo")[0])

    def close(self) -> None:
        """Frees the stream."""
        if not self._closed:
            self._closed = True
            self._call("cudaStreamDestroy", self._stream)

    def _call(self, name: str, *arguments: Any) -> Any:
        """Calls the CUDA runtime; every function answers (error, results...).

        Raises:
            DeviceMemoryError: memory ran out.
            DeviceLostError: anything else.
        """
        try:
            error, *results = getattr(self._cuda, name)(*arguments)
        except RuntimeError as problem:  # no driver library: raised by the first call in some releases
            raise DeviceLostError(f"The GPU cannot be used: {problem}") from problem
        if error != self._cuda.cudaError_t.cudaSuccess:
            text = f"{name} answers {error.name} ({int(error)})"
            if error == self._cuda.cudaError_t.cudaErrorMemoryAllocation:
                self._cuda.cudaGetLastError()  # not sticky: clear it, so that the next call does not report it again
                raise DeviceMemoryError(f"The GPU has not enough free memory: {text}.")
            raise DeviceLostError(f"The GPU cannot be used: {text}.")
        if not results:
            return None
        return results[0] if len(results) == 1 else results


class CudaGraph:
    """A CUDA graph, ready to launch; see `device.Graph`."""

    def __init__(self, device: CudaDevice, executable: Any) -> None:
        """Takes an instantiated graph."""
        self._device, self._executable = device, executable

    def launch(self) -> None:
        """Puts the work on the device's stream."""
        self._device._call("cudaGraphLaunch", self._executable, self._device._stream)  # noqa: SLF001  # its own device

    def close(self) -> None:
        """Frees it."""
        if self._executable is not None:
            self._device._call("cudaGraphExecDestroy", self._executable)  # noqa: SLF001  # its own device
            self._executable = None

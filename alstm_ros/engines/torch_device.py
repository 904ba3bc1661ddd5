"""An NVIDIA GPU through torch, in a process that has loaded it already. Nothing here imports torch."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from numpy.typing import NDArray

from alstm_ros.engines.device import DeviceInfo
from alstm_ros.engines.failures import DeviceLostError, DeviceMemoryError, EngineFailure
from alstm_ros.types import UInt8


def loaded() -> Any | None:
    """Torch, where this process has imported it and it has a GPU; None elsewhere."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and hasattr(torch, "cuda") and torch.cuda.is_available() else None


class TorchDevice:
    """One GPU, one stream, memory from torch's allocators; see `device.Device`."""

    def __init__(self, torch: Any, index: int = 0) -> None:
        """Opens a GPU.

        Args:
            torch: the module, as `loaded` gives it.
            index: which GPU.

        Raises:
            DeviceLostError: there is no such GPU, or it cannot be used.
        """
        self._torch, self._index = torch, index
        self._blocks: dict[int, Any] = {}
        self._pinned: dict[int, Any] = {}
        with _errors():
            count = torch.cuda.device_count()
            if index >= count:
                raise DeviceLostError(f"There is no GPU {index}; this machine has {count}. Set engine.device.")
            facts = torch.cuda.get_device_properties(index)
            self._info = DeviceInfo(facts.name, (facts.major, facts.minor), _driver(), facts.total_memory)
            self._where = torch.device("cuda", index)
            self._stream = torch.cuda.Stream(self._where)

    @property
    def info(self) -> DeviceInfo:
        """Which GPU it is."""
        return self._info

    @property
    def stream(self) -> int:
        """Handle of the stream."""
        return int(self._stream.cuda_stream)

    def activate(self) -> None:
        """Makes this GPU the calling thread's."""
        with _errors():
            self._torch.cuda.set_device(self._index)

    def allocate(self, size: int) -> int:
        """Address of `size` bytes of device memory, zeroed in the stream's order."""
        with self._streaming():
            block = self._torch.zeros(max(size, 1), dtype=self._torch.uint8, device=self._where)
        self._blocks[block.data_ptr()] = block
        return int(block.data_ptr())

    def free(self, address: int) -> None:
        """Gives device memory back to torch."""
        del self._blocks[address]

    def pinned(self, size: int) -> UInt8:
        """`(size,)` uint8, page-locked memory of the host."""
        with _errors():
            block = self._torch.empty(max(size, 1), dtype=self._torch.uint8, pin_memory=True)
        self._pinned[block.data_ptr()] = block
        memory: UInt8 = block.numpy()
        return memory[:size]

    def unpin(self, memory: UInt8) -> None:
        """Gives page-locked memory back to torch."""
        del self._pinned[memory.ctypes.data]

    def upload(self, address: int, memory: NDArray[Any]) -> None:
        """Puts a copy to the device on the stream."""
        host, device = self._bytes(address, memory)
        with self._streaming():
            device.copy_(host, non_blocking=True)

    def download(self, memory: NDArray[Any], address: int) -> None:
        """Puts a copy from the device on the stream."""
        host, device = self._bytes(address, memory)
        with self._streaming():
            host.copy_(device, non_blocking=True)

    def capture(self, work: Callable[[], None]) -> TorchGraph:
        """Records what `work` puts on the stream; only this thread's work is watched."""
        graph = self._torch.cuda.CUDAGraph()
        with self._streaming():
            graph.capture_begin(capture_error_mode="thread_local")
            try:
                work()
            except BaseException:
                with suppress(RuntimeError):  # whatever it answers, the stream must leave capture mode
                    graph.capture_end()
                raise
            graph.capture_end()
        return TorchGraph(self, graph)

    def synchronize(self) -> None:
        """Waits until the stream is done; torch frees the GIL meanwhile."""
        with _errors():
            self._stream.synchronize()

    def free_memory(self) -> int:
        """Bytes of the GPU's memory that nobody uses."""
        with _errors():
            return int(self._torch.cuda.mem_get_info(self._index)[0])

    def close(self) -> None:
        """Gives everything back to torch."""
        self._blocks.clear()
        self._pinned.clear()

    def _bytes(self, address: int, memory: NDArray[Any]) -> tuple[Any, Any]:
        """The host's and the device's memory of a copy, as tensors of bytes."""
        size = memory.nbytes
        return self._pinned[memory.ctypes.data][:size], self._blocks[address][:size]

    @contextmanager
    def _streaming(self) -> Iterator[None]:
        """Makes the stream torch's current one, and torch's errors ours."""
        with _errors(), self._torch.cuda.stream(self._stream):
            yield


class TorchGraph:
    """A CUDA graph, ready to launch; see `device.Graph`."""

    def __init__(self, device: TorchDevice, graph: Any) -> None:
        """Takes a captured graph."""
        self._device, self._graph = device, graph

    def launch(self) -> None:
        """Puts the work on the device's stream."""
        with self._device._streaming():  # noqa: SLF001  # its own device
            self._graph.replay()

    def close(self) -> None:
        """Frees it."""
        self._graph = None


@contextmanager
def _errors() -> Iterator[None]:
    """Torch's errors as ours.

    Raises:
        DeviceMemoryError: memory ran out.
        DeviceLostError: anything else that torch says of CUDA.
    """
    try:
        yield
    except EngineFailure:
        raise
    except RuntimeError as error:
        reason = str(error).split("\n", maxsplit=1)[0].rstrip(".")
        if "out of memory" in reason.lower():  # torch.OutOfMemoryError, and pinned memory's plain RuntimeError
            raise DeviceMemoryError(f"The GPU has not enough free memory: {reason}.") from error
        raise DeviceLostError(f"The GPU cannot be used: {reason}.") from error


def _driver() -> str:
    """CUDA version of the driver, which torch does not tell."""
    version = ctypes.c_int()
    ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    return f"{version.value // 1000}.{version.value % 1000 // 10}"

"""What an engine needs of a GPU: memory, copies, a stream, graphs. Everything above it can run without one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from alstm_ros.types import UInt8


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """Which GPU it is.

    Attributes:
        name: such as `Orin`.
        capability: compute capability, such as `(8, 7)`.
        driver: CUDA version of the driver, such as `12.6`.
        memory: bytes of its memory.
    """

    name: str
    capability: tuple[int, int]
    driver: str
    memory: int


class Graph(Protocol):
    """Recorded work that can be launched again as one."""

    def launch(self) -> None:
        """Puts the work on the device's stream."""
        ...

    def close(self) -> None:
        """Frees it."""
        ...


class Device(Protocol):
    """A GPU with one stream. Not thread-safe; each thread calls `activate` before its first other call.

    Every method raises DeviceMemoryError when memory runs out and DeviceLostError when the GPU reports anything else.
    """

    @property
    def info(self) -> DeviceInfo:
        """Which GPU it is."""
        ...

    @property
    def stream(self) -> int:
        """Handle of the stream."""
        ...

    def activate(self) -> None:
        """Makes this GPU the calling thread's."""
        ...

    def allocate(self, size: int) -> int:
        """Address of `size` bytes of device memory, zeroed."""
        ...

    def free(self, address: int) -> None:
        """Gives device memory back."""
        ...

    def pinned(self, size: int) -> UInt8:
        """`(size,)` uint8, page-locked memory of the host, which copies run from and to without the CPU."""
        ...

    def unpin(self, memory: UInt8) -> None:
        """Gives page-locked memory back; no array may look into it any more."""
        ...

    def upload(self, address: int, memory: NDArray[Any]) -> None:
        """Puts a copy to the device on the stream; `memory`, contiguous and page-locked, stays until `synchronize`."""
        ...

    def download(self, memory: NDArray[Any], address: int) -> None:
        """Puts a copy from the device on the stream; `memory` likewise."""
        ...

    def capture(self, work: Callable[[], None]) -> Graph:
        """Records what `work` puts on the stream, without running it."""
        ...

    def synchronize(self) -> None:
        """Waits until the stream is done; the GIL is free meanwhile."""
        ...

    def close(self) -> None:
        """Frees the stream."""
        ...

"""The GPU through torch, without one: its calls exist in torch with these arguments; bytes, order and errors.

Torch's own tensors on the processor stand in for the GPU's, so copies, addresses and lifetimes are real.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from alstm_ros.engines import cuda_device, gpu, torch_device
from alstm_ros.engines.device import DeviceInfo
from alstm_ros.engines.failures import DeviceLostError, DeviceMemoryError
from alstm_ros.engines.torch_device import TorchDevice

torch = pytest.importorskip("torch")


class Graph:
    def __init__(self, told: list[str]) -> None:
        self._told = told

    def capture_begin(self, capture_error_mode: str = "global") -> None:
        self._told.append(f"begin {capture_error_mode}")

    def capture_end(self) -> None:
        self._told.append("end")

    def replay(self) -> None:
        self._told.append("replay")


class Standin:
    """Torch with the processor in the GPU's place; `told` says what was asked of CUDA, `fail` what goes wrong next."""

    uint8 = torch.uint8

    def __init__(self) -> None:
        self.told: list[str] = []
        self.fail: Exception | None = None
        self.cuda = SimpleNamespace(
            is_available=lambda: True,
            device_count=lambda: 1,
            get_device_properties=lambda _: SimpleNamespace(name="Orin", major=8, minor=7, total_memory=8 << 30),
            Stream=lambda _: SimpleNamespace(cuda_stream=77, synchronize=self._synchronize),
            set_device=lambda index: self.told.append(f"device {index}"),
            stream=self._stream,
            CUDAGraph=lambda: Graph(self.told),
            mem_get_info=lambda _: (3, 8),
        )

    def device(self, kind: str, index: int) -> Any:
        assert (kind, index) == ("cuda", 0)
        return torch.device("cpu")

    def zeros(self, size: int, *, dtype: Any, device: Any) -> Any:
        assert self.told[-1] == "stream"
        self._check()
        return torch.zeros(size, dtype=dtype, device=device)

    def empty(self, size: int, *, dtype: Any, pin_memory: bool) -> Any:
        assert pin_memory
        self._check()
        return torch.empty(size, dtype=dtype)

    def _check(self) -> None:
        if self.fail is not None:
            raise self.fail

    @contextmanager
    def _stream(self, stream: Any) -> Iterator[None]:
        assert stream.cuda_stream == 77
        self.told.append("stream")
        yield

    def _synchronize(self) -> None:
        self._check()
        self.told.append("wait")


@pytest.fixture
def standin(monkeypatch: pytest.MonkeyPatch) -> Standin:
    monkeypatch.setattr(torch_device, "_driver", lambda: "12.6")
    return Standin()


def test_torch_has_what_is_asked_of_it() -> None:
    for name in ("device_count", "get_device_properties", "Stream", "set_device", "stream", "mem_get_info"):
        assert callable(getattr(torch.cuda, name))
    begin = inspect.signature(torch.cuda.CUDAGraph.capture_begin)
    assert begin.parameters["capture_error_mode"].default == "global"
    assert list(inspect.signature(torch.cuda.CUDAGraph.capture_end).parameters) == ["self"]
    assert list(inspect.signature(torch.cuda.CUDAGraph.replay).parameters) == ["self"]
    assert next(iter(inspect.signature(torch.cuda.mem_get_info).parameters)) == "device"
    assert "device" in inspect.signature(torch.cuda.Stream.__new__).parameters
    assert issubclass(torch.OutOfMemoryError, RuntimeError)
    assert "pin_memory" in (torch.empty.__doc__ or "")


def test_it_names_the_gpu_and_moves_bytes(standin: Standin) -> None:
    device = TorchDevice(standin)
    assert device.info == DeviceInfo("Orin", (8, 7), "12.6", 8 << 30)
    assert (device.stream, device.free_memory()) == (77, 3)
    address, one, other = device.allocate(16), device.pinned(16), device.pinned(16)
    one[:] = np.arange(16)
    other[:] = 9
    device.download(other, address)
    assert not other.any()  # memory starts as zeros
    halves = one.view(np.float16)[:4].reshape(2, 2)
    device.upload(address, halves)
    device.download(other, address)
    np.testing.assert_array_equal(other, [*range(8), *[0] * 8])
    device.free(address)
    device.unpin(one)
    device.unpin(other)
    assert (device._blocks, device._pinned) == ({}, {})
    device.allocate(1)
    device.close()
    device.close()
    assert device._blocks == {}


def test_a_graph_is_captured_on_the_stream_and_launched(standin: Standin) -> None:
    device = TorchDevice(standin)
    graph = device.capture(lambda: standin.told.append("work"))
    graph.launch()
    graph.close()
    graph.close()
    assert standin.told == ["stream", "begin thread_local", "work", "end", "stream", "replay"]


def test_a_failed_capture_leaves_capture_mode(standin: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None:
        raise DeviceLostError("refused")

    def end(graph: Graph) -> None:
        graph._told.append("end")
        raise RuntimeError("CUDA error: operation failed due to a previous error during capture")

    monkeypatch.setattr(Graph, "capture_end", end)
    device = TorchDevice(standin)
    with pytest.raises(DeviceLostError, match="refused"):
        device.capture(work)
    assert standin.told[-1] == "end"
    with pytest.raises(DeviceLostError, match="cannot be used: CUDA error: operation failed due to a previous error"):
        device.capture(lambda: None)


def test_torchs_errors_become_ours(standin: Standin) -> None:
    device = TorchDevice(standin)
    standin.fail = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nGPU 0 has ...")
    with pytest.raises(DeviceMemoryError, match=r"^The GPU has not enough free memory: CUDA out of memory\. Tried"):
        device.allocate(1)
    with pytest.raises(DeviceMemoryError):
        device.pinned(1)
    standin.fail = RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be")
    with pytest.raises(DeviceLostError, match=r"^The GPU cannot be used: CUDA error: an illegal .* encountered\.$"):
        device.synchronize()


def test_a_gpu_that_is_not_there_is_named(standin: Standin) -> None:
    with pytest.raises(DeviceLostError, match=r"There is no GPU 3; this machine has 1\. Set engine\.device\."):
        TorchDevice(standin, 3)


def test_torch_is_used_where_it_is_loaded_and_has_a_gpu(standin: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_device, "CudaDevice", lambda index: f"cuda-python {index}")
    monkeypatch.setitem(sys.modules, "torch", standin)
    assert isinstance(gpu.open_gpu(0), TorchDevice)
    standin.cuda.is_available = lambda: False
    assert gpu.open_gpu(2) == "cuda-python 2"  # type: ignore[comparison-overlap]
    monkeypatch.delitem(sys.modules, "torch")
    assert gpu.open_gpu(1) == "cuda-python 1"  # type: ignore[comparison-overlap]
    assert "torch" not in sys.modules

"""The CUDA device without a GPU: its calls exist in NVIDIA's bindings with these arguments; errors become sentences."""

# ruff: noqa: N802, N815  # CUDA's names

from __future__ import annotations

import ast
import ctypes
import enum
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from alstm_ros.engines import cuda_device, tensorrt_api
from alstm_ros.engines.cuda_device import CudaDevice
from alstm_ros.engines.failures import DeviceLostError, DeviceMemoryError
from alstm_ros.errors import DependencyError


def calls() -> dict[str, int]:
    """Name to number of arguments of every call that the module makes into the CUDA runtime."""
    found: dict[str, int] = {}
    for node in ast.walk(ast.parse(Path(inspect.getfile(cuda_device)).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "_call":
            name = node.args[0]
            if isinstance(name, ast.Constant):
                found[str(name.value)] = len(node.args) - 1
    return found


@pytest.mark.skipif(importlib.util.find_spec("cuda") is None, reason="needs cuda-python")
def test_every_call_fits_nvidias_bindings() -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime")
    assert len(calls()) > 15
    for name, count in calls().items():
        signature = re.search(rf"{name}\((.*?)\)", getattr(runtime, name).__doc__)
        assert signature is not None, name
        arguments = [part for part in signature[1].split(",") if part.strip()]
        assert len(arguments) == count, (name, signature[0])
    assert runtime.cudaError_t.cudaSuccess == 0
    assert runtime.cudaError_t.cudaErrorMemoryAllocation == 2
    assert {"name", "major", "minor", "totalGlobalMem"} <= set(dir(runtime.cudaDeviceProp))
    for name in ("cudaStreamNonBlocking", "cudaHostAllocDefault"):
        assert isinstance(getattr(runtime, name), int)
    assert hasattr(runtime.cudaStreamCaptureMode, "cudaStreamCaptureModeThreadLocal")
    assert hasattr(runtime.cudaMemcpyKind, "cudaMemcpyHostToDevice")
    assert hasattr(runtime.cudaMemcpyKind, "cudaMemcpyDeviceToHost")


@pytest.mark.skipif(importlib.util.find_spec("cuda") is None, reason="needs cuda-python")
@pytest.mark.skipif(tensorrt_api.driver_present(), reason="there is a driver here")
def test_without_a_driver_nvidias_bindings_give_a_sentence() -> None:
    with pytest.raises(DeviceLostError, match=r"^The GPU cannot be used: .*cuda"):
        CudaDevice()


# --- A CUDA runtime in the host's memory ------------------------------------------------------------------------------


class Code(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorStreamCaptureUnsupported = 900


class Runtime(ModuleType):
    """Answers (error, results...) as NVIDIA's bindings do; `fail` names the call that goes wrong next."""

    cudaError_t = Code
    cudaStreamNonBlocking, cudaHostAllocDefault = 1, 0
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice="up", cudaMemcpyDeviceToHost="down")
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal="thread")

    def __init__(self) -> None:
        super().__init__("runtime")
        self.called: list[str] = []
        self.fail: dict[str, Code] = {}
        self.memory: dict[int, Any] = {}

    def __getattr__(self, name: str) -> Callable[..., tuple[Any, ...]]:
        if not name.startswith("cuda"):
            raise AttributeError(name)

        def call(*arguments: Any) -> tuple[Any, ...]:
            self.called.append(name)
            if name in self.fail:
                return (self.fail.pop(name),)
            return (Code.cudaSuccess, *getattr(self, f"_{name}", lambda *_: ())(*arguments))

        return call

    def _cudaGetDeviceCount(self) -> tuple[int]:
        return (1,)

    def _cudaGetDeviceProperties(self, _: int) -> tuple[Any]:
        return (SimpleNamespace(name=b"Orin\0", major=8, minor=7, totalGlobalMem=8 << 30),)

    def _cudaDriverGetVersion(self) -> tuple[int]:
        return (12060,)

    def _cudaStreamCreateWithFlags(self, _: int) -> tuple[int]:
        return (77,)

    def _cudaMalloc(self, size: int) -> tuple[int]:
        block = (ctypes.c_uint8 * size)()
        self.memory[ctypes.addressof(block)] = block
        return (ctypes.addressof(block),)

    def _cudaHostAlloc(self, size: int, _: int) -> tuple[int]:
        return self._cudaMalloc(size)

    def _cudaFree(self, address: int) -> tuple[()]:
        del self.memory[address]
        return ()

    def _cudaFreeHost(self, address: int) -> tuple[()]:
        return self._cudaFree(address)

    def _cudaMemset(self, address: int, value: int, size: int) -> tuple[()]:
        ctypes.memset(address, value, size)
        return ()

    def _cudaMemcpyAsync(self, to: int, source: int, size: int, kind: str, stream: int) -> tuple[()]:
        assert (kind, stream) in {("up", 77), ("down", 77)}
        ctypes.memmove(to, source, size)
        return ()

    def _cudaStreamEndCapture(self, stream: int) -> tuple[str]:
        assert stream == 77
        return ("graph",)

    def _cudaGraphInstantiate(self, graph: str, flags: int) -> tuple[str]:
        assert (graph, flags) == ("graph", 0)
        return ("executable",)

    def _cudaMemGetInfo(self) -> tuple[int, int]:
        return (3, 8)


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    runtime = Runtime()
    monkeypatch.setattr(cuda_device, "_runtime", lambda: runtime)
    return runtime


def test_it_names_the_gpu_and_moves_bytes(runtime: Runtime) -> None:
    device = CudaDevice()
    assert (device.info.name, device.info.capability, device.info.driver) == ("Orin", (8, 7), "12.6")
    assert (device.info.memory, device.stream, device.free_memory()) == (8 << 30, 77, 3)
    address, one, other = device.allocate(16), device.pinned(16), device.pinned(16)
    one[:] = np.arange(16)
    device.download(other, address)
    assert not other.any()  # memory starts as zeros
    device.upload(address, one)
    device.download(other, address)
    np.testing.assert_array_equal(one, other)
    device.free(address)
    device.unpin(one)
    device.unpin(other)
    assert runtime.memory == {}
    device.close()
    device.close()
    assert runtime.called.count("cudaStreamDestroy") == 1


def test_a_graph_is_captured_launched_and_freed_once(runtime: Runtime) -> None:
    device = CudaDevice()
    del runtime.called[:]
    graph = device.capture(lambda: runtime.called.append("work"))
    assert runtime.called == [
        "cudaStreamBeginCapture", "work", "cudaStreamEndCapture", "cudaGraphInstantiate", "cudaGraphDestroy",
    ]  # fmt: skip
    graph.launch()
    graph.close()
    graph.close()
    assert runtime.called[5:] == ["cudaGraphLaunch", "cudaGraphExecDestroy"]


def test_a_failed_capture_leaves_capture_mode(runtime: Runtime) -> None:
    device = CudaDevice()

    def work() -> None:
        raise DeviceLostError("refused")

    with pytest.raises(DeviceLostError, match="refused"):
        device.capture(work)
    assert runtime.called[-2:] == ["cudaStreamEndCapture", "cudaGetLastError"]
    runtime.fail = {"cudaStreamEndCapture": Code.cudaErrorStreamCaptureUnsupported}
    with pytest.raises(DeviceLostError, match=r"answers cudaErrorStreamCaptureUnsupported \(900\)"):
        device.capture(lambda: None)


def test_memory_that_runs_out_is_told_apart(runtime: Runtime) -> None:
    device = CudaDevice()
    runtime.fail = {"cudaMalloc": Code.cudaErrorMemoryAllocation}
    with pytest.raises(DeviceMemoryError, match=r"cudaMalloc answers cudaErrorMemoryAllocation \(2\)"):
        device.allocate(1)
    assert runtime.called[-1] == "cudaGetLastError"


def test_a_gpu_that_is_not_there_is_named(runtime: Runtime) -> None:
    with pytest.raises(DeviceLostError, match=r"There is no GPU 3; this machine has 1\. Set engine\.device\."):
        CudaDevice(3)
    assert runtime.called == ["cudaGetDeviceCount"]


def test_missing_bindings_are_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cuda", "cuda.bindings", "cuda.bindings.runtime", "cuda.cudart"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DependencyError, match='pip install "cuda-python<13"'):
        CudaDevice()

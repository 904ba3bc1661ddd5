"""A GPU and a TensorRT for machines that have neither, at the interface that the engine talks to.

Nothing here says how a real GPU behaves in time or in rounding; it says whether the engine talks to one rightly.
"Device memory" is memory of the host, the "stream" is a list of jobs that runs when it is waited for, a plan is the
ONNX model itself, and ONNX Runtime executes it on the memory at the addresses that were given. So copies that come too
early, graphs replayed with old addresses, memory used after it was freed and padding that leaks all give wrong answers
or errors, as they would on the device.
"""

from __future__ import annotations

import ctypes
import enum
import json
from collections.abc import Callable
from math import prod
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from alstm_ros.engines.device import DeviceInfo
from alstm_ros.engines.failures import DeviceLostError, DeviceMemoryError

ORIN = DeviceInfo("Orin", (8, 7), "12.6", 8 << 30)


class SimulatedDevice:
    """See `alstm_ros.engines.device.Device`."""

    def __init__(self, info: DeviceInfo = ORIN, memory: int = 1 << 30) -> None:
        self.info, self.stream, self.closed = info, 7, False
        self.blocks: dict[int, NDArray[np.uint8]] = {}
        self.locked: dict[int, NDArray[np.uint8]] = {}
        self.jobs: list[Callable[[], None]] = []
        self.recording: list[Callable[[], None]] | None = None
        self.graphs = self.captures = self.launches = self.uploads = self.freed = 0
        self.left = memory
        self.lost = False

    def activate(self) -> None:
        self.check()

    def check(self) -> None:
        if self.lost:
            raise DeviceLostError("The GPU cannot be used: cudaStreamSynchronize answers cudaErrorLaunchFailure (719).")

    def allocate(self, size: int) -> int:
        self.check()
        assert self.recording is None, "allocating breaks a capture"
        if size > self.left:
            raise DeviceMemoryError(
                "The GPU has not enough free memory: cudaMalloc answers cudaErrorMemoryAllocation (2)."
            )
        self.left -= size
        block = np.zeros(max(size, 1), np.uint8)
        self.blocks[block.ctypes.data] = block
        return block.ctypes.data

    def free(self, address: int) -> None:
        self.check()
        block = self.blocks.pop(address)
        self.left += block.size
        self.freed += 1

    def pinned(self, size: int) -> NDArray[np.uint8]:
        self.check()
        memory = np.full(max(size, 1), 0xA5, np.uint8)
        self.locked[memory.ctypes.data] = memory
        return memory[:size]

    def unpin(self, memory: NDArray[np.uint8]) -> None:
        self.check()
        del self.locked[memory.ctypes.data]

    def upload(self, address: int, memory: NDArray[Any]) -> None:
        self.check()
        self._whole(address, memory)
        self.uploads += 1
        self.put(lambda: self._move(address, memory.ctypes.data, memory.nbytes))

    def download(self, memory: NDArray[Any], address: int) -> None:
        self.check()
        self._whole(address, memory)
        self.put(lambda: self._move(memory.ctypes.data, address, memory.nbytes))

    def capture(self, work: Callable[[], None]) -> SimulatedGraph:
        self.check()
        assert not self.jobs, "other work is on the stream"
        self.recording = []
        try:
            work()
            jobs = self.recording
        finally:
            self.recording = None
        self.captures += 1
        self.graphs += 1
        return SimulatedGraph(self, jobs)

    def synchronize(self) -> None:
        self.check()
        jobs, self.jobs = self.jobs, []
        for job in jobs:
            job()

    def close(self) -> None:
        self.closed = True

    def put(self, job: Callable[[], None]) -> None:
        (self.jobs if self.recording is None else self.recording).append(job)

    def view(self, address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Device memory as an array."""
        if address not in self.blocks:
            raise DeviceLostError("The GPU cannot be used: cudaErrorIllegalAddress (700).")
        size = prod(shape) * dtype.itemsize
        assert size <= self.blocks[address].size, "beyond the buffer"
        return self.blocks[address][:size].view(dtype).reshape(shape)

    def _whole(self, address: int, memory: NDArray[Any]) -> None:
        assert memory.flags.c_contiguous
        assert memory.ctypes.data in self.locked or not memory.size, "not page-locked"
        assert memory.nbytes <= self.blocks[address].size

    def _move(self, to: int, source: int, size: int) -> None:
        if not {to, source} & self.blocks.keys():
            raise DeviceLostError("The GPU cannot be used: cudaErrorIllegalAddress (700).")
        ctypes.memmove(to, source, size)


class SimulatedGraph:
    """See `alstm_ros.engines.device.Graph`."""

    def __init__(self, device: SimulatedDevice, jobs: list[Callable[[], None]]) -> None:
        self.device, self.jobs, self.open = device, jobs, True

    def launch(self) -> None:
        assert self.open, "launched after it was freed"
        self.device.check()
        self.device.launches += 1
        for job in self.jobs:
            self.device.put(job)

    def close(self) -> None:
        self.open = False
        self.device.graphs -= 1


class DataType(enum.Enum):
    FLOAT = np.float32
    HALF = np.float16
    INT8 = np.int8
    INT32 = np.int32
    INT64 = np.int64
    UINT8 = np.uint8
    BOOL = np.bool_

    def __str__(self) -> str:
        return f"DataType.{self.name}"


class ICudaEngine:
    """The part of TensorRT's class that the engine uses, under TensorRT's names."""

    def __init__(self, world: SimulatedTensorRT, data: bytes) -> None:
        self._world = world
        self.session = ort.InferenceSession(data, world.options(), providers=["CPUExecutionProvider"])
        graph = onnx.load_from_string(data).graph
        self.types: dict[str, np.dtype[Any]] = {
            value.name: onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            for value in [*graph.input, *graph.output]
        }
        if not world.knows_int64:  # 8.6 turns INT64 outputs into INT32
            self.types = {n: np.dtype(np.int32) if t == np.int64 else t for n, t in self.types.items()}
        self.inputs = [value.name for value in graph.input]

    @property
    def num_io_tensors(self) -> int:
        return len(self.types)

    def get_tensor_name(self, index: int) -> str:
        return [*self.types][index]

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType(self.types[name].type)

    def create_execution_context(self) -> IExecutionContext | None:
        if self._world.refuse_contexts:
            self._world.say("Error Code 2: OutOfMemory (Requested size was 4096 bytes.)")
            return None
        self._world.contexts += 1
        return IExecutionContext(self._world, self)

    def create_engine_inspector(self) -> Any:
        text = json.dumps({"Layers": self._world.inspected})
        return SimpleNamespace(get_engine_information=lambda _: text)


class IExecutionContext:
    """The part of TensorRT's class that the engine uses, under TensorRT's names."""

    def __init__(self, world: SimulatedTensorRT, engine: ICudaEngine) -> None:
        self._world, self._engine = world, engine
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self.active_optimization_profile = 0 if world.contexts == 1 or world.version[0] != "8" else -1

    def set_optimization_profile_async(self, index: int, stream_handle: int) -> bool:
        self.active_optimization_profile = index
        return stream_handle == self._world.device.stream

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert self.active_optimization_profile == 0, "no profile"
        self._shapes[name] = shape
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name in self._shapes:
            return self._shapes[name]
        sizes: dict[str, int] = {}
        for value in self._engine.session.get_inputs():
            sizes |= {
                dim: n for dim, n in zip(value.shape, self._shapes[value.name], strict=True) if isinstance(dim, str)
            }
        output = next(value for value in self._engine.session.get_outputs() if value.name == name)
        return tuple(dim if isinstance(dim, int) else sizes.get(dim, -1) for dim in output.shape)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert stream_handle == self._world.device.stream
        if self._world.fail:
            self._world.say(self._world.fail)
            return False
        if self._world.raises is not None:
            raise self._world.raises
        shapes, addresses = dict(self._shapes), dict(self._addresses)  # as they are now, also for a graph
        self._world.enqueued += 1
        self._world.device.put(lambda: self._execute(shapes, addresses))
        return True

    def _execute(self, shapes: dict[str, tuple[int, ...]], addresses: dict[str, int]) -> None:
        engine, device = self._engine, self._world.device
        feed = {n: device.view(addresses[n], shapes[n], engine.types[n]).copy() for n in engine.inputs}
        self._world.ran.append(shapes)
        names = [value.name for value in engine.session.get_outputs()]
        for name, value in zip(names, engine.session.run(names, feed), strict=True):
            device.view(addresses[name], value.shape, engine.types[name])[...] = value * self._world.distort


class SimulatedTensorRT:
    """A module like `tensorrt`: what differs between releases is chosen by `version`."""

    class ILogger:
        class Severity(enum.IntEnum):
            INTERNAL_ERROR = 0
            ERROR = 1
            WARNING = 2
            INFO = 3
            VERBOSE = 4

    LayerInformationFormat = SimpleNamespace(JSON=1)

    def __init__(self, device: SimulatedDevice, version: str = "10.3.0") -> None:
        self.device, self.version = device, version
        self.__version__ = version
        self.knows_int64 = not version.startswith("8")
        self.refuse_contexts, self.fail = False, ""
        self.distort: float = 1
        self.raises: Exception | None = None
        self.inspected: list[Any] = []
        self.contexts = self.enqueued = self.loads = 0
        self.ran: list[dict[str, tuple[int, ...]]] = []
        self._logger: Any = None

    def Runtime(self, logger: Any) -> Any:  # noqa: N802  # TensorRT's name
        self._logger = logger
        return SimpleNamespace(deserialize_cuda_engine=self._load)

    def say(self, line: str) -> None:
        """Logs an error, as TensorRT does before it returns None or False."""
        self._logger.log(self.ILogger.Severity.ERROR, line)

    def options(self) -> Any:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        return options

    def _load(self, data: bytes) -> ICudaEngine | None:
        self.device.check()
        if not data:
            self.say("Error Code 1: Serialization (the plan is empty) In deserialize at runtime.cpp:12")
            return None
        self.loads += 1
        return ICudaEngine(self, data)

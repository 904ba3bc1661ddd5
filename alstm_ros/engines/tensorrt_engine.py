"""Running a built TensorRT engine: buffers, shape buckets, CUDA graphs, recurrent states that stay on the GPU."""

from __future__ import annotations

import logging
import threading
import weakref
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alstm_ros.engines.buffers import Buffers, Slot
from alstm_ros.engines.device import Device, Graph
from alstm_ros.engines.engine import Tensors, TensorSpec, check_inputs
from alstm_ros.engines.failures import EngineFailure, UnsupportedModelError
from alstm_ros.engines.loaded_plan import LoadedPlan
from alstm_ros.engines.profiles import ShapeProfile
from alstm_ros.engines.status import EngineStatus, Layers
from alstm_ros.errors import ModelError

LOG = logging.getLogger(__name__)

MOST_BUCKETS = 8
"""Execution contexts kept; each holds the activations of one shape, so the one unused for longest goes."""
MOST_GRAPHS = 4
"""CUDA graphs kept for one bucket: two for a model with recurrent states, which swap addresses at each step."""


@dataclass(frozen=True, slots=True)
class Interface:
    """What an engine shows of its model.

    Attributes:
        inputs: the model's inputs, as every runtime shows them.
        outputs: its outputs.
        metadata: what the model file says of itself.
        precision: `fp32` or `fp16`, as asked for.
        layers: what the layers really run in, where that is known; the status tells it.
    """

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    metadata: Mapping[str, str]
    precision: str
    layers: Layers = field(default_factory=dict)


class TensorRTEngine:
    """A TensorRT engine behind the `Engine` protocol.

    Each shape bucket has an execution context of its own, because a captured graph is only good for the context, the
    shapes and the addresses that it was captured with. The first run of a bucket is plain, the second is captured, and
    from then on one launch replays it, as long as the addresses are the same.

    A recurrent state (output `X_next` for input `X`) has two buffers that swap roles. The array returned as `X_next` is
    read-only; passed back as `X` it is recognised and nothing is copied to the GPU. A call without rows of state, for
    the other half of a model, leaves the state where it is.
    """

    def __init__(
        self,
        plan: LoadedPlan,
        device: Device,
        profile: ShapeProfile,
        shown: Interface,
    ) -> None:
        """Allocates every buffer at its largest size.

        Args:
            plan: the engine, loaded; closed with this.
            device: the GPU; closed with this.
            profile: what it was built for.
            shown: what the engine shows of the model.

        Raises:
            UnsupportedModelError: the size of an output depends on the data.
            EngineFailure: the GPU fails or has too little memory.
        """
        self.inputs, self.outputs, self.metadata = shown.inputs, shown.outputs, shown.metadata
        self._plan, self._device, self._profile = plan, device, profile
        self._status = EngineStatus(plan.flavour.name, _precision(shown.layers, shown.precision), layers=shown.layers)
        self._lock = threading.Lock()
        self._buckets: OrderedDict[tuple[tuple[int, ...], ...], _Bucket] = OrderedDict()
        self._held: dict[str, weakref.ref[NDArray[Any]]] = {}
        self._closed = False
        device.activate()
        self._buffers = Buffers(device)
        try:
            self._allocate()
        except BaseException:
            self.close()
            raise

    @property
    def status(self) -> EngineStatus:
        """Which runtime this is and what it computes in."""
        return self._status

    def settle(self) -> None:
        """Returns at once: this is the runtime that answers."""

    @property
    def usual(self) -> Mapping[str, tuple[int, ...]]:
        """The shapes that it is fastest at: name to shape."""
        return {name: self._profile.shape(name, "usual") for name in self.inputs}

    def takes(self, inputs: Tensors) -> bool:
        """Whether these inputs are within the shapes that it was built for."""
        fits = inputs.keys() == self.inputs.keys() and all(self.inputs[n].takes(a) for n, a in inputs.items())
        return fits and self._profile.sizes({name: array.shape for name, array in inputs.items()}) is not None

    def __call__(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Runs the model.

        Raises:
            ModelError: the inputs do not fit, or are beyond the shapes that it was built for.
            EngineFailure: it is closed, or the GPU fails or has too little memory; the engine is of no more use.
        """
        check_inputs(self.inputs, inputs)
        sizes = self._profile.sizes({name: array.shape for name, array in inputs.items()})
        if sizes is None:
            given = ", ".join(f"{name} {array.shape}" for name, array in inputs.items())
            raise ModelError(f"The engine was built for the shapes {self._profile.key}; it was given {given}.")
        with self._lock:
            if self._closed:
                raise EngineFailure("The engine is closed and cannot run its model.")
            self._device.activate()
            bucket = self._bucket(self._profile.buckets(sizes))
            self._send(inputs, bucket)
            bucket.run(self._device, self._buffers.addresses())
            return self._fetch(bucket, sizes)

    def warm_up(self) -> None:
        """Runs the usual shape with zeros until its graph is captured, so that the first frame does not wait."""
        zeros = {name: np.zeros(shape, self.inputs[name].dtype) for name, shape in self.usual.items()}
        for _ in range(3):
            self(zeros)

    def close(self) -> None:
        """Frees contexts, graphs and memory; a lost GPU cannot free anything, and that is no error."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                self._device.activate()
                for bucket in self._buckets.values():
                    bucket.close()
                self._buckets.clear()
                self._buffers.close()
                self._plan.close()
                self._device.close()
            except EngineFailure as error:
                LOG.debug("While closing: %s", error)

    def _allocate(self) -> None:
        """Makes the buffers at their largest and checks that TensorRT's tensors are the model's."""
        context = self._plan.context(self._device)
        most = {name: self._profile.shape(name, "most") for name in self.inputs}
        for name, shape in most.items():
            context.set_shape(name, shape)
            self._buffers.add(name, shape, self._plan.dtype(name))
        for name in self.outputs:
            shape = context.shape(name)
            if any(size < 0 for size in shape):
                raise UnsupportedModelError(
                    f"The size of the model's output '{name}' depends on its data ({shape}), so no buffer can be made "
                    "for it. Export the model with a fixed number of candidates (TopK) and without NMS inside."
                )
            self._buffers.add(name, shape, self._plan.dtype(name))
        context.close()
        for name, following in self._plan.states(self.inputs, self.outputs).items():
            self._buffers.pair(name, following)

    def _bucket(self, sizes: Mapping[str, int]) -> _Bucket:
        """The bucket of these padded sizes, made where new."""
        shapes = {}
        for name, dims in self._profile.inputs.items():
            shapes[name] = tuple(dim if isinstance(dim, int) else sizes[dim] for dim in dims)
        key = tuple(shapes[name] for name in sorted(shapes))
        if key in self._buckets:
            self._buckets.move_to_end(key)
            return self._buckets[key]
        if len(self._buckets) >= MOST_BUCKETS:
            self._device.synchronize()
            self._buckets.popitem(last=False)[1].close()
        context = self._plan.context(self._device)
        for name, shape in shapes.items():
            context.set_shape(name, shape)
        outputs = {name: context.shape(name) for name in self.outputs}
        bucket = self._buckets[key] = _Bucket(context, shapes, outputs)
        return bucket

    def _send(self, inputs: Tensors, bucket: _Bucket) -> None:
        """Puts the inputs on the GPU, rows of padding as zeros; states that are there already stay."""
        for name, array in inputs.items():
            held = self._held.get(name)
            if (held is not None and held() is array) or (name in self._buffers.pairs and not array.size):
                continue
            slot = self._buffers[name]
            staged = slot.view(bucket.shapes[name])
            inside = tuple(slice(size) for size in array.shape)
            if array.shape != staged.shape:
                staged[...] = 0
            staged[inside] = array
            self._device.upload(slot.address, staged)

    def _fetch(self, bucket: _Bucket, sizes: Mapping[str, int]) -> dict[str, NDArray[Any]]:
        """Brings the outputs back, without the padding."""
        staged = {}
        for name, shape in bucket.outputs.items():
            slot: Slot = self._buffers[name]
            staged[name] = slot.view(shape)
            self._device.download(staged[name], slot.address)
        self._device.synchronize()
        found: dict[str, NDArray[Any]] = {}
        for name, array in staged.items():
            wanted = self._profile.resolve(self._profile.outputs[name], sizes)
            inside = tuple(slice(size) for size in wanted)
            found[name] = np.array(array[inside], self.outputs[name].dtype)
        if not all(found[following].size for following in self._buffers.pairs.values()):
            return found  # what was written is padding; the next step writes over it
        for name, following in self._buffers.swap().items():
            found[following].flags.writeable = False
            self._held[name] = weakref.ref(found[following])
        return found


class _Bucket:
    """One shape: its context, how often it ran, and the graphs captured with it."""

    def __init__(
        self, context: Any, shapes: Mapping[str, tuple[int, ...]], outputs: Mapping[str, tuple[int, ...]]
    ) -> None:
        """Takes a context with its input shapes set."""
        self.context, self.shapes, self.outputs = context, shapes, outputs
        self._graphs: OrderedDict[tuple[int, ...], Graph | None] = OrderedDict()  # None: ran once, plainly

    def run(self, device: Device, addresses: Mapping[str, int]) -> None:
        """Puts one run on the stream: plainly at first, then as a graph that is replayed."""
        key = tuple(addresses.values())
        graph = self._graphs.get(key)
        if graph is not None:
            self._graphs.move_to_end(key)
            graph.launch()
            return
        for name, address in addresses.items():
            self.context.set_address(name, address)
        if key in self._graphs and self.context.capturable:
            graph = self._capture(device)
        if graph is None:
            self.context.enqueue()  # also settles what TensorRT defers after a change of shape or address
        else:
            graph.launch()
        self._graphs[key] = graph
        while len(self._graphs) > MOST_GRAPHS:
            device.synchronize()
            oldest = self._graphs.popitem(last=False)[1]
            if oldest is not None:
                oldest.close()

    def _capture(self, device: Device) -> Graph | None:
        """Records a run; a model that cannot be recorded (control flow on the host) runs plainly from then on."""
        device.synchronize()
        try:
            return device.capture(self.context.enqueue)
        except EngineFailure as error:
            self.context.capturable = False
            LOG.info("The model runs without a CUDA graph: %s", error)
            return None

    def close(self) -> None:
        """Frees graphs and context."""
        for graph in self._graphs.values():
            if graph is not None:
                graph.close()
        self._graphs.clear()
        self.context.close()


def _precision(layers: Layers, asked: str) -> str:
    """What an engine may be called by: `fp16` only where a layer runs in it."""
    kinds = {kind for counts in layers.values() for kind in counts}
    if not kinds:
        return asked
    return "fp16" if kinds & {"fp16", "bf16"} else "fp32"

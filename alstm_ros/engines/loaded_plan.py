"""A TensorRT engine in memory and its execution contexts, by names alone: the calls that every release shares."""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from alstm_ros.engines import failures, tensorrt_api
from alstm_ros.engines.device import Device
from alstm_ros.engines.failures import UnsupportedModelError
from alstm_ros.engines.profiles import states
from alstm_ros.engines.tensorrt_api import Flavour

LOG = logging.getLogger(__name__)


class LoadedPlan:
    """A deserialised engine."""

    def __init__(self, flavour: Flavour, data: bytes, kernels: bytes | None = None) -> None:
        """Loads an engine onto the current GPU.

        Args:
            flavour: the TensorRT that built it.
            data: the plan.
            kernels: what TensorRT-RTX compiled for this GPU in an earlier run; see `kernels`.

        Raises:
            EngineFailure: TensorRT refuses it, or the GPU does.
        """
        self.flavour = flavour
        flavour.errors()
        self._runtime = flavour.module.Runtime(flavour.logger)
        self.engine: Any = self._runtime.deserialize_cuda_engine(data)
        if self.engine is None:
            raise failures.from_log("TensorRT cannot load the engine", flavour.errors())
        names = [self.engine.get_tensor_name(index) for index in range(self.engine.num_io_tensors)]
        self._dtypes = {name: tensorrt_api.numpy_dtype(self.engine.get_tensor_dtype(name)) for name in names}
        self._config, self._kernels = self._own_graphs(kernels)

    def dtype(self, name: str) -> np.dtype[Any]:
        """A tensor's element type on the device.

        Raises:
            UnsupportedModelError: the engine has no such tensor.
        """
        if name not in self._dtypes:
            raise UnsupportedModelError(f"The engine has no tensor '{name}'; it has {', '.join(self._dtypes)}.")
        return self._dtypes[name]

    def states(self, inputs: Iterable[str], outputs: Iterable[str]) -> dict[str, str]:
        """The recurrent states: name of the input to name of the output that follows it."""
        pairs = states(inputs, outputs)
        return {name: follow for name, follow in pairs.items() if self._dtypes[name] == self._dtypes[follow]}

    def context(self, device: Device) -> Context:
        """A new execution context.

        Raises:
            EngineFailure: the GPU has no memory for it, or fails.
        """
        self.flavour.errors()
        made = self.engine.create_execution_context(*([] if self._config is None else [self._config]))
        if made is None:
            raise failures.from_log("TensorRT cannot prepare the engine to run", self.flavour.errors())
        if made.active_optimization_profile < 0:  # 8.6 gives only the first context a profile by itself
            made.set_optimization_profile_async(0, device.stream)
            device.synchronize()
        return Context(self.flavour, made, device, capturable=self._config is None)

    def kernels(self) -> bytes | None:
        """What TensorRT-RTX has compiled for this GPU so far, to be given back at the next start; None for others."""
        return None if self._kernels is None else bytes(self._kernels.serialize())

    def layers(self) -> dict[str, dict[str, int]]:
        """Which types the built layers have, as TensorRT's inspector tells them: kind of layer to type to how many.

        Fused layers count once. Empty where this release tells nothing.
        """
        found: dict[str, Counter[str]] = {}
        try:
            inspector = self.engine.create_engine_inspector()
            text = inspector.get_engine_information(self.flavour.module.LayerInformationFormat.JSON)
            entries = json.loads(text)["Layers"]
        except (AttributeError, TypeError, ValueError, KeyError, RuntimeError) as error:
            LOG.debug("The engine's layers cannot be inspected: %s", error)
            return {}
        for entry in entries:
            if isinstance(entry, dict) and (kind := _type_of(entry)):
                found.setdefault(str(entry.get("LayerType", "?")).lower(), Counter())[kind] += 1
        return {group: dict(sorted(counts.items())) for group, counts in sorted(found.items())}

    def close(self) -> None:
        """Lets go of the engine; contexts must be closed before."""
        self._config = self._kernels = self.engine = self._runtime = None

    def _own_graphs(self, kernels: bytes | None) -> tuple[Any, Any]:
        """Runtime config and kernel cache of a release that compiles at run time and captures its own CUDA graphs.

        TensorRT-RTX swaps in kernels for a shape some time after that shape first ran, so only it knows when a graph
        is worth capturing.
        """
        strategies = getattr(self.flavour.module, "CudaGraphStrategy", None)
        if strategies is None or not hasattr(self.engine, "create_runtime_config"):
            return None, None
        config = self.engine.create_runtime_config()
        config.cuda_graph_strategy = strategies.WHOLE_GRAPH_CAPTURE
        cache = config.create_runtime_cache()
        if kernels is not None and not cache.deserialize(kernels):
            LOG.info("The kernels compiled in an earlier run are of another driver or GPU; they are compiled again.")
        config.set_runtime_cache(cache)
        return config, cache


class Context:
    """One execution context on one stream."""

    def __init__(self, flavour: Flavour, context: Any, device: Device, *, capturable: bool) -> None:
        """Takes a context; `capturable`: whether its work may be recorded as a CUDA graph."""
        self._flavour, self._context, self._device = flavour, context, device
        self.capturable = capturable

    def set_shape(self, name: str, shape: tuple[int, ...]) -> None:
        """Sets an input's shape."""
        self._check(self._context.set_input_shape(name, shape), f"TensorRT refuses shape {shape} of '{name}'")

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape after all inputs' are set; -1 where it depends on the data."""
        return tuple(int(size) for size in self._context.get_tensor_shape(name))

    def set_address(self, name: str, address: int) -> None:
        """Says where a tensor is on the device."""
        self._check(self._context.set_tensor_address(name, address), f"TensorRT refuses the memory of '{name}'")

    def enqueue(self) -> None:
        """Puts one run on the stream; the GIL is free meanwhile."""
        self._check(self._context.execute_async_v3(self._device.stream), "TensorRT could not run the model")

    def close(self) -> None:
        """Lets go of it."""
        self._context = None

    def _check(self, done: object, what: str) -> None:
        if not done:
            raise failures.from_log(what, self._flavour.errors())


def _type_of(layer: Mapping[str, Any]) -> str:
    """The type that a layer writes, from the inspector's words, such as `Half` or `Channel major FP16 format`."""
    outputs = layer.get("Outputs") or [{}]
    words = str(outputs[0].get("Format/Datatype", "")) if isinstance(outputs[0], dict) else ""
    for pattern, name in (("FP16|Half", "fp16"), ("FP32|Float", "fp32"), ("BF16|BFloat16", "bf16"), ("Int8", "int8")):
        if re.search(pattern, words, re.IGNORECASE):
            return name
    return ""

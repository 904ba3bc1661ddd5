"""TensorRT for a model file: from the file to an engine that answers."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alstm_ros.config import EngineConfig
from alstm_ros.engines import tensorrt_api, tensorrt_build, tensorrt_graph
from alstm_ros.engines.cache import PlanCache, PlanKey, open_cache
from alstm_ros.engines.device import Device
from alstm_ros.engines.engine import TensorSpec
from alstm_ros.engines.failures import BuildFailedError, CancelledError, EngineFailure
from alstm_ros.engines.profiles import ShapeProfile, make_profile
from alstm_ros.engines.status import format_layers
from alstm_ros.engines.tensorrt_api import Flavour
from alstm_ros.engines.tensorrt_build import Plan, Progress

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """One model file and what it is wanted for.

    Attributes:
        path: the model file.
        config: the group `engine.*`.
        inputs: the model's inputs.
        outputs: the model's outputs.
        sizes: name of a free axis to the largest size that will be used.
        modules: the TensorRT modules to look for; empty for all.
    """

    path: Path
    config: EngineConfig
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    sizes: Mapping[str, int]
    modules: tuple[str, ...] = ()

    def start(self, progress: Progress, device: Device | None = None) -> Any:
        """Loads the engine from the cache, or builds and stores it, and makes it ready to answer.

        Args:
            progress: told how far the build is; False stops it.
            device: the GPU; the config's when None.

        Returns:
            A `TensorRTEngine`.

        Raises:
            DependencyError: a package is missing.
            ModelError: the model file is invalid.
            EngineFailure: the GPU, the build or the model is to blame.
        """
        from alstm_ros.engines.gpu import open_gpu  # noqa: PLC0415  # only where there is a GPU
        from alstm_ros.engines.loaded_plan import LoadedPlan  # noqa: PLC0415  # likewise
        from alstm_ros.engines.tensorrt_engine import TensorRTEngine  # noqa: PLC0415  # likewise

        flavour = tensorrt_api.find(*self.modules)
        device = device or open_gpu(self.config.device)
        try:
            cache = open_cache(self.config.cache_dir)
            built = self.plan(flavour, cache, device.info.capability, device.info.name, progress)
            kernel_key = replace(built.key, driver=f"{device.info.driver} on {device.info.name}")
            loaded = LoadedPlan(flavour, built.data, cache.load(kernel_key) if flavour.portable else None)
            layers = loaded.layers() or built.layers
            engine = TensorRTEngine(
                loaded,
                device,
                built.profile,
                (self.inputs, self.outputs),
                built.metadata,
                self.config.precision,
                layers,
            )
            engine.warm_up()
        except BaseException:
            with suppress(EngineFailure):  # a lost GPU cannot free its stream; what went wrong first is what matters
                device.close()
            raise
        kernels = loaded.kernels()
        if kernels is not None:
            cache.store(kernel_key, kernels)
        LOG.info("%s runs on %s; layers: %s.", self.path.name, device.info.name, format_layers(layers))
        if engine.status.precision != self.config.precision:
            LOG.warning(
                "engine.precision is %s, but TensorRT runs %s in %s.",
                self.config.precision,
                self.path.name,
                format_layers(layers),
            )
        return engine

    def plan(
        self,
        flavour: Flavour,
        cache: PlanCache,
        capability: tuple[int, int],
        gpu: str,
        progress: Progress,
        *,
        anew: bool = False,
    ) -> Built:
        """The engine for a GPU, from the cache or built and stored there.

        Args:
            flavour: the installed TensorRT.
            cache: where built engines are.
            capability: the GPU's compute capability.
            gpu: the GPU's name.
            progress: told how far the build is; False stops it.
            anew: build even where the cache has it.

        Raises:
            ModelError: the model file is invalid.
            EngineFailure: the GPU, the build or the model is to blame.
        """
        digest = hashlib.sha256(self.path.read_bytes()).hexdigest()
        model = tensorrt_graph.prepare(tensorrt_graph.read(self.path), self.config.precision)
        profile = make_profile(model.inputs, model.outputs, model.metadata, self.config.max_batch, self.sizes)
        key = PlanKey(
            model=digest,
            recipe=tensorrt_graph.RECIPE,
            runtime=flavour.name,
            version=flavour.version,
            gpu="" if flavour.portable else gpu,
            capability=f"{capability[0]}.{capability[1]}",
            precision=self.config.precision,
            shapes=profile.key,
        )
        with cache.lock(key, cancelled=lambda: not progress(0.0)):
            stored = None if anew else cache.load(key)
            if stored is not None:
                LOG.info("The engine of %s comes from %s.", self.path.name, cache.path(key))
                layers, _, data = stored.partition(b"\n")
                return Built(key, data, profile, model.metadata, json.loads(layers), cached=True)
            if not progress(0.0):
                raise CancelledError("The build of the engine was stopped.")
            try:
                plan: Plan = tensorrt_build.build(flavour, model, profile, self.config.precision, capability, progress)
            except MemoryError as error:
                raise BuildFailedError("The host has not enough memory to build the engine.") from error
            report = json.dumps(plan.layers)
            cache.store(key, report.encode() + b"\n" + plan.data)
            LOG.info("Built %s in %s; layers: %s.", self.path.name, self.config.precision, format_layers(plan.layers))
            return Built(key, plan.data, profile, model.metadata, plan.layers, cached=False)


@dataclass(frozen=True, slots=True)
class Built:
    """An engine ready to be loaded.

    Attributes:
        key: what it depends on.
        data: the plan.
        profile: the shapes that it was built for.
        metadata: what the model file says of itself.
        layers: kind of layer to type to how many; see `tensorrt_build.Plan`.
        cached: whether it came from the cache.
    """

    key: PlanKey
    data: bytes
    profile: ShapeProfile
    metadata: Mapping[str, str]
    layers: Mapping[str, Mapping[str, int]]
    cached: bool

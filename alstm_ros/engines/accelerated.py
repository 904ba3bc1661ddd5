"""TensorRT for a model file: from the file to an engine that answers. See `trial` for who may do which part of it."""

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
from alstm_ros.engines.device import Device, DeviceInfo
from alstm_ros.engines.engine import TensorSpec
from alstm_ros.engines.failures import BuildFailedError, CancelledError, EngineFailure
from alstm_ros.engines.profiles import ShapeProfile, make_profile
from alstm_ros.engines.status import format_layers
from alstm_ros.engines.tensorrt_api import Flavour
from alstm_ros.engines.tensorrt_build import Plan, Progress
from alstm_ros.engines.tensorrt_graph import PreparedModel

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """What engines are built with and for.

    Attributes:
        flavour: the TensorRT that builds.
        cache: where they are kept.
        capability: the compute capability to build for.
        gpu: name of the GPU here; empty where the engine is for another machine.
        driver: version of that GPU's driver.
    """

    flavour: Flavour
    cache: PlanCache
    capability: tuple[int, int]
    gpu: str = ""
    driver: str = ""

    @classmethod
    def here(cls, flavour: Flavour, cache: PlanCache, info: DeviceInfo) -> Target:
        """The GPU of this machine."""
        return cls(flavour, cache, info.capability, info.name, info.driver)

    def on_this_machine(self, key: PlanKey) -> PlanKey:
        """The key under which it is kept how an engine fared with this GPU and driver, portable or not."""
        return replace(key, gpu=self.gpu, driver=self.driver)


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
        """Loads the engine from the cache, or builds and stores it, and makes it ready to answer, all in this process.

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

        flavour = tensorrt_api.find(*self.modules)
        device = device or open_gpu(self.config.device)
        try:
            target = Target.here(flavour, open_cache(self.config.cache_dir), device.info)
            built = self.plan(target, progress)
        except BaseException:
            _free(device)
            raise
        return self.open(built, target, device)

    def open(self, built: Built, target: Target, device: Device) -> Any:
        """Loads a built engine and runs it once.

        Args:
            built: the engine.
            target: what it was built for.
            device: the GPU; closed with the engine, and when this fails.

        Returns:
            A `TensorRTEngine`.

        Raises:
            EngineFailure: the GPU or the engine is to blame.
        """
        from alstm_ros.engines.loaded_plan import LoadedPlan  # noqa: PLC0415  # only where there is a GPU
        from alstm_ros.engines.tensorrt_engine import Interface, TensorRTEngine  # noqa: PLC0415  # likewise

        try:
            flavour, cache = target.flavour, target.cache
            kernel_key = replace(built.key, driver=f"{device.info.driver} on {device.info.name}")
            loaded = LoadedPlan(flavour, built.data, cache.load(kernel_key) if flavour.portable else None)
            layers = loaded.layers() or built.layers
            shown = Interface(self.inputs, self.outputs, built.metadata, self.config.precision, layers)
            engine = TensorRTEngine(loaded, device, built.profile, shown)
            engine.warm_up()
        except BaseException:
            _free(device)
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

    def key(self, target: Target) -> PlanKey:
        """What the engine depends on.

        Raises:
            ModelError: the model file is invalid.
            UnsupportedModelError: TensorRT cannot run it.
        """
        return self._prepared(target)[0]

    def stored(self, target: Target) -> Built | None:
        """The engine in the cache, None where there is none.

        Raises:
            ModelError: the model file is invalid.
            UnsupportedModelError: TensorRT cannot run it.
        """
        key, model, profile = self._prepared(target)
        found = target.cache.load(key)
        if found is None:
            return None
        layers, _, data = found.partition(b"\n")
        return Built(key, data, profile, model.metadata, json.loads(layers), cached=True)

    def plan(self, target: Target, progress: Progress, *, anew: bool = False) -> Built:
        """The engine for a GPU, from the cache or built and stored there.

        Args:
            target: what it is built with and for.
            progress: told how far the build is; False stops it.
            anew: build even where the cache has it.

        Raises:
            ModelError: the model file is invalid.
            EngineFailure: the GPU, the build or the model is to blame.
        """
        cache, precision = target.cache, self.config.precision
        key, model, profile = self._prepared(target)
        with cache.lock(key, cancelled=lambda: not progress(0.0)):
            stored = None if anew else self.stored(target)
            if stored is not None:
                LOG.info("The engine of %s comes from %s.", self.path.name, cache.path(key))
                return stored
            if not progress(0.0):
                raise CancelledError("The build of the engine was stopped.")
            try:
                plan: Plan = tensorrt_build.build_engine(target.flavour, model, profile, target.capability, progress)
            except MemoryError as error:
                raise BuildFailedError("The host has not enough memory to build the engine.") from error
            report = json.dumps(plan.layers)
            cache.store(key, report.encode() + b"\n" + plan.data)
            LOG.info("Built %s in %s; layers: %s.", self.path.name, precision, format_layers(plan.layers))
            return Built(key, plan.data, profile, model.metadata, plan.layers, cached=False)

    def _prepared(self, target: Target) -> tuple[PlanKey, PreparedModel, ShapeProfile]:
        """The key, the model as TensorRT is given it, and the shapes to build for."""
        digest = hashlib.sha256(self.path.read_bytes()).hexdigest()
        model = tensorrt_graph.prepare(tensorrt_graph.read(self.path), self.config.precision)
        profile = make_profile(model.inputs, model.outputs, model.metadata, self.config.max_batch, self.sizes)
        key = PlanKey(
            model=digest,
            recipe=tensorrt_graph.RECIPE,
            runtime=target.flavour.name,
            version=target.flavour.version,
            gpu="" if target.flavour.portable else target.gpu,
            capability=f"{target.capability[0]}.{target.capability[1]}",
            precision=self.config.precision,
            shapes=profile.key,
        )
        return key, model, profile


def _free(device: Device) -> None:
    with suppress(EngineFailure):  # a lost GPU cannot free its stream; what went wrong first is what matters
        device.close()


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

"""Building a TensorRT engine: parse, profile, compile, with progress and with the precision of every kind of layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from alstm_ros.engines import failures, tensorrt_api
from alstm_ros.engines.failures import BuildFailedError, CancelledError, UnsupportedModelError
from alstm_ros.engines.profiles import ShapeProfile
from alstm_ros.engines.tensorrt_api import Flavour
from alstm_ros.engines.tensorrt_graph import PreparedModel

Progress = Callable[[float], bool]
"""Called with 0..1, never falling; its answer is whether to go on."""


_UNTYPED = {"CAST", "CONSTANT", "SHAPE", "FILL", "IDENTITY", "ASSERTION", "CONDITION"}
"""Layers that say themselves what they write: TensorRT 8.6 fails an assertion where a type is set on one."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A built engine.

    Attributes:
        data: what TensorRT loads.
        layers: TensorRT's kind of layer to type to how many, such as `{"convolution": {"fp16": 88}}`. In a strongly
            typed network this is what runs; else what was asked for.
    """

    data: bytes
    layers: Mapping[str, Mapping[str, int]]


def build_engine(
    flavour: Flavour,
    model: PreparedModel,
    profile: ShapeProfile,
    capability: tuple[int, int] | None = None,
    progress: Progress = lambda _: True,
) -> Plan:
    """Builds an engine.

    The GIL is free meanwhile, except while `progress` runs.

    Args:
        flavour: the installed TensorRT.
        model: from `tensorrt_graph.prepare`, which says in which precision.
        profile: the ranges of the free axes.
        capability: compute capability to build for, where this release builds without that GPU; None for the GPU here.
        progress: told how far it is; False stops. TensorRT 8.6 does not report.

    Raises:
        UnsupportedModelError: TensorRT cannot parse the model, or has no code for this GPU.
        BuildFailedError: TensorRT cannot build it.
        DeviceLostError: there is no usable GPU and this release needs one.
        CancelledError: `progress` said no.
    """
    trt = flavour.module
    flavour.errors()
    builder = _made(flavour, trt.Builder, flavour.logger)
    network, strong = tensorrt_api.create_network(flavour, builder)
    parser = trt.OnnxParser(network, flavour.logger)
    if not parser.parse(model.onnx):
        reasons = "; ".join(_parser_error(parser.get_error(index)) for index in range(parser.num_errors))
        raise UnsupportedModelError(f"{_name(flavour)} cannot parse the model: {reasons}.")
    config = builder.create_builder_config()
    _add_profile(flavour, builder, network, config, profile)
    _set_precision(trt, network, config, model.precision, strong=strong)
    if capability is not None:
        _set_capability(flavour, config, capability)
    if hasattr(config, "profiling_verbosity"):
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # names and types for the inspector; no cost
    sharing = getattr(getattr(trt, "PreviewFeature", None), "PROFILE_SHARING_0806", None)
    if sharing is not None:
        config.set_preview_feature(sharing, True)  # noqa: FBT003  # several contexts on one profile, as 10 always does
    watch = _watch(flavour, config, progress)
    flavour.errors()
    memory = builder.build_serialized_network(network, config)
    if watch.cancelled:
        raise CancelledError("The build of the engine was stopped.")
    if memory is None:
        raise failures.from_log(f"{_name(flavour)} cannot build the model", flavour.errors())
    progress(1.0)
    return Plan(bytes(memory), _layers(trt, network))


def _name(flavour: Flavour) -> str:
    return f"{'TensorRT-RTX' if flavour.portable else 'TensorRT'} {flavour.version}"


def _parser_error(error: Any) -> str:
    """What the parser did not like; older releases know only the node's number."""
    operator = error.node_operator() if hasattr(error, "node_operator") else ""
    text = error.desc().split("\n")[0]
    return (
        f"{operator or 'node'} {error.node()}: {text}" if text not in {"", "false"} else f"{operator} is not supported"
    )


def _made(flavour: Flavour, factory: Callable[..., Any], *arguments: Any) -> Any:
    """What a TensorRT factory makes; without a GPU some return nothing, some raise."""
    try:
        made = factory(*arguments)
    except (RuntimeError, TypeError) as error:  # pybind11 raises TypeError where C++ returned a null pointer
        raise failures.from_log(f"{_name(flavour)} cannot start", [*flavour.errors(), str(error)]) from error
    if made is None:
        raise failures.from_log(f"{_name(flavour)} cannot start", flavour.errors())
    return made


def _add_profile(flavour: Flavour, builder: Any, network: Any, config: Any, profile: ShapeProfile) -> None:
    shapes = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        name = network.get_input(index).name
        ranges = [profile.shape(name, which) for which in ("least", "usual", "most")]
        if any(isinstance(dim, str) for dim in profile.inputs[name]):
            shapes.set_shape(name, *ranges)
    if config.add_optimization_profile(shapes) < 0:
        raise BuildFailedError(f"{_name(flavour)} refuses the shapes {profile.key}: {' '.join(flavour.errors())}")


def _set_precision(trt: Any, network: Any, config: Any, precision: str, *, strong: bool) -> None:
    """Makes the types of the file binding, by whatever this release has for it."""
    flags = trt.BuilderFlag
    if precision == "fp32" and hasattr(flags, "TF32"):
        config.clear_flag(flags.TF32)  # on by default, with a 10-bit mantissa: not what fp32 promises
    if strong or precision == "fp32":
        return
    config.set_flag(flags.FP16)
    config.set_flag(flags.PREFER_PRECISION_CONSTRAINTS)
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if str(layer.type).rpartition(".")[2] in _UNTYPED:
            continue
        kinds = [layer.get_output(place).dtype for place in range(layer.num_outputs)]
        if kinds and all(kind in {trt.float32, trt.float16} for kind in kinds):
            layer.precision = kinds[0]
            for place, kind in enumerate(kinds):
                layer.set_output_type(place, kind)


def _set_capability(flavour: Flavour, config: Any, capability: tuple[int, int]) -> None:
    name = f"SM{capability[0]}{capability[1]}"
    known = getattr(flavour.module, "ComputeCapability", None)
    if known is None:
        return  # this release builds for the GPU it sees
    if not hasattr(known, name):
        offered = ", ".join(entry for entry in dir(known) if entry.startswith("SM"))
        raise UnsupportedModelError(
            f"{_name(flavour)} has no code for compute capability {capability[0]}.{capability[1]}; it offers {offered}."
        )
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(known, name), 0)


@dataclass(slots=True)
class _Phases:
    """How far a tree of phases is, each with its steps; a phase counts as a part of its parent's current step."""

    steps: dict[str, int] = field(default_factory=dict)
    done: dict[str, int] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)
    reached: float = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        self.steps[name], self.done[name] = max(steps, 1), 0
        self.parents[name] = parent or ""

    def step(self, name: str, index: int) -> None:
        self.done[name] = index + 1

    def finish(self, name: str) -> None:
        self.done[name] = self.steps.get(name, 1)

    def fraction(self, name: str) -> float:
        """How far everything is, as seen from this phase; never less than before."""
        inner = min(self.done.get(name, 0) / self.steps.get(name, 1), 1.0)
        for _ in range(len(self.steps)):  # a tree is no deeper; also ends where names repeat
            name = self.parents.get(name, "")
            if name not in self.steps:
                break
            inner = min((self.done[name] + inner) / self.steps[name], 1.0)
        self.reached = max(self.reached, inner)
        return self.reached


class _Watch:
    """Whether the build was stopped."""

    cancelled = False


def _watch(flavour: Flavour, config: Any, progress: Progress) -> _Watch:
    """Attaches a progress monitor where this release has them."""
    watch = _Watch()
    base: Any = getattr(flavour.module, "IProgressMonitor", None)
    if base is None or not hasattr(config, "progress_monitor"):
        watch.cancelled = not progress(0.0)
        return watch
    phases = _Phases()

    class Monitor(base):  # type: ignore[misc]  # the base class comes with the module
        """Called by TensorRT, from threads of its own."""

        def __init__(self) -> None:
            base.__init__(self)

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            phases.start(name, parent, steps)

        def step_complete(self, name: str, index: int) -> bool:
            phases.step(name, index)
            if not watch.cancelled and not progress(min(phases.fraction(name), 0.99)):
                watch.cancelled = True
            return not watch.cancelled

        def phase_finish(self, name: str) -> None:
            phases.finish(name)

    config.progress_monitor = Monitor()
    return watch


def _layers(trt: Any, network: Any) -> dict[str, dict[str, int]]:
    names = {trt.float32: "fp32", trt.float16: "fp16"}
    found: dict[str, Counter[str]] = {}
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.num_outputs and (kind := names.get(layer.get_output(0).dtype)):
            group = str(layer.type).rpartition(".")[2].lower()
            if group not in {"constant", "cast", "shuffle"}:
                found.setdefault(group, Counter())[kind] += 1
    return {group: dict(sorted(counts.items())) for group, counts in sorted(found.items())}

"""What an engine says of itself while it runs: which runtime answers, in which precision, and whether one is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Layers = Mapping[str, Mapping[str, int]]
"""Kind of layer to type to how many, such as `{"convolution": {"fp16": 52, "fp32": 1}}`."""


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """The state of an engine at one moment, for diagnostics.

    Attributes:
        runtime: what answers now: `onnxruntime`, `onnxruntime_cuda`, `tensorrt` or `tensorrt_rtx`.
        precision: what that runtime computes in: `fp16` where it runs any layer in it, else `fp32`.
        progress: 0..1 while another runtime is built in the background; None when none is.
        message: one sentence for the user when something is not as wanted or is under way; else empty.
        degraded: whether the wanted runtime is missing because something failed, not because it is still being built.
        layers: what each kind of layer really runs in; empty where the runtime runs the file as it is.
    """

    runtime: str
    precision: str
    progress: float | None = None
    message: str = ""
    degraded: bool = False
    layers: Layers = field(default_factory=dict, hash=False)


def title(runtime: str) -> str:
    """A runtime's name as users know it."""
    return _TITLES.get(runtime, runtime)


def format_layers(layers: Layers) -> str:
    """The layers' types in one line, such as `convolution 52 fp16 + 1 fp32, softmax 1 fp32`."""
    groups = (
        f"{group} " + " + ".join(f"{number} {kind}" for kind, number in counts.items())
        for group, counts in layers.items()
    )
    return ", ".join(groups)


_TITLES = {
    "onnxruntime": "ONNX Runtime",
    "onnxruntime_cuda": "ONNX Runtime's CUDA provider",
    "tensorrt": "TensorRT",
    "tensorrt_rtx": "TensorRT-RTX",
}

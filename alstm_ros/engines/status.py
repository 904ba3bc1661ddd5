"""What an engine says of itself while it runs: which runtime answers, in which precision, and whether one is built."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """The state of an engine at one moment, for diagnostics.

    Attributes:
        runtime: what answers now: `onnxruntime`, `tensorrt` or `tensorrt_rtx`.
        precision: what that runtime computes in: `fp32`, or `fp16` for the layers that the FP16 export lowers.
        progress: 0..1 while another runtime is built in the background; None when none is.
        message: one sentence for the user when something is not as wanted or is under way; else empty.
        degraded: whether the wanted runtime is missing because something failed, not because it is still being built.
    """

    runtime: str
    precision: str
    progress: float | None = None
    message: str = ""
    degraded: bool = False

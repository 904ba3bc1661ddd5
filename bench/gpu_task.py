"""One part of what `gpu.py` measures, in a process of its own: `python -m bench.gpu_task JSON`.

On stdout comes one JSON object a line, each with what was found since; a process that dies leaves what it had said.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from alstm_ros import engines
from alstm_ros.config import EngineConfig
from alstm_ros.engines import agreement, tensorrt_api
from alstm_ros.engines.engine import Engine, Tensors
from alstm_ros.engines.gpu import open_gpu
from alstm_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from alstm_ros.engines.status import EngineStatus
from alstm_ros.engines.switching import SwitchingEngine
from alstm_ros.engines.tensorrt_engine import TensorRTEngine
from alstm_ros.errors import AlstmError
from alstm_ros.options import replace
from bench import gpu_measurements
from bench.gpu_contenders import CONTENDERS, SWITCHES, Unavailable, Workplace

Say = Callable[[Mapping[str, Any]], None]
"""Tells what has been found since the last call."""
OTHERS = 20
"""So many frames of parity for the contenders that are not this package's GPU engine."""


@dataclass(frozen=True, slots=True)
class Task:
    """What one process measures.

    Attributes:
        kind: a name in KINDS.
        model: path of the model file; empty where none is run.
        precision: `fp32` or `fp16`.
        contender: a name in `CONTENDERS`; empty where none runs.
        source: path of a video; empty for drawn pictures.
        frames: frames and recurrent steps of the parity, and whole frames.
        runs: runs of each latency.
        batches: batches of images.
        engine: values of `engine.*`.
        rehearsal: whether the processor stands in for the GPU.
    """

    kind: str
    engine: Mapping[str, Any]
    rehearsal: bool
    model: str = ""
    precision: str = "fp32"
    contender: str = ""
    source: str = ""
    frames: int = 1000
    runs: int = 300
    batches: tuple[int, ...] = (1, 4, 8, 16)

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @property
    def place(self) -> Workplace:
        """Where it runs."""
        return Workplace(EngineConfig(**self.engine), self.rehearsal)

    @property
    def video(self) -> Path | None:
        """The video."""
        return Path(self.source) if self.source else None


def main(text: str) -> int:
    """Measures; whatever fails is told as one sentence under `not_measured`."""
    # native libraries print on stdout as they like; our lines go where they cannot come between
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(found: Mapping[str, Any]) -> None:
        channel.write(json.dumps(found) + "\n")
        channel.flush()

    task = Task(**json.loads(text))
    try:
        KINDS[task.kind](task, say)
    except Exception as error:  # noqa: BLE001  # unattended: whatever fails is told, and the others are measured
        say({"not_measured": reason(error)})
    return 0


def reason(error: Exception) -> str:
    """Why something was not measured, as one sentence."""
    text = str(error).split("\n", maxsplit=1)[0]
    return text if isinstance(error, (AlstmError, Unavailable)) else f"It fails with {type(error).__name__}: {text}"


def model(task: Task, say: Say) -> None:
    """One model in one precision through one contender."""
    place, path = task.place, Path(task.model)
    reference = OnnxRuntimeEngine(path, place.config)
    images = any(len(spec.shape) == 4 for spec in reference.inputs.values())
    with place.contender(CONTENDERS[task.contender], path, task.precision, reference) as (answer, about):
        say(about)
        count = task.frames if task.contender == "tensorrt" else min(task.frames, OTHERS)
        inputs = gpu_measurements.feeds(path, reference, task.video, 1 if images else 16)
        found = gpu_measurements.parity(answer, reference, inputs, count)
        limit = agreement.TOLERANCES[task.precision]
        say({"parity": found | {"limit": limit, "within": max(found["worst"].values()) <= limit}})
        for batch in task.batches if images else gpu_measurements.ROWS:
            feed = next(gpu_measurements.feeds(path, reference, task.video, batch))
            say({"latency": {str(batch): gpu_measurements.latency(answer, feed, task.runs)}})
            if isinstance(answer, TensorRTEngine):
                say({"bare_loop": {str(batch): gpu_measurements.bare_loop(answer, feed, task.runs)}})


def frames(task: Task, say: Say) -> None:
    """Whole frames with a detector on one of the engines."""
    place, path = task.place, Path(task.model)
    reference = OnnxRuntimeEngine(path, place.config)
    with place.contender(CONTENDERS[task.contender], path, task.precision, reference) as (engine, _):
        say(gpu_measurements.whole_frames(engine, task.video, task.frames))  # type: ignore[arg-type]  # see `ENGINES`


def switch(task: Task, say: Say) -> None:
    """A start as the node does it, answered at once and switched to the GPU by itself."""
    place, path = task.place, Path(task.model)
    reference = OnnxRuntimeEngine(path, place.config)
    config = replace(place.at(task.precision), {"runtime": SWITCHES[task.contender]})

    def start() -> Engine:
        if place.rehearsal:
            return SwitchingEngine(
                OnnxRuntimeEngine(path, config),
                lambda _: _StandIn(path, config),
                EngineStatus(task.contender, task.precision),
            )
        return engines.open_engine(path, config)

    say(gpu_measurements.live_switch(start, gpu_measurements.feeds(path, reference, task.video, 1)))


class _StandIn(OnnxRuntimeEngine):
    """The processor in the place of a GPU's engine."""

    @property
    def usual(self) -> Mapping[str, tuple[int, ...]]:
        """See `FastEngine`."""
        return {name: tuple(size or 1 for size in spec.shape) for name, spec in self.inputs.items()}

    def takes(self, inputs: Tensors) -> bool:
        """See `FastEngine`."""
        return inputs.keys() == self.inputs.keys()


def machine(task: Task, say: Say) -> None:
    """What it runs on, and what it is missing; the GPU comes last, since it may end the process."""
    say({"processors": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()})
    for name in ("numpy", "onnx", "onnxruntime", "torch", "onnx2torch"):
        say({name: _version(name)})
    try:
        flavour = tensorrt_api.find()
        say({"tensorrt": f"{flavour.name} {flavour.version}"})
    except AlstmError as error:
        say({"tensorrt": reason(error)})
    if task.rehearsal:
        say({"gpu": None})
        return
    device = open_gpu(EngineConfig(**task.engine).device)
    info = device.info
    device.close()
    say({"gpu": info.name, "compute_capability": ".".join(map(str, info.capability)), "driver_cuda": info.driver})


def _version(name: str) -> str | None:
    """A package's own word for its version; None where it cannot be imported."""
    try:
        module = importlib.import_module(name)
    except ImportError:
        return None
    return str(module.__version__ if hasattr(module, "__version__") else metadata.version(name))


KINDS: dict[str, Callable[[Task, Say], None]] = {
    "machine": machine, "model": model, "frames": frames, "switch": switch,
}  # fmt: skip
"""Name of a kind of task to what does it."""

if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

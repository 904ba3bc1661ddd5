"""The association's step: on the processor, or through TensorRT where that is wanted or was measured to be faster."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alstm_ros.config import EngineConfig
from alstm_ros.engines import agreement, tensorrt_api, tensorrt_graph
from alstm_ros.engines.accelerated import Job
from alstm_ros.engines.engine import Engine
from alstm_ros.engines.failures import SlowerError
from alstm_ros.engines.profiles import Dims, states
from alstm_ros.engines.status import EngineStatus
from alstm_ros.engines.switching import FastEngine, Start, SwitchingEngine
from alstm_ros.engines.trial import Trial
from alstm_ros.options import replace

LOG = logging.getLogger(__name__)

ROWS = 48
"""The number of tracks, and of pairs, in a step whose time is measured."""
STEPS = 200
"""The number of steps whose time is measured."""

Feed = dict[str, NDArray[Any]]


def load_step(model: Path, fallback: Engine, config: EngineConfig, runtime: str) -> Engine:
    """Puts the GPU before the processor, as `association.runtime` wants it.

    It computes in FP32: the step is small, and its states are carried from frame to frame.

    Args:
        model: the model file.
        fallback: the same file on the processor; closed with what is returned.
        config: the group `engine.*`; where that wants the processor alone, `auto` does, too.
        runtime: `auto`, `cpu` or `gpu`.

    Returns:
        An engine that answers at once; `fallback` itself where no GPU is wanted or possible.
    """
    if runtime == "cpu" or (runtime == "auto" and config.runtime == "onnxruntime"):
        return fallback
    if not (tensorrt_api.driver_present() and tensorrt_api.installed()):
        if runtime == "gpu":
            LOG.warning(
                "Parameter 'association.runtime' is 'gpu', and NVIDIA's driver or TensorRT is missing; the association "
                "runs on the processor."
            )
        return fallback
    config = replace(config, {"runtime": "tensorrt", "precision": "fp32"})
    start: Start = Trial(Job(model, config, fallback.inputs, fallback.outputs, {})).start
    if runtime == "auto":
        rows, _ = tensorrt_graph.axes(tensorrt_graph.read(model))
        start = IfFaster(start, fallback, rows)
    return SwitchingEngine(fallback, start, EngineStatus("tensorrt", config.precision))


@dataclass(frozen=True, slots=True)
class IfFaster:
    """Starts an engine, and keeps it only where its steps take less time than the processor's.

    Attributes:
        begin: starts the engine.
        reference: the processor's.
        axes: name of an input to its axes; the first is that of its rows.
        clock: seconds.
    """

    begin: Start
    reference: Engine
    axes: Mapping[str, Dims]
    clock: Callable[[], float] = field(default=time.perf_counter)

    def __call__(self, progress: Callable[[float], bool]) -> FastEngine:
        """See `switching.Start`.

        Raises:
            SlowerError: the processor is as fast.
            DisagreementError: the two differ in their answers.
            AlstmError: the engine cannot be started.
        """
        engine = self.begin(progress)
        try:
            gpu, processor = self._milliseconds(engine)
            told = (
                f"A step of the association with {ROWS} tracks takes {gpu:.2f} ms on the GPU and {processor:.2f} ms on "
                "the processor"
            )
            if gpu >= processor:
                raise SlowerError(f"{told}.")  # noqa: TRY301  # closed as in every other failure
        except BaseException:
            engine.close()
            raise
        LOG.info("%s, so the GPU takes it.", told)
        return engine

    def _milliseconds(self, engine: Engine) -> tuple[float, float]:
        """Medians of both, in turn, over steps as the tracker makes them: one half of the model after the other."""
        one, other = _Steps(engine, self.axes), _Steps(self.reference, self.axes)
        taken = []
        for _ in range(STEPS):
            begin = self.clock()
            found = one.step()
            between = self.clock()
            wanted = other.step()
            taken.append((between - begin, self.clock() - between))
        agreement.check(wanted, found, "fp32")
        gpu, processor = np.median(taken, axis=0) * 1000
        return float(gpu), float(processor)


class _Steps:
    """Steps with the same features and with the state of the step before."""

    def __init__(self, engine: Engine, axes: Mapping[str, Dims]) -> None:
        self._engine = engine
        self._follow = states(engine.inputs, engine.outputs)
        self._state: Feed = {}
        rng = np.random.default_rng(0)
        self._halves: list[Feed] = []
        for half in sorted({str(dims[0]) for dims in axes.values()}):
            shapes = {
                name: (ROWS if dims[0] == half else 0, *(int(size) for size in dims[1:])) for name, dims in axes.items()
            }
            self._halves.append({n: rng.standard_normal(shape).astype(np.float32) for n, shape in shapes.items()})

    def step(self) -> Feed:
        """One call for each half; what the last frame of both said."""
        found: Feed = {}
        for feed in self._halves:
            whole = all(len(feed[name]) for name in self._follow)
            answer = self._engine(feed | (self._state if whole else {}))
            if whole:
                self._state = {name: answer[following] for name, following in self._follow.items()}
            found |= {name: array for name, array in answer.items() if array.size}
        return found

"""Answering at once: through one runtime while a faster one is built, then through that one, and back when it fails."""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from alstm_ros.engines import agreement
from alstm_ros.engines.engine import Engine, Tensors, TensorSpec
from alstm_ros.engines.failures import CancelledError, EngineFailure, SlowerError
from alstm_ros.engines.status import EngineStatus, title
from alstm_ros.errors import AlstmError

LOG = logging.getLogger(__name__)

FIRST_PAUSE = 5.0
LONGEST_PAUSE = 600.0
"""Seconds between two attempts: doubled from the first to the longest."""
PROVEN = 1000
"""Answers after which a runtime counts as sound, so that its next failure starts with the first pause again."""


class FastEngine(Engine, Protocol):
    """An engine that takes some shapes only."""

    def takes(self, inputs: Tensors) -> bool:
        """Whether it was built for these inputs."""
        ...

    @property
    def usual(self) -> Mapping[str, tuple[int, ...]]:
        """The shapes that it is fastest at: name to shape."""
        ...


Start = Callable[[Callable[[float], bool]], FastEngine]
"""Builds or loads the fast engine, ready to answer; calls its argument with 0..1, which answers whether to go on."""


class Clock(Protocol):
    """The only time that is looked at: how long to wait before trying again."""

    def pause(self, seconds: float, ended: threading.Event) -> None:
        """Waits that long, or until `ended` is set."""
        ...


class WallClock:
    """Real time."""

    def pause(self, seconds: float, ended: threading.Event) -> None:
        """Waits that long, or until `ended` is set."""
        ended.wait(seconds)


@dataclass(slots=True)
class _Sample:
    """One frame as the fallback answered it, wanted for comparison while `wanted` is set."""

    wanted: threading.Event = field(default_factory=threading.Event)
    taken: threading.Event = field(default_factory=threading.Event)
    inputs: dict[str, NDArray[Any]] = field(default_factory=dict)
    outputs: dict[str, NDArray[Any]] = field(default_factory=dict)


class SwitchingEngine:
    """Two runtimes behind one `Engine`.

    Every call is answered whole by one of them, and by the fallback whenever the fast one cannot: no call waits for a
    build and none is lost. Recurrent states are ordinary inputs and outputs, so they go along with the switch. Before
    it answers, the fast engine must agree with the fallback on a frame that came in (`agreement.TOLERANCES`).
    """

    def __init__(self, fallback: Engine, start: Start, target: EngineStatus, clock: Clock | None = None) -> None:
        """Starts building in the background.

        Args:
            fallback: answers until the fast engine is ready and whenever it fails; closed with this.
            start: builds the fast engine; called in a thread of its own, and again after a failure.
            target: what the fast engine will be, for the messages.
            clock: real time unless tests say otherwise.
        """
        self._fallback, self._start, self._target = fallback, start, target
        self._clock: Clock = clock or WallClock()
        self._fast: FastEngine | None = None
        self._answers = 0
        self._failure: EngineFailure | None = None
        self._failed, self._ended, self._settled = threading.Event(), threading.Event(), threading.Event()
        self._settling = False
        self._turn = threading.Lock()
        self._sample = _Sample()
        self._told: set[str] = set()
        self._status = replace(fallback.status, progress=0.0, message=f"{title(target.runtime)} is being built.")
        self._thread = threading.Thread(target=self._work, name=f"build {target.runtime}", daemon=True)
        atexit.register(self._stop)  # a build that runs into the interpreter's end would take it down
        self._thread.start()

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """Name to shape and type."""
        return self._fallback.inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """Name to shape and type."""
        return self._fallback.outputs

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the file says about itself."""
        return self._fallback.metadata

    @property
    def status(self) -> EngineStatus:
        """What answers now, and how far the build is."""
        return self._status

    def settle(self) -> None:
        """Waits until the fast engine answers or has failed for the first time.

        What follows a settled engine is the same at every run; without, the moment of the switch depends on the
        machine. The frame to compare with is made up.
        """
        self._settling = True
        self._sample.taken.set()  # wakes a worker that waits for a frame
        self._settled.wait()

    def __call__(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Runs the model on whichever runtime can.

        Raises:
            ModelError: the inputs do not fit, or the fallback fails too.
        """
        with self._turn:  # of several threads, one is in the fast engine, which is not closed while it is
            fast = self._fast
            if fast is not None and fast.takes(inputs):
                try:
                    outputs = fast(inputs)
                except EngineFailure as error:
                    self._lose(error)
                except Exception as error:  # noqa: BLE001  # a driver may raise anything; the frame is answered regardless
                    self._lose(self._unknown(error))
                else:
                    self._answers += 1
                    return outputs
        outputs = self._fallback(inputs)
        with self._turn:
            if self._sample.wanted.is_set():
                self._give_sample(inputs, outputs)
        return outputs

    def close(self) -> None:
        """Stops building and frees both engines."""
        self._stop()
        fast, self._fast = self._fast, None
        if fast is not None:
            fast.close()
        self._fallback.close()

    def _stop(self) -> None:
        """Ends the background thread, which frees the fast engine."""
        atexit.unregister(self._stop)
        self._ended.set()
        self._failed.set()
        self._sample.taken.set()
        # TensorRT 8.6 cannot be stopped while it builds, and the thread is a daemon; launch files kill after 5 s.
        self._thread.join(timeout=3.0)

    def _work(self) -> None:
        """The background thread: build, compare, switch, wait for a failure, pause, again."""
        pause = FIRST_PAUSE
        while not self._ended.is_set():
            try:
                fast = self._start(self._progress)
            except AlstmError as error:
                lasting = not isinstance(error, EngineFailure) or error.lasting
                failure: AlstmError = error
            except Exception as error:  # noqa: BLE001  # a driver or library may raise anything; frames go on regardless
                lasting = False
                failure = self._unknown(error)
            else:
                failure, lasting = self._serve(fast)
                if self._answers >= PROVEN:
                    pause = FIRST_PAUSE
            if self._ended.is_set() or isinstance(failure, CancelledError):
                break
            self._report(failure, None if lasting else pause)
            self._settled.set()
            if lasting:
                break
            self._clock.pause(pause, self._ended)
            pause = min(2 * pause, LONGEST_PAUSE)
        self._settled.set()

    def _serve(self, fast: FastEngine) -> tuple[AlstmError, bool]:
        """Lets the fast engine answer until it fails; returns why it ended and whether for good."""
        try:
            self._compare(fast)
        except EngineFailure as error:
            fast.close()
            return error, error.lasting
        self._failed.clear()
        if self._ended.is_set():  # set before `_failed`, so one of the two is seen
            fast.close()
            return CancelledError("The engine is closed."), True
        self._failure = None
        self._answers = 0
        status = fast.status
        self._status = status
        self._fast = fast
        LOG.info("%s answers now, in %s.", title(status.runtime), status.precision)
        self._told.clear()
        self._settled.set()
        self._failed.wait()
        fast.close()
        why = self._failure or CancelledError("The engine is closed.")
        return why, why.lasting

    def _compare(self, fast: FastEngine) -> None:
        """Holds the fast engine against the fallback on one frame.

        Raises:
            EngineFailure: it fails, disagrees, or the engine was closed meanwhile.
        """
        self._status = replace(self._status, progress=1.0, message=f"{title(self._target.runtime)} waits for a frame.")
        sample = self._sample
        while not sample.inputs or not fast.takes(sample.inputs):
            sample.taken.clear()  # before looking at what sets it
            if self._ended.is_set():
                raise CancelledError("The engine is closed.")
            if self._settling:
                sample.inputs = self._made_up(fast)
                sample.outputs = self._fallback(sample.inputs)
                break
            sample.inputs = {}
            sample.wanted.set()
            sample.taken.wait()
        sample.wanted.clear()
        reference, inputs = sample.outputs, sample.inputs
        sample.inputs, sample.outputs = {}, {}
        found = agreement.check(reference, fast(inputs), self._target.precision, title(fast.status.runtime))
        LOG.info("Largest deviations: %s.", ", ".join(f"{name} {off:.1e}" for name, off in found.items()))

    def _give_sample(self, inputs: Tensors, outputs: Mapping[str, NDArray[Any]]) -> None:
        sample = self._sample
        sample.wanted.clear()
        sample.outputs = {name: array.copy() for name, array in outputs.items()}
        sample.inputs = {name: array.copy() for name, array in inputs.items()}  # the caller may reuse its memory
        sample.taken.set()

    def _made_up(self, fast: FastEngine) -> dict[str, NDArray[Any]]:
        rng = np.random.default_rng(0)
        inputs = {}
        for name, spec in fast.inputs.items():
            shape = fast.usual[name]
            noise = rng.standard_normal(shape) if spec.dtype.kind == "f" else rng.integers(0, 128, shape)
            inputs[name] = noise.astype(spec.dtype)
        return inputs

    def _progress(self, fraction: float) -> bool:
        self._status = replace(self._status, progress=fraction)
        return not self._ended.is_set()

    def _lose(self, error: EngineFailure) -> None:
        """Goes back to the fallback, at this one's turn; the background thread frees what is lost."""
        self._fast = None
        self._failure = error
        self._status = replace(self._fallback.status, message=str(error), degraded=True)
        self._failed.set()

    def _unknown(self, error: Exception) -> EngineFailure:
        return EngineFailure(f"{title(self._target.runtime)} fails with {type(error).__name__}: {error}")

    def _report(self, failure: AlstmError, pause: float | None) -> None:
        """Says once what happened; the same cause again only changes the status."""
        if isinstance(failure, SlowerError):  # nothing is wrong
            self._status = self._fallback.status
            LOG.info("%s It stays on the processor.", failure)
            return
        known = str(failure) in self._told
        self._told.add(str(failure))
        again = "for good." if pause is None else f"and tries again in {pause:g} s."
        message = f"{failure} ONNX Runtime answers on the processor instead, {again}"
        self._status = replace(self._fallback.status, message=message, degraded=True)
        LOG.log(logging.DEBUG if known else logging.WARNING, "%s", message)

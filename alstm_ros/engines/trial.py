"""A first try in a process of its own: this process loads only an engine that another one has built, loaded and run.

Builders and drivers are native code that runs on somebody's machine; where they crash, hang or fill the memory, a child
dies and this process goes on with ONNX Runtime. What killed a child is kept in the cache, so that the next start does
not fall into the same hole: the same model is not tried again before it, TensorRT, the driver or the precision changes.
"""

from __future__ import annotations

import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import IO, Any

from alstm_ros import errors
from alstm_ros.engines import failures, gpu, tensorrt_api
from alstm_ros.engines.accelerated import Built, Job, Target
from alstm_ros.engines.cache import open_cache
from alstm_ros.engines.child import Order
from alstm_ros.engines.failures import BuildFailedError, CancelledError, CrashedError, EngineFailure
from alstm_ros.engines.tensorrt_build import Progress
from alstm_ros.errors import AlstmError

LOG = logging.getLogger(__name__)

CHILD = (sys.executable, "-m", "alstm_ros.engines.child")
"""What is started; the parent's process id follows."""
_LOOK = 0.1
"""Seconds between two looks at whether the build is still wanted and within its time."""
_KINDS: dict[str, type[AlstmError]] = {
    kind.__name__: kind
    for module in (failures, errors)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, AlstmError)
}
"""Name to class of what a child may say that it failed with."""
_LINES = 20
"""This many lines of what TensorRT said last are kept."""


@dataclass(frozen=True, slots=True)
class Trial:
    """Starts a job's engine after a child has tried it.

    Attributes:
        job: the model file and what it is wanted for.
        command: what is started as the child.
    """

    job: Job
    command: tuple[str, ...] = field(default=CHILD)

    def start(self, progress: Progress) -> Any:
        """The engine, ready to answer; see `switching.Start`. Where FP16 cannot be built, FP32 is tried.

        Args:
            progress: told how far the build is; False stops it.

        Raises:
            CrashedError: the child died, now or at an earlier start.
            AlstmError: whatever else stands in the way.
        """
        try:
            return self._start(progress)
        except (BuildFailedError, CrashedError) as error:
            if self.job.config.precision == "fp32":
                raise
            LOG.warning("%s FP32 is tried instead.", error)
        config = replace(self.job.config, precision="fp32")
        return replace(self, job=replace(self.job, config=config)).start(progress)

    def _start(self, progress: Progress) -> Any:
        flavour, device = tensorrt_api.find(*self.job.modules), gpu.open_gpu(self.job.config.device)
        try:
            target = Target.here(flavour, open_cache(self.job.config.cache_dir), device.info)
            self.prove(target, progress)
            built = self._read_back(target)
        except BaseException:
            with suppress(EngineFailure):  # what went wrong first is what matters
                device.close()
            raise
        return self.job.open(built, target, device)

    def prove(self, target: Target, progress: Progress) -> None:
        """Has a child build, load and run the engine, unless one has done so on this machine.

        Raises:
            CrashedError: the child died, now or at an earlier start.
            AlstmError: the child could not do it.
        """
        key = self.job.key(target)
        if target.cache.proven(key, target.on_this_machine(key)):
            return
        if (reason := target.cache.refusal(target.on_this_machine(key))) is not None:
            raise CrashedError(f"{reason} It is not tried again; 'alstm build --again' does.")
        self.build(target, progress)

    def build(self, target: Target, progress: Progress, *, anew: bool = False) -> Built:
        """Has a child build the engine; where its GPU is here, the child loads and runs it, too.

        Args:
            target: what it is built with and for.
            progress: told how far the build is; False stops it.
            anew: build even where the cache has it, or where a child has died of it before.

        Returns:
            What is stored.

        Raises:
            CrashedError: the child died; where its GPU is here, that is kept for the next start.
            AlstmError: the child could not do it.
        """
        job, cache = self.job, target.cache
        key = job.key(target)
        here = target.on_this_machine(key)
        order = Order(
            model=str(job.path),
            engine=asdict(job.config),
            sizes=dict(job.sizes),
            module=target.flavour.name,
            folder=str(cache.folder),
            capability=target.capability,
            gpu=target.gpu,
            driver=target.driver,
            anew=anew,
        )
        cache.forgive(here)
        try:
            cached = _run(self.command, order, job.config.build_seconds, progress)
        except CrashedError as error:
            if target.gpu:
                cache.refuse(here, str(error))
            raise
        if target.gpu:
            cache.prove(key, here)
        return replace(self._read_back(target), cached=cached)

    def _read_back(self, target: Target) -> Built:
        built = self.job.stored(target)
        if built is None:
            raise BuildFailedError(f"The engine of {self.job.path.name} was built, but it cannot be read back.")
        return built


def _run(command: Sequence[str], order: Order, seconds: float, progress: Progress) -> bool:
    """Runs the child to its end.

    Returns:
        Whether the engine was in the cache.

    Raises:
        CrashedError: it died, or did not end in time.
        CancelledError: `progress` said no.
        AlstmError: it could not do what it was asked for.
    """
    child = subprocess.Popen(  # noqa: S603  # our own module
        [*command, str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # ctrl-C is for this process, which then ends the child
    )
    try:
        answer, last = _listen(child, order, time.monotonic() + seconds, progress)
    except BaseException:
        child.kill()
        child.wait()
        raise
    _, state, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(state)
    if answer.get("done"):
        return bool(answer.get("cached"))
    if "failure" in answer:
        raise _KINDS.get(str(answer["failure"]), EngineFailure)(str(answer["text"]))
    raise CrashedError(_obituary(child.returncode, used.ru_maxrss / 2**20, last))


def _listen(
    child: subprocess.Popen[bytes], order: Order, deadline: float, progress: Progress
) -> tuple[dict[str, Any], str]:
    """The child's last message, and the last line that it logged."""
    assert child.stdin is not None  # noqa: S101  # for the type checker: they are pipes
    with suppress(BrokenPipeError):  # it died at once; its end is looked at below
        child.stdin.write(order.to_json().encode() + b"\n")
        child.stdin.close()
    answer: dict[str, Any] = {}
    logged: deque[str] = deque(maxlen=_LINES)
    with selectors.DefaultSelector() as ready:
        for pipe in (child.stdout, child.stderr):
            ready.register(pipe, selectors.EVENT_READ, bytearray())  # type: ignore[arg-type]  # they are pipes
        fraction = 0.0
        while ready.get_map():
            for key, _ in ready.select(_LOOK):
                for line in _lines(ready, key):
                    if key.fileobj is child.stderr:
                        logged.append(line)
                    elif message := _message(line):
                        answer = message
            fraction = max(fraction, float(answer.get("progress", 0.0)))
            if not progress(fraction):
                raise CancelledError("The build of the engine was stopped.")
            if time.monotonic() > deadline:
                last = f" The last that it said: {logged[-1]}" if logged else ""
                raise CrashedError(f"The process that builds the engine did not end in time and was ended.{last}")
    return answer, logged[-1] if logged else ""


def _lines(ready: selectors.BaseSelector, key: selectors.SelectorKey) -> list[str]:
    """The whole lines that came through a pipe; one that ends is listened to no more."""
    pipe: IO[bytes] = key.fileobj  # type: ignore[assignment]  # as registered
    waiting: bytearray = key.data
    data = os.read(pipe.fileno(), 65536)
    if not data:
        ready.unregister(pipe)
        pipe.close()
        data = b"\n" if waiting else b""
    waiting.extend(data)
    *whole, rest = bytes(waiting).split(b"\n")
    waiting[:] = rest[-65536:]
    return [line.decode(errors="replace").strip() for line in whole if line.strip()]


def _message(line: str) -> dict[str, Any]:
    with suppress(ValueError):
        found = json.loads(line)
        if isinstance(found, dict):
            return found
    return {}


def _obituary(code: int, gibibytes: float, last: str) -> str:
    """What is told of a child that died."""
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        cause = {
            signal.SIGKILL: f"was killed ({name}), as the kernel does when memory runs out",
            signal.SIGSEGV: f"crashed ({name})",
        }.get(-code, f"died of {name}")  # type: ignore[call-overload]  # signals are integers
    else:
        cause = f"ended with exit code {code} and no answer"
    words = f"; the last that it said: {last}" if last else ""
    return f"The process that builds the engine {cause}; it had used {gibibytes:.1f} GiB of memory{words}."

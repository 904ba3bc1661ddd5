"""The process in which an engine is built and first run, so that a crash of TensorRT costs an attempt and not the node.

`python -m alstm_ros.engines.child PARENT` reads an `Order` as JSON from stdin. On stdout it writes one JSON object a
line: `{"progress": 0..1}`, and at the end `{"done": true, "cached": BOOL}` or `{"failure": NAME, "text": SENTENCE}`.
What TensorRT logs goes to stderr as it comes, so that its last words are known when the process dies. Nothing of ROS is
imported.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alstm_ros.config import EngineConfig
from alstm_ros.engines import gpu, tensorrt_api
from alstm_ros.engines.accelerated import Job, Target
from alstm_ros.engines.cache import PlanCache
from alstm_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from alstm_ros.engines.tensorrt_build import Progress
from alstm_ros.errors import AlstmError

_PR_SET_PDEATHSIG = 1
"""The number of Linux's prctl option that names the signal for a process whose parent has ended."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the child is to do.

    Attributes:
        model: path of the model file.
        engine: the values of `engine.*`.
        sizes: name of a free axis to the largest size that will be used.
        module: the TensorRT module to use.
        folder: the cache's folder of engines.
        capability: compute capability to build for.
        gpu: the GPU's name; empty where the engine is for another machine, else it is loaded and run, too.
        driver: version of the GPU's driver.
        anew: build even where the cache has it.
    """

    model: str
    engine: Mapping[str, Any]
    sizes: Mapping[str, int]
    module: str
    folder: str
    capability: tuple[int, int]
    gpu: str
    driver: str
    anew: bool

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))


def main() -> int:
    """Carries out the order; see the module."""
    die_with(int(sys.argv[1]))
    # what a native library prints must not come between our lines
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    logging.getLogger(tensorrt_api.__name__).setLevel(logging.DEBUG)

    def say(**message: object) -> bool:
        channel.write(json.dumps(message) + "\n")
        channel.flush()
        return True

    given = json.loads(sys.stdin.readline())
    order = Order(**given | {"capability": tuple(given["capability"])})
    try:
        cached = carry_out(order, lambda fraction: say(progress=fraction))
    except AlstmError as error:
        say(failure=type(error).__name__, text=str(error))
    else:
        say(done=True, cached=cached)
    return 0


def carry_out(order: Order, progress: Progress) -> bool:
    """Builds, and where its GPU is here loads and runs, the engine.

    Returns:
        Whether it came from the cache.

    Raises:
        AlstmError: why that cannot be.
    """
    config = EngineConfig(**order.engine)
    reference = OnnxRuntimeEngine(Path(order.model), config)
    job = Job(Path(order.model), config, reference.inputs, reference.outputs, order.sizes, (order.module,))
    reference.close()
    flavour, cache = tensorrt_api.find(order.module), PlanCache(Path(order.folder))
    target = Target(flavour, cache, order.capability, order.gpu, order.driver)
    built = job.plan(target, progress, anew=order.anew)
    if order.gpu:
        job.open(built, target, gpu.open_gpu(config.device)).close()
    return built.cached


def die_with(parent: int) -> None:
    """Ends this process when its parent ends, and offers it to the kernel first when memory runs out."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it had ended before
        os._exit(1)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


if __name__ == "__main__":
    sys.exit(main())

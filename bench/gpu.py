"""What only a GPU can show: that TensorRT answers as ONNX Runtime does, how fast, and next to whom.

    python -m bench.gpu --source .cache/vtest.avi --output docs/measurements/gpu-NAME.json

For each model and precision: build and load time, memory, parity with ONNX Runtime (CPU, FP32) over frames or recurrent
steps, latency p50/p99 and throughput for each batch, and for TensorRT the same plan in a bare `execute_async_v3` loop;
all but the loop for ONNX Runtime CUDA, torch eager and `torch.compile`, too. Then whole frames with their parts, and a
node's first and second start, to the first answer and to the switch.

It asks nothing and goes on without whatever is missing: what could not be measured has a sentence in its place. Each
model and contender has a process of its own, so that one that crashes or hangs ends alone, and the file is written anew
whenever a process has told something. Without a GPU it says so and measures nothing; `--rehearse` runs all of it on the
processor with ONNX Runtime in the GPU's place, to check this script, and marks the result as such.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import alstm_ros
from bench.gpu_contenders import CONTENDERS, ENGINES, SWITCHES
from bench.gpu_task import Task

SHIPPED = Path(alstm_ros.__file__).parent / "models"
"""The folder of the model files that come with the package."""
COMMAND = (sys.executable, "-m", "bench.gpu_task")
"""What is started for a task; the task follows as JSON."""


@dataclass(frozen=True, slots=True)
class Part:
    """One process and where in the result its findings go.

    Attributes:
        task: what it measures.
        place: the keys that lead to it.
    """

    task: Task
    place: tuple[str, ...]


def parts(args: argparse.Namespace, cache: str) -> Iterator[Part]:
    """All that is to be measured, in the order of its value."""
    engine = {"runtime": "tensorrt", "device": args.device, "threads": args.threads, "max_batch": max(args.batches)}
    basis: dict[str, Any] = {
        "rehearsal": args.rehearse,
        "source": str(args.source or ""),
        "frames": args.frames,
        "runs": args.runs,
        "batches": tuple(args.batches),
    }
    warm = engine | {"cache_dir": f"{cache}/engines"}
    asked = args.contender or list(CONTENDERS)
    precisions = args.precision or ["fp32", "fp16"]
    yield Part(Task("machine", warm, **basis), ("machine",))
    # the detector first: it is what a GPU is for
    for path in args.model or sorted(SHIPPED.glob("*.onnx"), key=lambda path: path.stem != "detector"):
        for precision in precisions:
            for contender in asked:
                task = Task("model", warm, model=str(path), precision=precision, contender=contender, **basis)
                yield Part(task, ("models", path.name, precision, contender))
    detector = str(SHIPPED / "detector.onnx")
    for contender in asked:
        for precision in precisions if contender in ENGINES else ():
            task = Task("frames", warm, model=detector, precision=precision, contender=contender, **basis)
            yield Part(task, ("whole_frames", f"{contender} {precision}"))
    for contender in asked:
        for precision in precisions if contender in SWITCHES else ():
            cold = engine | {"cache_dir": f"{cache}/{contender.replace(' ', '_')}_{precision}"}
            task = Task("switch", cold, model=detector, precision=precision, contender=contender, **basis)
            for start in ("first start", "second start"):
                yield Part(task, ("live_switch", f"{contender} {precision}", start))


def run(task: Task, command: Sequence[str], seconds: float, tell: Callable[[Mapping[str, Any]], None]) -> None:
    """Has a process do a task; what it finds is told as it comes, at last how it ended and its largest memory.

    Args:
        task: what is to be measured.
        command: what is started; the task follows as JSON.
        seconds: after so many it is ended.
        tell: takes what was found since its last call.
    """
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen([*command, task.to_json()], stdout=subprocess.PIPE, stderr=log)
        late = threading.Event()

        def end() -> None:
            late.set()
            child.kill()

        timer = threading.Timer(seconds, end)
        timer.start()
        try:
            assert child.stdout is not None  # noqa: S101  # for the type checker: it is a pipe
            with child.stdout:
                for line in child.stdout:
                    tell(_read(line))
            _, state, used = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(state)
        except BaseException:
            child.kill()
            child.wait()
            raise
        finally:
            timer.cancel()
        tell({"host_peak_bytes": used.ru_maxrss * 1024})
        if child.returncode:
            log.seek(0)
            lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
            last = f" The last that it said: {lines[-1].strip()}" if lines else ""
            ended = f"took longer than {seconds:g} s and was ended" if late.is_set() else _ended(child.returncode)
            tell({"not_measured": f"The process {ended}.{last}"})


def _read(line: bytes) -> dict[str, Any]:
    """What a line of a process says; nothing where it is cut off in the middle."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _ended(code: int) -> str:
    if code > 0:
        return f"ended with exit code {code}"
    names = {int(number): number.name for number in signal.Signals}
    return f"died of {names.get(-code, f'signal {-code}')}"


def merge(into: dict[str, Any], found: Mapping[str, Any]) -> None:
    """Puts findings among the earlier ones, latencies beside latencies."""
    for name, value in found.items():
        if isinstance(value, Mapping) and isinstance(into.get(name), dict):
            merge(into[name], value)
        else:
            into[name] = value


def write(result: Mapping[str, Any], path: Path | None) -> None:
    """Writes what there is so far."""
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None, command: Sequence[str] = COMMAND) -> int:
    """Measures and writes; 0 where all that TensorRT answered is within the limits, 1 where not, 2 without a GPU.

    Args:
        arguments: the command line's.
        command: what is started for each task.
    """
    args = _arguments(arguments)
    result: dict[str, Any] = {"rehearsal": args.rehearse, "machine": {}, "models": {}}
    with tempfile.TemporaryDirectory() as cache:
        for part in parts(args, cache):
            entry = result
            for key in part.place:
                entry = entry.setdefault(key, {})

            def tell(found: Mapping[str, Any], entry: dict[str, Any] = entry) -> None:
                merge(entry, found)
                write(result, args.output if "gpu" in result["machine"] else None)

            run(part.task, command, args.seconds, tell)
            if "gpu" not in result["machine"]:
                sys.stderr.write(f"Nothing was measured: {entry.get('not_measured', 'the machine did not answer.')}\n")
                return 2
            sys.stderr.write(f"{' '.join(part.place)}: {json.dumps(entry)}\n")
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    within = [
        contenders.get("tensorrt", {}).get("parity", {}).get("within", True)
        for precisions in result["models"].values()
        for contenders in precisions.values()
    ]
    return 0 if all(within) else 1


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else "")
    parser.add_argument("--source", type=Path, help="a video; drawn pictures when not given")
    parser.add_argument(
        "--model", type=Path, action="append", default=[], help="an ONNX file; all shipped ones without"
    )
    parser.add_argument("--precision", choices=("fp32", "fp16"), action="append", default=[])
    parser.add_argument("--contender", choices=tuple(CONTENDERS), action="append", default=[], help="all without")
    parser.add_argument("--frames", type=int, default=1000, help="frames and recurrent steps of the parity")
    parser.add_argument("--runs", type=int, default=300, help="runs of each latency")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 8, 16])
    parser.add_argument("--threads", type=int, default=0, help="of ONNX Runtime on the CPU; 0: every core")
    parser.add_argument("--device", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1200, help="a process that takes longer is ended")
    parser.add_argument("--output", type=Path, help="a JSON file to write")
    parser.add_argument("--rehearse", action="store_true", help="run the script without a GPU; measures nothing of use")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())

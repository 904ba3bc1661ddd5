"""An engine is tried in a process of its own: whatever happens to that process, this one goes on answering.

The children here are real processes that really crash, are killed, hang or fill their memory. What is not real is the
GPU and TensorRT: the child that succeeds has the simulated ones.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from simulated_gpu import ORIN, SimulatedDevice, SimulatedTensorRT
from switching_world import PATIENCE, SteppedClock
from test_engines_switching_tracks import street
from tiny_models import painted_detector, reference

from alstm_ros.config import Config, DetectorConfig, EngineConfig
from alstm_ros.detection.detector import OnnxDetector
from alstm_ros.engines import gpu, tensorrt_api
from alstm_ros.engines.accelerated import Job, Target
from alstm_ros.engines.cache import PlanCache, open_cache
from alstm_ros.engines.failures import BuildFailedError, CancelledError, CrashedError, EngineFailure
from alstm_ros.engines.status import EngineStatus
from alstm_ros.engines.switching import SwitchingEngine
from alstm_ros.engines.trial import Trial
from alstm_ros.pipeline import Pipeline

ROOT = Path(__file__).resolve().parents[1]
READ = "import json, sys; order = json.loads(sys.stdin.readline())"
DEATHS = {
    "crash": ("import ctypes; ctypes.string_at(0)", "crashed (SIGSEGV)"),
    "killed": ("import os; os.kill(os.getpid(), 9)", "was killed (SIGKILL), as the kernel does when memory runs out"),
    "abort": ("import os; os.abort()", "died of SIGABRT"),
    "memory": (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)); bytearray(1 << 31)",
        "ended with exit code 1 and no answer",
    ),
    "hang": ("import time; time.sleep(600)", "did not end in time and was ended"),
    "silent": ("pass", "ended with exit code 0 and no answer"),
}
"""What a child does, and what is told of its end."""
GOOD = """
    import sys
    sys.path[:0] = [{test!r}, {root!r}]
    from simulated_gpu import SimulatedDevice, SimulatedTensorRT
    from alstm_ros.engines import child, gpu, tensorrt_api, tensorrt_build
    from alstm_ros.engines.tensorrt_build import Plan
    device = SimulatedDevice()
    module = SimulatedTensorRT(device)
    flavour = tensorrt_api.Flavour("tensorrt", "10.3.0", module, tensorrt_api._logger(module))
    tensorrt_api.find = lambda *_: flavour
    gpu.open_gpu = lambda _: device
    tensorrt_build.build_engine = lambda _, model, *__: Plan(model.onnx, {{}})
    {before}
    code = child.main()
    assert "rclpy" not in sys.modules
    sys.exit(code)
"""


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> SimulatedDevice:
    """The simulated GPU and TensorRT in this process, where nothing is ever built."""
    device = SimulatedDevice()
    module = SimulatedTensorRT(device)
    flavour = tensorrt_api.Flavour("tensorrt", "10.3.0", module, tensorrt_api._logger(module))
    monkeypatch.setattr(tensorrt_api, "find", lambda *_: flavour)
    monkeypatch.setattr(gpu, "open_gpu", lambda _: device)
    return device


def job_in(folder: Path, precision: str = "fp32", seconds: int = 60) -> Job:
    fallback = reference(folder, painted_detector())
    config = EngineConfig(
        threads=1, runtime="tensorrt", precision=precision, cache_dir=str(folder), build_seconds=seconds
    )
    return Job(folder / "model.onnx", config, fallback.inputs, fallback.outputs, {})


def child(folder: Path, code: str) -> tuple[str, ...]:
    """A child that notes its start and does this."""
    path = folder / "child.py"
    started = f"open({str(folder / 'starts')!r}, 'a').write('x')"
    path.write_text(f"{started}\n{textwrap.dedent(code)}\n", encoding="utf-8")
    return sys.executable, str(path)


def good(folder: Path, before: str = "pass") -> tuple[str, ...]:
    return child(folder, textwrap.dedent(GOOD).format(test=str(ROOT / "test"), root=str(ROOT), before=before))


def starts(folder: Path) -> int:
    path = folder / "starts"
    return len(path.read_text(encoding="utf-8")) if path.is_file() else 0


def test_an_engine_is_built_by_a_child_and_loaded_here(device: SimulatedDevice, tmp_path: Path) -> None:
    trial, told = Trial(job_in(tmp_path), good(tmp_path)), list[float]()
    engine = trial.start(lambda share: told.append(share) or True)  # type: ignore[func-returns-value]
    assert engine.status.runtime == "tensorrt"
    assert not device.closed
    engine.close()
    trial.start(lambda _: True).close()
    assert starts(tmp_path) == 1, "what a child has run here needs no other"


def test_another_driver_is_another_machine(device: SimulatedDevice, tmp_path: Path) -> None:
    trial = Trial(job_in(tmp_path), good(tmp_path))
    trial.start(lambda _: True).close()
    device.info = type(ORIN)(ORIN.name, ORIN.capability, "13.0", ORIN.memory)
    trial.start(lambda _: True).close()
    assert starts(tmp_path) == 2


@pytest.mark.parametrize("death", DEATHS)
def test_a_death_is_told_and_not_tried_again(device: SimulatedDevice, tmp_path: Path, death: str) -> None:
    code, told = DEATHS[death]
    last = "import sys; sys.stderr.write('Error Code 4: Internal Error (Range_142)\\n'); sys.stderr.flush()"
    trial = Trial(job_in(tmp_path, seconds=2), child(tmp_path, f"{READ}\n{last}\n{code}"))
    with pytest.raises(CrashedError, match="process that builds the engine") as first:
        trial.start(lambda _: True)
    assert told in str(first.value)
    if death != "memory":  # its last words are Python's
        assert "Error Code 4: Internal Error (Range_142)" in str(first.value)
    assert device.closed
    with pytest.raises(CrashedError, match="It is not tried again; 'alstm build --again' does") as second:
        trial.start(lambda _: True)
    assert told in str(second.value)
    assert starts(tmp_path) == 1
    other = Trial(job_in(tmp_path, precision="fp16", seconds=2), good(tmp_path))
    other.start(lambda _: True).close()  # another precision is another engine
    again = Trial(trial.job, good(tmp_path))
    target = Target.here(tensorrt_api.find(), open_cache(str(tmp_path)), device.info)
    again.build(target, lambda _: True, anew=True)
    again.start(lambda _: True).close()


@pytest.mark.parametrize("death", DEATHS)
def test_frames_and_ids_go_on_through_a_death(device: SimulatedDevice, tmp_path: Path, death: str) -> None:
    trial = Trial(job_in(tmp_path, seconds=1), child(tmp_path, f"{READ}\n{DEATHS[death][0]}"))
    fallback = reference(tmp_path, painted_detector())
    engine = SwitchingEngine(fallback, trial.start, EngineStatus("tensorrt", "fp32"), SteppedClock())
    config = Config(detector=DetectorConfig(score_threshold=0.5))
    alone = Pipeline(config, OnnxDetector(fallback, config, "painted"))
    pipeline = Pipeline(config, OnnxDetector(engine, config, "painted"))
    for number, frame in enumerate(street(60)):
        if number == 30:
            limit = time.monotonic() + PATIENCE
            while not engine.status.degraded:
                assert time.monotonic() < limit
                time.sleep(0.01)
        found, wanted = pipeline.process(frame), alone.process(frame)
        np.testing.assert_array_equal(found.tracks.ids, wanted.tracks.ids)
        np.testing.assert_array_equal(found.tracks.boxes, wanted.tracks.boxes)
    assert engine.status.runtime == "onnxruntime"
    assert "process that builds the engine" in engine.status.message
    assert "for good" in engine.status.message
    engine.close()
    assert device.closed


def test_a_broken_plan_is_not_loaded(device: SimulatedDevice, tmp_path: Path) -> None:
    """A child that says that all is well, and whose engine is none."""
    done = "print(json.dumps({'done': True}))"
    with pytest.raises(BuildFailedError, match="was built, but it cannot be read back"):
        Trial(job_in(tmp_path), child(tmp_path, f"{READ}\n{done}")).start(lambda _: True)
    broken = (
        "import glob\n"
        "print(json.dumps({'done': True}))\n"
        f"for path in glob.glob({str(tmp_path / 'engines' / '*.engine')!r}): open(path, 'r+b').truncate(99)"
    )
    Trial(job_in(tmp_path), good(tmp_path)).start(lambda _: True).close()
    [stored] = (tmp_path / "engines").glob("*.engine")
    stored.write_bytes(stored.read_bytes()[:-1] + b"?")
    with pytest.raises(EngineFailure, match="cannot be read back"):
        Trial(job_in(tmp_path), child(tmp_path, f"{READ}\n{broken}")).start(lambda _: True)
    assert device.closed


def test_what_stands_in_the_way_is_told_as_it_is(device: SimulatedDevice, tmp_path: Path) -> None:
    failing = "module.refuse_contexts = True"
    with pytest.raises(EngineFailure, match="not enough free memory") as error:
        Trial(job_in(tmp_path), good(tmp_path, failing)).start(lambda _: True)
    assert type(error.value).__name__ == "DeviceMemoryError"
    assert PlanCache(tmp_path / "engines").folder.is_dir()
    Trial(job_in(tmp_path), good(tmp_path)).start(lambda _: True).close()  # no crash, so it is tried again
    assert device.freed


def test_where_fp16_fails_fp32_is_tried_and_told(
    device: SimulatedDevice, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    code = (
        "real = tensorrt_build.build_engine\n"
        "def build(flavour, model, profile, *rest):\n"
        "    if model.precision == 'fp16':\n"
        "        import ctypes; ctypes.string_at(0)\n"
        "    return real(flavour, model, profile, *rest)\n"
        "tensorrt_build.build_engine = build"
    )
    command = child(
        tmp_path,
        textwrap.dedent(GOOD).format(test=str(ROOT / "test"), root=str(ROOT), before="BEFORE").replace("BEFORE", code),
    )
    engine = Trial(job_in(tmp_path, precision="fp16"), command).start(lambda _: True)
    assert engine.status.precision == "fp32"
    assert "crashed (SIGSEGV)" in caplog.text
    assert "FP32 is tried instead" in caplog.text
    engine.close()
    assert device.closed
    assert starts(tmp_path) == 2


def test_a_build_that_is_no_longer_wanted_is_ended(device: SimulatedDevice, tmp_path: Path) -> None:
    trial = Trial(job_in(tmp_path), child(tmp_path, f"{READ}\n{DEATHS['hang'][0]}"))
    with pytest.raises(CancelledError):
        trial.start(lambda _: not starts(tmp_path))
    assert device.closed
    assert starts(tmp_path) == 1


def test_the_child_ends_with_its_parent(tmp_path: Path) -> None:
    """However the parent ends; the child's own module asks the kernel for that."""
    code = """
        import os, subprocess, sys, time
        code = (
            "import os, sys, time; from alstm_ros.engines.child import die_with; die_with(int(sys.argv[1]));"
            "print(os.getpid(), flush=True); time.sleep(600)"
        )
        child = subprocess.Popen([sys.executable, "-c", code, str(os.getpid())], stdout=subprocess.PIPE)
        print(child.stdout.readline().decode(), end="", flush=True)
        time.sleep(600)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        number = int(parent.stdout.readline())
        assert Path(f"/proc/{number}/oom_score_adj").read_text(encoding="ascii").strip() == "1000"
        parent.kill()
    limit = time.monotonic() + PATIENCE
    while _runs(number):
        assert time.monotonic() < limit, "the child outlived its parent"
        time.sleep(0.05)


def _runs(number: int) -> bool:
    try:
        os.kill(number, 0)
        state = Path(f"/proc/{number}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


def test_the_first_error_is_told_and_warnings_where_there_is_none() -> None:
    module = SimulatedTensorRT(SimulatedDevice())
    logger = tensorrt_api._logger(module)
    flavour, severity = tensorrt_api.Flavour("tensorrt", "8.6.0", module, logger), module.ILogger.Severity
    logger.log(severity.WARNING, "Unable to determine GPU memory usage: CUDA is not initialised")
    logger.log(severity.INFO, "nothing")
    assert flavour.errors() == ["Unable to determine GPU memory usage: CUDA is not initialised"]
    for level, line in ((severity.WARNING, "a warning"), (severity.ERROR, "Library version mismatch")):
        logger.log(level, line)
    logger.log(severity.ERROR, "factory function returned nullptr")
    assert flavour.errors() == ["Library version mismatch", "factory function returned nullptr"]
    assert flavour.errors() == []

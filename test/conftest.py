"""What several tests share."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from switching_world import World

ROOT = Path(__file__).resolve().parents[1]
# For helpers that several tests import, such as imaging, and for bench. pytest's own setting is not known to Humble's.
sys.path[:0] = [str(ROOT / "test"), str(ROOT / "dev"), str(ROOT)]

# How long an example takes says more about what else the machine does than about the code. Where a change is judged,
# the examples are the same at each run; elsewhere new ones are looked for.
settings.register_profile(
    "alstm", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("alstm")


# A shell starts background jobs with SIGINT ignored, and they hand that on: tests of ctrl-C would wait in vain.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of data and models beside the checkout; tests that need it are skipped where it is not."""
    path = ROOT.parent / "shared"
    if not (path / "DESIGN.md").is_file():
        pytest.skip("the data folder ../shared is not beside this checkout")
    return path


@pytest.fixture(scope="session")
def vtest() -> Path:
    """The street video, 795 frames; tests that need it are skipped where it could not be fetched."""
    path = ROOT / ".cache" / "vtest.avi"
    if not path.is_file():
        pytest.skip("there is no .cache/vtest.avi; `make video` fetches it")
    return path


@pytest.fixture(scope="module")
def number() -> Iterator[int]:
    """A ROS domain of the module's own."""
    pytest.importorskip("rclpy", reason="ROS is not installed")
    from ros_process import domain

    with domain() as number:
        yield number


@pytest.fixture(scope="module")
def ros(number: int) -> Iterator[Any]:
    """A participant of the module's own in that domain."""
    from ros_harness import Ros

    ros = Ros(number)
    yield ros
    ros.close()


@pytest.fixture
def make_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., World]]:
    """Makes an engine that switches to a simulated TensorRT, of a model and a precision."""
    from switching_world import World

    made: list[World] = []

    def make(*given: Any) -> World:
        made.append(World(tmp_path, *given))
        made[-1].install(monkeypatch)
        return made[-1]

    yield make
    for world in made:
        world.engine.close()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """The same of one recurrent step."""
    from tiny_models import recurrent_step

    return make_world(recurrent_step())

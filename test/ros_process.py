"""The node in a process of its own, in a ROS domain where nobody else is."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

BLOBS = Path(__file__).with_name("blobs.py")
TRANSPORT = "FASTDDS_BUILTIN_TRANSPORTS"  # only tests with large images set it
PATIENCE = 120.0  # s; reached only where something is wrong, however busy the machine
HELD: dict[int, int] = {}  # domain -> socket; each node inherits it, so that one left behind keeps its domain to itself


@contextmanager
def domain() -> Iterator[int]:
    """A ROS domain that nobody else uses at this time.

    It is held by an abstract socket, which reaches as far as DDS does on this machine: to all that share its network,
    other users and containers among them. Who holds none is found by its port for discovery (RTPS 2.2, 9.6.1.1).
    """
    for number in (1 + (os.getpid() + step) % 100 for step in range(100)):
        with socket.socket(socket.AF_UNIX) as holder:
            try:
                holder.bind(f"\0alstm_ros_domain_{number}")
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                    probe.bind(("", 7400 + 250 * number))
            except OSError:
                continue
            HELD[number] = holder.fileno()
            yield number
            return
    pytest.fail("every ROS domain from 1 to 100 is in use")


class NodeProcess:
    """The node in a process of its own."""

    def __init__(
        self,
        number: int,
        *arguments: str,
        command: Sequence[str] = (str(BLOBS),),
        parameters: dict[str, object] | None = None,
        name: str = "alstm",
        environment: dict[str, str] | None = None,
    ) -> None:
        """Starts it.

        Args:
            number: the ROS domain.
            arguments: ROS arguments, such as `-r image:=/camera`.
            command: arguments of the interpreter; the node with the detector of blobs when not given.
            parameters: set at start.
            name: of the node.
            environment: added to this process's.
        """
        given = [word for key, value in (parameters or {}).items() for word in ("-p", f"{key}:={_yaml(value)}")]
        inherited = {key: value for key, value in os.environ.items() if key != TRANSPORT}
        self.name = name
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  # as long as the process
        self._process = subprocess.Popen(
            [sys.executable, *command, "--ros-args", "-r", f"__node:={name}", *given, *arguments],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=inherited | {"ROS_DOMAIN_ID": str(number), "PYTHONUNBUFFERED": "1"} | (environment or {}),
            cwd=BLOBS.parents[1],
            pass_fds=[HELD[number]],
        )

    @property
    def log(self) -> str:
        """All that it has written."""
        return os.pread(self._log.fileno(), 1 << 24, 0).decode(errors="replace")

    def said(self, pattern: str) -> int:
        """How often its log matches."""
        return len(re.findall(pattern, self.log))

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def send(self, with_signal: int) -> None:
        """Sends it a signal."""
        self._process.send_signal(with_signal)

    def stop(self, with_signal: int = signal.SIGINT) -> int:
        """Ends it; returns its exit code."""
        if self.alive:
            self._process.send_signal(with_signal)
        try:
            return self._process.wait(PATIENCE)
        finally:
            self._process.kill()

    def wait(self) -> int:
        """Waits for its own end; returns its exit code."""
        return self._process.wait(PATIENCE)


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

"""The demo's other two processes, the node and the player: started, watched and ended in good order."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple, TypeVar

from alstm_ros.errors import AlstmError

PLAYER = Path(__file__).resolve().with_name("play_video.py")
TOPIC = "/demo/image_raw"
PATIENCE = 5.0  # s, for a process to end when asked


class ProcessError(AlstmError):
    """A process did not do its part."""


class Sent(NamedTuple):
    """A frame that the player sent: its number in the video, and when, in nanoseconds on the monotonic clock."""

    number: int
    sent_ns: int


class Process:
    """A child process."""

    def __init__(self, command: Sequence[str], stdout: int | IO[bytes], stderr: int | IO[bytes] | None = None) -> None:
        """Starts it, in a session of its own: a Ctrl-C reaches the demo alone, which then ends the others in order."""
        self._child = subprocess.Popen(command, stdout=stdout, stderr=stderr, start_new_session=True)

    @property
    def code(self) -> int | None:
        """The exit code; None while it runs."""
        return self._child.poll()

    def end(self) -> None:
        """Asks it to end, and sees to it that it does."""
        if self._child.poll() is None:
            self._child.terminate()  # not SIGINT: one that hits Python's own start prints a traceback
        try:
            self._child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


P = TypeVar("P", bound=Process)


@contextmanager
def running(process: P) -> Iterator[P]:
    """Ends the process with the block, however that ends."""
    try:
        yield process
    finally:
        process.end()


class NodeProcess(Process):
    """The node, listening to the demo's image topic."""

    def __init__(self, log: Path) -> None:
        """Starts it.

        Args:
            log: file for what it says.
        """
        self._log = log
        with log.open("wb") as stream:
            remap = ("--ros-args", "-r", f"image:={TOPIC}")
            super().__init__([sys.executable, "-m", "alstm_ros.ros", *remap], stream, subprocess.STDOUT)

    def check(self) -> None:
        """Makes sure that it runs.

        Raises:
            ProcessError: it ended; with its log.
        """
        if self.code is not None:
            raise ProcessError(f"The node ended with exit code {self.code}. {self.story()}")

    def story(self) -> str:
        """What it said, for an error's text."""
        return f"Its log:\n{self._log.read_text(encoding='utf-8', errors='replace')}".rstrip()


class PlayerProcess(Process):
    """The player.

    Attributes:
        sent: what it sent, by stamp in nanoseconds.
    """

    def __init__(self, video: Path, frames: int | None, rate: float) -> None:
        """Starts it; it waits for the node's subscription itself.

        Args:
            video: what to play.
            frames: how many frames of it; all when None.
            rate: speed relative to the video's own.
        """
        command = [sys.executable, str(PLAYER), str(video), "--topic", TOPIC, "--rate", str(rate)]
        super().__init__(command + (["--frames", str(frames)] if frames else []), subprocess.PIPE)
        self.sent: dict[int, Sent] = {}
        self._reader = threading.Thread(target=self._read, args=(self._child.stdout,), daemon=True)
        self._reader.start()

    @property
    def playing(self) -> bool:
        """Whether more may come into `sent`."""
        return self._reader.is_alive()

    def _read(self, lines: IO[bytes]) -> None:
        with lines:
            for line in lines:
                one = json.loads(line)
                self.sent[one["stamp_ns"]] = Sent(one["number"], one["sent_ns"])

"""Progress on stderr: how far, how fast, how much longer. The only part of the evaluation that reads a clock."""

from __future__ import annotations

import sys
import time
from typing import TextIO

WIDTH = 30
INTERVAL = 0.2  # seconds between two drawings
LOG_INTERVAL = 10.0  # where nobody watches a terminal


class Progress:
    """One line that is drawn over on a terminal, and an occasional line in a log."""

    def __init__(self, name: str, total: int | None, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        """Starts the clock.

        Args:
            name: what is worked on.
            total: how many steps there are, None where unknown.
            stream: where to write; stderr when None.
            quiet: write nothing.
        """
        self._name = name
        self._total = total
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._terminal = self._stream.isatty()
        self._start = self._drawn = time.monotonic()
        self._drew = False
        self.done = 0

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return time.monotonic() - self._start

    def step(self) -> None:
        """One more done."""
        self.done += 1
        now = time.monotonic()
        if now - self._drawn >= (INTERVAL if self._terminal else LOG_INTERVAL):
            self._drawn = now
            self._draw(now)

    def close(self) -> None:
        """Draws the final state."""
        if self._terminal or self._drew or self.done:
            self._draw(time.monotonic())
            if self._terminal and not self._quiet:
                self._stream.write("\n")
                self._stream.flush()

    def _draw(self, now: float) -> None:
        if self._quiet:
            return
        self._drew = True
        line = self.line(now - self._start)
        self._stream.write(f"\r\033[K{line}" if self._terminal else f"{line}\n")
        self._stream.flush()

    def line(self, seconds: float) -> str:
        """The line after so many seconds."""
        rate = self.done / seconds if seconds > 0 else 0.0
        speed = f"{rate:.1f} frames/s"
        if not self._total:
            return f"{self._name}: {self.done} frames, {speed}"
        share = min(self.done / self._total, 1.0)
        bar = "#" * round(share * WIDTH)
        left = duration((self._total - self.done) / rate) if rate > 0 and self.done < self._total else "0:00"
        return f"{self._name}: [{bar:.<{WIDTH}}] {100 * share:3.0f} % {self.done}/{self._total}, {speed}, {left} left"


def duration(seconds: float) -> str:
    """Seconds as `m:ss` or `h:mm:ss`."""
    minutes, rest = divmod(max(round(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

"""The request that the process should end, from its first line on. rclpy is not needed.

rclpy's own handlers end the context at once, whoever uses it at that moment: a node that is being made, or is taken
down, then fails in C++ (seen as segmentation faults). Here a signal only leaves a request, and one owner acts on it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LIMIT = 8.0
"""How many seconds the process may take to end after a request; `ros2 launch` kills it after ten."""


class StopRequest:
    """Whether SIGINT or SIGTERM came; a second one changes nothing."""

    def __init__(self) -> None:
        """Takes over both signals. Must be called in the main thread."""
        self._event = threading.Event()
        for number in SIGNALS:
            signal.signal(number, self._take)

    def set(self) -> None:
        """Asks the process to end."""
        self._event.set()

    @property
    def came(self) -> bool:
        """Whether the process should end."""
        return self._event.is_set()

    def wait(self) -> None:
        """Waits for the request. In the main thread, where Python runs its handlers."""
        self._event.wait()

    def _take(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if not self._event.is_set():
            self._event.set()
            watch = threading.Timer(LIMIT, _give_up)
            watch.daemon = True
            watch.start()


def _give_up() -> None:
    sys.stderr.write(f"The node did not end within {LIMIT:.0f} s of the signal; the process ends without it.\n")
    sys.stderr.flush()
    os._exit(1)  # whatever hangs, be it in native code, would keep the process

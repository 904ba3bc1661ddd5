"""How long to wait for the next image before its absence is news. Decisions only; rclpy is not needed."""

from __future__ import annotations

from collections import deque

REMEMBERED = 8
"""How many of the last gaps between images are remembered: few, so that one long pause is soon forgotten."""
FACTOR = 3
"""How many of the camera's own periods may pass without an image before that is news."""


class ImageTimeout:
    """Learns a camera's period, so that a slow one is not called silent between two images."""

    def __init__(self) -> None:
        """Knows no camera."""
        self._gaps: deque[int] = deque(maxlen=REMEMBERED)
        self._since_ns = 0

    def wait(self, now_ns: int) -> None:
        """Starts waiting: another image is expected now, so what was learnt is forgotten."""
        self._gaps.clear()
        self._since_ns = now_ns

    def arrived(self, now_ns: int) -> None:
        """An image came. The wait for the first one counts as a gap: it is the only hint at a slow camera's period."""
        self._gaps.append(now_ns - self._since_ns)
        self._since_ns = now_ns

    def silent_ns(self, now_ns: int) -> int:
        """How long nothing has come."""
        return now_ns - self._since_ns

    def limit_ns(self, timeout_ns: int) -> int:
        """From when on that is too long.

        Args:
            timeout_ns: the least.
        """
        return max(timeout_ns, FACTOR * max(self._gaps, default=0))

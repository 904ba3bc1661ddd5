"""What came lately, found again by its stamp: how a depth image is matched to the camera's image of the same moment."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class StampBuffer(Generic[Item]):
    """The newest few items of one topic.

    Each is looked for by its stamp alone, as `message_filters`' approximate time does for two topics; but an item may
    be taken more than once, so that a slow topic serves a fast one.
    """

    def __init__(self, capacity: int) -> None:
        """Starts empty.

        Args:
            capacity: items that are kept, the newest ones.
        """
        self._items: deque[tuple[int, Item]] = deque(maxlen=capacity)

    @property
    def newest_ns(self) -> int | None:
        """The stamp of what came last; None where nothing has come."""
        return self._items[-1][0] if self._items else None

    def put(self, stamp_ns: int, item: Item) -> None:
        """Takes in an item; where its stamp jumps back, as when a bag begins anew, what came before is forgotten."""
        if self._items and stamp_ns < self._items[0][0]:
            self._items.clear()
        self._items.append((stamp_ns, item))

    def nearest(self, stamp_ns: int, tolerance_ns: int) -> Item | None:
        """The item whose stamp is nearest; None where none is within the tolerance.

        Args:
            stamp_ns: what is looked for.
            tolerance_ns: how far off a stamp may be, nanoseconds.
        """
        best = min(self._items, key=lambda entry: abs(entry[0] - stamp_ns), default=None)
        return best[1] if best is not None and abs(best[0] - stamp_ns) <= tolerance_ns else None

    def clear(self) -> None:
        """Forgets everything."""
        self._items.clear()

"""What every recording gives: frames, of images or of detections, in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from alstm_ros.pipeline import AnyFrame, DetectionFrame

__all__ = ["AnyFrame", "DetectionFrame", "FrameSource"]


class FrameSource(Protocol):
    """A recording that can be walked through, as often as wanted, in constant memory."""

    @property
    def name(self) -> str:
        """A short name for tables and files, such as the bag's."""
        ...

    @property
    def length(self) -> int | None:
        """How many frames there are, where that is known beforehand."""
        ...

    @property
    def problems(self) -> list[str]:
        """One sentence for each thing that could not be read; complete once the frames have been walked."""
        ...

    def __iter__(self) -> Iterator[tuple[int, AnyFrame]]:
        """Frames with their numbers, which count from 1 and skip what could not be read."""
        ...

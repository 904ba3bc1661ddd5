"""What every recording gives: frames, of images or of detections, in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from alstm_ros.pipeline import Frame
from alstm_ros.types import Affine, Detections


@dataclass(frozen=True, slots=True)
class DetectionFrame:
    """What a detector found in one image that is not at hand.

    Attributes:
        detections: of this frame.
        stamp_ns: when the image was taken, nanoseconds.
        camera_motion: `(2, 3)`, pixels of the previous frame to this one's; None where unknown.
        camera: the camera's name; empty for the only one.
    """

    detections: Detections
    stamp_ns: int
    camera_motion: Affine | None = None
    camera: str = ""


AnyFrame = Frame | DetectionFrame


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

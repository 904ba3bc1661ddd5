"""Where frames come from offline: a bag, a video, a folder of images, a detection file; one after the other, none dropped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from alstm_ros.errors import DataError
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


class Source(Protocol):
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


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What a user may say about a source.

    Attributes:
        topic: the image topic of a bag; empty to find it.
        fps: frames a second of a folder of images, and of a video that does not tell.
    """

    topic: str = ""
    fps: float = 30.0


def open_source(path: Path, options: SourceOptions | None = None) -> Source:
    """The source at a path, by what lies there.

    Args:
        path: a bag (folder, .mcap, .db3, each also .zstd), a folder of images, or a video.
        options: what the user says about it.

    Returns:
        The source; nothing but its head has been read.

    Raises:
        DataError: there is nothing, or nothing that can be read.
    """
    options = options or SourceOptions()
    if not path.exists():
        raise DataError(f"There is nothing at {path}; give a bag, a video or a folder of images.")
    # Each reader is imported where it is used: a robot without PyAV still reads bags, and one without rosbags videos.
    from alstm_ros.evaluation.folder import ImageFolder, is_image_folder  # noqa: PLC0415

    if is_image_folder(path):
        return ImageFolder(path, options.fps)
    from alstm_ros.evaluation.bag import is_bag  # noqa: PLC0415

    if is_bag(path):
        from alstm_ros.evaluation.bag_source import BagImages  # noqa: PLC0415

        return BagImages(path, options.topic)
    if path.is_dir():
        raise DataError(f"The folder {path} holds neither a bag (.mcap, .db3) nor images (.jpg, .png, ...).")
    from alstm_ros.evaluation.video import Video  # noqa: PLC0415

    return Video(path, options.fps)

"""Where frames come from offline: a bag, a video, a folder of images, a detection file; in order, none dropped."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from alstm_ros.errors import DataError
from alstm_ros.recordings.contents import contents_of
from alstm_ros.recordings.frames import AnyFrame, FrameSource

FPS = 30.0
"""Frames a second where nobody says it."""


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What a user may say about a source.

    Attributes:
        topic: the image topic of a bag; empty to find it.
        fps: frames a second of a folder of images, and of a video that does not tell; None for what a seqinfo.ini
            beside the images says, else FPS.
    """

    topic: str = ""
    fps: float | None = None


def open_source(path: Path, options: SourceOptions | None = None) -> FrameSource:
    """The source at a path, by what lies there.

    Args:
        path: a bag (folder, .mcap, .db3, each also .zstd), a folder of images, a video, or a folder with MOTChallenge's
            `det.txt` and `seqinfo.ini` (and `gmc.txt`).
        options: what the user says about it.

    Returns:
        The source; nothing but its head has been read.

    Raises:
        DataError: there is nothing, or nothing that can be read.
    """
    options = options or SourceOptions()
    found = contents_of(path)
    # Each reader is imported where it is used: a robot without PyAV still reads bags, and one without rosbags videos.
    if found.kind == "detections":
        from alstm_ros.recordings.mot import MotDetections  # noqa: PLC0415

        motion = path / "gmc.txt"
        return MotDetections(path / "det.txt", path / "seqinfo.ini", motion if motion.is_file() else None)
    if found.kind == "images":
        from alstm_ros.recordings.folder import ImageFolder  # noqa: PLC0415

        return ImageFolder(path, found.files, options.fps or _rate(path) or FPS)
    if found.kind == "bag":
        from alstm_ros.recordings.bag_images import BagImages  # noqa: PLC0415

        return BagImages(path, options.topic)
    if path.suffix == ".bag":
        raise DataError(f"{path} is a ROS 1 bag; 'rosbags-convert --src {path.name} --dst NAME' makes a rosbag2 of it.")
    if path.suffix == ".txt":  # FFmpeg would show it as a video of its letters
        raise DataError(f"{path} is text; a detection file is given with --detections and --seqinfo.")
    from alstm_ros.recordings.video import Video  # noqa: PLC0415

    return Video(path, options.fps or FPS)


def _rate(folder: Path) -> float:
    """Frames a second of a sequence of images, where a seqinfo.ini says it; else 0."""
    from alstm_ros.recordings.mot import read_sequence  # noqa: PLC0415  # as above

    info = folder / "seqinfo.ini"
    return read_sequence(info).fps if info.is_file() else 0.0


class Window:
    """Some frames of a source; they keep their numbers."""

    def __init__(self, source: FrameSource, frames: str) -> None:
        """Reads which frames are meant.

        Args:
            source: where they come from.
            frames: see `frame_range`.

        Raises:
            DataError: no such frames.
        """
        self._source = source
        self._first, self._last = frame_range(frames, source.length)
        if self._first > self._last or (source.length is not None and self._first > source.length):
            raise DataError(
                f"--frames {frames} asks for no frame of {source.name}, which has {source.length or 'fewer'}."
            )
        self.name = source.name

    @property
    def length(self) -> int:
        """The number of frames, at most."""
        return max(min(self._last, self._source.length or self._last) - self._first + 1, 0)

    @property
    def problems(self) -> list[str]:
        """What could not be read."""
        return self._source.problems

    def __iter__(self) -> Iterator[tuple[int, AnyFrame]]:
        """The frames of the window; what comes before it is read and left out."""
        for number, frame in self._source:
            if number > self._last:
                return
            if number >= self._first:
                yield number, frame


def frame_range(text: str, length: int | None) -> tuple[int, int]:
    """Which frames a user means.

    Args:
        text: `A-B`, `A-` or `-B` with frame numbers from 1, `first-half` (frames 1..N//2) or `second-half` (the rest):
            MOT17's usual split for training and validation.
        length: N; None where unknown.

    Returns:
        First and last frame.

    Raises:
        DataError: it says neither, or halves of an unknown length are wanted.
    """
    if text in {"first-half", "second-half"}:
        if length is None:
            raise DataError(f"--frames {text} needs a source that knows its length; give --frames A-B instead.")
        return (1, length // 2) if text == "first-half" else (length // 2 + 1, length)
    first, dash, last = text.partition("-")
    if not dash or not all(part.isdecimal() or not part for part in (first, last)) or text == "-":
        raise DataError(f"--frames is '{text}'; it must be A-B, A-, -B, first-half or second-half.")
    return int(first or 1), int(last) if last else (length or sys.maxsize)

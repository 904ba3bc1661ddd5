"""A video file as a source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import VideoReformatter

from alstm_ros.errors import DataError
from alstm_ros.pipeline import Frame
from alstm_ros.types import SECOND


class Video:
    """The frames of a video; stamps are the video's own times."""

    def __init__(self, path: Path, fps: float) -> None:
        """Reads the head.

        Args:
            path: any file that FFmpeg reads.
            fps: frames a second where the file itself gives no times.

        Raises:
            DataError: it is no video.
        """
        self.name = path.stem
        self.problems: list[str] = []
        self._path = path
        try:
            with av.open(str(path)) as container:
                if not container.streams.video:
                    raise DataError(f"{path} holds no video stream.")
                stream = container.streams.video[0]
                self.length: int | None = stream.frames or None
                self._fps = float(stream.average_rate or fps)
        except (FFmpegError, OSError) as error:
            raise DataError(f"{path} is no video that can be read: {error}.") from error

    def __iter__(self) -> Iterator[tuple[int, Frame]]:
        """Decodes one frame after the other, those of a damaged file as far as they go."""
        self.problems.clear()
        number = 0
        with av.open(str(self._path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            reformatter = VideoReformatter()  # one for all: its tables are made once
            try:
                for number, picture in enumerate(container.decode(stream), 1):
                    time = picture.time if picture.time is not None else (number - 1) / self._fps
                    image = reformatter.reformat(picture, format="bgr24").to_ndarray()
                    yield number, Frame(np.asarray(image, np.uint8), round(time * SECOND))
            except FFmpegError as error:
                self.problems.append(f"{self._path.name} is damaged after {number} frames: {error}.")
        if self.length is not None and number < self.length and not self.problems:
            self.problems.append(f"{self._path.name} should hold {self.length} frames; {number} could be read.")

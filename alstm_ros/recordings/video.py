"""A video file as a source, and as an output."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import VideoReformatter

from alstm_ros.errors import DataError
from alstm_ros.pipeline import Frame
from alstm_ros.types import Image

SECOND = 1_000_000_000
OUTPUT_BASE = Fraction(1, 90_000)  # MPEG's own clock: fine enough for any camera's stamps


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


class VideoWriter:
    """Writes an H.264 MP4 whose frames are shown at their stamps' times."""

    def __init__(self, path: Path) -> None:
        """Opens the file; the picture's size is the first frame's.

        Args:
            path: the file; its name may end in anything.
        """
        self._container = av.open(str(path), "w", format="mp4")
        self._stream: av.VideoStream | None = None
        self._start_ns = 0
        self._last = -1

    def write(self, image: Image, stamp_ns: int) -> None:
        """Appends a frame; one stamped no later than the last is shown right after it."""
        if self._stream is None:
            height, width = image.shape[:2]
            self._stream = self._container.add_stream("libx264", rate=30)
            self._stream.width, self._stream.height = width - width % 2, height - height % 2  # 4:2:0 wants even sizes
            self._stream.pix_fmt = "yuv420p"
            self._stream.time_base = OUTPUT_BASE
            self._stream.codec_context.time_base = OUTPUT_BASE
            # x264's macroblock tree makes other bytes of the same frames, by where in memory they happen to lie.
            self._stream.options = {"preset": "veryfast", "crf": "23", "x264-params": "mbtree=0"}
            self._start_ns = stamp_ns
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
        if (picture.width, picture.height) != (self._stream.width, self._stream.height):
            picture = picture.reformat(self._stream.width, self._stream.height)
        self._last = max(self._last + 1, round(Fraction(stamp_ns - self._start_ns, SECOND) / OUTPUT_BASE))
        picture.pts = self._last
        picture.time_base = OUTPUT_BASE
        self._container.mux(self._stream.encode(picture))

    def close(self) -> None:
        """Finishes the file."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()

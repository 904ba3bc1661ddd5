"""A video file as an output, and tracks drawn on the frames that they were found in."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from alstm_ros.drawing import Overlay, marks
from alstm_ros.errors import DataError
from alstm_ros.pipeline import Frame
from alstm_ros.recordings.frames import AnyFrame
from alstm_ros.recordings.sinks import PartFile, RunInfo
from alstm_ros.types import SECOND, FrameResult, Image

OUTPUT_BASE = Fraction(1, 90_000)
"""The written video's unit of time in seconds: MPEG's own clock, fine enough for any camera's stamps."""


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


class AnnotatedVideo:
    """Writes what the node's overlay shows."""

    def __init__(self, path: Path, info: RunInfo) -> None:
        """Opens the file.

        Args:
            path: where it shall stand.
            info: about the run.
        """
        self._part = PartFile(path)
        self._video = VideoWriter(self._part.part)
        self._overlay = Overlay()
        self._info = info

    def write(self, _number: int, frame: AnyFrame, result: FrameResult) -> None:
        """Draws and appends one frame.

        Raises:
            DataError: the frame has no image.
        """
        self._part.empty = False
        if not isinstance(frame, Frame):
            raise DataError(f"{self._part.path} is a video, but detection files hold no images to draw on.")
        shown = marks(result.tracks, self._info.classes, self._info.id_prefix)
        self._video.write(self._overlay.draw(frame.image, result.stamp_ns, shown), result.stamp_ns)

    def close(self, *, failed: bool = False) -> None:
        """Finishes the file and puts it in place, unless the run failed."""
        self._video.close()
        self._part.finish(failed=failed)

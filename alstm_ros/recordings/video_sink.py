"""Tracks drawn on the frames they were found in, as an MP4."""

from __future__ import annotations

from pathlib import Path

from alstm_ros.drawing import Overlay, marks
from alstm_ros.errors import DataError
from alstm_ros.pipeline import Frame
from alstm_ros.recordings.frames import AnyFrame
from alstm_ros.recordings.sinks import PartFile, RunInfo
from alstm_ros.recordings.video import VideoWriter
from alstm_ros.types import FrameResult


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
        if not isinstance(frame, Frame):
            raise DataError(f"{self._part.path} is a video, but detection files hold no images to draw on.")
        shown = marks(result.tracks, self._info.classes, self._info.id_prefix)
        self._video.write(self._overlay.draw(frame.image, result.stamp_ns, shown), result.stamp_ns)

    def close(self) -> None:
        """Finishes the file and puts it in place."""
        self._video.close()
        self._part.finish()

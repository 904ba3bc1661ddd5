"""Tracks as a MOTChallenge result file."""

from __future__ import annotations

from pathlib import Path

from alstm_ros.recordings.frames import AnyFrame
from alstm_ros.recordings.mot import format_rows
from alstm_ros.recordings.sinks import PartFile, RunInfo
from alstm_ros.types import FrameResult


class MotText:
    """The published tracks of each frame; classes are not part of the format."""

    def __init__(self, path: Path, _info: RunInfo) -> None:
        """Opens the file.

        Args:
            path: where it shall stand.
        """
        self._part = PartFile(path)
        self._file = self._part.part.open("w", encoding="utf-8")

    def write(self, number: int, _frame: AnyFrame, result: FrameResult) -> None:
        """Writes one frame's lines."""
        self._file.write(format_rows(number, result))

    def close(self) -> None:
        """Puts the file in place."""
        self._file.close()
        self._part.finish()

"""Tracks as a MOTChallenge result file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from alstm_ros.recordings.frames import AnyFrame
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
        self._part.empty = False
        self._file.write(format_rows(number, result))

    def close(self, *, failed: bool = False) -> None:
        """Puts the file in place, unless the run failed."""
        self._file.close()
        self._part.finish(failed=failed)


def format_rows(number: int, result: FrameResult) -> str:
    """One frame's published tracks as lines of a result file, each with its line end.

    A hundredth of a pixel and a ten-thousandth of a score are kept: what is finer changes no metric.
    """
    tracks = result.tracks
    shown = np.flatnonzero(tracks.published)
    boxes = tracks.boxes[shown].astype(np.float64)
    columns = zip(
        tracks.ids[shown].tolist(),
        boxes[:, :2].tolist(),
        (boxes[:, 2:] - boxes[:, :2]).tolist(),
        tracks.scores[shown].tolist(),
        strict=True,
    )
    return "".join(
        f"{number},{key},{left:.2f},{top:.2f},{width:.2f},{height:.2f},{score:.4f},-1,-1,-1\n"
        for key, (left, top), (width, height), score in columns
    )

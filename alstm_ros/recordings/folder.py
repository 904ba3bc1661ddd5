"""A folder of images as a source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from alstm_ros.errors import ImageError
from alstm_ros.images import decode_file
from alstm_ros.pipeline import Frame
from alstm_ros.types import SECOND


class ImageFolder:
    """The images of a folder in natural order: `f2.jpg` before `f10.jpg`."""

    def __init__(self, path: Path, files: Sequence[Path], fps: float) -> None:
        """Takes the files.

        Args:
            path: the folder.
            files: its images, in their order.
            fps: how many images were taken a second; makes the stamps.
        """
        self.name = path.resolve().name
        self.problems: list[str] = []
        self._files = files
        self._fps = fps

    @property
    def length(self) -> int:
        """The number of image files."""
        return len(self._files)

    def __iter__(self) -> Iterator[tuple[int, Frame]]:
        """Reads one file after the other."""
        self.problems.clear()
        unread: list[str] = []
        for number, file in enumerate(self._files, 1):
            try:
                image = decode_file(file.read_bytes())  # imread would fail on names outside of the locale's encoding
            except OSError as error:
                unread.append(f"{file.name} cannot be read: {error}.")
                continue
            except ImageError as error:
                unread.append(f"{file.name} is left out: {error}")
                continue
            yield number, Frame(image, round((number - 1) * SECOND / self._fps))
        if unread:
            more = f" {len(unread) - 1} more files are left out." if unread[1:] else ""
            self.problems.append(f"{unread[0]}{more}")

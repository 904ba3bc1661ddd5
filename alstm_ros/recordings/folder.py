"""A folder of images as a source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from alstm_ros.errors import ImageError
from alstm_ros.images import decode_file
from alstm_ros.pipeline import Frame
from alstm_ros.recordings.natural_order import natural
from alstm_ros.types import SECOND

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")


def _images(path: Path) -> list[Path]:
    return sorted(
        (item for item in path.iterdir() if item.suffix.lower() in SUFFIXES), key=lambda item: natural(item.name)
    )


def is_image_folder(path: Path) -> bool:
    """Whether the path is a folder that holds an image, or a MOTChallenge sequence with an `img1` that does."""
    return path.is_dir() and bool(_images(path) or ((path / "img1").is_dir() and _images(path / "img1")))


class ImageFolder:
    """The images of a folder in natural order: `f2.jpg` before `f10.jpg`."""

    def __init__(self, path: Path, fps: float) -> None:
        """Lists the files.

        Args:
            path: the folder, or a MOTChallenge sequence whose images lie in `img1`.
            fps: how many images were taken a second; makes the stamps.
        """
        self.name = path.name
        self.problems: list[str] = []
        self._files = _images(path) or _images(path / "img1")
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

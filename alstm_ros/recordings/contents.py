"""Which of several things a path is, and what of a folder belongs to it: decided here, once, for every command.

Other programs leave files beside recordings, and people keep pictures, labels and results there. What is not taken is
told in `notes`; where nothing decides between two things, both are named and the path is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alstm_ros.errors import DataError
from alstm_ros.recordings.bag_folder import bag_files, is_storage, named, storages_in
from alstm_ros.recordings.natural_order import natural

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
"""Suffixes of images; where a folder holds the same names twice, the first of these is taken."""
DETECTIONS = ("det.txt", "seqinfo.ini")
"""What makes a folder a file of detections."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a path is taken for.

    Attributes:
        kind: `detections`, `images`, `bag` or `file` (anything that is read by itself, such as a video).
        files: the images, or the bag's files in the order of their recording; empty for the others.
        notes: one sentence for each thing in the folder that is left.
    """

    kind: str
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


def contents_of(path: Path) -> Contents:
    """Decides what lies at a path.

    Raises:
        DataError: there is nothing, nothing that could be read, or several recordings.
    """
    if not path.exists():
        raise DataError(f"There is nothing at {path}; give a bag, a video or a folder of images.")
    if not path.is_dir():
        return Contents("bag", (path,)) if is_storage(path) else Contents("file")
    storages, images, notes = storages_in(path), *_pictures(path)
    beside = [named(storages, "file of a bag", "files of a bag")] if storages else []
    shown = [named(images, "image", "images")] if images else []
    if all((path / name).is_file() for name in DETECTIONS):
        return Contents("detections", (), _left(path, "det.txt and seqinfo.ini", [*shown, *beside]))
    finished = (path / "metadata.yaml").is_file()
    if storages and (finished or not images or _shows_images(storages)):
        files, strays = bag_files(path, storages)
        return Contents("bag", files, _left(path, "the bag", [*shown, *strays]))
    if images:
        return Contents("images", images, (*notes, *_left(path, "the images", beside)))
    if finished:
        raise DataError(f"The folder {path} holds a metadata.yaml, but no .mcap or .db3 file, so it is no bag.")
    inside = sorted(item.name for item in path.iterdir() if not item.name.startswith("."))
    listed = f", only {', '.join(inside[:5])}{' and more' if inside[5:] else ''}" if inside else ""
    raise DataError(f"The folder {path} holds neither a bag (.mcap, .db3) nor images (.jpg, .png, ...){listed}.")


def _pictures(folder: Path) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """The images of a folder, or of `img1` in a MOTChallenge sequence, and what of them is left."""
    here, inner = _images(folder), _images(folder / "img1") if (folder / "img1").is_dir() else []
    notes: list[str] = []
    if here and inner:
        sequence = (folder / "seqinfo.ini").is_file() or len(inner) >= len(here)
        other = here if sequence else inner
        notes += _left(folder, "img1" if sequence else "its own images", [named(other, "image", "images")])
        here = inner if sequence else here
    files, doubles = _once(here or inner)
    if doubles:
        notes += _left(
            folder, f"the {files[0].suffix} files", [named(doubles, "image", "images") + " of the same names"]
        )
    return files, tuple(notes)


def _images(folder: Path) -> list[Path]:
    found = (item for item in folder.iterdir() if item.suffix.lower() in PICTURES and not item.name.startswith("."))
    return sorted((item for item in found if item.is_file()), key=lambda item: natural(item.name))


def _once(files: Sequence[Path]) -> tuple[tuple[Path, ...], list[Path]]:
    """One image of each name: labels often lie beside images, in another format."""
    kinds: dict[str, int] = {}
    for file in files:
        kinds[file.suffix.lower()] = kinds.get(file.suffix.lower(), 0) + 1
    order = sorted(kinds, key=lambda kind: (-kinds[kind], PICTURES.index(kind)))
    taken: dict[str, Path] = {}
    for kind in order:
        for file in files:
            if file.suffix.lower() == kind:
                taken.setdefault(file.stem, file)
    chosen = set(taken.values())
    return tuple(file for file in files if file in chosen), [file for file in files if file not in chosen]


def _shows_images(storages: Sequence[Path]) -> bool:
    """Whether a bag beside images holds images itself; one of tracks or detections does not."""
    from alstm_ros.recordings.bag import Bag  # noqa: PLC0415  # as above
    from alstm_ros.recordings.bag_images import COMPRESSED, IMAGE  # noqa: PLC0415

    try:
        return any(topic.type in {IMAGE, COMPRESSED} for file in storages for topic in Bag(file).topics)
    except DataError:
        return False


def _left(folder: Path, taken: str, left: Sequence[str]) -> tuple[str, ...]:
    return (f"Of {folder}, {taken} taken, {' and '.join(left)} left.",) if left else ()

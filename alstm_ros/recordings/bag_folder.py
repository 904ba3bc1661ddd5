"""Which files of a folder are a rosbag2."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from alstm_ros.errors import DataError
from alstm_ros.recordings.natural_order import natural

STORAGES = (".mcap", ".db3")
"""Suffixes of a rosbag2's files, each also with `.zstd` behind it."""
UNREADABLE = (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, RecursionError)
"""What the reading of a metadata.yaml raises that is missing or damaged."""


def is_storage(path: Path) -> bool:
    """Whether a name is that of a bag's file."""
    return path.suffix in STORAGES or (path.suffix == ".zstd" and Path(path.stem).suffix in STORAGES)


def is_recording(folder: Path) -> bool:
    """Whether a folder is one rosbag2: finished, or left by a recorder that was killed, with files of its own name."""
    if not folder.is_dir():
        return False
    storages = storages_in(folder)
    own = bool(storages) and all(_numbered(item) and _base(item) == folder.resolve().name for item in storages)
    return own or (folder / "metadata.yaml").is_file()


def bag_files(folder: Path, storages: Sequence[Path]) -> tuple[tuple[Path, ...], list[str]]:
    """Which files of a folder are one recording, in its order, and which are left.

    Those that metadata.yaml lists, and those that are named as one series with them (`drive_0.mcap`, `drive_1.mcap`),
    which an interrupted recording has not listed yet.

    Raises:
        DataError: nothing tells which of several recordings is meant.
    """
    listed = listed_files(folder)
    present = {item.name: item for item in storages}
    own = [present[name] for name in listed if name in present]
    series = {_base(item) for item in own} if own else {_base(item) for item in storages}
    if not own and len(series) > 1:
        names = ", ".join(item.name for item in storages)
        raise DataError(f"The folder {folder} holds {len(series)} bags and no metadata.yaml of one: {names}; give one.")
    rest = [item for item in storages if item not in own]
    also = [item for item in rest if _base(item) in series and (_numbered(item) or not own)]
    strays = [item for item in rest if item not in also]
    return (*own, *also), [named(strays, "file", "files")] if strays else []


def _base(path: Path) -> str:
    return re.sub(r"(_\d+)?\.(mcap|db3)(\.zstd)?$", "", path.name)


def _numbered(path: Path) -> bool:
    return re.search(r"_\d+\.(mcap|db3)(\.zstd)?$", path.name) is not None


def storages_in(folder: Path) -> list[Path]:
    """The storage files of a folder in natural order, whatever recording they belong to."""
    found = [item for item in folder.iterdir() if is_storage(item) and item.is_file() and not item.name.startswith(".")]
    return sorted(found, key=lambda item: natural(item.name))


def listed_files(folder: Path) -> list[str]:
    """The names of a recording's files as its metadata.yaml lists them; none where it is missing or damaged."""
    try:
        return metadata_files(folder)
    except UNREADABLE:
        return []


def metadata_files(folder: Path) -> list[str]:
    """The same; raises one of UNREADABLE."""
    tree = yaml.safe_load((folder / "metadata.yaml").read_text(encoding="utf-8"))
    return [Path(name).name for name in tree["rosbag2_bagfile_information"]["relative_file_paths"]]


def named(files: Sequence[Path], one: str, many: str) -> str:
    """Such as `3 images (a.png, ...)`."""
    return f"{len(files)} {one if len(files) == 1 else many} ({files[0].name}{', ...' if len(files) > 1 else ''})"

"""Bags, videos and tracks made for tests."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from alstm_ros.recordings.interfaces import typestore
from alstm_ros.types import Image

SECOND = 1_000_000_000
FPS = 10
STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
COMPRESSIONS = {"file": CompressionMode.FILE, "message": CompressionMode.MESSAGE, "chunk": CompressionMode.STORAGE}


def scene(number: int, width: int = 96, height: int = 64) -> Image:
    """A textured picture that differs from frame to frame and survives JPEG."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 0] = np.linspace(0, 200, width, dtype=np.uint8)[None, :]
    picture[..., 1] = np.linspace(0, 200, height, dtype=np.uint8)[:, None]
    picture[..., 2] = 16 * (number % 16)
    return picture


def stamp(number: int) -> int:
    """When frame `number`, from 1, was taken."""
    return 1_700_000_000 * SECOND + (number - 1) * SECOND // FPS


def header(stamp_ns: int) -> Any:
    """A message header."""
    types = typestore().types
    time = types["builtin_interfaces/msg/Time"](sec=stamp_ns // SECOND, nanosec=stamp_ns % SECOND)
    return types["std_msgs/msg/Header"](stamp=time, frame_id="camera")


def image_message(picture: Image, stamp_ns: int) -> Any:
    """A raw image message, bgr8."""
    height, width = picture.shape[:2]
    return typestore().types["sensor_msgs/msg/Image"](
        header=header(stamp_ns),
        height=height,
        width=width,
        encoding="bgr8",
        is_bigendian=0,
        step=3 * width,
        data=np.ascontiguousarray(picture).reshape(-1),
    )


def compressed_message(picture: Image, stamp_ns: int) -> Any:
    """A PNG message."""
    done, data = cv2.imencode(".png", picture)
    assert done
    return typestore().types["sensor_msgs/msg/CompressedImage"](
        header=header(stamp_ns), format="png", data=np.asarray(data, np.uint8).reshape(-1)
    )


def write_bag(
    path: Path,
    frames: Sequence[int],
    *,
    storage: str = "mcap",
    compression: str = "",
    topics: Sequence[str] = ("/camera/image_raw",),
    compressed: bool = False,
) -> Path:
    """A bag with these frame numbers on every topic.

    Args:
        path: the folder to make.
        frames: numbers of the frames, see `scene` and `stamp`.
        storage: of STORAGES.
        compression: of COMPRESSIONS, empty for none.
        topics: image topics.
        compressed: CompressedImage instead of Image.
    """
    store = typestore()
    kind = "sensor_msgs/msg/CompressedImage" if compressed else "sensor_msgs/msg/Image"
    make = compressed_message if compressed else image_message
    writer = Writer(path, version=9, storage_plugin=STORAGES[storage])
    if compression:
        writer.set_compression(COMPRESSIONS[compression], CompressionFormat.ZSTD)
    with writer:
        connections = [writer.add_connection(topic, kind, typestore=store) for topic in topics]
        for number in frames:
            data = store.serialize_cdr(make(scene(number), stamp(number)), kind)
            for connection in connections:
                writer.write(connection, stamp(number) + 5_000_000, data)
    return path


def join(parts: Sequence[Path], path: Path) -> Path:
    """One bag split into files, out of several bags; the second half of its names sorts before the first as text."""
    path.mkdir()
    names = []
    tree: dict[str, Any] = {}
    for index, part in enumerate(parts):
        tree = yaml.safe_load((part / "metadata.yaml").read_text(encoding="utf-8"))
        [name] = tree["rosbag2_bagfile_information"]["relative_file_paths"]
        names.append(f"{path.name}_{index + 9}{''.join(Path(name).suffixes)}")  # _9, _10, ...
        shutil.copy(part / name, path / names[-1])
    tree["rosbag2_bagfile_information"]["relative_file_paths"] = names
    (path / "metadata.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def storage_file(bag: Path) -> Path:
    """A bag's only storage file."""
    [file] = [item for item in bag.iterdir() if item.name != "metadata.yaml"]
    return file

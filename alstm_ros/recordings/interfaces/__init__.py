"""Message definitions for reading and writing bags where no ROS is installed: the .msg texts beside this file.

A test compares them with `msg/` of this repository and with the type hashes of vision_msgs 4.1.1.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

HERE = Path(__file__).resolve().parent


@cache
def typestore() -> Typestore:
    """The common ROS 2 messages, vision_msgs and this package's own."""
    store = get_typestore(Stores.ROS2_JAZZY)  # these messages are the same from Humble on
    for path in sorted(HERE.glob("*/*.msg")):
        store.register(get_types_from_msg(path.read_text(encoding="utf-8"), f"{path.parent.name}/msg/{path.stem}"))
    return store

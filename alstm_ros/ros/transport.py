"""What Fast DDS needs to carry large images."""

from __future__ import annotations

import os

from rclpy.utilities import get_rmw_implementation_identifier

VARIABLE = "FASTDDS_BUILTIN_TRANSPORTS"
SETTING = "LARGE_DATA?sockets_size=16MB"
"""Shared memory and TCP. Plain `LARGE_DATA` keeps 512 kB of shared memory, into which no image of 640x480 fits whole;
with larger fragments (`max_msg_size=1MB`) reliable images are lost."""


def large_data_hint() -> str:
    """A sentence for the user when images may be lost on the way; empty where the cause must be another.

    Fast DDS splits a message over 64 kB into UDP fragments, and with best effort one lost fragment loses the image. Its
    LARGE_DATA mode uses shared memory and TCP instead, if both processes are started with it.
    """
    if "fastrtps" not in get_rmw_implementation_identifier() or "LARGE_DATA" in os.environ.get(VARIABLE, ""):
        return ""
    return f"If images are lost on the way, start both the camera's process and this node with {VARIABLE}='{SETTING}'."

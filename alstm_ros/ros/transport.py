"""What Fast DDS needs to carry large images."""

from __future__ import annotations

import os

from rclpy.utilities import get_rmw_implementation_identifier

VARIABLE = "FASTDDS_BUILTIN_TRANSPORTS"
SETTING = "DEFAULT?sockets_size=16MB"
"""The default transports, with shared memory into which whole images fit; by default it holds 512 kB.

Only the process that sends images needs it. `LARGE_DATA` (shared memory and TCP) serves two machines, but a process
that has it and one that has not do not even discover each other.
"""


def large_data_hint() -> str:
    """A sentence for the user when images may be lost on the way; empty where the cause must be another.

    Fast DDS splits an image that does not fit into its shared memory into UDP fragments, and with best effort one lost
    fragment loses the image.
    """
    if "fastrtps" not in get_rmw_implementation_identifier() or "LARGE_DATA" in os.environ.get(VARIABLE, ""):
        return ""
    remedy = f"start the camera's process with {VARIABLE}='{SETTING}', or let it publish reliably"
    return f"If images are lost on the way, {remedy}."

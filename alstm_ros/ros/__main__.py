"""`python -m alstm_ros.ros --ros-args ...` runs the node."""

from __future__ import annotations

import sys

from alstm_ros.ros.stop_request import StopRequest


def run() -> int:
    """Runs the node, or says which package is missing; returns the exit code."""
    stop = StopRequest()  # before anything that takes time
    try:
        from alstm_ros.ros.main import main  # noqa: PLC0415  # importing it is what may fail
    except ModuleNotFoundError as error:
        hint = "install it with rosdep or pip, or source the workspace that has it"
        sys.stderr.write(f"The Python package '{error.name}' is missing; {hint}.\n")
        return 1
    return main(stop=stop)


if __name__ == "__main__":
    sys.exit(run())

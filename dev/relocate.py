"""Points the CMake files of the ROS wheels at this environment's Python and NumPy.

The wheels were built in a container, and their exported targets still name its include folders, such as
`/opt/python/cp311-cp311/include/python3.11`, so that nothing builds against them elsewhere. Run with the environment's
Python after each install; a second run changes nothing.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path

import numpy as np

BUILDER = r"/opt/python/cp\d+-cp\d+t?"
NUMPY = re.compile(BUILDER + r"/lib/python3\.\d+/site-packages/numpy/_?core/include")
PYTHON = re.compile(BUILDER + r"/include/python3\.\d+t?")


def relocate(prefix: Path) -> int:
    """Rewrites the CMake files below `prefix`/share; returns how many changed."""
    changed = 0
    for path in prefix.glob("share/*/cmake/*.cmake"):
        text = path.read_text(encoding="utf-8")
        here = NUMPY.sub(np.get_include(), text)
        here = PYTHON.sub(sysconfig.get_path("include"), here)
        if here != text:
            path.write_text(here, encoding="utf-8")
            changed += 1
    return changed


def foreign(prefix: Path) -> list[Path]:
    """Lists the CMake files that still name the builder's folders."""
    files = prefix.glob("share/*/cmake/*.cmake")
    return [path for path in files if re.search(BUILDER, path.read_text(encoding="utf-8"))]


def main() -> int:
    """Relocates the environment that runs this script."""
    prefix = Path(sys.prefix)
    relocate(prefix)
    left = foreign(prefix)
    if left:
        names = ", ".join(str(path.relative_to(prefix)) for path in left)
        sys.stderr.write(f"These files still name folders of the machine that built the wheels: {names}.\n")
        return 1
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        folder = sysconfig.get_path("include")
        sys.stderr.write(f"{folder} holds no Python.h, which building the messages needs; install python3-dev.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

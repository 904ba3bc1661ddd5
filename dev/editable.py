"""Makes `import alstm_ros` in the environment mean this checkout and its generated messages, from every folder.

`make env` links this file into the environment's site-packages and has it run at each start of Python. Without it the
package would be in two places: the folder here, which Python finds first when it is started at the root of the checkout
and which has no `alstm_ros.msg`, and the installed copy, which lacks a file that was added after the last build.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

NAME = "alstm_ros"
CHECKOUT = Path(__file__).resolve().parents[1] / NAME
INSTALLED = Path(__file__).parent / NAME  # beside the link, in site-packages


class CheckoutFinder:
    """A finder for one name: the checkout's modules first, then what was generated for it."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Finds `alstm_ros`, and leaves every other name to the usual finders."""
        del path, target
        if name != NAME:
            return None
        folders = [str(CHECKOUT), str(INSTALLED)]
        return spec_from_file_location(name, CHECKOUT / "__init__.py", submodule_search_locations=folders)


def use_environment_as_prefix() -> None:
    """Names the environment as the first ament prefix, in which ROS looks for packages and libraries."""
    others = [prefix for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    if sys.prefix not in others:
        os.environ["AMENT_PREFIX_PATH"] = os.pathsep.join([sys.prefix, *others])


sys.meta_path.insert(0, CheckoutFinder)
use_environment_as_prefix()

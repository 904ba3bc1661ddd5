"""Makes `import alstm_ros` in the environment mean this checkout and its generated messages, from every folder.

`make env` links this file into the environment's site-packages and runs it at each start of Python. Without it the package
would be in two places: the folder here, which Python finds first when it is started at the root of the checkout and
which has no `alstm_ros.msg`, and the installed copy, which lacks a file that was added after the last build.
"""

from __future__ import annotations

import os
import sys
from importlib.util import spec_from_file_location
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

NAME = "alstm_ros"
CHECKOUT = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), NAME)
INSTALLED = os.path.join(os.path.dirname(os.path.abspath(__file__)), NAME)


class CheckoutFinder:
    """A finder for one name: the checkout's modules first, then what was generated for it."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find `alstm_ros`, and leave every other name to the usual finders."""
        del path, target
        if name != NAME:
            return None
        initial = os.path.join(CHECKOUT, "__init__.py")
        return spec_from_file_location(name, initial, submodule_search_locations=[CHECKOUT, INSTALLED])


def use_environment_as_prefix() -> None:
    """Name the environment as the first ament prefix, which ROS reads to find packages and libraries."""
    others = [prefix for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    if sys.prefix not in others:
        os.environ["AMENT_PREFIX_PATH"] = os.pathsep.join([sys.prefix, *others])


sys.meta_path.insert(0, CheckoutFinder)
use_environment_as_prefix()

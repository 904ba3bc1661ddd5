"""Names of files in the order a person expects."""

from __future__ import annotations

import re


def natural(name: str) -> list[tuple[int, str]]:
    """Sort key that takes numbers by value: `f2` before `f10`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name) if part]

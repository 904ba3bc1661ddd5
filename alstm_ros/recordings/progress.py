"""The progress bar of every command, on stderr."""

from __future__ import annotations

import sys

from tqdm import tqdm

LOG_INTERVAL = 10.0
"""Seconds between two lines of progress where stderr is a log and not a terminal."""


def progress_bar(name: str, total: int | None, unit: str = "frame", *, quiet: bool = False) -> tqdm:
    """A bar that is drawn over on a terminal, and an occasional line in a log.

    Args:
        name: what is worked on.
        total: how many steps there are, None where unknown.
        unit: what one step is.
        quiet: show nothing.
    """
    interval = 0.2 if sys.stderr.isatty() else LOG_INTERVAL
    delay = 0.0 if sys.stderr.isatty() else LOG_INTERVAL  # a short run leaves no line in a log
    return tqdm(
        desc=name,
        total=total or None,
        unit=f" {unit}s",
        mininterval=interval,
        delay=delay,
        disable=quiet,
        dynamic_ncols=True,
    )

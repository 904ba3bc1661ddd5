"""Where tracks go offline: MOTChallenge text, JSON Lines, an mcap bag, an annotated video, by the file's suffix.

A sink writes beside its file, into `<name>.part`, and puts it in place when it is closed. So a file that is there is
whole; a run that the user interrupts leaves what had been tracked until then. One that fails leaves no file under the
name of a result: what had been tracked until then stays in `<name>.part`, and a file without a frame goes.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from alstm_ros.errors import DataError
from alstm_ros.recordings.frames import AnyFrame
from alstm_ros.types import FrameResult


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a sink must know of a run.

    Attributes:
        classes: class names, by class index.
        id_prefix: put before every id, where ids are texts.
        threshold: the detector's score threshold.
        images: whether the images themselves are wanted in a bag.
    """

    classes: Sequence[str]
    id_prefix: str = ""
    threshold: float = 0.0
    images: bool = False


class Sink(Protocol):
    """Takes in a run's results."""

    def write(self, number: int, frame: AnyFrame, result: FrameResult) -> None:
        """Takes in one frame.

        Args:
            number: the frame's number, from 1.
            frame: what was looked at.
            result: what came of it.
        """
        ...

    def close(self, *, failed: bool = False) -> None:
        """Finishes the file and puts it in place, or leaves it beside where the run failed."""
        ...


class PartFile:
    """A file that stands under its own name only once it is whole."""

    def __init__(self, path: Path) -> None:
        """Makes the folder.

        Args:
            path: where the file shall stand.

        Raises:
            DataError: nothing can be written there.
        """
        self.path = path
        self.empty = True  # whether nothing was written that would be missed
        self.part = path.with_name(f"{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.part.write_bytes(b"")
        except OSError as error:
            raise DataError(f"The output {path} cannot be written: {error.strerror}.") from error

    def __enter__(self) -> PartFile:  # noqa: PYI034  # Self comes with Python 3.11
        """For a file that is written at once."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        """Puts it in place, or removes it where its writing failed."""
        self.finish(failed=kind is not None)

    def finish(self, *, failed: bool = False) -> None:
        """Puts the finished file in place; after a failure it stays beside, or goes where nothing is in it."""
        if failed:
            if self.empty:
                self.part.unlink(missing_ok=True)
            return
        os.replace(self.part, self.path)  # noqa: PTH105  # Path.replace returns a path that nobody wants


SINKS = {
    ".txt": ("alstm_ros.recordings.mot_sink", "MotText"),
    ".jsonl": ("alstm_ros.recordings.jsonl_sink", "JsonLines"),
    ".mcap": ("alstm_ros.recordings.mcap_sink", "McapBag"),
    ".mp4": ("alstm_ros.recordings.video_sink", "AnnotatedVideo"),
}
"""Suffix to module and class, imported when wanted: text output needs neither PyAV nor mcap."""


def check_outputs(paths: Sequence[Path], *, images: bool) -> None:
    """Refuses outputs before anything is computed.

    Args:
        paths: what the user wants.
        images: whether the source has images.

    Raises:
        DataError: an unknown suffix, a path given twice, or a video wanted without images.
    """
    for path in paths:
        if path.suffix not in SINKS:
            raise DataError(f"The output {path} ends in '{path.suffix}'; it must end in one of {', '.join(SINKS)}.")
        if path.suffix == ".mp4" and not images:
            raise DataError(f"The output {path} is a video, but detection files hold no images to draw on.")
        if list(paths).count(path) > 1:
            raise DataError(f"The output {path} is given twice.")


@contextlib.contextmanager
def open_sinks(paths: Sequence[Path], info: RunInfo) -> Iterator[list[Sink]]:
    """Opens the sinks and closes them, whatever happens in between; see above for what a failure leaves.

    Args:
        paths: the files; suffixes as in SINKS.
        info: about the run.

    Yields:
        One sink for each path.

    Raises:
        DataError: a file cannot be written.
    """
    with contextlib.ExitStack() as stack:
        sinks: list[Sink] = []
        for path in paths:
            sink = _make(path, info)
            stack.push(_closing(sink))
            sinks.append(sink)
        yield sinks


def _closing(sink: Sink) -> Callable[[type[BaseException] | None, BaseException | None, object], None]:
    """Closes a sink where a run ends, knowing how it ended."""

    def leave(kind: type[BaseException] | None, _error: BaseException | None, _trace: object) -> None:
        sink.close(failed=kind is not None)

    return leave


def _make(path: Path, info: RunInfo) -> Sink:
    module, name = SINKS[path.suffix]
    sink: Sink = getattr(importlib.import_module(module), name)(path, info)
    return sink

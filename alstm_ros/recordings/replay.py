"""The pipeline over a recording: every frame in order, none dropped, the same bytes every time."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from alstm_ros.association.learned.associator import configured
from alstm_ros.association.stamps import StampClock
from alstm_ros.association.tracker import IdCounter, TrackManager
from alstm_ros.config import Config
from alstm_ros.errors import DataError
from alstm_ros.options import replace
from alstm_ros.pipeline import Frame, Pipeline
from alstm_ros.recordings.detector_pool import DetectorPool
from alstm_ros.recordings.frames import AnyFrame, DetectionFrame, FrameSource
from alstm_ros.recordings.prefetch import closing_walk
from alstm_ros.recordings.progress import progress_bar
from alstm_ros.recordings.sinks import RunInfo, open_sinks
from alstm_ros.types import Detections, FrameResult


@dataclass(frozen=True, slots=True)
class Step:
    """One frame's way in two halves: the first may begin in later frames before the second of this one has ended.

    Attributes:
        detect: the first half.
        track: the second; is given the frames in their order.
        pool: work on the first halves of later frames meanwhile; None does one half after the other.
    """

    detect: Callable[[AnyFrame], Detections]
    track: Callable[[AnyFrame, Detections], FrameResult]
    pool: DetectorPool | None = None

    def __call__(self, frame: AnyFrame) -> FrameResult:
        """All of one frame's way."""
        return self.track(frame, self.detect(frame))

    def detected(self, source: FrameSource) -> Generator[tuple[int, AnyFrame, Detections], None, None]:
        """Every frame with its number and detections."""
        if self.pool is None:
            with closing_walk(source) as frames:
                for number, frame in frames:
                    yield number, frame, self.detect(frame)
            return
        with contextlib.closing(self.pool.walk(source, lambda item: self.detect(item[1]))) as walk:
            for (number, frame), found in walk:
                yield number, frame, found


@dataclass(slots=True)
class SeenObject:
    """One object of a recording.

    Attributes:
        id: as it is published.
        name: its class when it was last seen.
        first: the first frame in which it was published.
        last: the last one.
        frames: in how many it was.
    """

    id: str
    name: str
    first: int
    last: int
    frames: int = 0


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay did.

    Attributes:
        name: the source's name.
        frames: frames that were tracked.
        objects: ids that were published at least once.
        seconds: time it took.
        problems: one sentence for each thing that could not be read.
        interrupted: whether the user stopped it.
        outputs: the files that were written.
        notes: one sentence for each thing beside the source that was left.
        seen: the objects that were published, in the order of their ids; empty where they are in the outputs.
    """

    name: str
    frames: int
    objects: int
    seconds: float
    problems: tuple[str, ...]
    interrupted: bool
    outputs: tuple[str, ...]
    notes: tuple[str, ...] = ()
    seen: tuple[SeenObject, ...] = ()


@contextlib.contextmanager
def stop_politely() -> Iterator[Callable[[], bool]]:
    """Lets the frame at hand be finished when the user presses ctrl-C; a second one stops at once.

    Yields:
        Tells whether to stop. Outside of the main thread, which gets no signals, it never does.
    """
    asked = False

    def ask(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def image_step(config: Config, pool: DetectorPool) -> Step:
    """Tracking from images, by the pipeline that the node runs."""
    # A parameter file may name the robot's cameras; a recording is walked one topic at a time.
    pipeline = Pipeline(replace(config, {"cameras": ()}), pool.detector)

    def track(frame: AnyFrame, found: Detections) -> FrameResult:
        return pipeline.track(_image(frame), found)

    return Step(lambda frame: pipeline.detect([_image(frame)])[0], track, pool)


def _image(frame: AnyFrame) -> Frame:
    if not isinstance(frame, Frame):
        raise DataError("A detector needs images; this source holds detections.")
    return frame


def detection_step(config: Config) -> Step:
    """Tracking from detections that were made before."""
    tracker = TrackManager(config, IdCounter(), configured(config)())

    def track(frame: AnyFrame, found: Detections) -> FrameResult:
        return tracker.update(found, frame.stamp_ns, _detected(frame).camera_motion)

    return Step(lambda frame: _detected(frame).detections, track)


def _detected(frame: AnyFrame) -> DetectionFrame:
    if not isinstance(frame, DetectionFrame):
        raise DataError("This source holds images; they need a detector.")
    return frame


def replay(source: FrameSource, step: Step, outputs: list[Path], info: RunInfo, *, quiet: bool = False) -> Replayed:
    """Walks a source and writes what comes of it.

    Ctrl-C ends it early; the files then hold what was tracked until then.

    Args:
        source: where frames come from.
        step: what to do with each.
        outputs: files to write, by suffix.
        info: for the files.
        quiet: show no progress.

    Returns:
        What was done.

    Raises:
        DataError: an output cannot be written, or the source gave no frame at all.
    """
    seen: dict[int, SeenObject] = {}
    start, frames, clock = time.monotonic(), 0, StampClock()
    with (
        open_sinks(outputs, info) as sinks,
        progress_bar(source.name, source.length, quiet=quiet) as progress,
        stop_politely() as stopped,
        contextlib.closing(step.detected(source)) as detected,
    ):
        for number, frame, found in detected:
            clock(frame.stamp_ns)
            result = step.track(frame, found)
            for sink in sinks:
                sink.write(number, frame, result)
            _see(seen, number, result, info)
            frames += 1
            progress.update()
            if stopped():
                break
        if not frames and not stopped():
            raise DataError(" ".join([f"{source.name} gave no frame.", *source.problems]))
    return Replayed(
        source.name,
        frames,
        len(seen),
        time.monotonic() - start,
        (*source.problems, *clock.sentences(source.name)),
        stopped(),
        tuple(str(path) for path in outputs),
        seen=() if outputs else tuple(seen[key] for key in sorted(seen)),
    )


def _see(seen: dict[int, SeenObject], number: int, result: FrameResult, info: RunInfo) -> None:
    """Notes the objects that one frame publishes."""
    shown = result.tracks.published
    for key, index in zip(result.tracks.ids[shown].tolist(), result.tracks.classes[shown].tolist(), strict=True):
        one = seen.setdefault(key, SeenObject(f"{info.id_prefix}{key}", "", number, number))
        one.name, one.last, one.frames = info.classes[index], number, one.frames + 1

"""A video file as a source: upright, cut and timed as its container says."""

from __future__ import annotations

import contextlib
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import av
import numpy as np
from av.buffer import Buffer
from av.container import InputContainer
from av.error import FFmpegError
from av.video.reformatter import VideoReformatter

from alstm_ros.errors import DataError
from alstm_ros.pipeline import Frame
from alstm_ros.types import SECOND, Image

RESTART_NS = SECOND
"""Nanoseconds; a video's clock that goes back by so much has started anew, less is a frame out of its order."""
DAMAGED = (FFmpegError, IndexError)
"""What PyAV raises while it reads a damaged file; IndexError is of a stream that begins in its midst."""
PROBED = 64
"""Packets that are looked at for how a file counts time, before anything is decoded."""


class Video:
    """The frames of a video as a player shows them; stamps are the video's own times, which ascend."""

    def __init__(self, path: Path, fps: float) -> None:
        """Reads the head.

        Args:
            path: any file that FFmpeg reads.
            fps: frames a second where the file itself gives no times.

        Raises:
            DataError: it is no video.
        """
        self.name = path.stem
        self.problems: list[str] = []
        self._path = path
        try:
            with av.open(str(path), metadata_errors="replace") as container:
                if not container.streams.video:
                    raise DataError(f"{path} holds no video stream.")
                stream = container.streams.video[0]
                if stream.codec_context is None:
                    raise DataError(f"{path} holds a video stream of a codec that FFmpeg here does not know.")
                self.length: int | None = _shown(stream)
                rate = float(stream.average_rate or 0)
                self._clock = _probe(container, stream, 1 / rate if math.isfinite(rate) and rate > 0 else 1 / fps)
        except (FFmpegError, OSError) as error:
            raise DataError(f"{path} is no video that can be read: {error.strerror or error}.") from error

    def __iter__(self) -> Iterator[tuple[int, Frame]]:
        """Decodes one frame after the other; what a damaged file lost is left out and told."""
        self.problems.clear()
        number, clock = 0, _Times(self._clock)
        losses: list[str] = []
        upright = _Upright()
        with av.open(str(self._path), metadata_errors="replace") as container:
            stream = container.streams.video[0]
            stream.thread_type = "SLICE"  # threads that hold a frame each lose their frames with a damaged one
            reformatter = VideoReformatter()  # one for all: its tables are made once
            for number, picture in enumerate(_decoded(container, stream, losses), 1):
                stamp_ns = clock(picture)
                image = reformatter.reformat(picture, format="bgr24").to_ndarray()
                yield number, Frame(upright(picture, np.asarray(image, np.uint8)), stamp_ns)
        name = self._path.name
        if losses:
            more = f" and {len(losses) - 1} more times" if len(losses) > 1 else ""
            self.problems.append(f"{name} is damaged ({losses[0]}{more}); {number} frames could be read.")
        elif self.length is not None and number < self.length:
            self.problems.append(f"{name} should hold {self.length} frames; {number} could be read.")
        if clock.repaired:
            self.problems.append(
                f"{clock.repaired} frames of {name} have times that do not ascend; each is taken for half a frame's "
                "time after the one before it."
            )
        if clock.restarts:
            times = "once" if clock.restarts == 1 else f"{clock.restarts} times"
            self.problems.append(f"The clock of {name} starts anew {times}, as where files are joined; time goes on.")
        if upright.tilted:
            self.problems.append(f"{name} is to be shown tilted, which is not done; it is turned by whole quarters.")


@dataclass(frozen=True, slots=True)
class _Clock:
    """How a file counts time.

    Attributes:
        period: seconds from one frame to the next where nothing better is known.
        start: seconds; the time of the first frame where the file gives it none.
        decode_order: whether the times stand in the order of decoding, as AVI has them: they belong to packets, and a
            frame that is shown later than it is decoded must not take its packet's.
    """

    period: float
    start: float
    decode_order: bool


def _shown(stream: av.VideoStream) -> int | None:
    """How many frames the file says it shows: those of its index without those that an edit list cuts away."""
    entries = stream.index_entries
    if not stream.frames:  # formats without a whole index
        return None
    shown = sum(not entry.is_discard and entry.size > 0 for entry in islice(entries, stream.frames))
    return shown if len(entries) > 1 else stream.frames


def _probe(container: InputContainer, stream: av.VideoStream, period: float) -> _Clock:
    """Looks at the first packets, without decoding them."""
    times: list[int | None] = []
    with contextlib.suppress(*DAMAGED):  # what is damaged is told when it is read
        packets = islice(container.demux(stream), PROBED)
        times = [packet.pts for packet in packets if packet.size and not packet.is_discard]
    known = [time for time in times if time is not None]
    ascending = len(known) > 2 and all(a < b for a, b in pairwise(known))
    decode_order = bool(stream.codec_context.has_b_frames) and ascending
    if not known:
        return _Clock(period, 0.0, decode_order=False)
    start = 0.0 if decode_order else min(known) * float(stream.time_base or 0) - times.count(None) * period
    return _Clock(period, start, decode_order)


class _Times:
    """Gives each frame its stamp."""

    def __init__(self, clock: _Clock) -> None:
        self._clock = clock
        self._period_ns = max(round(clock.period * SECOND), 2)
        self._offset_ns = max(round(-clock.start * SECOND), 0)  # messages have no numbers for a stamp before zero
        self._last_ns: int | None = None
        self._first_dts: int | None = None
        self.repaired = 0
        self.restarts = 0

    def __call__(self, picture: av.VideoFrame) -> int:
        own, last = self._own(picture), self._last_ns
        if own is None:
            time_ns = round(self._clock.start * SECOND) if last is None else last + self._period_ns
        else:
            time_ns = round(own * SECOND)
            if last is None:
                self._offset_ns = max(-time_ns, 0)
            elif time_ns <= last - RESTART_NS:
                self.restarts += 1
                self._offset_ns += last + self._period_ns - time_ns
            elif time_ns <= last:
                self.repaired += 1
                time_ns = last + self._period_ns // 2
        self._last_ns = time_ns
        return time_ns + self._offset_ns

    def _own(self, picture: av.VideoFrame) -> float | None:
        """What the file says, in seconds."""
        if not self._clock.decode_order:
            return None if picture.pts is None else picture.time
        # A decoder's output keeps the pace of its input: the packet that pushed this frame out is as late as the frame.
        if picture.dts is None:  # pushed out by the end of the file
            return None
        if self._first_dts is None:
            self._first_dts = picture.dts
        return (picture.dts - self._first_dts) * float(picture.time_base or 0)


def _decoded(container: InputContainer, stream: av.VideoStream, losses: list[str]) -> Iterator[av.VideoFrame]:
    """Frames in the order of showing; a packet that cannot be decoded is left out and told in `losses`."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except DAMAGED as error:
            losses.append(getattr(error, "strerror", None) or str(error))
            packet = None
        try:
            yield from packet.decode() if packet is not None else stream.codec_context.decode(None)
        except EOFError:  # the demuxer's own last packet has pushed everything out
            pass
        except FFmpegError as error:
            losses.append(error.strerror or str(error))
        if packet is None:
            return


class _Upright:
    """Turns and mirrors images as the file's display matrix says, by whole quarters."""

    def __init__(self) -> None:
        self._matrix = b""
        self._turn = (False, False, False)
        self.tilted = False

    def __call__(self, picture: av.VideoFrame, image: Image) -> Image:
        found = picture.side_data.get("DISPLAYMATRIX")
        matrix = bytes(found) if isinstance(found, Buffer) else b""
        if matrix != self._matrix:
            self._matrix, self._turn = matrix, self._read(matrix)
        transposed, across, down = self._turn
        if not any(self._turn):
            return image
        turned = image.transpose(1, 0, 2) if transposed else image
        return np.ascontiguousarray(turned[:: -1 if down else 1, :: -1 if across else 1])

    def _read(self, matrix: bytes) -> tuple[bool, bool, bool]:
        """Whether rows and columns change places, and whether the result is then mirrored left to right, top to bottom.

        The matrix takes (x, y) to (a x + c y, b x + d y), 16.16 numbers in the machine's order (FFmpeg's display.h).
        """
        if len(matrix) < 36:
            return False, False, False
        a, b, _, c, d = struct.unpack("=5i", matrix[:20])
        if max(abs(b), abs(c)) > max(abs(a), abs(d)):
            self.tilted = self.tilted or max(abs(a), abs(d)) > abs(b) / 50
            return True, c < 0, b < 0
        self.tilted = self.tilted or max(abs(b), abs(c)) > abs(a) / 50
        return False, a < 0, d < 0

"""A tracker's time from stamps that hiccup, stand, or start anew.

Tracks age by stamps. Some drivers stamp an image a little before the last one now and then; some clocks stand. The time
that tracks see never goes back but where the stamps truly start anew, as at the end of a bag that loops.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

from alstm_ros.types import SECOND

FEW = 3
"""Frames' times; a stamp that lies back by no more is a hiccup, and one further back starts anew."""
FARTHEST_BACK_NS = SECOND
"""Nanoseconds; no stamp that lies back by more than this is a hiccup, however slow the camera."""
UNKNOWN_PERIOD_NS = SECOND // 30
"""Nanoseconds from one frame to the next, until the stamps have shown it."""
LEARNT = 15
"""Frames from whose stamps the time from one to the next is taken, as their median."""
LONG = 10
"""Frames in a row whose stamps lie back, after which the clock was set back for good and starts anew."""
PATIENCE = 30
"""Frames at one stamp that are several looks at the same moment; with more the clock stands, and frames are counted."""


class Moment(NamedTuple):
    """One frame's time.

    Attributes:
        time_ns: nanoseconds; never before the last frame's, but where it starts anew.
        anew: whether the stamps start anew, so that nothing is known of what was before.
    """

    time_ns: int
    anew: bool


class StampClock:
    """Turns the stamps of one camera's frames into a time for its tracks.

    Attributes:
        hiccups: frames whose stamp lay a little before another's; each is a second look at the same moment.
        restarts: how often the stamps started anew.
        standing: frames for which the stamps stood, beyond the first few.
    """

    def __init__(self) -> None:
        """Starts without a frame."""
        self.hiccups = self.restarts = self.standing = 0
        self._periods: deque[int] = deque(maxlen=LEARNT)
        self.reset()

    def reset(self) -> None:
        """Forgets the last frame; the counts and what is known of the camera's pace stay."""
        self._stamp_ns: int | None = None  # the latest stamp
        self._ahead_ns = 0  # how far the time has come before the stamps, by frames that were counted
        self._back = self._same = 0

    def __call__(self, stamp_ns: int) -> Moment:
        """The time of a frame with this stamp, nanoseconds."""
        last = self._stamp_ns
        if last is None or stamp_ns > last:
            if last is not None:
                self._periods.append(stamp_ns - last)
            self._back = self._same = 0
            self._stamp_ns = stamp_ns
        elif stamp_ns < last:
            self._back += 1
            if last - stamp_ns > self._hiccup_ns() or self._back > LONG:
                self.restarts += 1
                self.reset()
                self._stamp_ns = stamp_ns
                return Moment(stamp_ns, anew=True)
            self.hiccups += 1
        else:
            self._same += 1
            if self._same > PATIENCE:
                self.standing += 1
                self._ahead_ns += self._period_ns()
        assert self._stamp_ns is not None  # noqa: S101  # set above
        return Moment(self._stamp_ns + self._ahead_ns, anew=False)

    def sentences(self, name: str) -> tuple[str, ...]:
        """What was strange about the stamps of a recording, one sentence for each kind."""
        found = []
        if self.hiccups:
            are = "frame of {} is" if self.hiccups == 1 else "frames of {} are"
            found.append(
                f"{self.hiccups} {are.format(name)} stamped a little before another, and taken for a second look at "
                "the same moment."
            )
        if self.standing:
            found.append(
                f"The stamps of {name} stand still; {self.standing} frames' time is taken from the camera's pace."
            )
        return tuple(found)

    def _period_ns(self) -> int:
        return round(float(np.median(self._periods))) if self._periods else UNKNOWN_PERIOD_NS

    def _hiccup_ns(self) -> int:
        return min(FEW * self._period_ns(), FARTHEST_BACK_NS)

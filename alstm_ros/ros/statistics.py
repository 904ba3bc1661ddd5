"""What the node counts and times of one camera, for diagnostics."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from alstm_ros.errors import ImageError
from alstm_ros.ros.missing import missing_fraction

STAGES = ("wait", "convert", "detect", "track", "publish", "total")
"""What is timed of each image."""
AGES = ("receipt", "inference start", "inference end", "publishing")
"""When an image's age, the time since its stamp, is taken."""
WINDOW = 300
"""How many of the last images the timings and ages are of."""


@dataclass(slots=True)
class Counts:
    """What happened to a camera's images since the node was configured.

    Attributes:
        received: images that came.
        lost: images of which the middleware says that they never came; None where it does not tell.
        dropped: images that a newer one replaced before they were processed.
        too_old: images that were older than `input.max_age` when their turn came.
        processed: images whose results were published.
        failed: images that the detector or tracker could not process.
        backward: images whose stamp is before that of the one processed before them; each ends all tracks.
        repeated: images that came with the stamp of the one before.
        damaged: images dropped, by cause; the causes are a few fixed words each.
        sentences: what was said last about each cause.
        tracks: living tracks after the last image.
    """

    received: int = 0
    lost: int | None = None
    dropped: int = 0
    too_old: int = 0
    processed: int = 0
    failed: int = 0
    backward: int = 0
    repeated: int = 0
    damaged: dict[str, int] = field(default_factory=dict)
    sentences: dict[str, str] = field(default_factory=dict)
    tracks: int = 0


class CameraStatistics:
    """Counts and timings of one camera. Every method may be called from any thread."""

    def __init__(self) -> None:
        """Starts at zero."""
        self._lock = threading.Lock()
        self._counts = Counts()
        self._received_ns: int | None = None
        self._processed_ns: int | None = None
        self._stamps: deque[int] = deque(maxlen=100)
        self._stages: dict[str, deque[int]] = {stage: deque(maxlen=WINDOW) for stage in STAGES}
        self._ages: dict[str, deque[int]] = {moment: deque(maxlen=WINDOW) for moment in AGES}

    def receive(self, stamp_ns: int, *, replaces: bool) -> None:
        """An image of this stamp came; `replaces` says whether it took the place of one that waited."""
        with self._lock:
            self._counts.received += 1
            self._counts.dropped += replaces
            self._counts.repeated += stamp_ns == self._received_ns
            self._received_ns = stamp_ns
            self._stamps.append(stamp_ns)

    def lose(self, images: int) -> None:
        """The middleware says that so many images did not come; with 0, that it will tell."""
        with self._lock:
            self._counts.lost = (self._counts.lost or 0) + images

    def drop_old(self) -> None:
        """An image was too old when its turn came."""
        with self._lock:
            self._counts.too_old += 1

    def damage(self, error: ImageError) -> None:
        """An image was damaged."""
        with self._lock:
            self._counts.damaged[error.cause] = self._counts.damaged.get(error.cause, 0) + 1
            self._counts.sentences[error.cause] = str(error)

    def fail(self) -> None:
        """An image could not be processed."""
        with self._lock:
            self._counts.failed += 1

    def process(self, stamp_ns: int) -> None:
        """An image of this stamp is being processed."""
        with self._lock:
            self._counts.backward += self._processed_ns is not None and stamp_ns < self._processed_ns
            self._processed_ns = stamp_ns

    def finish(self, tracks: int) -> None:
        """An image's results were published; so many tracks live."""
        with self._lock:
            self._counts.processed += 1
            self._counts.tracks = tracks

    def time(self, stage: str, duration_ns: int) -> None:
        """Takes in one duration."""
        with self._lock:
            self._stages[stage].append(duration_ns)

    def age(self, moment: str, age_ns: int | None) -> None:
        """Takes in how old an image was; None where it carries no stamp."""
        if age_ns is not None:
            with self._lock:
                self._ages[moment].append(age_ns)

    def counts(self) -> Counts:
        """The counts now, as a copy."""
        with self._lock:
            now = self._counts
            return replace(now, damaged=dict(now.damaged), sentences=dict(now.sentences))

    def missing(self) -> float:
        """Which part of the last images never came, guessed from the stamps of those that did: 0 to 1."""
        with self._lock:
            stamps = list(self._stamps)
        return missing_fraction(stamps)

    def stages(self) -> dict[str, list[int]]:
        """The last durations of each stage, ns."""
        with self._lock:
            return {stage: list(durations) for stage, durations in self._stages.items()}

    def ages(self) -> dict[str, list[int]]:
        """How old the last images were at each moment, ns."""
        with self._lock:
            return {moment: list(ages) for moment, ages in self._ages.items()}


def quantile(values: Sequence[float], fraction: float) -> float:
    """The value below which this fraction of the values lies, by nearest rank; NaN of none."""
    ordered = sorted(values)
    return float(ordered[min(int(fraction * len(ordered)), len(ordered) - 1)]) if ordered else float("nan")

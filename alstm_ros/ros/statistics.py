"""What the node counts and times, for diagnostics."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

STAGES = ("wait", "convert", "detect", "track", "publish", "total")


class CameraStatistics:
    """Counts and timings of one camera; each field is written by one thread only.

    Attributes:
        received: images that came.
        dropped: images that a newer one replaced before they were processed.
        processed: images whose results were published.
        damaged: images dropped by cause.
        sentences: what was said last about each cause of damage.
        failed: images that the detector or tracker could not process.
        backward: images whose stamp is before that of the one processed before them; each ends all tracks.
        tracks: living tracks after the last image.
        stamps: stamps of the last images that came, ns.
        stages: the last durations of each stage, ns.
    """

    def __init__(self) -> None:
        """Starts at zero."""
        self.received = 0
        self.dropped = 0
        self.processed = 0
        self.damaged: Counter[str] = Counter()
        self.sentences: dict[str, str] = {}
        self.failed = 0
        self.backward = 0
        self._last_ns: int | None = None
        self.tracks = 0
        self.stamps: deque[int] = deque(maxlen=100)
        self.stages: dict[str, deque[int]] = {stage: deque(maxlen=300) for stage in STAGES}

    def processing(self, stamp_ns: int) -> None:
        """An image of this stamp is being processed."""
        self.backward += self._last_ns is not None and stamp_ns < self._last_ns
        self._last_ns = stamp_ns

    def time(self, stage: str, duration_ns: int) -> None:
        """Takes in one duration."""
        self.stages[stage].append(duration_ns)


def quantile(values: Sequence[int], fraction: float) -> float:
    """The value below which this fraction of the values lies, by nearest rank; NaN of none."""
    ordered = sorted(values)
    return float(ordered[min(int(fraction * len(ordered)), len(ordered) - 1)]) if ordered else float("nan")


def missing_fraction(stamps: Sequence[int]) -> float:
    """Which part of a camera's images never came, guessed from the gaps between the stamps of those that did.

    The camera's period is taken to be the gap that a tenth of all gaps stay below: where many images are lost, the
    median gap is several periods long.

    Args:
        stamps: ns, in the order of arrival.

    Returns:
        0 to 1; 0 where there are too few stamps to tell, or time does not run forward.
    """
    gaps = [later - earlier for earlier, later in zip(stamps, list(stamps)[1:], strict=False)]
    if len(gaps) < 10 or min(gaps) <= 0:  # fewer say nothing about a period
        return 0.0
    period = quantile(gaps, 0.1)
    expected = sum(round(gap / period) for gap in gaps)
    return max(0.0, 1 - len(gaps) / expected) if expected else 0.0

"""The node's state as `diagnostic_msgs`: rates, timings, and a sentence where something is wrong."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from alstm_ros.ros.input import CameraInput
from alstm_ros.ros.statistics import CameraStatistics, missing_fraction, quantile
from alstm_ros.ros.transport import large_data_hint
from alstm_ros.types import SECOND

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
MISSING = 0.2
"""The part of the images that may be lost before that is worth a warning, 0 to 1."""


@dataclass(frozen=True, slots=True)
class _Counts:
    """A camera's counts when they were last told."""

    at_ns: int
    received: int
    processed: int
    dropped: int
    damaged: int
    failed: int
    backward: int


class CameraDiagnostics:
    """Tells one camera's state; rates are those since it was last asked."""

    def __init__(self, name: str, source: CameraInput, statistics: CameraStatistics) -> None:
        """Starts counting.

        Args:
            name: of the status.
            source: the camera's subscription.
            statistics: the camera's counts and timings.
        """
        self._name = name
        self._source = source
        self._statistics = statistics
        self._last = self._counts()

    def status(self) -> DiagnosticStatus:
        """The state now."""
        counts, last = self._counts(), self._last
        self._last = counts
        seconds = max((counts.at_ns - last.at_ns) / SECOND, 1e-3)
        statistics = self._statistics
        values: dict[str, object] = {
            "topic": self._source.source.topic if self._source.source else "none",
            "type": self._source.source.type if self._source.source else "none",
            "qos": self._source.source.qos if self._source.source else "none",
            "received per second": f"{(counts.received - last.received) / seconds:.2f}",
            "processed per second": f"{(counts.processed - last.processed) / seconds:.2f}",
            "received": counts.received,
            "processed": counts.processed,
            "dropped for a newer one": counts.dropped,
            "damaged": counts.damaged,
            "failed": counts.failed,
            "time jumps back": counts.backward,
            "missing (guess)": f"{missing_fraction(list(statistics.stamps)):.2f}",
            "tracks": statistics.tracks,
        }
        values |= {f"damaged, {cause}": count for cause, count in statistics.damaged.items()}
        for stage, durations in statistics.stages.items():
            taken = list(durations)
            values[f"{stage} p50 ms"] = f"{quantile(taken, 0.5) / 1e6:.2f}"
            values[f"{stage} p99 ms"] = f"{quantile(taken, 0.99) / 1e6:.2f}"
        level, message = self._judge(counts, last)
        return status(level, self._name, message, values)

    def _judge(self, now: _Counts, last: _Counts) -> tuple[bytes, str]:
        received, failed = now.received - last.received, now.failed - last.failed
        if self._source.source is None:
            return OK, "Not subscribed."
        if self._source.silence is not None:
            return ERROR, f"No image: {self._source.silence.sentence}"
        if failed:
            return ERROR, f"{failed} images could not be processed; the log says why."
        if warning := self._warning(now, last):
            return WARN, warning
        counted = f"{now.processed - last.processed} of {received} images processed."
        return OK, counted if received else "Waiting for images."

    def _warning(self, now: _Counts, last: _Counts) -> str:
        """What is not as it should be, though results come; empty where all is well."""
        missing = missing_fraction(list(self._statistics.stamps))
        damaged, backward = now.damaged - last.damaged, now.backward - last.backward
        if damaged:
            return f"{damaged} images were dropped: {' '.join(sorted(self._statistics.sentences.copy().values()))}"
        if backward > 1:  # one is a bag that begins anew
            return (
                f"Stamps went back {backward} times, and each time every track ended; do several publishers with "
                "different clocks share the topic?"
            )
        if missing > MISSING:
            return f"About {missing:.0%} of the images never came. {large_data_hint()}".rstrip()
        return ""

    def _counts(self) -> _Counts:
        counted = self._statistics
        damaged = sum(counted.damaged.copy().values())
        return _Counts(
            time.monotonic_ns(),
            counted.received,
            counted.processed,
            counted.dropped,
            damaged,
            counted.failed,
            counted.backward,
        )


def status(level: bytes, name: str, message: str, values: Mapping[str, object]) -> DiagnosticStatus:
    """A status message."""
    pairs = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=name, message=message, values=pairs)

"""The node's state as `diagnostic_msgs`: rates, timings, and a sentence where something is wrong."""

from __future__ import annotations

import platform
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from rclpy.node import Node

from alstm_ros.ros.input import CameraInput
from alstm_ros.ros.statistics import CameraStatistics, Counts, quantile
from alstm_ros.ros.transport import large_data_hint
from alstm_ros.types import SECOND

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
MISSING = 0.2
"""The part of the images that may be lost before that is worth a warning, 0 to 1."""
FOUND_AGAIN = 0.05
"""The part of the images that may be lost when the end of a loss is told, 0 to 1."""
STANDING = 0.5
"""The part of the images that may carry the stamp of the one before, 0 to 1."""
FEW = 5
"""How many images say something about all of them."""
REPORTS = 10
"""Over how many reports losses are counted."""
LONGEST = 600
"""How many characters a message or a value has at the most, whatever a sender does."""


@dataclass(frozen=True, slots=True)
class _Change:
    """What was counted since the last report."""

    seconds: float
    received: int
    lost: int
    processed: int
    damaged: int
    failed: int
    backward: int
    repeated: int
    too_old: int


class CameraDiagnostics:
    """Tells one camera's state; rates are those since it was last asked."""

    def __init__(self, name: str, source: CameraInput, statistics: CameraStatistics, node: Node) -> None:
        """Starts counting.

        Args:
            name: of the status.
            source: the camera's subscription.
            statistics: the camera's counts and timings.
            node: in whose log the beginning and the end of a loss are told.
        """
        self._name = name
        self._source = source
        self._statistics = statistics
        self._node = node
        self._last, self._last_ns = statistics.counts(), time.monotonic_ns()
        self._arrivals: deque[tuple[int, int]] = deque(maxlen=REPORTS)  # received and lost, by report
        self._losing = False

    def status(self) -> DiagnosticStatus:
        """The state now."""
        counts, now_ns = self._statistics.counts(), time.monotonic_ns()
        change = _change(self._last, counts, max((now_ns - self._last_ns) / SECOND, 1e-3))
        self._last, self._last_ns = counts, now_ns
        self._arrivals.append((change.received, change.lost))
        missing = self._missing(counts)
        self._tell_loss(missing)
        source = self._source.source
        values: dict[str, object] = {
            "topic": source.topic if source else "none",
            "type": source.type if source else "none",
            "qos": source.qos if source else "none",
            "received per second": f"{change.received / change.seconds:.2f}",
            "processed per second": f"{change.processed / change.seconds:.2f}",
            "received": counts.received,
            "processed": counts.processed,
            "dropped for a newer one": counts.dropped,
            "dropped as too old": counts.too_old,
            "damaged": sum(counts.damaged.values()),
            "failed": counts.failed,
            "time jumps back": counts.backward,
            "stamps repeated": counts.repeated,
            "lost on the way": "not told by the middleware" if counts.lost is None else counts.lost,
            "missing" if counts.lost is not None else "missing (guess)": f"{missing:.2f}",
            "tracks": counts.tracks,
        }
        values |= {f"damaged, {cause}": count for cause, count in counts.damaged.items()}
        values |= self._latencies()
        level, message = self._judge(counts, change, missing)
        return status(level, self._name, message, values)

    def _latencies(self) -> dict[str, object]:
        values: dict[str, object] = {}
        told = self._statistics.stages()
        told |= {f"age at {moment}": ages for moment, ages in self._statistics.ages().items()}
        for stage, taken in told.items():
            values[f"{stage} p50 ms"] = f"{quantile(taken, 0.5) / 1e6:.2f}"
            values[f"{stage} p99 ms"] = f"{quantile(taken, 0.99) / 1e6:.2f}"
            values[f"{stage} max ms"] = f"{quantile(taken, 1) / 1e6:.2f}"
        return values

    def _missing(self, counts: Counts) -> float:
        """Which part of the images did not come: counted by the middleware, or guessed where it does not tell."""
        if counts.lost is None:
            return self._statistics.missing()
        received, lost = (sum(part) for part in zip(*self._arrivals, strict=True))
        return lost / (received + lost) if lost >= FEW else 0.0

    def _tell_loss(self, missing: float) -> None:
        """Tells in the log when a loss begins and when it ends; diagnostics tell of it as long as it lasts."""
        if missing > MISSING and not self._losing:
            self._losing = True
            self._node.get_logger().warning(self._loss(missing))
        elif missing <= FOUND_AGAIN and self._losing and self._source.source is not None:
            self._losing = False
            self._node.get_logger().info(f"The images of {self._source.source.topic} arrive again.")

    def _loss(self, missing: float) -> str:
        topic = self._source.source.topic if self._source.source else "the camera"
        return f"About {missing:.0%} of the images of {topic} never came. {large_data_hint()}".rstrip()

    def _judge(self, counts: Counts, change: _Change, missing: float) -> tuple[bytes, str]:
        if self._source.source is None:
            return OK, "Not subscribed."
        if self._source.silence is not None:
            return ERROR, f"No image: {self._source.silence.sentence}"
        if change.failed:
            return ERROR, f"{change.failed} images could not be processed; the log says why."
        if warning := self._warning(counts, change, missing):
            return WARN, warning
        counted = f"{change.processed} images processed, {change.received} received."
        return OK, counted if change.received else "Waiting for images."

    def _warning(self, counts: Counts, change: _Change, missing: float) -> str:
        """What is not as it should be, though results come; empty where all is well."""
        if change.damaged:
            return f"{change.damaged} images were dropped: {' '.join(sorted(counts.sentences.values()))}"
        if change.backward > 1:  # one is a bag that begins anew
            return (
                f"Stamps went back {change.backward} times, and each time every track ended; do several publishers "
                "with different clocks share the topic?"
            )
        if change.received >= FEW and change.repeated > STANDING * change.received:
            return (
                f"Time stands still: {change.repeated} of {change.received} images carry the stamp of the one before, "
                "so tracks neither move nor end; does the camera's clock run, and with use_sim_time, is /clock there?"
            )
        if change.too_old:
            return f"{change.too_old} images were older than input.max_age; are the clocks of both machines the same?"
        return self._loss(missing) if missing > MISSING else ""


def _change(last: Counts, now: Counts, seconds: float) -> _Change:
    return _Change(
        seconds,
        now.received - last.received,
        (now.lost or 0) - (last.lost or 0),
        now.processed - last.processed,
        sum(now.damaged.values()) - sum(last.damaged.values()),
        now.failed - last.failed,
        now.backward - last.backward,
        now.repeated - last.repeated,
        now.too_old - last.too_old,
    )


def status(level: bytes, name: str, message: str, values: Mapping[str, object]) -> DiagnosticStatus:
    """A status message; its texts are cut to a length that nobody can make grow."""
    pairs = [KeyValue(key=_cut(key), value=_cut(str(value))) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=name, message=_cut(message), hardware_id=platform.node(), values=pairs)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."

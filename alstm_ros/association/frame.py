"""What is known of a frame before its detections are given to tracks; made once, and read by every step of the way."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alstm_ros.association.track_table import TrackTable
from alstm_ros.boxes import cxcywh_to_xyxy
from alstm_ros.config import Config
from alstm_ros.types import SECOND, Detections, Float64, Int64


@dataclass(frozen=True, slots=True)
class FrameContext:
    """T tracks, where they are expected, and N detections.

    Attributes:
        table: the living tracks, predicted to this frame.
        predicted: `(T, 4)` float64, xyxy pixels, where they are expected.
        detections: of this frame, usable ones.
        boxes: `(N, 4)` float64, the detections' xyxy pixels.
        stamp_ns: the frame's stamp, nanoseconds.
        dt_ns: nanoseconds since the previous frame.
        config: all parameters.
    """

    table: TrackTable
    predicted: Float64
    detections: Detections
    boxes: Float64
    stamp_ns: int
    dt_ns: int
    config: Config

    @classmethod
    def of(cls, table: TrackTable, detections: Detections, stamp_ns: int, dt_ns: int, config: Config) -> FrameContext:
        """The context of a frame to which the tracks have been predicted."""
        predicted = cxcywh_to_xyxy(table.motion.value)
        return cls(table, predicted, detections, detections.boxes.astype(np.float64), stamp_ns, dt_ns, config)

    def shifted(self, shift: Float64) -> FrameContext:
        """The same frame with each track expected `(T, 2)` pixels further on."""
        return dataclasses.replace(self, predicted=self.predicted + np.tile(shift, 2))

    @property
    def heights(self) -> Float64:
        """`(T,)` pixels, of the predicted boxes."""
        return np.asarray(self.predicted[:, 3] - self.predicted[:, 1])

    @property
    def margin(self) -> Float64:
        """`(T,)` pixels by which an object may be off its expected way."""
        return np.asarray(self.config.association.margin * self.dt_ns / SECOND * self.heights)

    @property
    def lost_seconds(self) -> Float64:
        """`(T,)` seconds for which each track had been unseen before this frame."""
        return np.asarray((self.stamp_ns - self.table.seen_ns - self.dt_ns) / SECOND)


@dataclass(frozen=True, slots=True)
class GatedPairs:
    """P pairs that may belong together, in the order of rows and then of columns.

    Attributes:
        rows: `(P,)` int64, each pair's track.
        columns: `(P,)` int64, its detection.
        overlap: `(P,)` float64 in 0..1, see `cost.height_modulated_iou`.
    """

    rows: Int64
    columns: Int64
    overlap: Float64


@dataclass(frozen=True, slots=True)
class ReachablePairs(GatedPairs):
    """Pairs that overlap, and pairs that are `close`.

    Attributes:
        distance: `(P,)` float64, between the centres, squared, 1 at the end of the track's reach.
        close: `(P,)` bool, within reach and alike in height.
    """

    distance: Float64
    close: NDArray[np.bool_]

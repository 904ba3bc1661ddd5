"""The tracker: detections of one camera, frame after frame, to tracks with lasting ids."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from alstm_ros.association.cost import box_cost
from alstm_ros.association.matching import assign
from alstm_ros.association.motion import Motion
from alstm_ros.boxes import cxcywh_to_xyxy, iou, xyxy_to_cxcywh
from alstm_ros.config import Config
from alstm_ros.types import (
    Affine,
    Detections,
    EventKind,
    Float32,
    Float64,
    FrameResult,
    Int64,
    TrackEvent,
    Tracks,
    TrackState,
    UInt8,
)

SECOND = 1_000_000_000


class IdCounter:
    """Gives out ids 1, 2, 3 ...; never one twice. Several trackers may share it."""

    def __init__(self) -> None:
        """Starts at 1."""
        self._next = 1

    def take(self, count: int) -> Int64:
        """The next ids, `(count,)` int64 ascending."""
        ids = np.arange(self._next, self._next + count, dtype=np.int64)
        self._next += count
        return ids


@dataclass(slots=True)
class _Table:
    """The living tracks, one row each in the order of their ids; see types.Tracks for most columns."""

    ids: Int64
    classes: Int64
    class_weight: Float64
    scores: Float64
    states: UInt8
    hits: Int64
    born_ns: Int64
    seen_ns: Int64
    last_box: Float32
    motion: Motion

    @classmethod
    def start(cls, ids: Int64, detections: Detections, stamp_ns: int) -> _Table:
        n = len(ids)
        return cls(
            ids,
            detections.classes.copy(),
            detections.scores.astype(np.float64),
            detections.scores.astype(np.float64),
            np.full(n, TrackState.TENTATIVE, np.uint8),
            np.ones(n, np.int64),
            np.full(n, stamp_ns, np.int64),
            np.full(n, stamp_ns, np.int64),
            detections.boxes.copy(),
            Motion.start(xyxy_to_cxcywh(detections.boxes.astype(np.float64))),
        )

    def __len__(self) -> int:
        return len(self.ids)


def _map(function, *tables):  # noqa: ANN001, ANN002, ANN202
    first = tables[0]
    parts = {}
    for field in dataclasses.fields(first):
        values = [getattr(table, field.name) for table in tables]
        parts[field.name] = _map(function, *values) if dataclasses.is_dataclass(values[0]) else function(*values)
    return type(first)(**parts)


class TrackManager:
    """One camera's tracks."""

    def __init__(self, config: Config, ids: IdCounter) -> None:
        """Starts without tracks.

        Args:
            config: all parameters; `association` and `tracks` are used.
            ids: where new ids come from; shared by the cameras of a node.
        """
        self._config = config
        self._ids = ids
        self._last_ns: int | None = None
        self._table = _Table.start(np.zeros(0, np.int64), Detections.empty(), 0)

    def configure(self, config: Config) -> None:
        """Takes over the parameters; tracks and ids stay."""
        self._config = config

    def reset(self) -> None:
        """Forgets every track; ids go on."""
        self._keep(np.zeros(len(self._table), bool))
        self._last_ns = None

    def update(self, detections: Detections, stamp_ns: int, camera_motion: Affine | None = None) -> FrameResult:
        """Takes in the detections of one frame, which may be none.

        Args:
            detections: of this frame.
            stamp_ns: the frame's stamp; one before the last frame's ends every track.
            camera_motion: `(2, 3)`, pixels of the previous frame to this one's; None where unknown.

        Returns:
            Living tracks and what happened to them.
        """
        options = self._config.tracks
        detections = _usable(detections)
        events: list[TrackEvent] = []
        first = self._last_ns is None
        if self._last_ns is not None and stamp_ns < self._last_ns:
            self._end(np.ones(len(self._table), bool), stamp_ns, events)
            first = True
        dt_ns = 0 if first or self._last_ns is None else stamp_ns - self._last_ns
        self._last_ns = stamp_ns

        old = stamp_ns - self._table.seen_ns > int(options.lost_seconds * SECOND)
        self._end(old, stamp_ns, events)
        table = self._table
        if camera_motion is not None:
            table.motion.warp(camera_motion)
        table.motion.predict(dt_ns / SECOND)

        measured = xyxy_to_cxcywh(detections.boxes.astype(np.float64))
        scores = detections.scores.astype(np.float64)
        predicted = cxcywh_to_xyxy(table.motion.value)
        boxes = detections.boxes.astype(np.float64)
        cost = box_cost(predicted, boxes)
        cost += self._config.association.low_score_penalty * (scores < options.high_score)[None, :]
        cost += self._config.association.class_penalty * (table.classes[:, None] != detections.classes[None, :])
        rows, columns = assign(cost, self._config.association.max_cost)

        m = len(table)
        found = np.full(m, -1, np.int64)
        found[rows] = columns
        confidences = np.full(m, np.nan, np.float32)
        confidences[rows] = np.clip(1 - cost[rows, columns], 0, 1)
        lost = table.states == TrackState.LOST
        recovered = lost & (found >= 0)
        table.motion.correct(rows, measured[columns], scores[columns])
        table.hits[rows] += 1
        table.scores[rows] = scores[columns]
        table.seen_ns[rows] = stamp_ns
        table.last_box[rows] = detections.boxes[columns]
        self._vote(rows, detections, columns)
        confirmed = (found >= 0) & ((table.hits >= options.confirm_hits) | recovered)
        table.states[confirmed] = TrackState.CONFIRMED
        missed = found < 0
        newly_lost = missed & (table.states == TrackState.CONFIRMED)
        table.states[newly_lost] = TrackState.LOST
        gone = missed & (table.states == TrackState.TENTATIVE)
        self._tell(EventKind.RECOVERED, recovered, stamp_ns, events)
        self._tell(EventKind.LOST, newly_lost, stamp_ns, events)
        self._end(gone, stamp_ns, events)
        found, confidences = found[~gone], confidences[~gone]

        free = np.ones(len(detections), bool)
        free[columns] = False
        born = np.flatnonzero(free & (scores >= options.birth_score))
        if len(born) and len(rows):
            covered = iou(boxes[born], boxes[columns]).max(axis=1) > options.birth_overlap
            born = born[~covered]
        if len(born):
            fresh = _Table.start(self._ids.take(len(born)), detections[born], stamp_ns)
            if first or options.confirm_hits <= 1:
                fresh.states[:] = TrackState.CONFIRMED
            start = len(self._table)
            self._table = _map(lambda a, b: np.concatenate([a, b]), self._table, fresh)
            found = np.concatenate([found, born])
            confidences = np.concatenate([confidences, np.full(len(born), np.nan, np.float32)])
            self._tell(EventKind.BORN, np.arange(len(self._table)) >= start, stamp_ns, events)
        events.sort(key=lambda event: event.id)
        return FrameResult(stamp_ns, detections, self._publish(found, confidences, stamp_ns), tuple(events))

    def _publish(self, found: Int64, confidences: Float32, stamp_ns: int) -> Tracks:
        table = self._table
        return Tracks(
            ids=table.ids.copy(),
            boxes=cxcywh_to_xyxy(table.motion.value).astype(np.float32),
            scores=table.scores.astype(np.float32),
            classes=table.classes.copy(),
            states=table.states.copy(),
            velocities=table.motion.speed[:, :2].astype(np.float32),
            ages_ns=stamp_ns - table.born_ns,
            unseen_ns=stamp_ns - table.seen_ns,
            detection=found,
            confidences=confidences,
            embeddings=np.zeros((len(table), 0), np.float32),
        )

    def _vote(self, rows: Int64, detections: Detections, columns: Int64) -> None:
        """Boyer-Moore majority vote, weighted by scores, over a track's classes."""
        table = self._table
        same = table.classes[rows] == detections.classes[columns]
        weight = table.class_weight[rows] + np.where(same, 1, -1) * detections.scores[columns]
        table.classes[rows] = np.where(weight < 0, detections.classes[columns], table.classes[rows])
        table.class_weight[rows] = np.abs(weight)

    def _keep(self, mask: np.ndarray) -> None:
        if not mask.all():
            self._table = _map(lambda a: a[mask], self._table)

    def _end(self, mask: np.ndarray, stamp_ns: int, events: list[TrackEvent]) -> None:
        self._tell(EventKind.ENDED, mask, stamp_ns, events)
        self._keep(~mask)

    def _tell(self, kind: EventKind, mask: np.ndarray, stamp_ns: int, events: list[TrackEvent]) -> None:
        table = self._table
        for row in np.flatnonzero(mask):
            age = max(stamp_ns - int(table.born_ns[row]), 0)
            events.append(TrackEvent(kind, int(table.ids[row]), int(table.classes[row]), table.last_box[row].copy(), age))


def _usable(detections: Detections) -> Detections:
    """The detections with finite boxes of positive size and finite scores."""
    boxes = detections.boxes
    good = np.isfinite(boxes).all(axis=1) & np.isfinite(detections.scores)
    good &= (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return detections if good.all() else detections[good]

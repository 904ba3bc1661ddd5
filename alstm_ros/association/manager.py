"""The tracker: detections of one camera, frame after frame, to tracks with lasting ids."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alstm_ros.association.associator import Associator, Candidates, TrackView
from alstm_ros.association.cost import base_cost, class_mismatch, overlap
from alstm_ros.association.lstm import open_associator
from alstm_ros.association.matching import assign
from alstm_ros.association.table import TrackTable
from alstm_ros.boxes import cxcywh_to_xyxy, iou, nms
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
)

SECOND = 1_000_000_000
_GATE = 0.6
"""A learned correction is asked for pairs that cost up to this much more than the limit."""
_REACH = 0.5
"""... and for pairs whose centres are at most so many heights apart, and one more for each second unseen."""


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


class TrackManager:
    """One camera's tracks: predict, cost, one assignment, correct, birth and death."""

    def __init__(self, config: Config, ids: IdCounter, associator: Associator | None = None) -> None:
        """Starts without tracks.

        Args:
            config: all parameters; `association` and `tracks` are used.
            ids: where new ids come from; shared by the cameras of a node.
            associator: corrects costs and refines what is published; None for what `association.model` names.

        Raises:
            ModelError: `association.model` is no association model.
        """
        if associator is None and config.association.model:
            associator = open_associator(config.association.model)()
        self._config = config
        self._ids = ids
        self._associator = associator
        self._width = 0 if associator is None else associator.width
        self._last_ns: int | None = None
        self._events: list[TrackEvent] = []
        nothing = np.zeros(0, np.int64)
        self._table = TrackTable.start(nothing, nothing, Detections.empty(), 0, self._width)

    def configure(self, config: Config) -> None:
        """Takes over the parameters; tracks and ids stay."""
        self._config = config

    def reset(self) -> None:
        """Ends every track; ids go on. The ends are told with the next frame's events."""
        self._end(np.ones(len(self._table), bool), self._last_ns or 0)
        self._last_ns = None

    def update(self, detections: Detections, stamp_ns: int, camera_motion: Affine | None = None) -> FrameResult:
        """Takes in the detections of one frame, which may be none.

        Args:
            detections: of this frame; boxes that are not finite or have no size are left out.
            stamp_ns: the frame's stamp. One before the last frame's ends every track; one equal to it is a second look
                at the same moment.
            camera_motion: `(2, 3)`, pixels of the previous frame to this one's; None where unknown.

        Returns:
            The detections without those left out, every living track, and what happened to tracks.
        """
        detections = _usable(detections)
        if self._last_ns is not None and stamp_ns < self._last_ns:
            self.reset()
        first = self._last_ns is None
        dt_ns = 0 if self._last_ns is None else stamp_ns - self._last_ns
        self._last_ns = stamp_ns
        self._end(stamp_ns - self._table.seen_ns > round(self._config.tracks.lost_seconds * SECOND), stamp_ns)
        self._table.advance(dt_ns / SECOND, camera_motion)

        predicted = cxcywh_to_xyxy(self._table.motion.value)
        cost = self._cost(predicted, detections, dt_ns / SECOND)
        candidates, corrections = None, np.zeros(0, np.float32)
        if self._associator is not None:
            candidates = self._candidates(predicted, detections, cost, dt_ns)
            corrections = self._associator.correct(candidates)
            cost[candidates.rows, candidates.columns] += corrections
        rows, columns = assign(cost, self._config.association.max_cost)

        found = np.full(len(self._table), -1, np.int64)
        found[rows] = columns
        confidences = np.full(len(self._table), np.nan, np.float32)
        confidences[rows] = np.clip(1 - cost[rows, columns], 0, 1)
        self._table.take(rows, detections[columns], stamp_ns)
        stays = self._live(found, stamp_ns)
        born = self._births(detections, columns)
        found = np.concatenate([found[stays], born])
        confidences = np.concatenate([confidences[stays], np.full(len(born), np.nan, np.float32)])
        self._bear(detections[born], stamp_ns, at_once=first)
        boxes = cxcywh_to_xyxy(self._table.motion.value).astype(np.float32)
        if self._associator is not None and candidates is not None:
            slots = self._table.slots[len(found) - len(born) :]
            refined = self._associator.advance(candidates, corrections, rows, columns, slots, born)
            place = np.concatenate([np.flatnonzero(found[: len(found) - len(born)] >= 0), len(found) - len(born) + np.arange(len(born))])
            raw = detections[found[place]]
            boxes[place] = refined.boxes if self._config.output.refined else raw.boxes
            confidences[place] = refined.confidences
            self._table.published[place] = refined.scores if self._config.output.refined else raw.scores
            self._table.embeddings[place] = refined.embeddings
        events, self._events = tuple(sorted(self._events, key=lambda event: event.id)), []
        return FrameResult(stamp_ns, detections, self._tracks(boxes, found, confidences, stamp_ns), events)

    def _cost(self, predicted: Float64, detections: Detections, dt: float) -> Float64:
        """The rules' cost of every pair, `(T, N)`; infinite for scores that no track may take."""
        association, tracks, table = self._config.association, self._config.tracks, self._table
        scores = detections.scores.astype(np.float64)
        heights = predicted[:, 3] - predicted[:, 1]
        margin = association.margin * dt * heights
        rows = association.lost_penalty * (table.states == TrackState.LOST)
        columns = np.where(scores < tracks.high_score, association.low_score_penalty, 0.0)
        columns[scores < tracks.low_score] = np.inf
        similarity = overlap(predicted, detections.boxes.astype(np.float64), margin)
        cost = base_cost(similarity, table.scores, scores, (rows, columns), association.score_weight)
        differ = class_mismatch(table.classes, detections.classes)
        return cost if differ is None else cost + association.class_penalty * differ

    def _candidates(self, predicted: Float64, detections: Detections, cost: Float64, dt_ns: int) -> Candidates:
        """The pairs worth a second thought."""
        table, stamp_ns = self._table, self._last_ns or 0
        unseen = stamp_ns - table.seen_ns
        limit = self._config.association.max_cost
        boxes = detections.boxes.astype(np.float64)
        heights = np.maximum(predicted[:, 3] - predicted[:, 1], 1)[:, None]
        centres = (predicted[:, :2] + predicted[:, 2:]) / 2
        off = centres[:, None, :] - (boxes[:, :2] + boxes[:, 2:]) / 2  # (T, N, 2)
        near = (off**2).sum(axis=2) < ((_REACH + unseen / SECOND)[:, None] * heights) ** 2
        alike = np.abs(np.log((boxes[:, 3] - boxes[:, 1]) / heights)) < 0.5
        rows, columns = np.nonzero(((cost < limit + _GATE) & (cost < 1)) | (near & alike & np.isfinite(cost)))
        view = TrackView(
            slots=table.slots,
            predicted=predicted.astype(np.float32),
            observed=table.observed.astype(np.float32),
            speeds=table.motion.speed.astype(np.float32),
            scores=table.scores.astype(np.float32),
            ages_ns=stamp_ns - table.born_ns,
            unseen_ns=unseen,
            confirmed=table.states != TrackState.TENTATIVE,
        )
        costs = cost[rows, columns].astype(np.float32)
        return Candidates(view, detections, rows.astype(np.int64), columns.astype(np.int64), costs, limit, dt_ns)

    def _live(self, found: Int64, stamp_ns: int) -> NDArray[np.bool_]:
        """Moves tracks on in their lives; the mask of those that did not end."""
        table, hit = self._table, found >= 0
        lost = table.states == TrackState.LOST
        ripe = hit & (lost | (table.hits >= self._config.tracks.confirm_hits))
        table.states[ripe] = TrackState.CONFIRMED
        missed = ~hit & (table.states == TrackState.CONFIRMED)
        table.states[missed] = TrackState.LOST
        self._tell(EventKind.RECOVERED, lost & hit, stamp_ns)
        self._tell(EventKind.LOST, missed, stamp_ns)
        ended = ~hit & (table.states == TrackState.TENTATIVE)
        self._end(ended, stamp_ns)
        return ~ended

    def _births(self, detections: Detections, columns: Int64) -> Int64:
        """Which detections begin a track: free, sure enough, and not on top of one that is taken or surer."""
        options = self._config.tracks
        free = detections.scores >= options.birth_score
        free[columns] = False
        born = np.flatnonzero(free)
        if not len(born):
            return born.astype(np.int64)
        if len(columns):
            born = born[iou(detections.boxes[born], detections.boxes[columns]).max(axis=1) <= options.birth_overlap]
        if len(born) > 1:
            fresh = detections[born]
            born = np.sort(born[nms(fresh.boxes, fresh.scores, np.zeros(len(born), np.int64), options.birth_overlap)])
        return born.astype(np.int64)

    def _bear(self, detections: Detections, stamp_ns: int, *, at_once: bool) -> None:
        """Begins a track for each of these detections; confirmed at once in a first frame and where sure enough."""
        n, options = len(detections), self._config.tracks
        if not n:
            return
        newborn = TrackTable.start(self._ids.take(n), self._table.free_slots(n), detections, stamp_ns, self._width)
        sure = (detections.scores >= options.confirm_score) | at_once | (options.confirm_hits <= 1)
        newborn.states[sure] = TrackState.CONFIRMED
        self._table = self._table.joined(newborn)
        self._tell(EventKind.BORN, np.arange(len(self._table)) >= len(self._table) - n, stamp_ns)

    def _tracks(self, boxes: Float32, found: Int64, confidences: Float32, stamp_ns: int) -> Tracks:
        table = self._table
        return Tracks(
            ids=table.ids.copy(),
            boxes=boxes,
            scores=table.published.copy(),
            classes=table.classes.copy(),
            states=table.states.copy(),
            velocities=table.motion.speed[:, :2].astype(np.float32),
            ages_ns=stamp_ns - table.born_ns,
            unseen_ns=stamp_ns - table.seen_ns,
            detection=found,
            confidences=confidences,
            embeddings=table.embeddings.copy(),
        )

    def _end(self, mask: NDArray[np.bool_], stamp_ns: int) -> None:
        """Ends these tracks."""
        if not mask.any():
            return
        self._tell(EventKind.ENDED, mask, stamp_ns)
        if self._associator is not None:
            self._associator.forget(self._table.slots[mask])
        self._table = self._table.keep(~mask)

    def _tell(self, kind: EventKind, mask: NDArray[np.bool_], stamp_ns: int) -> None:
        table = self._table
        for row in np.flatnonzero(mask).tolist():
            box = table.observed[row].astype(np.float32)
            age_ns = max(stamp_ns - int(table.born_ns[row]), 0)
            self._events.append(TrackEvent(kind, int(table.ids[row]), int(table.classes[row]), box, age_ns))


def _usable(detections: Detections) -> Detections:
    """The detections whose boxes are finite and have a size, and whose scores are numbers."""
    boxes = detections.boxes
    good = np.isfinite(boxes).all(axis=1) & np.isfinite(detections.scores)
    good &= (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return detections if good.all() else detections[good]

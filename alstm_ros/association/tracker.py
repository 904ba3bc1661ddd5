"""The tracker: detections of one camera, frame after frame, to tracks with lasting ids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alstm_ros.association.assignment import Match, match
from alstm_ros.association.associator import Associator, Decision, Refinement
from alstm_ros.association.common_motion import CommonMotion
from alstm_ros.association.crowding_limit import limit_crowd
from alstm_ros.association.frame import FrameContext
from alstm_ros.association.stamps import StampClock
from alstm_ros.association.track_table import TrackTable
from alstm_ros.boxes import cxcywh_to_xyxy, iou, nms
from alstm_ros.config import Config
from alstm_ros.types import (
    SECOND,
    Affine,
    Detections,
    EventKind,
    Float32,
    FrameResult,
    Int64,
    TrackEvent,
    Tracks,
    TrackState,
)

_ESTABLISHED = 10
"""A track that is not seen may coast from this many detections on."""
_BELOW = 0.1
"""A coasting track may reach this many of its heights below the lowest detection so far."""
_FADE = 0.3
"""The score of a coasting track falls to 1/e in this many seconds."""
_ENDLESS = 1e9
"""A box that reaches this many pixels is no box, and its area would leave float32."""


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
class _Shown:
    """What is published of the M living tracks, newborn ones last.

    Attributes:
        found: `(M,)` int64, each track's detection in this frame; -1 where there is none.
        born: `(B,)` int64, the newborn tracks' detections.
        boxes: `(M, 4)` float32, xyxy pixels.
        confidences: `(M,)` float32 in 0..1, that the detection is the same object; NaN where there is none.
    """

    found: Int64
    born: Int64
    boxes: Float32
    confidences: Float32


class TrackManager:
    """One camera's tracks: predict, cost, one assignment, correct, birth and death."""

    def __init__(self, config: Config, ids: IdCounter, associator: Associator | None = None) -> None:
        """Starts without tracks.

        Args:
            config: all parameters; `association`, `tracks` and `output.refined` are used.
            ids: where new ids come from; shared by the cameras of a node.
            associator: corrects costs and refines what is published, see `learned.associator.configured`; None for the
                rules alone.
        """
        self._config = config
        self._ids = ids
        self._associator = associator
        self._width = 0 if associator is None else associator.width
        self._clock = StampClock()
        self._last_ns: int | None = None
        self._events: list[TrackEvent] = []
        self._common_motion = CommonMotion()
        self._extent = np.zeros(2, np.float32)
        nothing = np.zeros(0, np.int64)
        self._table = TrackTable.start(nothing, nothing, Detections.empty(), 0, self._width)

    def configure(self, config: Config) -> None:
        """Takes over the parameters that may change while running; tracks and ids stay."""
        self._config = config

    def reset(self) -> None:
        """Ends every track; ids go on. The ends are told with the next frame's events."""
        self._forget()
        self._clock.reset()

    def _forget(self) -> None:
        """Ends every track and forgets the scene."""
        self._end(np.ones(len(self._table), bool), self._last_ns or 0)
        self._last_ns = None
        self._common_motion = CommonMotion()
        self._extent[:] = 0

    def update(self, detections: Detections, stamp_ns: int, camera_motion: Affine | None = None) -> FrameResult:
        """Takes in the detections of one frame, which may be none.

        Args:
            detections: of this frame; boxes that are not finite or have no size are left out, and so is what makes the
                frame's work boundless (`crowding_limit.py`).
            stamp_ns: the frame's stamp. One well before the last frame's ends every track; one equal to it or a little
                before it is a second look at the same moment. See StampClock.
            camera_motion: `(2, 3)`, pixels of the previous frame to this one's; None where unknown.

        Returns:
            The detections without those left out, every living track, and what happened to tracks.
        """
        detections = limit_crowd(_usable(detections))
        time_ns, anew = self._clock(stamp_ns)
        if anew:
            self._forget()
        # where the picture ends, as far as detections show: objects that leave it are not waited for
        self._extent = np.maximum(self._extent, detections.boxes[:, 2:].max(axis=0, initial=0))
        first = self._last_ns is None
        dt_ns = 0 if self._last_ns is None else time_ns - self._last_ns
        self._last_ns = time_ns
        self._end(time_ns - self._table.seen_ns > round(self._config.tracks.lost_seconds * SECOND), time_ns)
        self._table.advance(dt_ns / SECOND, camera_motion)

        frame = FrameContext.of(self._table, detections, time_ns, dt_ns, self._config)
        matched = match(frame, self._associator, self._common_motion)
        self._take(matched, detections, time_ns)
        found = np.full(len(self._table), -1, np.int64)
        found[matched.rows] = matched.columns
        confidences = np.full(len(self._table), np.nan, np.float32)
        confidences[matched.rows] = matched.confidences
        stays = self._live(found >= 0, time_ns)
        born = self._births(detections, matched.columns)
        self._start_tracks(detections[born], time_ns, at_once=first)
        shown = _Shown(
            found=np.concatenate([found[stays], born]),
            born=born,
            boxes=cxcywh_to_xyxy(self._table.motion.value).astype(np.float32),
            confidences=np.concatenate([confidences[stays], np.full(len(born), np.nan, np.float32)]),
        )
        self._refine(matched, detections, shown)
        events, self._events = tuple(sorted(self._events, key=lambda event: event.id)), []
        return FrameResult(stamp_ns, detections, self._tracks(shown), events)

    def _take(self, matched: Match, detections: Detections, stamp_ns: int) -> None:
        """Gives the matched tracks their detections; where the whole scene moved, the others follow."""
        before = self._table.motion.speed[matched.rows, :2]
        taken = detections[matched.columns]
        self._table.take(matched.rows, taken, stamp_ns)
        if not self._config.output.refined:
            self._table.published[matched.rows] = taken.scores
        if matched.shift is not None:
            self._common_motion.settle(self._table, matched.rows, matched.shift, before, taken.boxes.astype(np.float64))

    def _live(self, hit: NDArray[np.bool_], stamp_ns: int) -> NDArray[np.bool_]:
        """Moves tracks on in their lives; the mask of those that did not end."""
        table = self._table
        lost = table.lost
        ripe = hit & (lost | (table.hits >= self._config.tracks.confirm_hits))
        table.states[ripe] = TrackState.CONFIRMED
        missed = ~hit & table.confirmed
        table.states[missed] = TrackState.LOST
        self._tell(EventKind.RECOVERED, lost & hit, stamp_ns)
        self._tell(EventKind.LOST, missed, stamp_ns)
        ended = ~hit & table.tentative
        self._end(ended, stamp_ns)
        return np.asarray(~ended)

    def _births(self, detections: Detections, taken: Int64) -> Int64:
        """Which detections begin a track, best first: free, sure enough, not on top of one that is taken or surer."""
        options = self._config.tracks
        free = detections.scores >= options.birth_score
        free[taken] = False
        born = free.nonzero()[0]
        if len(born) and len(taken):
            covered = iou(detections.boxes[born], detections.boxes[taken]).max(axis=1) > options.birth_overlap
            born = born[~covered]
        if len(born) > 1:
            fresh = detections[born]
            born = born[nms(fresh.boxes, fresh.scores, np.zeros(len(born), np.int64), options.birth_overlap)]
        # best first, so that the order in which a detector lists its boxes does not matter
        left, top = detections.boxes[born, :2].T
        return born[np.lexsort((top, left, -detections.scores[born]))]

    def _start_tracks(self, detections: Detections, stamp_ns: int, *, at_once: bool) -> None:
        """Begins a track for each of these detections; confirmed at once in a first frame and where sure enough."""
        n, options = len(detections), self._config.tracks
        if not n:
            return
        newborn = TrackTable.start(self._ids.take(n), self._table.free_slots(n), detections, stamp_ns, self._width)
        sure = (detections.scores >= options.confirm_score) | at_once | (options.confirm_hits <= 1)
        newborn.states[sure] = TrackState.CONFIRMED
        self._table = self._table.joined(newborn)
        self._tell(EventKind.BORN, np.arange(len(self._table)) >= len(self._table) - n, stamp_ns)

    def _refine(self, matched: Match, detections: Detections, shown: _Shown) -> None:
        """Lets the associator take in what happened and write over what is shown of tracks detected in this frame."""
        if self._associator is None or matched.candidates is None:
            return
        table, born = self._table, shown.born
        # matched tracks stay in the order of their rows, and none of them has ended; newborn ones come last
        place = (shown.found >= 0).nonzero()[0]
        plain = Refinement(
            shown.boxes[place], table.published[place], shown.confidences[place], table.embeddings[place]
        )
        refined = self._associator.advance(
            Decision(
                candidates=matched.candidates,
                corrections=matched.corrections,
                rows=matched.rows,
                columns=matched.columns,
                slots=table.slots[len(table) - len(born) :],
                born=born,
                plain=plain,
            )
        )
        keeps, which = self._config.output.refined, shown.found[place]
        shown.boxes[place] = refined.boxes if keeps else detections.boxes[which]
        table.published[place] = refined.scores if keeps else detections.scores[which]
        table.embeddings[place] = refined.embeddings
        shown.confidences[place] = refined.confidences

    def _tracks(self, shown: _Shown) -> Tracks:
        table, stamp_ns, found = self._table, self._last_ns or 0, shown.found
        unseen_ns = stamp_ns - table.seen_ns
        fade = np.where(found < 0, 0.5 * np.exp(unseen_ns / (-_FADE * SECOND)), 1.0)
        return Tracks(
            ids=table.ids.copy(),
            boxes=shown.boxes,
            scores=(table.published * fade).astype(np.float32),
            classes=table.classes.copy(),
            states=table.states.copy(),
            velocities=table.motion.speed[:, :2].astype(np.float32),
            ages_ns=stamp_ns - table.born_ns,
            unseen_ns=unseen_ns,
            detection=found,
            confidences=shown.confidences,
            embeddings=table.embeddings.copy(),
            coasting=self._coasting(shown.boxes, unseen_ns),
        )

    def _coasting(self, boxes: Float32, unseen_ns: Int64) -> NDArray[np.bool_]:
        """Which tracks are published at their predicted box: seen often, surely and lately, and not about to leave."""
        table, config = self._table, self._config
        limit_ns = round(config.output.coast_seconds * SECOND)
        height = boxes[:, 3] - boxes[:, 1]
        inside = (boxes[:, 0] > 0) & (boxes[:, 2] < self._extent[0]) & (boxes[:, 3] < self._extent[1] + _BELOW * height)
        known = (table.hits >= _ESTABLISHED) & (table.means >= config.tracks.high_score)
        return np.asarray(table.lost & (unseen_ns <= limit_ns) & inside & known)

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
        for row in mask.nonzero()[0].tolist():
            box = table.observed[row].astype(np.float32)
            age_ns = stamp_ns - int(table.born_ns[row])
            self._events.append(TrackEvent(kind, int(table.ids[row]), int(table.classes[row]), box, age_ns))


def _usable(detections: Detections) -> Detections:
    """The detections whose boxes are finite and have a size, whose scores are numbers, and whose class is one."""
    boxes = detections.boxes
    good = (np.abs(boxes) < _ENDLESS).all(axis=1) & np.isfinite(detections.scores)  # false for NaN, too
    good &= (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]) & (detections.classes >= 0)
    return detections if good.all() else detections[good]

"""What is true of a recorded frame: the strategy that a recorder is given.

`SceneTruth` knows the ground truth of a scene and judges everything. `PseudoTruth` knows what `alstm bootstrap` found
in a recording and judges only what is certain: a strict tracklet is an object, and so is what a person labelled as one.
Two that live at the same time are two objects, unless they lie on top of one another; where an object is found, what
lies apart from it is something else. Of any other pairs nobody knows. Boxes and scores are judged where a person
labelled the frame, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from alstm_ros.association.associator import Candidates
from alstm_ros.association.learned.competition import paired_iou
from alstm_ros.boxes import iou
from alstm_ros.learning.pseudo_labels.footage import PseudoLabels
from alstm_ros.learning.simulation.detector_noise import DUPLICATE, FALSE, HIT
from alstm_ros.learning.simulation.scenes import Scene
from alstm_ros.learning.tape import PairTruth
from alstm_ros.types import Float32, Int64


class FrameTruth(Protocol):
    """What is true of one frame's N detections."""

    @property
    def objects(self) -> Int64:
        """`(N,)` the object behind each detection; FALSE for none, and DUPLICATE - k for a second one of object k."""
        ...

    def pairs(self, candidates: Candidates, held: Int64) -> tuple[PairTruth, NDArray[np.bool_]]:
        """What is true of the candidate pairs.

        Args:
            candidates: of the frame.
            held: `(T,)` the object that each track held last, negative for none.

        Returns:
            The truth, and `(P,)` which pairs are no right ones, as far as one can guess: they may be matched on
            purpose, to record what follows from a mistake.
        """
        ...

    def same(self, candidates: Candidates, columns: Int64, held: Int64) -> Float32:
        """Whether matched detections are their tracks' own objects.

        Args:
            candidates: of the frame.
            columns: `(M,)` the detections.
            held: `(M,)` the object that each one's track held before.

        Returns:
            `(M,)` 1 the track's own object, 0 another, -1 where nobody knows.
        """
        ...

    def scores(self, boxes: Float32, found: Int64) -> Float32:
        """`(M,)` 1 for objects, 0 for false detections, -1 where nobody knows, of detections and their boxes."""
        ...

    def boxes(self, found: Int64) -> Float32:
        """`(M, 4)` xyxy, the true boxes of detections; NaN where there is none."""
        ...


@dataclass(frozen=True, slots=True)
class SceneTruth:
    """The ground truth of a frame.

    Attributes:
        scene: the whole ground truth.
        rows: `(N,)` what each detection is: a row of the scene's arrays, FALSE, or DUPLICATE - row.
    """

    scene: Scene
    rows: Int64

    @property
    def objects(self) -> Int64:
        """See FrameTruth."""
        if not len(self.scene.ids):
            return self.rows
        owner = self.scene.ids[self._owners]
        return np.where(self.rows >= 0, owner, np.where(self.rows <= DUPLICATE, DUPLICATE - owner, FALSE))

    @property
    def _owners(self) -> Int64:
        """`(N,)` the scene's row of each detection or of the object that it is a second one of; 0 for false ones."""
        return np.where(self.rows >= 0, self.rows, np.maximum(DUPLICATE - self.rows, 0))

    def pairs(self, candidates: Candidates, held: Int64) -> tuple[PairTruth, NDArray[np.bool_]]:
        """See FrameTruth."""
        rows, columns, objects = candidates.rows, candidates.columns, self.objects
        # where an object has several tracks, that which held it last is the right one, and the others count neither way
        heir = np.zeros(len(held), bool)
        latest: dict[int, int] = {}
        for row in np.lexsort((-candidates.tracks.ages_ns, candidates.tracks.unseen_ns)).tolist():
            if held[row] >= 0 and latest.setdefault(int(held[row]), row) == row:
                heir[row] = True
        same = (held[rows] == objects[columns]) & (held[rows] >= 0)
        label = np.where(same, np.where(heir[rows], 1, -1), 0).astype(np.int8)
        label[(objects[columns] <= DUPLICATE) & (DUPLICATE - objects[columns] == held[rows])] = -1
        both_false = (held[rows] < 0) & (objects[columns] < 0)
        label[both_false] = -1
        positive_row, positive_column = np.zeros(len(held), bool), np.zeros(len(objects), bool)
        positive_row[rows[label == 1]] = True
        positive_column[columns[label == 1]] = True
        present = np.isin(held, objects)  # detected, though perhaps not among the candidates
        row_known = (held >= 0) & heir & (positive_row | ~present)
        column_known = (objects == FALSE) | ((objects >= 0) & (positive_column | ~np.isin(objects, held[heir])))
        return PairTruth(label, row_known[rows], column_known[columns]), label == 0

    def same(self, candidates: Candidates, columns: Int64, held: Int64) -> Float32:  # noqa: ARG002  # see FrameTruth
        """See FrameTruth."""
        now = self.objects[columns]
        known = (now > DUPLICATE) & ((held >= 0) | (now >= 0))
        return np.where(known, now == held, -1).astype(np.float32)

    def scores(self, boxes: Float32, found: Int64) -> Float32:
        """See FrameTruth; a second detection of an object is not false, and one that misses it is."""
        rows, owner = self.rows[found], self._owners[found]
        second = rows <= DUPLICATE
        if second.any():
            second[second] = paired_iou(boxes[second], self.scene.boxes[owner[second]]) >= HIT
        return np.where(second, -1, rows >= 0).astype(np.float32)

    def boxes(self, found: Int64) -> Float32:
        """See FrameTruth."""
        rows = self.rows[found]
        true = np.full((len(found), 4), np.nan, np.float32)
        true[rows >= 0] = self.scene.boxes[rows[rows >= 0]]
        return true


@dataclass(frozen=True, slots=True)
class Separation:
    """Which of a recording's objects certainly are two.

    Attributes:
        apart: `(K, K)` bool, two that are two objects.
        boxes: for each frame, the objects found in it and their boxes, those that are hidden from the tracker too.
        alike: IoU above which two boxes of a frame may be one object.
    """

    apart: NDArray[np.bool_]
    boxes: list[tuple[Int64, Float32]]
    alike: float

    @classmethod
    def of(cls, footage: PseudoLabels, who: Int64, alike: float) -> Separation:
        """What a recording shows.

        Args:
            footage: the recording.
            who: `(D,)` the object behind each detection, -1 where nobody knows.
            alike: see the attributes.
        """
        count = int(who.max(initial=-1)) + 1
        apart, on_top = np.zeros((count, count), bool), np.zeros((count, count), bool)
        labelled = np.unique(who[(footage.objects >= 0) & (who >= 0)])
        boxes = []
        for start, end in pairwise(footage.rows().tolist()):
            rows = start + np.flatnonzero(who[start:end] >= 0)
            here = who[rows]
            boxes.append((here, footage.boxes[rows]))
            apart[np.ix_(here, here)] = True
            on_top[np.ix_(here, here)] |= iou(footage.boxes[rows], footage.boxes[rows]) > alike
        apart &= ~on_top
        apart[np.ix_(labelled, labelled)] = True
        np.fill_diagonal(apart, val=False)
        return cls(apart, boxes, alike)

    def different(self, frame: int, one: Int64, other: Int64, boxes: Float32) -> NDArray[np.bool_]:
        """Which objects certainly are not what was detected in a frame.

        Args:
            frame: the frame.
            one: `(P,)` objects, negative where unknown.
            other: `(P,)` the detected objects, FALSE, or below where unknown.
            boxes: `(P, 4)` the detections' boxes.
        """
        known = one >= 0
        both = known & (other >= 0)
        found = both & self.apart[np.where(both, one, 0), np.where(both, other, 0)] if len(self.apart) else both
        found |= known & (other == FALSE)
        for key, box in zip(*self.boxes[frame], strict=True):  # an object is in one place
            rows = np.flatnonzero(one == key)
            elsewhere = iou(box[None], boxes[rows])[0] <= self.alike
            found[rows] |= elsewhere & (other[rows] != key)
        return np.asarray(found)


@dataclass(frozen=True, slots=True)
class PseudoTruth:
    """What is certain of a frame of a recording; what it does not know passes for a second detection of something.

    Attributes:
        guess: what would be true if all that is not known were false.
        labelled: `(N,)` bool, the detections of which a person said what they are.
        separation: which objects certainly are two.
        frame: the frame's index.
        slack: a pair is ruled out where it costs this much more than the tracker's limit.
    """

    guess: SceneTruth
    labelled: NDArray[np.bool_]
    separation: Separation
    frame: int
    slack: float

    @property
    def objects(self) -> Int64:
        """See FrameTruth."""
        return self.guess.objects

    def pairs(self, candidates: Candidates, held: Int64) -> tuple[PairTruth, NDArray[np.bool_]]:
        """See FrameTruth; of the guess only that stays which is certain."""
        rows, columns = candidates.rows, candidates.columns
        guess, wrong = self.guess.pairs(candidates, held)
        certain = self._different(candidates, columns, held[rows])
        certain |= (candidates.costs >= candidates.limit + self.slack) & (held[rows] >= 0)
        label = np.where((guess.label == 0) & ~certain, -1, guess.label).astype(np.int8)
        # That a track has none is known where its object is found elsewhere, or nothing is left that it could have.
        placed = np.isin(held, self.separation.boxes[self.frame][0])
        unknown = label == -1
        row_open, column_open = np.zeros(len(held), bool), np.zeros(len(candidates.detections), bool)
        row_open[rows[unknown]] = True
        column_open[columns[unknown]] = True
        positive = np.zeros(len(column_open), bool)
        positive[columns[label == 1]] = True
        row_use = guess.row_use & (placed | ~row_open)[rows]
        column_use = guess.column_use & (positive | ~column_open)[columns]
        return PairTruth(label, row_use, column_use), wrong

    def same(self, candidates: Candidates, columns: Int64, held: Int64) -> Float32:
        """See FrameTruth."""
        now = self.objects[columns]
        different = self._different(candidates, columns, held)
        return np.where((held == now) & (now >= 0), 1, np.where(different, 0, -1)).astype(np.float32)

    def scores(self, boxes: Float32, found: Int64) -> Float32:
        """See FrameTruth; a detection proves nothing, a person's label does."""
        return np.where(self.labelled[found], self.guess.scores(boxes, found), -1).astype(np.float32)

    def boxes(self, found: Int64) -> Float32:
        """See FrameTruth; a detection proves nothing, a person's label does."""
        return np.where(self.labelled[found, None], self.guess.boxes(found), np.float32(np.nan))

    def _different(self, candidates: Candidates, columns: Int64, held: Int64) -> NDArray[np.bool_]:
        """Which of these detections certainly are not the objects that tracks held."""
        boxes = candidates.detections.boxes[columns]
        return self.separation.different(self.frame, held, self.objects[columns], boxes)

"""What one recorded run of the tracker holds: what the network would have been shown, and what was true of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from alstm_ros.types import Float32

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class StepTruth:
    """What is true of S steps, each of which gave a track a detection.

    Attributes:
        score: `(S,)` float32, 1 where the detection is an object, 0 where it is false, -1 where nobody knows.
        same: `(S,)` float32, 1 where it is the track's own object, 0 where it is another, -1 where nobody knows.
        goal: `(S, 4)` float32, the true box relative to the one that the rules publish: (dx, dy) in heights, then log
            ratios of width and height; NaN where there is none.
        object: `(S,)` int32, the object that was detected, negative if none.
    """

    score: Float32
    same: Float32
    goal: Float32
    object: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class TapeSteps:
    """Steps of tracks, each the taking of one detection, sorted by frame; S rows.

    Attributes:
        frame: `(S,)` int32.
        track: `(S,)` int32, the track's serial number.
        index: `(S,)` int32, how many steps the track had taken before.
        x: `(S, STEP)` float16, the step's features.
        plain: `(S,)` float32, the score that the rules publish.
        pull: `(S, 4)` float32, the detection relative to the box that the rules publish, as in StepTruth.goal.
        truth: what is true of them.
    """

    frame: NDArray[np.int32]
    track: NDArray[np.int32]
    index: NDArray[np.int32]
    x: NDArray[np.float16]
    plain: Float32
    pull: Float32
    truth: StepTruth


@dataclass(frozen=True, slots=True)
class PairTruth:
    """What is true of P candidate pairs.

    Attributes:
        label: `(P,)` int8, 1 where track and detection are one object, 0 where not, -1 where it counts neither way.
        row_use: `(P,)` bool, whether it is known which detection the pair's track should get.
        column_use: `(P,)` bool, whether it is known which track should get the pair's detection.
    """

    label: NDArray[np.int8]
    row_use: NDArray[np.bool_]
    column_use: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class TapePairs:
    """Candidate pairs of a track and a detection, sorted by frame; P rows.

    Attributes:
        frame: `(P,)` int32.
        track: `(P,)` int32, the track's serial number.
        index: `(P,)` int32, which of the track's steps was its newest.
        row: `(P,)` int32, the track's row within the frame.
        column: `(P,)` int32, the detection's place within the frame.
        g: `(P, PAIR)` float16, the pair's features.
        cost: `(P,)` float32, what the rules say that the pair costs.
        truth: what is true of them.
    """

    frame: NDArray[np.int32]
    track: NDArray[np.int32]
    index: NDArray[np.int32]
    row: NDArray[np.int32]
    column: NDArray[np.int32]
    g: NDArray[np.float16]
    cost: Float32
    truth: PairTruth


@dataclass(frozen=True, slots=True)
class Tape:
    """One recorded run.

    Attributes:
        frames: the number of frames.
        steps: of all tracks.
        pairs: of all frames.
    """

    frames: int
    steps: TapeSteps
    pairs: TapePairs

    def without_truth(self) -> Tape:
        """The same run, of which nothing is known."""
        steps, pairs = self.steps.truth, self.pairs.truth
        nothing = StepTruth(
            score=np.full_like(steps.score, -1),
            same=np.full_like(steps.same, -1),
            goal=np.full_like(steps.goal, np.nan),
            object=np.full_like(steps.object, -1),
        )
        nobody = PairTruth(
            label=np.full_like(pairs.label, -1),
            row_use=np.zeros_like(pairs.row_use),
            column_use=np.zeros_like(pairs.column_use),
        )
        return replace(self, steps=replace(self.steps, truth=nothing), pairs=replace(self.pairs, truth=nobody))


def concatenated(records: Sequence[R]) -> R:
    """Records of one kind as one: their arrays are concatenated, and so are those of the records in them."""
    parts: dict[str, Any] = {}
    for field in fields(records[0]):  # type: ignore[arg-type]  # a type variable cannot be bound to dataclasses
        values = [getattr(record, field.name) for record in records]
        parts[field.name] = concatenated(values) if is_dataclass(values[0]) else np.concatenate(values)
    return type(records[0])(**parts)


def taken(record: R, rows: NDArray[Any] | slice) -> R:
    """Some rows of a record: of each of its arrays, and of those of the records in it."""
    parts: dict[str, Any] = {}
    for field in fields(record):  # type: ignore[arg-type]  # a type variable cannot be bound to dataclasses
        value = getattr(record, field.name)
        parts[field.name] = taken(value, rows) if is_dataclass(value) else value[rows]
    return type(record)(**parts)

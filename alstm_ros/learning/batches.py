"""Windows of recorded runs, put together for the network: tracks as rows of padded sequences, all pairs in one list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alstm_ros.association.learned.features import PAIR, STEP
from alstm_ros.learning.clips import TrainingDataConfig
from alstm_ros.learning.network.losses import BatchPairs
from alstm_ros.learning.tape import PairTruth, Tape, TapePairs, TapeSteps, concatenated, taken
from alstm_ros.types import Int64


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """Some windows: tracks as rows of padded sequences, pairs of all frames in one list.

    Attributes:
        x: `(R, L, STEP)` float32.
        lengths: `(R,)` int64.
        score: `(R, L)`, see StepTruth; -1 in the padding.
        plain: `(R, L)`, the score that the rules publish.
        same: `(R, L)` likewise.
        goal: `(R, L, 4)`, zeros where there is no truth.
        pull: `(R, L, 4)`.
        real: `(R, L)` float32, above 0 where there is a true box, more so for detectors that err little: relative
            to what a detector errs, all count the same.
        triple: `(R, L)` float32, 1 where this step and the two before are one object in evenly spaced frames.
        g: `(P, PAIR)` float32.
        at: `(P,)` int64, row * L + step whose key the pair's track had.
        pairs: the rest; `correction` is zeros.
    """

    x: Tensor
    lengths: Tensor
    score: Tensor
    plain: Tensor
    same: Tensor
    goal: Tensor
    pull: Tensor
    real: Tensor
    triple: Tensor
    g: Tensor
    at: Tensor
    pairs: BatchPairs

    @property
    def valid(self) -> Tensor:
        """`(R * L,)` bool, which steps are no padding."""
        return (torch.arange(self.x.shape[1], device=self.x.device)[None] < self.lengths[:, None]).reshape(-1)

    def packed(self, values: Tensor) -> Tensor:
        """`(R, L, ...)` to `(S, ...)`, without the padding."""
        return values.reshape(-1, *values.shape[2:])[self.valid]

    def to(self, device: torch.device) -> TrainingBatch:
        """The same on a device."""

        def moved(part: TrainingBatch | BatchPairs) -> dict[str, Any]:
            values = {f.name: getattr(part, f.name) for f in fields(part)}
            return {name: value.to(device) for name, value in values.items() if isinstance(value, Tensor)}

        return TrainingBatch(**moved(self), pairs=BatchPairs(**moved(self.pairs), limit=self.pairs.limit))


@dataclass(frozen=True, slots=True)
class _WindowPairs:
    """The pairs of a window, P rows, and where they are in the batch.

    Attributes:
        pairs: the pairs.
        track: `(P,)` the batch's row of each pair's track.
        step: `(P,)` the track's newest step, counted from its first one in the window.
        row: `(P,)` a number of the pair's track in its frame, unique in the batch.
        column: `(P,)` a number of the pair's detection in its frame, unique in the batch.
    """

    pairs: TapePairs
    track: Int64
    step: Int64
    row: Int64
    column: Int64


@dataclass(frozen=True, slots=True)
class _WindowTrack:
    """A track in a window: its rows of the window's steps, and the weight of its boxes."""

    steps: TapeSteps
    part: slice
    exactness: float

    def __len__(self) -> int:
        """The number of steps."""
        return int(self.part.stop - self.part.start)


def make_batch(windows: Sequence[tuple[Tape, int]], config: TrainingDataConfig, limit: float) -> TrainingBatch:
    """Puts windows together.

    Args:
        windows: tapes and the first frame in each.
        config: the window's length and lead.
        limit: cost of matching nothing, the tracker's `association.max_cost`.

    Returns:
        The batch.
    """
    exactness = {id(tape): _exactness(tape) for tape in {id(tape): tape for tape, _ in windows}.values()}
    tracks: list[_WindowTrack] = []
    parts = [_no_pairs()]
    groups = 0
    for tape, first in windows:
        steps = _by_track(tape.steps, first, first + config.window)
        starts = np.unique(steps.track, return_index=True)[1]
        base, firsts = len(tracks), taken(steps, starts)
        ends = pairwise([*starts.tolist(), len(steps.track)])
        tracks += [_WindowTrack(steps, slice(start, end), exactness[id(tape)]) for start, end in ends]
        c, d = np.searchsorted(tape.pairs.frame, [first + config.lead, first + config.window])
        if c == d or not len(starts):
            continue
        pairs = taken(tape.pairs, slice(c, d))
        place = np.minimum(np.searchsorted(firsts.track, pairs.track), len(starts) - 1)
        step = pairs.index - firsts.index[place]
        wide = int(max(pairs.row.max(), pairs.column.max())) + 1
        group = groups + (pairs.frame - first) * wide
        found = _WindowPairs(pairs, base + place, step, group + pairs.row, group + pairs.column)
        parts.append(taken(found, (firsts.track[place] == pairs.track) & (step >= 0)))
        groups += config.window * wide
    length = max(map(len, tracks), default=1)
    every = concatenated(parts)
    at = torch.from_numpy(every.track * length + every.step).long()
    g = torch.from_numpy(every.pairs.g.astype(np.float32))
    return TrainingBatch(**_padded(tracks, length), g=g, at=at, pairs=_batch_pairs(every, limit))


def _by_track(steps: TapeSteps, first: int, last: int) -> TapeSteps:
    """The steps of the frames `first..last - 1`, sorted by track and then by time."""
    a, b = np.searchsorted(steps.frame, [first, last])
    return taken(steps, a + np.lexsort((steps.index[a:b], steps.track[a:b])))


def _batch_pairs(every: _WindowPairs, limit: float) -> BatchPairs:
    """The pairs as the losses take them, not yet corrected."""
    cost, truth = torch.from_numpy(every.pairs.cost), every.pairs.truth
    label = torch.from_numpy(truth.label)
    return BatchPairs(
        cost=cost,
        correction=torch.zeros_like(cost),
        row=torch.from_numpy(np.unique(every.row, return_inverse=True)[1]),
        column=torch.from_numpy(np.unique(every.column, return_inverse=True)[1]),
        positive=label == 1,
        use=label >= 0,
        row_use=torch.from_numpy(truth.row_use),
        column_use=torch.from_numpy(truth.column_use),
        limit=limit,
    )


def _padded(tracks: Sequence[_WindowTrack], length: int) -> dict[str, Tensor]:
    """The tracks' steps as rows of one length."""
    x = np.zeros((len(tracks), length, STEP), np.float32)
    score, same = np.full((2, len(tracks), length), -1, np.float32)
    goal, pull = np.zeros((2, len(tracks), length, 4), np.float32)
    triple, plain = np.zeros((2, len(tracks), length), np.float32)
    for k, track in enumerate(tracks):
        n, part, steps, truth = len(track), track.part, track.steps, track.steps.truth
        x[k, :n], plain[k, :n], pull[k, :n] = steps.x[part], steps.plain[part], steps.pull[part]
        score[k, :n], same[k, :n], goal[k, :n] = truth.score[part], truth.same[part], truth.goal[part]
        frame, who = steps.frame[part], truth.object[part]
        one = (who[2:] == who[1:-1]) & (who[1:-1] == who[:-2]) & (who[2:] >= 0)
        triple[k, 2:n] = one & (frame[2:] - frame[1:-1] == 1) & (frame[1:-1] - frame[:-2] == 1)
    lengths = np.array([len(track) for track in tracks], np.int64)
    real = np.isfinite(goal).all(axis=2) & (np.arange(length) < lengths[:, None]) & (score > 0)
    weight = np.array([track.exactness for track in tracks], np.float32)
    found = {
        "x": x, "score": score, "plain": plain, "same": same, "goal": np.where(real[..., None], goal, 0), "pull": pull,
        "real": real * weight[:, None], "triple": triple, "lengths": lengths,
    }  # fmt: skip
    return {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in found.items()}


def _exactness(tape: Tape) -> float:
    """One over what the tape's detector errs on average, one for an error of a fiftieth of a height."""
    goal = tape.steps.truth.goal
    errors = np.abs(goal[np.isfinite(goal).all(axis=1)])
    return float(0.02 / (0.004 + (errors.mean() if len(errors) else 0.016)))


def _no_pairs() -> _WindowPairs:
    """None; what others are joined to."""
    whole, none = np.zeros(0, np.int32), np.zeros(0, bool)
    truth = PairTruth(np.zeros(0, np.int8), none, none)
    features, costs = np.zeros((0, PAIR), np.float16), np.zeros(0, np.float32)
    pairs = TapePairs(whole, whole, whole, whole, whole, features, costs, truth)
    return _WindowPairs(pairs, *[np.zeros(0, np.int64)] * 4)

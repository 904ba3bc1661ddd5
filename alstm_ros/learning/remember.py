"""Learning without forgetting: where nothing is known, the network goes on saying what it said before.

What a recording teaches is known of some pairs and steps alone, and those are not a fair sample: they lie where tracks
are easy to follow. Of all others, the network as it was is the best that is known, and so it is their truth (after Li
and Hoiem, "Learning without Forgetting", ECCV 2016, where the old network answers for the old tasks).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from alstm_ros.association.features import DOUBT
from alstm_ros.learning.data import Batch
from alstm_ros.learning.model import AssociationLstm

COST, SHIFT, LOGIT = 0.1, 0.02, 0.5
"""Deviations that count as one: of a correction, of a box, of a score or a confidence."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a network says of a batch.

    Attributes:
        out: of every step `(S,)`, see AssociationLstm.heads.
        refined: `(S, 4)` the refined boxes, relative to those that the rules publish.
        correction: `(P,)` of every pair.
    """

    out: dict[str, Tensor]
    refined: Tensor
    correction: Tensor


def answers(model: AssociationLstm, batch: Batch) -> Answers:
    """Runs a network over a batch."""
    y = model.steps(batch.x, batch.lengths)
    where = torch.cumsum(batch.valid, 0) - 1  # from padded to packed steps
    out = model.heads(batch.packed(y), batch.packed(batch.x))
    refined = out["box"][:, :4] * batch.packed(batch.pull) + out["box"][:, 4:]
    return Answers(out, refined, model.correct(batch.g, out["key"][where[batch.at]]))


def remember(new: Answers, old: Answers, batch: Batch) -> Tensor:
    """How far a network has come from another one where nothing is known: a sum of mean squares."""
    pairs = batch.pairs
    silent = ~(pairs.use & (pairs.row_use | pairs.column_use))
    weight = silent * batch.g[:, DOUBT].clamp(0, 1)  # no network has a say where the rules are sure
    losses = [
        _mean((new.correction - old.correction) / COST, weight),
        _mean((new.refined - old.refined) / SHIFT, (batch.packed(batch.real) <= 0).float()[:, None]),
        _mean((new.out["lift"] - old.out["lift"]) / LOGIT, (batch.packed(batch.score) < 0).float()),
        _mean((new.out["same"] - old.out["same"]) / LOGIT, (batch.packed(batch.same) < 0).float()),
    ]
    return torch.stack(losses).sum()


def _mean(off: Tensor, weight: Tensor) -> Tensor:
    return (off.square() * weight).sum() / weight.sum().clamp(min=1)

"""Where nothing is known, other networks answer: the one that is trained further, or several whose mean is better.

Learning without forgetting: what a recording teaches is known of some pairs and steps alone, and those are not a fair
sample: they lie where tracks are easy to follow. Of all others, the network as it was is the best that is known, and so
it is their truth (after Li and Hoiem, "Learning without Forgetting", ECCV 2016, where the old network answers for the
old tasks).

Distillation: networks that were trained alike from other seeds err differently, and what they say on average is better
than what one of them says. One network can learn to say that (after Hinton, Vinyals and Dean, "Distilling the Knowledge
in a Neural Network", 2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import cast

import torch
from torch import Tensor, nn

from alstm_ros.association.learned.features import DOUBT
from alstm_ros.learning.data import Batch
from alstm_ros.learning.network.model import AssociationLstm

COST, SHIFT, LOGIT = 0.1, 0.02, 0.5
"""Deviations that count as one: of a correction, of a box, of a score or a confidence."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a network says of a batch.

    Attributes:
        refined: `(S, 4)` the refined boxes of every step, relative to those that the rules publish.
        lift: `(S,)` logits added to the scores.
        same: `(S,)` logits of the confidences.
        correction: `(P,)` of every pair.
    """

    refined: Tensor
    lift: Tensor
    same: Tensor
    correction: Tensor


def on_average(models: Sequence[nn.Module], batch: Batch) -> Answers:
    """What networks say on average; they learn nothing from it."""
    with torch.no_grad():
        said = [answers(cast("AssociationLstm", model), batch) for model in models]
    names = [field.name for field in fields(Answers)]
    return Answers(**{name: torch.stack([getattr(one, name) for one in said]).mean(0) for name in names})


def answers(model: AssociationLstm, batch: Batch) -> Answers:
    """Runs a network over a batch."""
    y = model.steps(batch.x, batch.lengths)
    where = torch.cumsum(batch.valid, 0) - 1  # from padded to packed steps
    out = model.heads(batch.packed(y), batch.packed(batch.x))
    refined = out["box"][:, :4] * batch.packed(batch.pull) + out["box"][:, 4:]
    correction = model.correct(batch.g, out["key"][where[batch.at]])
    return Answers(refined, out["lift"], out["same"], correction)


def remember(new: Answers, old: Answers, batch: Batch) -> Tensor:
    """How far a network is from what others say where nothing is known: a sum of mean squares.

    What a person's labels, or simulated scenes, tell of boxes and scores in some frames is to hold in the others, too:
    these are held where a batch tells nothing at all. Which pairs are the same is known pair by pair.
    """
    pairs = batch.pairs
    silent = ~(pairs.use & (pairs.row_use | pairs.column_use))
    weight = silent * batch.g[:, DOUBT].clamp(0, 1)  # no network has a say where the rules are sure
    losses = [
        _mean((new.correction - old.correction) / COST, weight),
        _mean((new.refined - old.refined) / SHIFT, _untold(batch, batch.real > 0)[:, None]),
        _mean((new.lift - old.lift) / LOGIT, _untold(batch, batch.score >= 0)),
        _mean((new.same - old.same) / LOGIT, (batch.packed(batch.same) < 0).float()),
    ]
    return torch.stack(losses).sum()


def _untold(batch: Batch, known: Tensor) -> Tensor:
    """`(S,)` 1 where a batch tells nothing at all, from `(R, L)` what it tells."""
    return batch.packed((~known.any()).float().expand(known.shape))


def _mean(off: Tensor, weight: Tensor) -> Tensor:
    return (off.square() * weight).sum() / weight.sum().clamp(min=1)

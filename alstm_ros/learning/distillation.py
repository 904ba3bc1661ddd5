"""Distillation: where nothing is known, a network is held to what other networks say.

Learning without forgetting: what a recording teaches is known of some pairs and steps alone, and those are not a fair
sample, for they lie where tracks are easy to follow. Of all others, the network as it was before the fine-tuning is the
best that is known, and so it is their truth (after Li and Hoiem, "Learning without Forgetting", ECCV 2016, where the
old network answers for the old tasks).

Ensembles: networks that were trained alike from other seeds err differently, and what they say on average is better
than what one of them says. One network can learn to say that (after Hinton, Vinyals and Dean, "Distilling the Knowledge
in a Neural Network", 2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import torch
from torch import Tensor

from alstm_ros.association.learned.features import AMBIGUITY
from alstm_ros.learning.answers import NetworkAnswers, answers
from alstm_ros.learning.batches import TrainingBatch
from alstm_ros.learning.network.model import AssociationLstm

COST = 0.1
"""Deviation of a correction that counts as one, in units of cost."""
SHIFT = 0.02
"""Deviation of a refined box that counts as one, in heights and log ratios."""
LOGIT = 0.5
"""Deviation of a score or a confidence that counts as one, in logits."""


def mean_answers(models: Sequence[AssociationLstm], batch: TrainingBatch) -> NetworkAnswers:
    """The mean of what several networks say, without gradients."""
    with torch.no_grad():
        said = [answers(model, batch) for model in models]
    names = [field.name for field in fields(NetworkAnswers)]
    return NetworkAnswers(**{name: torch.stack([getattr(one, name) for one in said]).mean(0) for name in names})


def distillation_loss(new: NetworkAnswers, old: NetworkAnswers, batch: TrainingBatch) -> Tensor:
    """How far a network is from what others say where nothing is known: a sum of mean squares.

    What a person's labels, or simulated scenes, tell of boxes and scores in some frames is to hold in the others, too:
    these are held where a batch tells nothing at all. Which pairs are the same is known pair by pair.
    """
    pairs = batch.pairs
    silent = ~(pairs.use & (pairs.row_use | pairs.column_use))
    weight = silent * batch.g[:, AMBIGUITY].clamp(0, 1)  # no network has a say where the rules are sure
    losses = [
        _mean((new.correction - old.correction) / COST, weight),
        _mean((new.refined - old.refined) / SHIFT, _without_truth(batch, batch.real > 0)[:, None]),
        _mean((new.lift - old.lift) / LOGIT, _without_truth(batch, batch.score >= 0)),
        _mean((new.same - old.same) / LOGIT, (batch.packed(batch.same) < 0).float()),
    ]
    return torch.stack(losses).sum()


def _without_truth(batch: TrainingBatch, known: Tensor) -> Tensor:
    """`(S,)` 1 for every step if nothing at all is known of a batch, else 0; `known` is `(R, L)` bool."""
    return batch.packed((~known.any()).float().expand(known.shape))


def _mean(off: Tensor, weight: Tensor) -> Tensor:
    """The weighted mean of squares."""
    return (off.square() * weight).sum() / weight.sum().clamp(min=1)

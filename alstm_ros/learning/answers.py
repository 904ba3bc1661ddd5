"""What a network says of a batch: one forward pass, for training, for teachers and for whoever compares them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from alstm_ros.learning.batches import TrainingBatch
from alstm_ros.learning.network.model import AssociationLstm


@dataclass(frozen=True, slots=True)
class NetworkAnswers:
    """What a network says of a batch of S steps and P pairs.

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


def answers(model: AssociationLstm, batch: TrainingBatch) -> NetworkAnswers:
    """Runs a network over a batch."""
    y = model.steps(batch.x, batch.lengths)
    where = torch.cumsum(batch.valid, 0) - 1  # from padded to packed steps
    out = model.heads(batch.packed(y), batch.packed(batch.x))
    correction = model.correct(batch.g, out["key"][where[batch.at]])
    refined = out["box"][:, :4] * batch.packed(batch.pull) + out["box"][:, 4:]
    return NetworkAnswers(refined, out["lift"], out["same"], correction)

"""The objective of the training: the weighted sum of a batch's losses."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from alstm_ros.learning.answers import NetworkAnswers, answers
from alstm_ros.learning.batches import TrainingBatch
from alstm_ros.learning.distillation import distillation_loss, mean_answers
from alstm_ros.learning.network import losses
from alstm_ros.learning.network.model import AssociationLstm


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Which losses count how much.

    Attributes:
        kind: `assignment`, `infonce` or `contrastive`, see losses.association_loss.
        smoothness: `second` or `signed`, see losses.smoothness_loss.
        association: weight of that loss.
        rules_right_weight: how much more a decision counts that the rules get right, see losses.association_loss.
        hard: weight of the hinge on hard negatives.
        box: weight of the refined boxes' smooth L1.
        score: weight of the refined scores' cross-entropy.
        same: weight of the association confidence's cross-entropy.
        smooth: weight of the Huber on second differences.
        calm: weight of how far boxes and scores are moved, so that little is done for little.
        small: weight of the mean square of corrections, which keeps the network silent where the rules are right.
        distillation: weight of how far the network is from what its teachers say where nothing is known.
    """

    kind: str = "assignment"
    smoothness: str = "second"
    association: float = 2.0
    rules_right_weight: float = 10.0
    hard: float = 0.5
    box: float = 0.1
    score: float = 0.5
    same: float = 0.5
    smooth: float = 0.01
    calm: float = 0.03
    small: float = 0.05
    distillation: float = 0.0


class Objective(nn.Module):
    """The network and its losses as one module, so that it can be run on several processors."""

    def __init__(self, model: AssociationLstm, config: LossConfig, teachers: Sequence[AssociationLstm] = ()) -> None:
        super().__init__()
        self.model, self.config = model, config
        self.teachers = nn.ModuleList(teachers).eval().requires_grad_(False)  # noqa: FBT003  # torch's own

    def forward(self, batch: TrainingBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of all losses on a batch, and each of them."""
        return objective(self.model, batch, self.config, cast("Sequence[AssociationLstm]", list(self.teachers)))


def losses_of(said: NetworkAnswers, batch: TrainingBatch, config: LossConfig) -> dict[str, Tensor]:
    """The losses of what a network says of a batch, by the names of their weights in LossConfig."""
    pairs = dataclasses.replace(batch.pairs, correction=said.correction)
    goal, real = batch.packed(batch.goal), batch.packed(batch.real)
    score, same = batch.packed(batch.score), batch.packed(batch.same)
    refined_score = torch.logit(batch.packed(batch.plain).clamp(1e-3, 1 - 1e-3)) + said.lift
    valid = batch.valid
    off = said.refined.new_zeros(len(valid), 4)
    off[valid] = said.refined - goal
    off = off.reshape(*batch.x.shape[:2], 4)  # (R, L, 4)
    triples = torch.stack([off[:, :-2], off[:, 1:-1], off[:, 2:]], 2).reshape(-1, 3, 4)
    all_real = batch.real[:, 1:-1] * (batch.real[:, 2:] > 0) * (batch.real[:, :-2] > 0)
    threes = (batch.triple[:, 2:] * all_real).reshape(-1)
    return {
        "association": losses.association_loss(pairs, config.kind, config.rules_right_weight),
        "hard": losses.hard_negative_loss(pairs),
        "box": losses.box_loss(said.refined, goal, real),
        "score": losses.score_loss(refined_score, score.clamp(min=0), (score >= 0).float()),
        "same": losses.score_loss(said.same, same.clamp(min=0), (same >= 0).float()),
        "smooth": losses.smoothness_loss(triples, torch.zeros_like(triples), threes, config.smoothness),
        "calm": losses.box_loss(said.refined, torch.zeros_like(goal), real) + said.lift.square().mean(),
        "small": said.correction.square().mean() if len(said.correction) else said.correction.sum(),
    }


def objective(
    model: AssociationLstm, batch: TrainingBatch, config: LossConfig, teachers: Sequence[AssociationLstm] = ()
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of all losses on a batch, and each of them.

    Args:
        model: the network.
        batch: what it is trained on.
        config: the losses' weights.
        teachers: networks whose mean is the truth where nothing is known.
    """
    said = answers(model, batch)
    parts = losses_of(said, batch, config)
    if teachers:
        parts["distillation"] = distillation_loss(said, mean_answers(teachers, batch), batch)
    total = torch.stack([getattr(config, name) * value for name, value in parts.items()]).sum()
    with torch.no_grad():  # for comparison: the association loss of the rules alone
        parts["rules"] = losses.association_loss(batch.pairs, config.kind, config.rules_right_weight)
    return total, parts

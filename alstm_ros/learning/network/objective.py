"""What training makes small: all losses of a batch, weighted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from alstm_ros.learning.data import Batch
from alstm_ros.learning.distillation import Answers, on_average, remember
from alstm_ros.learning.network import losses
from alstm_ros.learning.network.model import AssociationLstm


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Which losses count how much.

    Attributes:
        kind: `assignment`, `infonce` or `contrastive`, see losses.association.
        smoothness: `second` or `signed`, see losses.smoothness.
        association: weight of that loss.
        keep: how much more a decision counts that the rules get right, see losses.association.
        hard: weight of the hinge on hard negatives.
        box: weight of the refined boxes' smooth L1.
        score: weight of the refined scores' cross-entropy.
        same: weight of the association confidence's cross-entropy.
        smooth: weight of the Huber on second differences.
        calm: weight of how far boxes and scores are moved, so that little is done for little.
        small: weight of the mean square of corrections, which keeps the network silent where the rules are right.
        remember: weight of how far the network is from what its teachers say where nothing is known, see remember.
    """

    kind: str = "assignment"
    smoothness: str = "second"
    association: float = 2.0
    keep: float = 10.0
    hard: float = 0.5
    box: float = 0.1
    score: float = 0.5
    same: float = 0.5
    smooth: float = 0.01
    calm: float = 0.03
    small: float = 0.05
    remember: float = 0.0


class Objective(nn.Module):
    """The network and its losses as one module, so that it can be run on several processors."""

    def __init__(self, model: AssociationLstm, config: LossConfig, teachers: Sequence[AssociationLstm] = ()) -> None:
        super().__init__()
        self.model, self.config = model, config
        self.teachers = nn.ModuleList(teachers).eval().requires_grad_(False)  # noqa: FBT003  # torch's own

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of all losses on a batch, and each of them."""
        return objective(self.model, batch, self.config, list(self.teachers))


def objective(
    model: AssociationLstm, batch: Batch, config: LossConfig, teachers: Sequence[nn.Module] = ()
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of all losses on a batch, and each of them; what `teachers` say on average is remembered."""
    length = batch.x.shape[1]
    y = model.steps(batch.x, batch.lengths)
    valid = (torch.arange(length, device=y.device)[None] < batch.lengths[:, None]).reshape(-1)
    where = torch.cumsum(valid, 0) - 1  # from padded to packed steps
    out = model.heads(y.reshape(-1, y.shape[-1])[valid], batch.x.reshape(-1, batch.x.shape[-1])[valid])
    pairs = dataclasses.replace(batch.pairs, correction=model.correct(batch.g, out["key"][where[batch.at]]))

    def packed(values: Tensor) -> Tensor:
        return values.reshape(-1, *values.shape[2:])[valid]

    refined = out["box"][:, :4] * packed(batch.pull) + out["box"][:, 4:]
    goal, real = packed(batch.goal), packed(batch.real)
    score, same = packed(batch.score), packed(batch.same)
    refined_score = torch.logit(packed(batch.plain).clamp(1e-3, 1 - 1e-3)) + out["lift"]
    off = y.new_zeros(len(valid), 4)
    off[valid] = refined - goal
    off = off.reshape(*batch.x.shape[:2], 4)
    triples = torch.stack([off[:, :-2], off[:, 1:-1], off[:, 2:]], 2).reshape(-1, 3, 4)
    near = batch.real[:, 1:-1] * (batch.real[:, 2:] > 0) * (batch.real[:, :-2] > 0)
    threes = (batch.triple[:, 2:] * near).reshape(-1)
    parts = {
        "association": losses.association(pairs, config.kind, config.keep),
        "hard": losses.hard_negatives(pairs),
        "box": losses.boxes(refined, goal, real),
        "score": losses.chances(refined_score, score.clamp(min=0), (score >= 0).float()),
        "same": losses.chances(out["same"], same.clamp(min=0), (same >= 0).float()),
        "smooth": losses.smoothness(triples, torch.zeros_like(triples), threes, config.smoothness),
        "calm": losses.boxes(refined, torch.zeros_like(goal), real) + out["lift"].square().mean(),
        "small": pairs.correction.square().mean() if len(pairs.correction) else pairs.correction.sum(),
    }
    if teachers:
        said = Answers(refined, out["lift"], out["same"], pairs.correction)
        parts["remember"] = remember(said, on_average(teachers, batch), batch)
    total = torch.stack([getattr(config, name) * value for name, value in parts.items()]).sum()
    with torch.no_grad():  # for comparison: the association loss of the rules alone
        parts["rules"] = losses.association(batch.pairs, config.kind, config.keep)
    return total, parts

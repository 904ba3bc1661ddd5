"""The losses of the network; each returns a scalar tensor."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # its usual name

TEMPERATURE = 0.1
"""Temperature of the association's softmaxes, in units of cost."""
MARGIN = 0.2
"""Margin of the contrastive loss on either side of the limit, in units of cost."""


@dataclass(frozen=True, slots=True)
class BatchPairs:
    """The candidate pairs of a batch.

    Attributes:
        cost: `(P,)` by the rules.
        correction: `(P,)` by the network.
        row: `(P,)` int64, which track of which frame; pairs of one compete.
        column: `(P,)` int64, which detection of which frame; likewise.
        positive: `(P,)` bool, the pair is the same object.
        use: `(P,)` bool, false where it counts neither way; it is left out of every softmax.
        row_use: `(P,)` bool, whether the truth of the pair's row is known.
        column_use: `(P,)` bool, whether the truth of the pair's column is known.
        limit: the cost of matching nothing.
    """

    cost: Tensor
    correction: Tensor
    row: Tensor
    column: Tensor
    positive: Tensor
    use: Tensor
    row_use: Tensor
    column_use: Tensor
    limit: float


def association_loss(pairs: BatchPairs, kind: str, rules_right_weight: float = 1.0) -> Tensor:
    """Association loss.

    Args:
        pairs: the batch's pairs.
        kind: `assignment` (cross-entropy over a row or a column and "none", both ways), `infonce` (the same without
            "none", rows that have a positive), or `contrastive` (costs beyond a margin on either side of the limit).
        rules_right_weight: how much more counts what the rules get right: a network that overrules them rightly as
            often as wrongly is worse than none, for a wrong decision lasts.

    Returns:
        The mean, weighted towards where the rules are in doubt. The weight must not look at the truth: weighting what
        the rules got wrong teaches the network to say the opposite of the rules wherever it knows no better.
    """
    total = pairs.cost + pairs.correction
    if kind == "contrastive":
        off = torch.where(pairs.positive, total - (pairs.limit - MARGIN), (pairs.limit + MARGIN) - total)
        known = pairs.use & (pairs.row_use | pairs.positive)
        return (F.relu(off)[known] ** 2).sum() / known.sum().clamp(min=1)
    none = 0.0 if kind == "infonce" else 1.0
    parts = []
    for group, known in ((pairs.row, pairs.row_use), (pairs.column, pairs.column_use)):
        loss, has = _groups(total, pairs, group, none)
        with torch.no_grad():
            ambiguity = _ambiguity(pairs, group)
            sure = _rules_right(pairs, group)
        take = torch.zeros_like(has).index_fill(0, group[known & pairs.use], value=True)
        if kind == "infonce":
            take &= has
        weight = (0.2 + ambiguity) * take * torch.where(sure, rules_right_weight, 1.0)
        parts.append((loss * weight).sum() / weight.sum().clamp(min=1))
    return torch.stack(parts).mean()


def _groups(total: Tensor, pairs: BatchPairs, group: Tensor, none: float) -> tuple[Tensor, Tensor]:
    """Cross-entropy of each group `(G,)` and whether it holds a positive `(G,)`."""
    count = int(group.max()) + 1 if len(group) else 0
    logits = (pairs.limit - total) / TEMPERATURE  # "none" has logit 0
    chances = torch.exp(logits.clamp(max=30)) * pairs.use
    mass = torch.full((count,), none, device=total.device).index_add(0, group, chances)
    good = pairs.positive & pairs.use
    right = torch.zeros(count, device=total.device).index_add(0, group, chances * good)
    has = torch.zeros(count, dtype=torch.bool, device=total.device).index_fill(0, group[good], value=True)
    target = torch.where(has, right, torch.full_like(right, none))
    return torch.log(mass.clamp(min=1e-9)) - torch.log(target.clamp(min=1e-9)), has


def _ambiguity(pairs: BatchPairs, group: Tensor) -> Tensor:
    """One minus the chance that the rules give to their own favourite, "none" included: `(G,)`."""
    count = int(group.max()) + 1 if len(group) else 0
    chances = torch.exp(((pairs.limit - pairs.cost) / TEMPERATURE).clamp(max=30)) * pairs.use
    mass = torch.ones(count, device=group.device).index_add(0, group, chances)
    best = torch.ones(count, device=group.device).scatter_reduce(0, group, chances, "amax")
    return 1 - best / mass


def _rules_right(pairs: BatchPairs, group: Tensor) -> Tensor:
    """Whether the cheapest pair of each group, or none where all cost too much, is the right answer: `(G,)` bool."""
    count = int(group.max()) + 1 if len(group) else 0
    used = pairs.use
    least = torch.full((count,), pairs.limit, device=group.device)
    least = least.scatter_reduce(0, group[used], pairs.cost[used], "amin")
    has = torch.zeros(count, dtype=torch.bool, device=group.device)
    has = has.index_fill(0, group[pairs.positive & used], value=True)
    favourite = pairs.positive & used & (pairs.cost <= least[group])
    right = torch.zeros_like(has).index_fill(0, group[favourite], value=True)
    return right | (~has & (least >= pairs.limit))


def hard_negative_loss(pairs: BatchPairs, margin: float = 0.1) -> Tensor:
    """Hinge: a positive pair must beat its strongest rival, in its row and in its column, by a margin."""
    total = pairs.cost + pairs.correction
    losses = []
    for group, known in ((pairs.row, pairs.row_use), (pairs.column, pairs.column_use)):
        count = int(group.max()) + 1 if len(group) else 0
        rival = pairs.use & ~pairs.positive & known
        best = torch.full((count,), 9.0, device=total.device)
        best = best.scatter_reduce(0, group[rival], total[rival], "amin")
        good = pairs.positive & pairs.use & known
        losses.append(F.relu(total[good] - best[group[good]] + margin).sum() / good.sum().clamp(min=1))
    return torch.stack(losses).mean() * 10


def box_loss(refined: Tensor, truth: Tensor, weight: Tensor, scale: float = 0.02) -> Tensor:
    """Smooth L1 on boxes.

    Args:
        refined: `(N, 4)` centre and size relative to the detection, in its heights and log ratios.
        truth: `(N, 4)` the same of the ground truth.
        weight: `(N,)`, 0 where there is no truth: sparse labels suffice.
        scale: where the loss turns from square to straight.

    Returns:
        The weighted mean, in units of `scale`.
    """
    loss = F.smooth_l1_loss(refined / scale, truth / scale, reduction="none").sum(1)
    return (loss * weight).sum() / weight.sum().clamp(min=1)


def smoothness_loss(refined: Tensor, truth: Tensor, valid: Tensor, kind: str = "second", scale: float = 0.02) -> Tensor:
    """Huber on differences of refined boxes against the ground truth's, of one identity.

    Args:
        refined: `(N, 3, 4)` three boxes in a row, each minus its own ground truth, relative to height.
        truth: `(N, 3, 4)` zeros are enough where `refined` is already a difference to the truth.
        valid: `(N,)` float, whether the three are one object in three frames in a row.
        kind: `second` for second differences, or `signed` for the sum of signed first differences, as the paper prints
            it: all but the first and the last cancel, so that what wavers between them costs nothing.
        scale: where it turns from square to straight.

    Returns:
        The mean.
    """
    off = (refined - truth) / scale
    change = off[:, 2] - off[:, 0] if kind == "signed" else off[:, 0] - 2 * off[:, 1] + off[:, 2]  # (N, 4)
    loss = F.huber_loss(change, torch.zeros_like(change), reduction="none").sum(1)
    return (loss * valid).sum() / valid.sum().clamp(min=1)


def score_loss(logits: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Binary cross-entropy of logits `(N,)` against 0 or 1, weighted."""
    loss = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return (loss * weight).sum() / weight.sum().clamp(min=1)

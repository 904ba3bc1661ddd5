"""Which cell answers for which object, and what its answers cost.

Cells are chosen by Feng et al., "TOOD: Task-aligned One-stage Object Detection" (ICCV 2021): those that find the object
best by score and overlap together. Their score's target is that quality, as in Li et al., "Generalized Focal Loss"
(NeurIPS 2020), times how sure the label is; boxes are pulled by Rezatofighi et al., "Generalized Intersection over
Union" (CVPR 2019).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from alstm_ros.learning.detector.model import boxes

CELLS = 10
"""Cells that may answer for one object."""
SURE = 0.3
"""Labels of a lower score are neither: cells there are not taught whether they see something."""
CERTAIN = 0.65
"""From this score on a teacher's label counts as if a person had made it."""
DOUBTFUL = 0.08
"""Labels of a lower score are nothing."""


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of every pair: `(N, 4)` and `(M, 4)` to `(N, M)`."""
    size = (torch.minimum(a[:, None, 2:], b[None, :, 2:]) - torch.maximum(a[:, None, :2], b[None, :, :2])).clamp(min=0)
    shared = size.prod(-1)
    return shared / (_area(a)[:, None] + _area(b)[None] - shared).clamp(min=1e-6)


def generalised_overlap(a: Tensor, b: Tensor) -> Tensor:
    """GIoU of pairs in -1..1: `(N, 4)` and `(N, 4)` to `(N,)`."""
    shared = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    union = _area(a) + _area(b) - shared
    around = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(1)
    return shared / union.clamp(min=1e-6) - (around - union) / around.clamp(min=1e-6)


@torch.no_grad()
def assign(  # noqa: PLR0913, PLR0917  # what was predicted, where, and what was wanted
    scores: Tensor, found: Tensor, points: Tensor, strides: Tensor, wanted: Tensor, classes: Tensor
) -> tuple[Tensor, Tensor]:
    """Which object each cell answers for, and how well it does among the cells of that object.

    Args:
        scores: `(N, C)` in 0..1.
        found: `(N, 4)` boxes that the cells propose.
        points: `(N, 2)` the cells' centres.
        strides: `(N,)` of the cells.
        wanted: `(G, 4)` objects.
        classes: `(G,)` int64.

    Returns:
        `(N,)` int64 object or -1, and `(N,)` float32 target in 0..1: the best cell of an object gets its best overlap.
    """
    who, target = torch.full((len(points),), -1), points.new_zeros(len(points))
    if not len(wanted):
        return who, target
    overlaps = overlap(wanted, found)  # (G, N)
    fit = scores[:, classes].T.clamp(min=1e-4).sqrt() * overlaps**3
    half = (wanted[:, 2:] - wanted[:, :2]) / 2  # (G, 2)
    # A cell must lie in the box; a thin or tiny box, which may hold no centre at all, takes the cells around it too.
    reach = torch.minimum(strides[None, :, None], half.amax(1)[:, None, None] + 4)  # (G, N, 1)
    offset = (points[None] - (wanted[:, None, :2] + wanted[:, None, 2:]) / 2).abs()  # (G, N, 2)
    fit = fit * (offset < torch.maximum(half[:, None], reach)).all(-1)
    best, places = fit.topk(min(CELLS, len(points)), 1)
    chosen = torch.zeros_like(fit, dtype=torch.bool).scatter_(1, places, best > 1e-9)
    fit = fit * chosen
    best, owner = fit.max(0)
    positive = best > 0
    who[positive] = owner[positive]
    top, widest = fit.amax(1).clamp(min=1e-9), (overlaps * chosen).amax(1)  # (G,)
    target[positive] = best[positive] / top[who[positive]] * widest[who[positive]]
    return who, target


def detection(
    logits: Tensor, sides: Tensor, points: Tensor, strides: Tensor, labels: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Losses of classes and of boxes, for each unit of target quality in the batch.

    Args:
        logits: `(B, N, C)`.
        sides: `(B, N, 4)` in strides.
        points: `(N, 2)` the cells' centres.
        strides: `(N,)` of the cells.
        labels: for each image `(G, 6)`: xyxy, score, class.
    """
    places = boxes(sides, points, strides)
    wrong, off, norm = logits.new_zeros(()), logits.new_zeros(()), logits.new_zeros(())
    for said, place, label in zip(logits, places, labels, strict=True):
        sure = label[:, 4] >= SURE
        objects, doubts = label[sure], label[~sure & (label[:, 4] >= DOUBTFUL)]
        classes, scores = objects[:, 5].long(), said.sigmoid()
        who, quality = assign(scores.detach(), place.detach(), points, strides, objects[:, :4], classes)
        positive = who >= 0
        mine = who[positive]
        quality[positive] *= (objects[mine, 4] / CERTAIN).clamp(max=1)
        target, counted = torch.zeros_like(said), torch.ones_like(said)
        target[positive, classes[mine]] = quality[positive]
        inside = ((points[:, None] >= doubts[None, :, :2] - 2) & (points[:, None] <= doubts[None, :, 2:4] + 2)).all(-1)
        for kind in torch.unique(doubts[:, 5].long()):
            counted[inside[:, doubts[:, 5] == kind].any(1) & ~positive, kind] = 0
        entropy = functional.binary_cross_entropy_with_logits(said, target, reduction="none")
        wrong = wrong + (entropy * (target - scores).detach().square() * counted).sum()
        off = off + ((1 - generalised_overlap(place[positive], objects[mine, :4])) * quality[positive]).sum()
        norm = norm + quality.sum()
    norm = norm.clamp(min=1)
    return wrong / norm, off / norm


def _area(a: Tensor) -> Tensor:
    return (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1])

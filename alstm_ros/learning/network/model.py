"""The Association LSTM, top to bottom.

Two recurrent layers read, for each track, what it was given frame after frame. Heads on top refine its box and score,
say whether the detection was the same object, and give the association feature by which a small network corrects the
cost of each candidate pair of the next frame. After Lu, Lu and Tang (ICCV 2017); what differs stands in
docs/notebook/2026-11-23-association-network.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from alstm_ros.association.learned.features import AMBIGUITY, APPEARANCE, GEOMETRY, PAIR, STEP
from alstm_ros.types import Float32


@dataclass(frozen=True, slots=True)
class LstmConfig:
    """The network's sizes and bounds.

    Attributes:
        hidden: length of the first layer's state vectors.
        second: length of the second layer's; 0 for the same.
        embedding: length of the association feature.
        head: width of the heads' hidden layer.
        pair: width of the pair network's hidden layers.
        bound: largest correction of a cost.
        shift: largest shift of a refined box, in heights.
        lift: largest change of a score, in logits.
        appearance: whether the step reads the appearance vector.
    """

    hidden: int = 64
    second: int = 0
    embedding: int = 32
    head: int = 64
    pair: int = 48
    bound: float = 0.6
    shift: float = 0.15
    lift: float = 1.5
    appearance: bool = True

    @property
    def last(self) -> int:
        """Length of what the heads read."""
        return self.second or self.hidden


class AssociationLstm(nn.Module):
    """The network; `steps` is for training over whole sequences, `step` and `score` are what gets exported."""

    def __init__(self, config: LstmConfig) -> None:
        super().__init__()
        self.config = config
        self.norm_step = nn.BatchNorm1d(STEP, affine=False)
        self.norm_pair = nn.BatchNorm1d(PAIR, affine=False)
        self.lstm1 = nn.LSTM(STEP, config.hidden, batch_first=True)
        self.norm1: nn.Module = nn.LayerNorm(config.hidden)
        self.lstm2 = nn.LSTM(config.hidden, config.last, batch_first=True)
        self.norm2: nn.Module = nn.LayerNorm(config.last)
        self.head = nn.Linear(config.last + GEOMETRY, config.head)
        self.box = nn.Linear(config.head, 8)  # a share of the way to the detection and a shift, for cx, cy, w, h
        self.score = nn.Linear(config.head, 1)
        self.same = nn.Linear(config.head, 1)
        self.embed = nn.Linear(config.last, config.embedding)
        self.trust = nn.Linear(config.last, 2)  # "none" and reliability
        self.pair1 = nn.Linear(PAIR + config.embedding, config.pair)
        self.pair2 = nn.Linear(config.pair, config.pair)
        self.pair3 = nn.Linear(config.pair, 1)
        for last in (self.box, self.score, self.pair3, self.trust):  # untrained, the base tracker decides everything
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        nn.init.constant_(self.trust.bias[1:], 2.0)

    def steps(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Runs whole sequences from zero states.

        Args:
            x: `(R, L, STEP)`, padded with zeros at the end.
            lengths: `(R,)` int64.

        Returns:
            `(R, L, last)`, what the heads read; no meaning beyond the lengths.
        """
        valid = torch.arange(x.shape[1], device=x.device) < lengths[:, None]  # (R, L)
        z = x.new_zeros(x.shape)
        z[valid] = self._normalise(x[valid])  # (R, L, STEP)
        y = x.new_zeros(*x.shape[:2], self.config.last)
        for rows, high in by_length(lengths, x.shape[1]):
            first, _ = self.lstm1(z[rows, :high])  # (r, high, hidden)
            second, _ = self.lstm2(self.norm1(first))  # (r, high, last)
            y[rows, :high] = self.norm2(second)
        return y

    def step(
        self, x: Tensor, h1: Tensor, c1: Tensor, h2: Tensor, c2: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
        """One step: `(N, STEP)` and the states to what the heads read, `(N, last)`, and the next states."""
        h1, c1 = cell(self.lstm1, self._normalise(x), h1, c1)
        h2, c2 = cell(self.lstm2, self.norm1(h1), h2, c2)
        return self.norm2(h2), (h1, c1, h2, c2)

    def heads(self, y: Tensor, x: Tensor) -> dict[str, Tensor]:
        """What is said of each track after a step.

        Args:
            y: `(N, last)` from `steps` or `step`.
            x: `(N, STEP)` the step's features.

        Returns:
            `box` `(N, 8)`, `lift` `(N,)` logits to add to the score, `same` `(N,)` logit, `key` `(N, embedding + 2)`.
        """
        config = self.config
        geometry = self._normalise(x)[:, :GEOMETRY]
        z = F.relu(self.head(torch.cat([y, geometry], 1)))  # (N, head)
        box = torch.tanh(self.box(z))  # (N, 8)
        box = torch.cat([box[:, :4], config.shift * box[:, 4:]], 1)
        trust = self.trust(y)  # (N, 2)
        none, reliability = trust[:, :1], torch.sigmoid(trust[:, 1:])
        key = torch.cat([torch.tanh(self.embed(y)), none, reliability], 1)
        return {
            "box": box,
            "lift": config.lift * torch.tanh(self.score(z)[:, 0]),
            "same": self.same(z)[:, 0],
            "key": key,
        }

    def correct(self, pairs: Tensor, keys: Tensor) -> Tensor:
        """Corrections of costs, within the bound and none where the rules are sure.

        Args:
            pairs: `(P, PAIR)` features.
            keys: `(P, embedding + 2)` of their tracks.

        Returns:
            `(P,)`.
        """
        z = torch.cat([self.norm_pair(pairs), keys[:, :-2]], 1)  # (P, PAIR + embedding)
        z = F.relu(self.pair1(z))
        z = F.relu(self.pair2(z))
        raw = self.pair3(z)[:, 0] + keys[:, -2]  # "none" raises the cost of every candidate of its track
        return self.config.bound * torch.tanh(raw) * keys[:, -1] * pairs[:, AMBIGUITY].clamp(0, 1)

    def weights(self) -> dict[str, Float32]:
        """Every parameter and statistic by its name, as arrays: what a file of the network holds."""
        return {name: tensor.detach().cpu().numpy().astype(np.float32) for name, tensor in self.state_dict().items()}

    def _normalise(self, x: Tensor) -> Tensor:
        """Geometry standardised, appearance scaled to unit variance or blanked."""
        z = self.norm_step(x).clamp(-6, 6)
        appearance = x[:, GEOMETRY:] * (APPEARANCE**0.5 if self.config.appearance else 0)
        return torch.cat([z[:, :GEOMETRY], appearance], 1)


def by_length(lengths: Tensor, longest: int) -> Iterator[tuple[Tensor, int]]:
    """Groups of sequences of like length, which run together: most tracks are short.

    Args:
        lengths: `(R,)` int64.
        longest: the largest length, padding included.

    Yields:
        `(r,)` the rows of a group, and a length that none of them exceeds.
    """
    low = 0
    for high in (3, 8, 16, 32, longest):
        rows = torch.nonzero((lengths > low) & (lengths <= high))[:, 0]
        low = max(low, high)
        if len(rows):
            yield rows, high


def cell(lstm: nn.LSTM, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """One step of a one-layer LSTM: `(N, D)`, `(N, H)`, `(N, H)` to the next `(h, c)`."""
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    w_x, w_h, b_x, b_h = (lstm.get_parameter(name) for name in names)
    gates = F.linear(x, w_x, b_x) + F.linear(h, w_h, b_h)  # (N, 4 H)
    i, f, g, o = gates.chunk(4, 1)  # (N, H) each
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c

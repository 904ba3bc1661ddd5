"""Networks with a part taken away or exchanged, to be compared with the one that ships.

`config/train_paper.yaml` and `bench/ablations.py` train them. They run in the tracker like any other, for they are
exported as the same graph.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from alstm_ros.learning.network.model import AssociationLstm, LstmConfig, by_length
from alstm_ros.types import Float32

SHUT = 200.0
"""Logit at which a sigmoid is 0 or 1 in float32, depending on its sign."""
FILE_ORDER = (
    "hidden", "second", "norm", "embedding", "head", "pair", "bound", "shift", "lift", "appearance", "memory", "gates",
)  # fmt: skip
"""The order in which a file names a network's sizes and switches, so that the same network gives the same bytes."""


@dataclass(frozen=True, slots=True)
class VariantConfig(LstmConfig):
    """The network's sizes and bounds, and what differs from the network that ships.

    Attributes:
        norm: how the layers' outputs are normalised: `layer`, or `batch` as in the paper.
        memory: whether a track's state lasts; without, every step starts from zero.
        gates: whether a track says "none" and how far to trust what is said of it.
    """

    norm: str = "layer"
    memory: bool = True
    gates: bool = True

    def plain(self) -> LstmConfig | None:
        """The sizes alone, None where something differs from the network that ships."""
        if (self.norm, self.memory, self.gates) != ("layer", True, True):
            return None
        return LstmConfig(**{field.name: getattr(self, field.name) for field in dataclasses.fields(LstmConfig)})


def make_network(config: VariantConfig) -> AssociationLstm:
    """An untrained network: the one that ships, or a variant of it."""
    plain = config.plain()
    return VariantLstm(config) if plain is None else AssociationLstm(plain)


def network_description(config: LstmConfig) -> dict[str, Any]:
    """A network's sizes and switches, from which `VariantConfig` makes it again."""
    values = dataclasses.asdict(VariantConfig()) | dataclasses.asdict(config)
    return {name: values[name] for name in FILE_ORDER}


class VariantLstm(AssociationLstm):
    """The network with a part taken away or exchanged; see VariantConfig."""

    def __init__(self, config: VariantConfig) -> None:
        super().__init__(config)
        self.variant = config
        if config.norm == "batch":
            self.norm1 = nn.BatchNorm1d(config.hidden, affine=False)
            self.norm2 = nn.BatchNorm1d(config.last, affine=False)
        if not config.gates:
            gate = _NoGate(config.last, 2)
            gate.load_state_dict(self.trust.state_dict())
            self.trust = gate

    def steps(self, x: Tensor, lengths: Tensor) -> Tensor:
        """See AssociationLstm."""
        valid = torch.arange(x.shape[1], device=x.device) < lengths[:, None]  # (R, L)
        y = x.new_zeros(*x.shape[:2], self.config.last)
        if not self.variant.memory:
            zeros = [x.new_zeros(int(valid.sum()), width) for width in (self.config.hidden, self.config.last)]
            y[valid] = self.step(x[valid], zeros[0], zeros[0], zeros[1], zeros[1])[0]
            return y
        if self.variant.norm != "batch":
            return super().steps(x, lengths)
        z = x.new_zeros(x.shape)
        z[valid] = self._normalise(x[valid])  # (R, L, STEP)
        for rows, high in by_length(lengths, x.shape[1]):
            first, _ = self.lstm1(z[rows, :high])  # (r, high, hidden)
            normed, there = torch.zeros_like(first), valid[rows, :high]
            normed[there] = self.norm1(first[there])  # padding must not count
            y[rows, :high] = self.lstm2(normed)[0]  # (r, high, last)
        flat = torch.zeros_like(y)
        flat[valid] = self.norm2(y[valid])
        return flat

    def step(
        self, x: Tensor, h1: Tensor, c1: Tensor, h2: Tensor, c2: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
        """See AssociationLstm."""
        if not self.variant.memory:
            h1, c1, h2, c2 = (state * 0 for state in (h1, c1, h2, c2))
        return super().step(x, h1, c1, h2, c2)

    def weights(self) -> dict[str, Float32]:
        """See AssociationLstm; what is taken away is written as weights, so that the graph is the same."""
        found = super().weights()
        if not self.variant.gates:
            found["trust.weight"][:] = 0
            found["trust.bias"][:] = [0, SHUT]
        for layer, width in ((1, self.config.hidden), (2, self.config.last)) if not self.variant.memory else ():
            forget = slice(width, 2 * width)  # of torch's order: input, forget, cell, output
            found[f"lstm{layer}.weight_hh_l0"][:] = 0
            found[f"lstm{layer}.weight_ih_l0"][forget] = 0
            found[f"lstm{layer}.bias_hh_l0"][forget] = 0
            found[f"lstm{layer}.bias_ih_l0"][forget] = -SHUT
        return found


class _NoGate(nn.Linear):
    """In place of the layer that says "none" and how far to trust: never "none", always trusted; it learns nothing."""

    def forward(self, y: Tensor) -> Tensor:
        """`(N, last)` to `(N, 2)`."""
        return super().forward(y) * 0 + y.new_tensor([0.0, SHUT])

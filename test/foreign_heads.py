"""What the networks of `foreign_models` have in common: what they see, a trunk, and heads that say it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from alstm_ros.config import Config
from alstm_ros.options import replace

HEIGHT, WIDTH, CLASSES = 128, 160, 3
OBJECTS = (
    # class, score, xyxy in pixels of the input, stride of the map that says it
    (2, 0.9, (20.0, 30.0, 60.0, 90.0), 8),
    (0, 0.8, (90.0, 10.0, 120.0, 50.0), 16),
    (1, 0.6, (92.0, 60.0, 150.0, 124.0), 32),
)
NEVER = -6.0
"""A logit whose score is below every threshold used."""


def config(path: Path, **changes: object) -> Config:
    """Runs such a file on the processor; changes belong to `detector.*`."""
    given = {"detector.model": str(path), "detector.score_threshold": 0.3, "engine.runtime": "onnxruntime"}
    return replace(
        Config(), given | {"engine.threads": 1} | {f"detector.{key}": value for key, value in changes.items()}
    )


def logit(p: float) -> float:
    return float(np.log(p / (1 - p)))


def conv(taken: int, given: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(taken, given, 3, stride, 1), nn.ReLU())


class Trunk(nn.Module):
    """Maps of strides 8, 16, ... and one of stride 4 before them."""

    def __init__(self, levels: int = 3, channels: int = 12) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(3, 6, 2), conv(6, 10, 2))
        self.stages = nn.ModuleList([conv(10 if i == 0 else channels, channels, 2) for i in range(levels)])

    def forward(self, images: Tensor) -> list[Tensor]:
        x, maps = self.stem(images), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class Said(nn.Module):
    """A head's last convolution, which hardly says anything, and what is to be said: `(1, C, h, w)`."""

    def __init__(self, taken: int, said: np.ndarray[Any, Any]) -> None:
        super().__init__()
        self.branch = conv(taken, taken)
        self.last = nn.Conv2d(taken, said.shape[0], 1)
        nn.init.normal_(self.last.weight, std=1e-6)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]
        self.register_buffer("said", torch.tensor(said[None], dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.branch(x)) + self.get_buffer("said")
        return out


def blank(channels: int, stride: int, fill: float = 0.0) -> np.ndarray[Any, Any]:
    return np.full((channels, -(-HEIGHT // stride), -(-WIDTH // stride)), fill)


def placed(stride: int) -> list[tuple[int, float, tuple[float, ...], int, int]]:
    """Class, score, box, row and column of the objects that a map of this stride tells."""
    return [
        (kind, score, box, int((box[1] + box[3]) / 2 // stride), int((box[0] + box[2]) / 2 // stride))
        for kind, score, box, at in OBJECTS
        if at == stride
    ]


def spread(side: float, count: int) -> np.ndarray[Any, Any]:
    """Logits of bins whose mean is this distance."""
    weights = np.full(count, 1e-9)
    low = int(side)
    weights[low], weights[low + 1] = 1 - (side - low), side - low + 1e-9
    return np.asarray(np.log(weights))

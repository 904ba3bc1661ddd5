"""The detector's network: MobileNetV2's trunk, a small path aggregation, one anchor-free head for each stride.

The trunk is that of Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (CVPR 2018), without its
last block, its batch normalisation folded into its convolutions. The neck follows Liu et al., "Path Aggregation Network
for Instance Segmentation" (CVPR 2018), with separable 5x5 convolutions. Each cell predicts how sure it is of each class
and how far the four sides of the box lie from its centre (Tian et al., "FCOS", ICCV 2019).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from alstm_ros.errors import ConfigError
from alstm_ros.types import Float32

BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2))
"""Expansion, channels out, repeats and first stride of each group of blocks: the MobileNetV2 paper's table 2."""
TAPS = {5: 32, 12: 96, 15: 160}
"""The blocks whose outputs the neck reads, the last of each stride, and their channels."""
STRIDES = (8, 16, 32)
MIDDLE = 127.5
"""Grey, which the first convolution takes for nothing."""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The network's sizes.

    Attributes:
        classes: names of what it finds.
        width: channels of neck and heads.
        frozen: blocks that keep the weights they start from; the first four are also where appearance is read.
    """

    classes: tuple[str, ...] = ("person", "bicycle", "car", "motorcycle", "bus", "truck", "cat", "dog")
    width: int = 96
    frozen: int = 4

    def __post_init__(self) -> None:
        """Refuses what no network can be made of."""
        if not self.classes or len(set(self.classes)) < len(self.classes):
            raise ConfigError(f"model.classes is {list(self.classes)}; it must name at least one class, each once.")
        if self.width < 8:
            raise ConfigError(f"model.width is {self.width}; it must be at least 8.")
        if not 0 <= self.frozen <= min(TAPS):
            raise ConfigError(f"model.frozen is {self.frozen}; it must be 0 to {min(TAPS)}.")


class Conv(nn.Module):
    """A convolution that keeps the map's size up to its stride, batch normalisation where it is new, and ReLU6."""

    def __init__(  # noqa: PLR0913  # a convolution has so many numbers
        self, wide: int, out: int, kernel: int = 1, stride: int = 1, *, groups: int = 1, act: bool = True, norm: bool
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(wide, out, kernel, stride, kernel // 2, groups=groups, bias=not norm)
        self.norm = nn.BatchNorm2d(out) if norm else nn.Identity()
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """`(B, wide, h, w)` to `(B, out, h / stride, w / stride)`."""
        x = self.norm(self.conv(x))
        return functional.relu6(x) if self.act else x


class Block(nn.Module):
    """MobileNetV2's inverted residual."""

    def __init__(self, wide: int, out: int, expansion: int, stride: int) -> None:
        super().__init__()
        inner = wide * expansion
        self.expand = Conv(wide, inner, norm=False) if expansion > 1 else nn.Identity()
        self.depthwise = Conv(inner, inner, 3, stride, groups=inner, norm=False)
        self.project = Conv(inner, out, act=False, norm=False)
        self.residual = stride == 1 and wide == out

    def forward(self, x: Tensor) -> Tensor:
        """`(B, wide, h, w)` to `(B, out, h / stride, w / stride)`."""
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


def separable(width: int, stride: int = 1) -> nn.Sequential:
    """A 5x5 convolution of each channel, then a mix of the channels."""
    return nn.Sequential(Conv(width, width, 5, stride, groups=width, norm=True), Conv(width, width, norm=True))


def head(width: int, out: int, bias: float) -> nn.Conv2d:
    """The last convolution, which says about the same of every cell before it has learnt."""
    layer = nn.Conv2d(width, out, 1)
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.constant_(layer.bias, bias)  # type: ignore[arg-type]
    return layer


class DetectorNet(nn.Module):
    """Pixels to class logits and box sides of every cell."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config, width = config, config.width
        self.stem = Conv(3, 32, 3, 2, norm=False)
        channels, blocks = 32, []
        for expansion, out, repeats, stride in BLOCKS:
            for repeat in range(repeats):
                blocks.append(Block(channels, out, expansion, 1 if repeat else stride))
                channels = out
        self.blocks = nn.ModuleList(blocks)
        self.lateral = nn.ModuleList([Conv(channels, width, norm=True) for channels in TAPS.values()])
        self.down = nn.ModuleList([separable(width) for _ in STRIDES[1:]])  # from coarse to fine
        self.halve = nn.ModuleList([separable(width, 2) for _ in STRIDES[1:]])
        self.up = nn.ModuleList([separable(width) for _ in STRIDES[1:]])  # and back
        self.tower = nn.ModuleList([nn.Sequential(separable(width), separable(width)) for _ in STRIDES])
        classes = len(config.classes)
        self.score = nn.ModuleList(
            [head(width, classes, -4.6) for _ in STRIDES]
        )  # a score of .01: most cells are empty
        self.sides = nn.ModuleList([head(width, 4, 0.5) for _ in STRIDES])
        for frozen in (self.stem, *self.blocks[: config.frozen]):
            frozen.requires_grad_(requires_grad=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What every cell says.

        Args:
            x: `(B, 3, H, W)` float32 in 0..255, BGR; H and W multiples of 32.

        Returns:
            `(B, N, classes)` logits, and `(B, N, 4)` distances from the cell's centre to the box's left, top, right
            and bottom, in strides; cells row by row, the finest stride first.
        """
        x = self.stem(x - MIDDLE)  # (B, 32, H / 2, W / 2)
        taps = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in TAPS:
                taps.append(x)  # (B, 32, H / 8, ..), (B, 96, H / 16, ..), (B, 160, H / 32, ..)
        fine, middle, coarse = (lateral(tap) for lateral, tap in zip(self.lateral, taps, strict=True))  # width channels
        middle = self.down[0](middle + functional.interpolate(coarse, scale_factor=2))
        fine = self.down[1](fine + functional.interpolate(middle, scale_factor=2))
        middle = self.up[0](middle + self.halve[0](fine))
        coarse = self.up[1](coarse + self.halve[1](middle))
        logits, sides = [], []
        for i, level in enumerate((fine, middle, coarse)):
            seen = self.tower[i](level)
            logits.append(self.score[i](seen).flatten(2).transpose(1, 2))  # (B, h * w, classes)
            sides.append(self.sides[i](seen).flatten(2).transpose(1, 2))  # (B, h * w, 4)
        return torch.cat(logits, 1).float(), functional.softplus(torch.cat(sides, 1).float())

    def start_from(self, weights: Mapping[str, Float32]) -> None:
        """Takes over weights by the names that they have here, such as `blocks.3.expand.conv.weight`.

        Raises:
            ConfigError: a name or a shape is not one of this network.
        """
        own = self.state_dict()
        for name, value in weights.items():
            if name not in own or own[name].shape != value.shape:
                raise ConfigError(f"The weights to start from hold '{name}' of shape {value.shape}, unknown here.")
            own[name].copy_(torch.from_numpy(value))


def centres(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Centres `(N, 2)` in pixels and strides `(N,)` of the cells, in the order of the network's outputs."""
    points, strides = [], []
    for stride in STRIDES:
        y, x = torch.meshgrid(torch.arange(height // stride), torch.arange(width // stride), indexing="ij")
        points.append((torch.stack([x, y], -1).reshape(-1, 2) + 0.5) * stride)
        strides.append(torch.full((len(points[-1]),), float(stride)))
    return torch.cat(points), torch.cat(strides)


def boxes(sides: Tensor, points: Tensor, strides: Tensor) -> Tensor:
    """Distances `(B, N, 4)` to boxes `(B, N, 4)`, xyxy in pixels."""
    reach = sides * strides[:, None]
    return torch.cat([points - reach[..., :2], points + reach[..., 2:]], -1)

"""What a network is fed: how the image lies in it, the order of colours, the range of values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alstm_ros.types import UInt8

PLACES = ("corner", "centre", "stretch")
"""Where an image may lie in the network's input; see `Preprocess`."""

_RGB = tuple[float, float, float]
NORMALISATIONS: dict[str, tuple[_RGB, _RGB]] = {
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "unit": ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
    "signed": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "caffe": ((123.0, 117.0, 104.0), (1.0, 1.0, 1.0)),
    "centernet": ((119.85, 113.985, 104.04), (70.89, 69.87, 73.695)),
}
"""Name to what is subtracted from red, green and blue in 0..255, and what it is divided by then.

`caffe` is what torchvision's SSD300 takes, `signed` its SSDLite; `centernet` is from the configuration of Zhou et al.,
"Objects as Points" (2019).
"""


@dataclass(frozen=True, slots=True)
class Preprocess:
    """What stands between an image and a network's input.

    Attributes:
        color: order of the channels, `bgr` or `rgb`.
        place: where the image lies: `corner` is the top left one, `centre` the middle, with padding around it;
            `stretch` fills the input without keeping the image's aspect.
        fill: grey of the padding, 0..255.
        normalise: a key of `NORMALISATIONS`.
    """

    color: str = "bgr"
    place: str = "corner"
    fill: int = 127
    normalise: str = "none"

    def constants(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What is subtracted and what it is divided by, `(3,)` each in the order of the channels."""
        mean, deviation = (np.array(part, np.float32) for part in NORMALISATIONS[self.normalise])
        return (mean[::-1], deviation[::-1]) if self.color == "bgr" else (mean, deviation)

    def tensor(self, batch: UInt8, dtype: np.dtype[Any], *, planes: bool) -> NDArray[Any]:
        """A batch of images as the network takes it.

        Args:
            batch: `(B, H, W, 3)` uint8 BGR.
            dtype: of the network's input; uint8 is not normalised.
            planes: `(B, 3, H, W)` is wanted, else `(B, H, W, 3)`.
        """
        ordered = batch if self.color == "bgr" else batch[..., ::-1]
        if planes:
            ordered = ordered.transpose(0, 3, 1, 2)
        if dtype == np.uint8:
            return np.ascontiguousarray(ordered)
        values = np.ascontiguousarray(ordered, np.float32)
        if self.normalise != "none":
            mean, deviation = (part[:, None, None] if planes else part for part in self.constants())
            values -= mean
            values /= deviation
        return values.astype(dtype, copy=False)

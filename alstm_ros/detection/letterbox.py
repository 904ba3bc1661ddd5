"""Fitting images of any size into one batch, aspect kept, and bringing boxes back to the pixels they came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from alstm_ros import boxes as geometry
from alstm_ros.errors import ImageError
from alstm_ros.types import Float32, Image, UInt8

FILL = 127
"""Grey of our own models' padding: what networks that see pixels around zero take for nothing."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How one image lies in the network's input.

    Attributes:
        width: columns of the source image.
        height: rows of the source image.
        fitted_width: columns it takes in the network's input.
        fitted_height: rows it takes in the network's input.
        left: columns before it.
        top: rows above it.
    """

    width: int
    height: int
    fitted_width: int
    fitted_height: int
    left: int = 0
    top: int = 0

    @classmethod
    def of(cls, width: int, height: int, most_width: int, most_height: int) -> Fit:
        """The largest fit of an image that keeps its aspect, to the nearest pixel and at least one of each."""
        scale = min(most_width / width, most_height / height)
        return cls(
            width,
            height,
            min(max(round(width * scale), 1), most_width),
            min(max(round(height * scale), 1), most_height),
        )

    def _scale(self) -> Float32:
        x, y = self.width / self.fitted_width, self.height / self.fitted_height
        return np.array([x, y, x, y], np.float32)

    def _corner(self) -> Float32:
        return np.array([self.left, self.top, self.left, self.top], np.float32)

    def to_source(self, boxes: Float32) -> Float32:
        """Boxes in pixels of the network's input to pixels of the image, cut at its border: `(N, 4)` to `(N, 4)`."""
        return geometry.clip((boxes - self._corner()) * self._scale(), self.width, self.height)


@dataclass(frozen=True, slots=True)
class Canvas:
    """The room that images are fitted into.

    Attributes:
        height: most rows.
        width: most columns.
        multiple: rows and columns of a batch are a multiple of this; 0 where they are always the most.
        minimum: and at least this.
        place: `corner`, `centre` or `stretch`, see `preprocess.Preprocess`.
        fill: grey of the padding.
    """

    height: int
    width: int
    multiple: int
    minimum: int
    place: str = "corner"
    fill: int = FILL

    def letterbox(self, images: Sequence[Image]) -> tuple[UInt8, list[Fit]]:
        """Fits images into one batch.

        The batch is no larger than its images need, so that a wide camera does not pay for empty rows.

        Args:
            images: each `(H, W, 3)` uint8, of any size and strides.

        Returns:
            `(B, h, w, 3)` uint8, and how each image lies in it.

        Raises:
            ImageError: an image has another shape or type, or no pixels.
        """
        check_images(images)
        fits, (height, width) = self.lay(images)
        batch = np.empty((len(images), height, width, 3), np.uint8)
        for image, fit, target in zip(images, fits, batch, strict=True):
            bottom, right = fit.top + fit.fitted_height, fit.left + fit.fitted_width
            target[: fit.top], target[bottom:] = self.fill, self.fill
            target[fit.top : bottom, : fit.left], target[fit.top : bottom, right:] = self.fill, self.fill
            _resize(image, target[fit.top : bottom, fit.left : right])
        return batch, fits

    def lay(self, images: Sequence[Image]) -> tuple[list[Fit], tuple[int, int]]:
        """How images lie in one batch, and the batch's rows and columns."""
        sizes = [(image.shape[1], image.shape[0]) for image in images]
        if self.place == "stretch":
            return [Fit(*size, self.width, self.height) for size in sizes], (self.height, self.width)
        fits = [Fit.of(*size, self.width, self.height) for size in sizes]
        height = self._room(max(fit.fitted_height for fit in fits), self.height)
        width = self._room(max(fit.fitted_width for fit in fits), self.width)
        if self.place == "centre":
            spare = [(width - fit.fitted_width, height - fit.fitted_height) for fit in fits]
            fits = [replace(fit, left=x // 2, top=y // 2) for fit, (x, y) in zip(fits, spare, strict=True)]
        return fits, (height, width)

    def _room(self, needed: int, most: int) -> int:
        if not self.multiple:
            return most
        return min(max(-(-needed // self.multiple) * self.multiple, self.minimum), most)


def check_images(images: Sequence[Image]) -> None:
    """Refuses what is no image.

    Raises:
        ImageError: an image has another shape or type, or no pixels.
    """
    for image in images:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise ImageError(
                f"An image has shape {image.shape} and dtype {image.dtype}; "
                "it must be height x width x 3 of uint8, with at least one pixel."
            )


def _resize(image: Image, target: UInt8) -> None:
    """Scales an image into a view of the batch."""
    if image.strides[1:] != (3, 1) or image.strides[0] < image.shape[1] * 3:
        image = np.ascontiguousarray(image)  # OpenCV reads rows of any pitch, but no other strides
    cv2.resize(image, (target.shape[1], target.shape[0]), dst=target, interpolation=cv2.INTER_LINEAR)

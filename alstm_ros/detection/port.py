"""The inputs of a model: the image, and what some exports want beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alstm_ros.detection.preprocess import Preprocess
from alstm_ros.engines import TensorSpec
from alstm_ros.errors import ModelError
from alstm_ros.types import UInt8

TARGET_SIZES = "orig_target_sizes"
"""The input of RT-DETR's exports for the width and height that boxes are scaled to."""
PIXEL_MASK = "pixel_mask"
"""The input of DETR's exports that is 1 where the image is."""
IMAGE_SHAPE = "im_shape"
"""The input of PaddleDetection's exports for the height and width of what the network sees."""
SCALE_FACTOR = "scale_factor"
"""The input of PaddleDetection's exports for what the image was scaled by; 1 keeps boxes in the network's pixels."""
BESIDE = (TARGET_SIZES, PIXEL_MASK, IMAGE_SHAPE, SCALE_FACTOR)
"""Inputs that may stand beside the images."""


@dataclass(frozen=True, slots=True)
class Port:
    """How images go into a model.

    Attributes:
        name: of the input that takes them.
        spec: its shape and type.
        planes: `(B, 3, H, W)`, else `(B, H, W, 3)`.
        others: the other inputs.
    """

    name: str
    spec: TensorSpec
    planes: bool
    others: Mapping[str, TensorSpec]

    @classmethod
    def of(cls, inputs: Mapping[str, TensorSpec], name: str) -> Port:
        """Finds the input that takes images.

        Args:
            inputs: the model's.
            name: the file's name, for the sentences.

        Raises:
            ModelError: none does, or there are inputs that nothing is known of.
        """
        others = {key: spec for key, spec in inputs.items() if key in BESIDE}
        images = [key for key in inputs if key not in others]
        shape = inputs[images[0]].shape if len(images) == 1 else ()
        colours = {place: shape[place] for place in (-3, -1) if len(shape) in {3, 4}}
        floats = len(images) == 1 and inputs[images[0]].dtype in {np.dtype(t) for t in ("uint8", "float16", "float32")}
        planes = colours.get(-3) == 3 or (colours.get(-1) != 3 and colours.get(-3) is None)
        if not floats or not colours or (3 not in colours.values() and None not in colours.values()):
            found = ", ".join(f"{key} ({spec})" for key, spec in inputs.items())
            raise ModelError(
                f"The model file {name} takes {found}; a detector takes one batch of images: uint8 ?x?x?x3 where the "
                f"file describes itself, else also float ?x3x?x?, and beside it {', '.join(BESIDE)}."
            )
        return cls(images[0], inputs[images[0]], planes, others)

    @property
    def size(self) -> tuple[int | None, int | None]:
        """Height and width; None where free."""
        height, width = self.spec.shape[-2:] if self.planes else self.spec.shape[-3:-1]
        return height, width

    @property
    def single(self) -> bool:
        """Whether it takes one image at a time."""
        return len(self.spec.shape) == 3 or self.spec.shape[0] == 1

    def feed(self, batch: UInt8, preprocess: Preprocess) -> dict[str, NDArray[Any]]:
        """All inputs for a batch.

        Args:
            batch: `(B, H, W, 3)` uint8 BGR.
            preprocess: what the network wants.
        """
        images = preprocess.tensor(batch, self.spec.dtype, planes=self.planes)
        given: dict[str, NDArray[Any]] = {self.name: images if len(self.spec.shape) == 4 else images[0]}
        count, height, width = batch.shape[:3]
        for name, spec in self.others.items():
            if name == TARGET_SIZES:
                given[name] = np.tile(np.array([[width, height]], spec.dtype), (count, 1))
            elif name == IMAGE_SHAPE:
                given[name] = np.tile(np.array([[height, width]], spec.dtype), (count, 1))
            elif name == SCALE_FACTOR:
                given[name] = np.ones((count, 2), spec.dtype)
            else:
                shape = [height if size is None else size for size in spec.shape[-2:]]
                given[name] = np.ones((count, shape[0], width if spec.shape[-1] is None else shape[1]), spec.dtype)
        return given

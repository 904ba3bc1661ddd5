"""Layouts of detectors' outputs, each with a name, and how boxes are read from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from alstm_ros.engines import TensorSpec
from alstm_ros.errors import ModelError
from alstm_ros.types import Float32, Int64


@dataclass(frozen=True, slots=True)
class Candidates:
    """What a network proposes for a batch, before thresholds and suppression.

    Attributes:
        boxes: `(B, K, 4)` float32, xyxy in pixels of the network's input.
        scores: `(B, K)` float32 in 0..1.
        classes: `(B, K)` int64, index into the class names.
        features: `(B, K, C)` float32, features of the cell that proposed the box, or None.
    """

    boxes: Float32
    scores: Float32
    classes: Int64
    features: Float32 | None


@dataclass(frozen=True, slots=True)
class Decoder:
    """A layout.

    Attributes:
        expects: the outputs it reads, in words.
        fits: whether a model's outputs are of this layout.
        decode: reads one batch of outputs.
    """

    expects: str
    fits: Callable[[Mapping[str, TensorSpec]], bool]
    decode: Callable[[Mapping[str, NDArray[Any]]], Candidates]


def _candidates_fit(outputs: Mapping[str, TensorSpec]) -> bool:
    wanted = {"boxes": (3, "float32"), "scores": (2, "float32"), "classes": (2, "int64")}
    if "features" in outputs:
        wanted["features"] = (3, "float32")
    return all(
        name in outputs and (len(outputs[name].shape), str(outputs[name].dtype)) == want
        for name, want in wanted.items()
    )


def _candidates(outputs: Mapping[str, NDArray[Any]]) -> Candidates:
    return Candidates(outputs["boxes"], outputs["scores"], outputs["classes"], outputs.get("features"))


DECODERS: dict[str, Decoder] = {
    "candidates": Decoder(
        "boxes (float32 ?x?x4, xyxy), scores (float32 ?x?), classes (int64 ?x?), "
        "and, where the model offers them, features (float32 ?x?x?): decoded in the graph",
        _candidates_fit,
        _candidates,
    ),
}


def find(name: str, outputs: Mapping[str, TensorSpec], model: str) -> Decoder:
    """The decoder that a model names.

    Args:
        name: what its card says.
        outputs: its outputs.
        model: the file's name, for the sentences.

    Raises:
        ModelError: there is no decoder of that name, or the outputs are not of its layout.
    """
    if name not in DECODERS:
        raise ModelError(f"The model file {model} names the decoder '{name}'; known are {', '.join(DECODERS)}.")
    decoder = DECODERS[name]
    if not decoder.fits(outputs):
        found = ", ".join(f"{key} ({spec})" for key, spec in outputs.items())
        raise ModelError(f"The model file {model} gives {found}; its decoder '{name}' expects {decoder.expects}.")
    return decoder

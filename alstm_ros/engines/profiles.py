"""The shapes that an engine is built for: a range for each free axis, and the sizes that inputs are padded to.

TensorRT builds for ranges of shapes and replays a CUDA graph for one exact shape. A model's free axes have names in the
ONNX file (`dim_param`); inputs and outputs that share a name share the size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from alstm_ros.engines.failures import UnsupportedModelError

Dims = tuple[int | str, ...]
"""A tensor's axes: a size, or the name of a free one."""

NEXT = "_next"
"""An output `X_next` beside an input `X` is the recurrent state X after the step."""

MOST_ROWS = 512
USUAL_ROWS = 32
"""Tracks or pairs in one association step; a frame with more goes to ONNX Runtime."""
_FEWEST_PADDED = 8
"""Row counts up to this share one bucket."""


@dataclass(frozen=True, slots=True)
class Range:
    """What a free axis may be.

    Attributes:
        least: smallest size.
        usual: the size to be fastest at.
        most: largest size.
        step: the smallest bucket where rows may be padded (1 for batches); 0 where the size must stay as it is.
    """

    least: int
    usual: int
    most: int
    step: int = 0

    def bucket(self, size: int) -> int:
        """The size that `size` rows are padded to: `step`, or a power of two times it, or `most`."""
        if not self.step:
            return size
        padded = self.step
        while padded < size:
            padded *= 2
        return min(padded, self.most)


@dataclass(frozen=True, slots=True)
class ShapeProfile:
    """The axes of every tensor of a model and the ranges of the free ones.

    Attributes:
        inputs: name to axes.
        outputs: name to axes; a free axis that no input has is computed by the model.
        ranges: name of a free axis to its range.
    """

    inputs: Mapping[str, Dims]
    outputs: Mapping[str, Dims]
    ranges: Mapping[str, Range]

    def shape(self, name: str, which: str) -> tuple[int, ...]:
        """An input's shape; `which` is `least`, `usual` or `most`."""
        return tuple(n if isinstance(n, int) else int(getattr(self.ranges[n], which)) for n in self.inputs[name])

    @property
    def key(self) -> str:
        """All of it as one line, for the cache's key and for reports."""
        return " ".join(
            f"{name}:" + "..".join("x".join(map(str, self.shape(name, which))) for which in ("least", "usual", "most"))
            for name in sorted(self.inputs)
        )

    def sizes(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int] | None:
        """The free axes' sizes in these input shapes; None where a size is out of its range or two disagree.

        Where rows may be padded there may be none at all: a model of two halves is asked for one of them.
        """
        found: dict[str, int] = {}
        for name, dims in self.inputs.items():
            for dim, size in zip(dims, shapes[name], strict=True):
                if isinstance(dim, int):
                    continue
                allowed = self.ranges[dim]
                least = 0 if allowed.step else allowed.least
                if not least <= size <= allowed.most or found.setdefault(dim, size) != size:
                    return None
        return found

    def buckets(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """The free axes' sizes after padding."""
        return {name: self.ranges[name].bucket(size) for name, size in sizes.items()}

    def resolve(self, dims: Dims, sizes: Mapping[str, int]) -> tuple[int | None, ...]:
        """Axes with their sizes filled in; None for one that only the model knows."""
        return tuple(dim if isinstance(dim, int) else sizes.get(dim) for dim in dims)


def make_profile(
    inputs: Mapping[str, Dims],
    outputs: Mapping[str, Dims],
    metadata: Mapping[str, str],
    max_batch: int,
    sizes: Mapping[str, int] | None = None,
) -> ShapeProfile:
    """Chooses a range for every free axis.

    The first axis counts rows: images of a batch where the tensor has three axes or more, else tracks or pairs. Rows
    are padded only in a file that describes itself (metadata `kind`), because those promise that rows do not see each
    other. Other free axes take the size of the same name from `sizes` or from the metadata.

    Args:
        inputs: name to axes.
        outputs: name to axes.
        metadata: what the file says of itself.
        max_batch: largest batch of images.
        sizes: name of a free axis to the largest size that will be used.

    Raises:
        UnsupportedModelError: nothing bounds a free axis.
    """
    asked = dict(sizes or {})
    pads = "kind" in metadata
    ranges: dict[str, Range] = {}
    for name, dims in inputs.items():
        for place, dim in enumerate(dims):
            if isinstance(dim, int) or dim in ranges:
                continue
            if place == 0 and len(dims) >= 3:
                ranges[dim] = Range(1, 1, max_batch, 1 if pads else 0)
            elif place == 0:
                ranges[dim] = Range(1, USUAL_ROWS, MOST_ROWS, _FEWEST_PADDED if pads else 0)
            else:
                ranges[dim] = _pixels(name, dim, place, metadata, asked)
    return ShapeProfile(dict(inputs), dict(outputs), ranges)


def _pixels(name: str, dim: str, place: int, metadata: Mapping[str, str], asked: Mapping[str, int]) -> Range:
    try:
        own = int(metadata.get(dim, 0))
        least = int(metadata.get(f"least_{dim}", metadata.get("minimum", 0)))
    except ValueError as error:
        raise UnsupportedModelError(f"The model's metadata gives no whole number for '{dim}' or 'minimum'.") from error
    most = asked.get(dim, 0) or own
    if most < 1:
        raise UnsupportedModelError(
            f"Axis {place} of the model's input '{name}' ('{dim}') may have any size, and nothing says which; "
            f"TensorRT needs a largest size. Put '{dim}' into the model's metadata, or give the size in the config."
        )
    return Range(min(least, most) if least else most, most, most)


def states(inputs: Iterable[str], outputs: Iterable[str]) -> dict[str, str]:
    """The recurrent states of a model: name of the input to name of the output that follows it."""
    following = set(outputs)
    return {name: name + NEXT for name in inputs if name + NEXT in following}

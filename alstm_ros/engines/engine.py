"""What every runtime offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from alstm_ros.engines.status import EngineStatus
from alstm_ros.errors import ModelError

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A model's input or output.

    Attributes:
        shape: its sizes; None where any size is taken.
        dtype: its element type.
    """

    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]

    def __str__(self) -> str:
        """Such as `float32 ?x512x4`."""
        return f"{self.dtype} {'x'.join('?' if n is None else str(n) for n in self.shape) or 'scalar'}"

    def takes(self, array: NDArray[Any]) -> bool:
        """Whether an array is of this type and shape."""
        sizes = len(array.shape) == len(self.shape) and all(
            want is None or got == want for got, want in zip(array.shape, self.shape, strict=True)
        )
        return sizes and array.dtype == self.dtype


class Engine(Protocol):
    """A loaded model: named tensors in, named tensors out. The first axis is the batch, where free of any size."""

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """Name to shape and type."""
        ...

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """Name to shape and type."""
        ...

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the file says about itself."""
        ...

    @property
    def status(self) -> EngineStatus:
        """Which runtime answers and whether another is built; cheap, and may be asked from any thread."""
        ...

    def settle(self) -> None:
        """Waits until the runtime that will answer is chosen, so that two runs over one recording cannot differ."""
        ...

    def __call__(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Runs the model; the same inputs give the same outputs, bit for bit. Several threads may call at once.

        Raises:
            ModelError: an input is missing, unknown, or of the wrong shape or type, or the runtime fails.
        """
        ...

    def close(self) -> None:
        """Frees what the model holds; it cannot run afterwards. Closing twice does nothing."""
        ...


def check_inputs(specs: Mapping[str, TensorSpec], inputs: Tensors) -> None:
    """Refuses inputs that do not fit.

    Raises:
        ModelError: an input is missing, unknown, or of the wrong shape or type.
    """
    if specs.keys() != inputs.keys() or not all(specs[name].takes(array) for name, array in inputs.items()):
        wanted = ", ".join(f"{name} ({spec})" for name, spec in specs.items())
        given = ", ".join(f"{n} ({TensorSpec(a.shape, a.dtype)})" for n, a in inputs.items()) or "nothing"
        raise ModelError(f"The model takes {wanted}; it was given {given}.")

"""Whether two runtimes answer alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alstm_ros.engines.failures import DisagreementError

TOLERANCES = {"fp32": 2e-3, "fp16": 5e-2}
"""Largest difference of an element, relative to the largest magnitude in its output.

The shipped detector's FP16 export is off by at most 0.014 over 400 frames of vtest.avi (`python -m bench.engines`); a
wrong kernel is off by far more.
"""
SHARE = 0.95
"""Share of an output's elements that must be within it: rounding may exchange a few of the last candidates."""


def deviation(reference: NDArray[Any], answer: NDArray[Any]) -> float:
    """How far an output is off: the difference that `SHARE` of its elements do not exceed, relative to the largest.

    Outputs of a top-k list rows by score, and rounding swaps neighbours; so where the rows of each image do not fit in
    the order given, each column is compared in sorted order.

    Returns:
        0 for equal outputs; infinity where shapes differ or the answer is not finite where the reference is.
    """
    if reference.shape != answer.shape:
        return float("inf")
    if not reference.size:
        return 0.0
    one, other = reference.astype(np.float64), answer.astype(np.float64)
    if not np.array_equal(np.isfinite(one), np.isfinite(other)):
        return float("inf")
    one, other = np.nan_to_num(one), np.nan_to_num(other)
    scale = max(float(np.abs(one).max()), _SMALL)
    plain = float(np.quantile(np.abs(one - other), SHARE)) / scale
    if one.ndim < 2:
        return plain
    ordered = np.abs(np.sort(one, axis=1) - np.sort(other, axis=1))
    return min(plain, float(np.quantile(ordered, SHARE)) / scale)


_SMALL = 0.01
"""Outputs below this in all elements, such as the scores of a frame without anything, are compared absolutely."""

Outputs = Mapping[str, NDArray[Any]]


def check(reference: Outputs, answer: Outputs, precision: str, name: str = "TensorRT") -> dict[str, float]:
    """Compares all floating outputs; class indices follow the scores and say nothing by themselves.

    Args:
        reference: name to output, from the runtime that is trusted.
        answer: the same from the other.
        precision: what the other computes in.
        name: the other, for the sentence.

    Returns:
        Name to deviation.

    Raises:
        DisagreementError: one is beyond the tolerance.
    """
    floats = [name for name, output in reference.items() if output.dtype.kind == "f"]
    found = {name: deviation(reference[name], answer[name]) for name in floats}
    worst = max(found, key=lambda name: found[name], default=None)
    tolerance = TOLERANCES[precision]
    if worst is not None and not found[worst] <= tolerance:
        raise DisagreementError(
            f"{name} answers the same frame differently than ONNX Runtime on the processor: output '{worst}' is off by "
            f"{found[worst]:.2g} of its range, and {tolerance:g} is allowed in {precision}. "
            "Set engine.precision to fp32, or engine.runtime to onnxruntime."
        )
    return found

"""When two engines are held to answer the same."""

from __future__ import annotations

import numpy as np
import pytest

from alstm_ros.engines import agreement
from alstm_ros.engines.failures import DisagreementError


def test_agreement_sees_through_swapped_rows_and_not_through_wrong_ones() -> None:
    rng = np.random.default_rng(0)
    boxes = rng.random((2, 300, 4)).astype(np.float32) * 600
    assert agreement.deviation(boxes, boxes) == 0
    assert agreement.deviation(boxes, boxes[:, ::-1]) == 0
    assert agreement.deviation(boxes, boxes + 3) == pytest.approx(3 / boxes.max(), rel=1e-3)
    assert agreement.deviation(boxes, boxes * 0) > 0.5
    assert agreement.deviation(boxes, np.where(boxes > 500, np.nan, boxes)) == float("inf")
    assert agreement.deviation(boxes, boxes[:1]) == float("inf")
    assert agreement.deviation(boxes[:0], boxes[:0]) == 0
    last = boxes.copy()
    last[:, -10:] = 0  # candidates exchanged at the end of the list
    assert agreement.deviation(boxes, last) < 0.02
    with pytest.raises(
        DisagreementError, match=r"output 'b' is off by 0\.\d+ of its range, and 0\.05 is allowed in fp16"
    ):
        agreement.check(
            {"a": boxes, "b": boxes, "n": np.arange(3)}, {"a": boxes, "b": boxes * 2, "n": np.ones(3)}, "fp16"
        )

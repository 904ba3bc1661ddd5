"""How many images never came, guessed from the stamps of those that did, where the middleware does not tell.

A gap in the stamps proves nothing: a camera in the dark halves its rate, a driver jitters. So a guess is made only
where the gaps look like those of an even camera of whose images some are lost by chance, and like nothing else:

- They are whole multiples of one period.
- Their lengths are distributed geometrically: each image is lost with the same probability, so it is also the
  probability that a gap is longer than one period, and that a longer one is longer than two. A camera that alternates
  between two rates has no gap of three periods; a camera that pauses has too few longer ones.
- Long gaps lie among the short ones by chance. A rate that changed gives one kind first and the other afterwards.

Where that does not hold, nothing is said. `bench/missing.py` measures how often that is right, and wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from alstm_ros.types import Int64

LEAST = 30
"""How many gaps are needed for a guess."""
SAME = 0.15
"""How far gaps of one length may differ, relative to the length."""
COMMON = 0.12
"""The share of all gaps that the shortest length must have, to be the camera's period."""
OFF = 0.2
"""How far a gap may be off a whole number of periods, in periods."""
WHOLE = 0.95
"""The share of all gaps that must be whole numbers of periods."""
DOUBT = 0.02
"""The probability below which an observation does not fit to losses by chance."""


def missing_fraction(stamps: Sequence[int]) -> float:
    """Which part of a camera's images never came.

    Args:
        stamps: ns, in the order of arrival.

    Returns:
        0 to 1; 0 where none is missing, and where the stamps do not tell.
    """
    times = np.asarray(stamps, np.int64)
    gaps = times[1:] - times[:-1]
    if len(gaps) < LEAST or gaps.min() <= 0:  # time does not run forward
        return 0.0
    periods = _in_periods(gaps)
    if periods is None or not _by_chance(periods):
        return 0.0
    return 1 - len(periods) / int(periods.sum())


def _in_periods(gaps: Int64) -> Int64 | None:
    """Each gap in periods of the camera; None where there is no such period."""
    ordered = np.sort(gaps).astype(np.float64)
    reach = np.searchsorted(ordered, ordered * (1 + 2 * SAME), side="right") - np.arange(len(ordered))
    common = np.flatnonzero(reach >= max(3.0, COMMON * len(ordered)))
    if not len(common):
        return None
    first = common[0]
    period = float(np.median(ordered[first : first + reach[first]]))
    for _ in range(2):  # the median is biased where jitter is large; the gaps of one period settle it
        near = gaps[(gaps > period / 2) & (gaps < 1.5 * period)]
        period = float(np.mean(near)) if len(near) else period
    counts = np.maximum(np.rint(gaps / period), 1).astype(np.int64)
    off = np.abs(gaps / period - counts)
    return counts if float(np.mean(off <= OFF)) >= WHOLE else None


def _by_chance(periods: Int64) -> bool:
    """Whether gaps of these lengths come about where each image is lost by chance."""
    total, longer = len(periods), periods > 1
    count = int(longer.sum())
    if not count:
        return False
    lost = 1 - total / int(periods.sum())
    longest = int((periods > 2).sum())
    return _fits(count, total, lost) and _fits(longest, count, lost) and _mixed(longer, total, count)


def _fits(successes: int, trials: int, probability: float) -> bool:
    """Whether so many successes are neither too few nor too many for trials of this probability."""
    return min(_at_most(successes, trials, probability), 1 - _at_most(successes - 1, trials, probability)) >= DOUBT


def _mixed(longer: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], total: int, count: int) -> bool:
    """Whether two kinds of gaps follow each other by chance (the runs test of Wald and Wolfowitz, 1940)."""
    runs = 1 + int((longer[1:] != longer[:-1]).sum())
    rest = total - count
    if not rest:
        return False
    mean = 1 + 2 * count * rest / total
    variance = (mean - 1) * (mean - 2) / (total - 1)
    if variance <= 0:
        return True
    return abs(runs - mean) <= 2.33 * math.sqrt(variance)  # two-sided: DOUBT


def _at_most(successes: int, trials: int, probability: float) -> float:
    """The binomial distribution: P(X <= successes)."""
    if successes < 0:
        return 0.0
    if probability <= 0:
        return 1.0
    return math.fsum(
        math.comb(trials, k) * probability**k * (1 - probability) ** (trials - k) for k in range(successes + 1)
    )

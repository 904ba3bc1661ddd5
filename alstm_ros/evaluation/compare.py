"""Is one run better than another? Paired bootstrap over sequences. And: is it good enough?"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from alstm_ros.errors import ConfigError, DataError
from alstm_ros.evaluation import trackeval_adapter as te
from alstm_ros.evaluation.scoring import METRICS, Score

COMPARED = ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW", "Frag")
OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq}


@dataclass(frozen=True, slots=True)
class Difference:
    """How a number differs between two runs.

    Attributes:
        metric: its name.
        here: this run's number over all sequences.
        there: the other run's.
        low: lower end of the 95 % interval of here - there.
        high: its upper end.
        worse: share of resamples in which this run is not better; below 0.025 the difference is no accident.
    """

    metric: str
    here: float
    there: float
    low: float
    high: float
    worse: float


def paired_bootstrap(
    here: Sequence[Score], there: Sequence[Score], samples: int = 1000, seed: int = 0
) -> list[Difference]:
    """Resamples sequences, the same ones for both runs (Efron and Tibshirani 1993, chapter 13: percentile interval).

    Args:
        here: this run's sequences.
        there: the other run's, the same sequences in the same order.
        samples: how many resamples.
        seed: of the random choice.

    Returns:
        One difference for each number in COMPARED.

    Raises:
        DataError: the runs have other sequences, or fewer than two.
    """
    if [score.name for score in here] != [score.name for score in there]:
        raise DataError("The two runs have different sequences; only the same ones can be compared.")
    if len(here) < 2:
        raise DataError("A paired bootstrap needs at least two sequences; this run has one.")
    rng = np.random.default_rng(seed)
    picks = [rng.integers(0, len(here), len(here)).tolist() for _ in range(samples)]
    mine, theirs = _pooled(here, range(len(here))), _pooled(there, range(len(there)))
    table = []
    for pick in picks:
        one, other = _pooled(here, pick), _pooled(there, pick)
        table.append([one[name] - other[name] for name in COMPARED])
    gaps = np.array(table)  # (samples, metrics)
    found = []
    for column, name in enumerate(COMPARED):
        low, high = np.percentile(gaps[:, column], [2.5, 97.5])
        worse = float(np.mean(METRICS[name].better * gaps[:, column] <= 0))
        found.append(Difference(name, mine[name], theirs[name], float(low), float(high), worse))
    return found


def gains(differences: Sequence[Difference]) -> dict[str, float]:
    """How much each compared number is above the other run's, by its name with a plus before it."""
    return {f"+{item.metric}": item.here - item.there for item in differences}


def _pooled(scores: Sequence[Score], pick: Sequence[int]) -> dict[str, float]:
    return te.summary(te.combine([result for index in pick for result in scores[index].results]))


@dataclass(frozen=True, slots=True)
class Requirement:
    """What somebody's CI demands.

    Attributes:
        metric: one of METRICS, or one of COMPARED with a plus before it: how much it is above the other run's.
        relation: one of OPERATORS.
        limit: the number.
    """

    metric: str
    relation: str
    limit: float

    def __str__(self) -> str:
        return f"{self.metric}{self.relation}{self.limit:g}"

    def check(self, numbers: Mapping[str, float]) -> str | None:
        """None where it is met, else a sentence."""
        if self.metric not in numbers:
            return f"{self.metric} is not known for these results; required is {self.relation} {self.limit:g}."
        value = numbers[self.metric]
        if OPERATORS[self.relation](value, self.limit):
            return None
        digits = METRICS[self.metric.removeprefix("+")].digits
        return f"{self.metric} is {value:.{digits}f}; required is {self.relation} {self.limit:g}."


def parse_requirements(text: str) -> list[Requirement]:
    """Reads `HOTA>=60 IDSW<=20 +AssA>0`.

    Raises:
        ConfigError: it does not look like that, or names an unknown number.
    """
    found = []
    for part in re.sub(r"\s*(>=|<=|==|>|<)\s*", r"\1", text).replace(",", " ").split():
        match = re.fullmatch(r"(\+?[\w:]+)(>=|<=|==|>|<)(-?\d+(?:\.\d+)?)", part)
        if match is None:
            raise ConfigError(f"The requirement '{part}' is not understood; it must look like HOTA>=60 or IDSW<=20.")
        known = [f"+{name}" for name in COMPARED] if match[1].startswith("+") else METRICS
        if match[1] not in known:
            raise ConfigError(f"There is no number '{match[1]}' to require; it must be one of {', '.join(known)}.")
        found.append(Requirement(match[1], match[2], float(match[3])))
    if not found:
        raise ConfigError("--require is empty; it must look like 'HOTA>=60 IDSW<=20'.")
    return found

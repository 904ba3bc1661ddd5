"""How often the node's guess at lost images is right, and how often it cries wolf, on simulated cameras.

    dev/run python bench/missing.py --json

The guess (`alstm_ros/ros/missing.py`) is made of stamps alone, for middleware that does not tell of losses; Fast DDS
does. Each report is one look at the last 100 stamps of a camera, as diagnostics take one each second. A report is a
warning where more than `MISSING` of the images are said to be lost. Without losses every warning is false; `most_false`
is the worst camera's share.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from alstm_ros.ros.diagnostics import MISSING
from alstm_ros.ros.missing import missing_fraction

Gaps = NDArray[np.float64]
LENGTH = 100
"""How many gaps one look sees."""
LOSSES = (0.25, 0.3, 0.4, 0.5, 0.6, 0.7)
"""The shares of images that are lost, each by chance."""


def _gaps(*milliseconds: float) -> Gaps:
    return np.array(milliseconds, np.float64)


def cameras() -> dict[str, Callable[[Generator], Gaps]]:
    """Cameras of which nothing is lost: name to the gaps between `LENGTH + 1` stamps, ms."""

    def jittering(deviation: float) -> Callable[[Generator], Gaps]:
        return lambda rng: np.maximum(rng.normal(33.3, 33.3 * deviation, LENGTH), 5)

    def stamped(deviation: float) -> Callable[[Generator], Gaps]:  # each stamp is off, so gaps are not independent
        return lambda rng: np.diff(np.sort(33.3 * np.arange(LENGTH + 1) + rng.normal(0, 33.3 * deviation, LENGTH + 1)))

    def exposing(short: float, long: float, share: float) -> Callable[[Generator], Gaps]:
        return lambda rng: np.where(rng.random(LENGTH) < share, long, short) * rng.normal(1, 0.01, LENGTH)

    def slowing(first: float, then: float) -> Callable[[Generator], Gaps]:
        return lambda rng: (
            np.where(np.arange(LENGTH) < rng.integers(1, LENGTH), first, then) * rng.normal(1, 0.02, LENGTH)
        )

    def wandering(rng: Generator) -> Gaps:  # exposure follows the light
        return np.clip(33.3 * np.exp(np.cumsum(rng.normal(0, 0.05, LENGTH))), 16, 120)

    def pausing(rng: Generator) -> Gaps:
        return np.where(rng.random(LENGTH) < 0.03, rng.uniform(300, 3000, LENGTH), 33.3) * rng.normal(1, 0.02, LENGTH)

    def switching(rng: Generator) -> Gaps:  # between three rates, each for a while
        runs = [np.full(rng.integers(5, 40), rng.choice([33.3, 66.7, 100])) for _ in range(LENGTH // 5)]
        return np.concatenate(runs)[:LENGTH] * rng.normal(1, 0.01, LENGTH)

    made = {f"jitter of gaps {d:.0%}": jittering(d) for d in (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.6)}
    made |= {f"jitter of stamps {d:.0%}": stamped(d) for d in (0.05, 0.1, 0.2, 0.3, 0.5)}
    for short, long in ((33.3, 66.7), (33.3, 100), (33.3, 50), (16.7, 33.3), (33.3, 133.3)):
        made |= {
            f"{s:.0%} of gaps {long} ms, others {short} ms": exposing(short, long, s) for s in (0.1, 0.3, 0.5, 0.7, 0.9)
        }
    for first, then in ((33.3, 66.7), (33.3, 100), (3.3, 33.3), (33.3, 333), (66.7, 33.3)):
        made[f"{first} ms, then {then} ms"] = slowing(first, then)
    return made | {
        "exposure follows the light": wandering,
        "pauses": pausing,
        "switches between three rates": switching,
    }


def losing(rng: Generator, share: float, jitter: float) -> Gaps:
    """Gaps of an even camera, 33.3 ms, of whose images this share is lost by chance."""
    stamps = 33.3 * np.arange(20 * LENGTH) + rng.normal(0, 33.3 * jitter, 20 * LENGTH)
    return np.diff(stamps[rng.random(len(stamps)) >= share][: LENGTH + 1])


def warned(draw: Callable[[Generator], Gaps], reports: int) -> Iterator[bool]:
    """Whether each of so many reports warns."""
    rng = np.random.default_rng(0)
    for _ in range(reports):
        gaps = draw(rng)
        stamps = np.concatenate([_gaps(0), np.cumsum(gaps)]) * 1e6
        yield missing_fraction(stamps.astype(np.int64).tolist()) > MISSING


def main() -> int:
    """Prints the shares; returns 1 where a camera is warned of falsely in more than 1 % of the reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=int, default=1000, help="looks at each camera")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    false = {name: float(np.mean(list(warned(draw, arguments.reports)))) for name, draw in cameras().items()}
    recall = {
        f"{share:.0%} lost, jitter of stamps {jitter:.0%}": float(
            np.mean(list(warned(lambda rng, s=share, j=jitter: losing(rng, s, j), arguments.reports)))  # type: ignore[misc]
        )
        for share in LOSSES
        for jitter in (0.0, 0.02, 0.05)
    }
    worst = max(false.values())
    told = {"reports": arguments.reports, "false": false, "recall": recall, "most_false": worst}
    if arguments.json:
        print(json.dumps(told, indent=2))
    else:
        for name, value in (false | recall).items():
            print(f"{value:7.1%}  {name}")
        print(f"{worst:7.1%}  is the worst share of false warnings")
    return int(worst > 0.01)


if __name__ == "__main__":
    sys.exit(main())

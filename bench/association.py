"""Association on detections alone: the base tracker, the learned association, and the trackers people use.

    python -m bench.association --data FOLDER [--sets mot17,dancetrack] [--models a.onnx b.onnx] [--json]

FOLDER holds `mot17`, `mot15` and `dancetrack`, each with sequences in MOTChallenge's layout. Every contestant gets the
same detections; scores are TrackEval's. With `--time` it measures how long a frame's association takes instead.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from alstm_ros.association.associator import Associator, Candidates, Decision, Refinement
from alstm_ros.association.learned.associator import LearnedAssociator, open_associator
from alstm_ros.association.learned.features import APPEARANCE
from alstm_ros.association.tracker import IdCounter, TrackManager
from alstm_ros.config import Config
from alstm_ros.evaluation.trackeval_adapter import combine, evaluate, prepare_sequence, summary
from alstm_ros.learning.simulation.detector_noise import DetectorNoise
from alstm_ros.options import replace
from alstm_ros.recordings.labels import Labels, make_labels
from alstm_ros.types import Float32, Int64
from bench.association_data import (
    Case,
    crowd,
    dancetrack,
    jittered,
    mot15,
    mot17_half,
    people,
    plain,
    roads,
    streets,
    thin,
    vtest,
    without_motion,
)
from bench.association_peers import PEERS
from bench.association_scores import Judge, calibration, drawn, published_ap, raw_labels

SHOWN = ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW", "AP50", "ECE")


@dataclass(slots=True)
class Output:
    """What a contestant made of a case: boxes, milliseconds a frame, (confidence, right) of each association."""

    labels: Labels
    times: list[float]
    confidences: list[tuple[float, bool]] = field(default_factory=list)


Contestant = Callable[[Case], Output]


def ours(make_associator: Callable[[], Associator] | None, trust: float | None = None) -> Contestant:
    """Our tracker, with a learned association or without; `trust` in place of the default `association.trust`."""
    config = replace(Config(), {"association.model": ""} | ({} if trust is None else {"association.trust": trust}))

    def run(case: Case) -> Output:
        manager = TrackManager(config, IdCounter(), make_associator() if make_associator else None)
        rows, times, judge = [], [], Judge(case)
        for number, frame in enumerate(case.frames, 1):
            begin = time.perf_counter()
            tracks = manager.update(frame.detections, frame.stamp_ns, frame.motion).tracks
            times.append((time.perf_counter() - begin) * 1e3)
            shown = tracks.published
            judge(number, frame.detections, tracks.ids, tracks.detection, tracks.confidences)
            count = int(shown.sum())
            rows.append((np.full(count, number), tracks.ids[shown], tracks.boxes[shown], tracks.scores[shown]))
        columns = [np.concatenate(column) for column in zip(*rows, strict=True)]
        numbers, ids, boxes, scores = columns
        ones = np.ones(len(ids), np.int64)
        labels = make_labels(numbers, ids, boxes, scores, ones, length=len(case.frames))
        return Output(labels, times, judge.found)

    return run


class Part:
    """A learned association of which only a part is at work: corrections alone, or refinement alone."""

    def __init__(self, whole: LearnedAssociator, *, corrects: bool, refines: bool) -> None:
        self._whole, self._corrects, self._refines = whole, corrects, refines

    @property
    def width(self) -> int:
        """See Associator."""
        return self._whole.width

    def correct(self, candidates: Candidates) -> Float32:
        """See Associator."""
        found = self._whole.correct(candidates)
        return found if self._corrects else np.zeros_like(found)

    def advance(self, decision: Decision) -> Refinement:
        """See Associator; unrefined boxes and scores are the rules'."""
        found = self._whole.advance(decision)
        if self._refines:
            return found
        return dataclasses.replace(found, boxes=decision.plain.boxes, scores=decision.plain.scores)

    def forget(self, slots: Int64) -> None:
        """See Associator."""
        self._whole.forget(slots)


def parted(path: Path, *, corrects: bool, refines: bool) -> Callable[[], Associator]:
    """Opens a model of which only a part is to work."""
    make_whole = open_associator(str(path))
    return lambda: Part(make_whole(), corrects=corrects, refines=refines)


def score(cases: Sequence[Case], run: Contestant, bar: tqdm) -> dict[str, float]:
    """All scores of one contestant on one set."""
    outputs, results = [], {}
    for case in cases:
        outputs.append(run(case))
        results[case.name] = evaluate(prepare_sequence(case.truth, outputs[-1].labels, case.benchmark))
        bar.update()
    scores = summary(combine(results))
    times = np.concatenate([output.times for output in outputs])
    scores["AP50"] = published_ap(cases, [output.labels for output in outputs])
    scores["ECE"] = calibration([pair for output in outputs for pair in output.confidences])
    return scores | {"ms_p50": float(np.median(times)), "ms_p99": float(np.percentile(times, 99))}


def judged(
    cases: Sequence[Case], contestants: dict[str, Contestant], draws: int, bar: tqdm
) -> dict[str, dict[str, float]]:
    """All contestants' scores on one set, or their means over so many jittered copies of it; then the detections'."""
    if draws:
        rng = np.random.default_rng(1)
        copies = [[jittered(case, rng) for case in cases] for _ in range(draws)]
        found = {who: [score(copy, run, bar) for copy in copies] for who, run in contestants.items()}
        return {who: drawn(rows, found["base"]) for who, rows in found.items()}
    answer = {who: score(cases, run, bar) for who, run in contestants.items()}
    return answer | {"detections": {"AP50": published_ap(cases, [raw_labels(case) for case in cases])}}


def sets(data: Path, names: Sequence[str]) -> dict[str, list[Case]]:
    """The sets of these names and changes to them, in the order given.

    `-every2` and `-every5` keep every so many-th frame, `-random` drops half of them at random, `-still` hides the
    camera's motion, `-looks` gives simulated detections an appearance, `-plain` takes the detector's away, `-people`
    the detections of all that is no person.
    """
    makers: dict[str, Callable[[], Iterable[Case]]] = {
        "mot17": lambda: mot17_half(data / "mot17"),
        "mot17first": lambda: mot17_half(data / "mot17", first=True),
        "mot15": lambda: mot15(data / "mot15"),
        "dancetrack": lambda: dancetrack(data / "dancetrack"),
        "streets": streets,
        "roads": roads,
        "vtest": lambda: vtest(data / "pets09-s2l1" / "gt.txt", Path(".cache/vtest.avi")),
    }
    made = {}
    for name in names:
        base, *changes = name.split("-")
        cases = (
            list(dancetrack(data / base, noise=DetectorNoise(width=APPEARANCE)))
            if "looks" in changes
            else list(makers[base]())
        )
        for change in changes:
            if change == "still":
                cases = without_motion(cases)
            elif change == "plain":
                cases = [plain(case) for case in cases]
            elif change == "random":
                rng = np.random.default_rng(0)
                cases = [thin(case, np.flatnonzero(rng.random(len(case.frames)) < 0.5)) for case in cases]
            elif change == "people":
                cases = [people(case) for case in cases]
            elif change.startswith("every"):
                step = int(change.removeprefix("every"))
                cases = [thin(case, np.arange(0, len(case.frames), step)) for case in cases]
        made[name] = cases
    return made


def timing(contestants: dict[str, Contestant], counts: Sequence[int], frames: int) -> dict[str, dict[str, float]]:
    """Milliseconds a frame at so many objects: people on a plane, simulated detections, one after the other."""
    found: dict[str, dict[str, float]] = {}
    for count in counts:
        case = crowd(count, frames)
        for name, run in contestants.items():
            times = np.array([run(case).times for _ in range(3)]).min(axis=0)[20:]  # others' work makes noise
            found.setdefault(name, {})
            found[name] |= {f"p50_{count}": float(np.median(times)), f"p99_{count}": float(np.percentile(times, 99))}
    return found


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with mot17, mot15 and dancetrack")
    parser.add_argument("--sets", default="mot17,mot17-still,dancetrack,mot15", help="which sets, by comma")
    parser.add_argument("--models", type=Path, nargs="*", default=[], help="association models; one a seed")
    parser.add_argument("--parts", action="store_true", help="each model also with a part of it off")
    parser.add_argument("--trust", default="", help="each model also with these values of association.trust, by comma")
    parser.add_argument("--peers", default=",".join(PEERS), help="which peers, by comma")
    parser.add_argument("--draws", type=int, default=0, help="mean over so many copies of each set, boxes jittered")
    parser.add_argument("--time", action="store_true", help="measure time at 23, 100 and 300 objects instead")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    contestants: dict[str, Contestant] = {"base": ours(None)}
    contestants |= {str(path): ours(open_associator(str(path))) for path in args.models}
    if args.parts:
        for path in args.models:
            contestants[f"{path} corrects alone"] = ours(parted(path, corrects=True, refines=False))
            contestants[f"{path} refines alone"] = ours(parted(path, corrects=False, refines=True))
    for trust in map(float, filter(None, args.trust.split(","))):
        contestants |= {f"{path} trust {trust}": ours(open_associator(str(path)), trust) for path in args.models}
    contestants |= {name: PEERS[name] for name in args.peers.split(",") if name}
    answer: dict[str, dict[str, dict[str, float]]] = {}
    if args.time:
        answer["time"] = timing(contestants, (23, 100, 300), 200)
    elif args.data is None:
        parser.error("--data FOLDER is needed")
    else:
        chosen = sets(args.data, args.sets.split(","))
        with tqdm(total=sum(map(len, chosen.values())) * len(contestants) * max(args.draws, 1)) as bar:
            for name, cases in chosen.items():
                answer[name] = judged(cases, contestants, args.draws, bar)
    if args.json:
        print(json.dumps(answer, indent=1))
        return 0
    for name, rows in answer.items():
        columns = SHOWN if name != "time" else tuple(next(iter(rows.values())))
        print(f"\n{name:40}" + "".join(f"{column:>9}" for column in columns))
        for who, scores in rows.items():
            cells = (f"{scores[c]:9.3f}" if c in scores else " " * 9 for c in columns)
            print(f"{who[-40:]:40}" + "".join(cells))
    return 0


if __name__ == "__main__":
    sys.exit(main())

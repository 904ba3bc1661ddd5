"""What fine-tuning on one's own recordings adds: `python -m bench.fine_tune --data FOLDER --json`.

Each set's recordings are bootstrapped, with none of the ground truth or with that of every so many-th frame as a person
would label them; the Association LSTM is fine-tuned on them as `alstm train --from` does it, and the ground truth then
judges the tracks on the same recordings, or with `--ahead` on what comes after: MOT17's second halves, the DanceTrack
sequences that were set aside (detections simulated), and the people of vtest.avi from pixels. Scores are the mean over
jittered copies of the detections, the gain is that over the network as it was on the same copies. `gain_...` is that
of the fine-tuned network; `gain_..._of_what_is_written` is zero where the held-out clips made the command keep the old
one. FOLDER holds `mot17`, `dancetrack` and `pets09-s2l1`. Camera motion is not told to anybody.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from alstm_ros.association.learned.associator import MODELS, open_associator
from alstm_ros.config import Config
from alstm_ros.detection import load_detector
from alstm_ros.learning import fine_tuning
from alstm_ros.learning.pseudo_labels.identities import attach_labels
from alstm_ros.learning.pseudo_labels.recordings import in_parts, write_recording
from alstm_ros.learning.pseudo_labels.stitch import stitch
from alstm_ros.learning.pseudo_labels.strict_links import bootstrap
from alstm_ros.learning.run_files import parsed_changes
from alstm_ros.learning.train import AssociationTrainer
from alstm_ros.options import replace
from alstm_ros.recordings.detection_cache import DetectedSource, detect_all
from alstm_ros.recordings.frames import DetectionFrame
from alstm_ros.recordings.mot import read_labels
from alstm_ros.recordings.sparse_labels import SparseLabels
from alstm_ros.recordings.video import Video
from bench.association import ours, score
from bench.association_data import Case, Frame, dancetrack, jittered, mot17_half, people, without_motion

ROOT = Path(__file__).resolve().parents[1]
SHOWN = ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW", "AP50")


def vtest(data: Path, video: Path, cache: Path, detector: str) -> list[Case]:
    """The video as a detector sees it, features included."""
    config = replace(Config(), {"detector.model": detector})
    cached = detect_all(DetectedSource(Video(video, 10), config, load_detector, video, cache, quiet=True))
    least = config.detector.score_threshold
    frames = tuple(
        Frame(item.detections[item.detections.scores >= least], item.stamp_ns, None) for _, item in cached.frames
    )
    truth = read_labels(data / "pets09-s2l1" / "gt.txt", truth=True, length=len(frames))
    return [Case("vtest", "none", frames, truth, 10.0)]


def bootstrapped(cases: Sequence[Case], folder: Path, every: int = 0, *, stitched: bool = False) -> None:
    """What `alstm bootstrap` writes of these detections; with labels of every so many-th frame, the ground truth's."""
    for case in cases:
        frames = [(k, DetectionFrame(f.detections, f.stamp_ns, f.motion)) for k, f in enumerate(case.frames, 1)]
        strict = (bootstrap(part, Config()) for part in in_parts(frames))
        parts = (stitch(pairs) if stitched else pairs for pairs in strict)
        if every:
            sparse = labelled(case, every)
            parts = (attach_labels(pairs, sparse) for pairs in parts)
        write_recording(folder / f"{case.name}.npz", parts)


def labelled(case: Case, every: int) -> SparseLabels:
    """What a person would label who makes no mistakes."""
    numbers = np.arange(1, len(case.frames) + 1, every)
    labels = case.truth.select(np.isin(case.truth.frames, numbers))
    return SparseLabels(case.name, labels, numbers)


def halved(cases: Sequence[Case]) -> tuple[list[Case], list[Case]]:
    """First halves and second ones: what was learnt from labels is to hold in what comes after them, too."""
    parts: tuple[list[Case], list[Case]] = [], []
    for case in cases:
        middle = len(case.frames) // 2
        for part, first, last in zip(parts, (0, middle), (middle, len(case.frames)), strict=True):
            truth = case.truth.window(first + 1, last)
            part.append(dataclasses.replace(case, frames=case.frames[first:last], truth=truth))
    return parts


def fine_tuned(folder: Path, out: Path, model: str, changes: Sequence[str]) -> tuple[Path, fine_tuning.FineTuned]:
    """What `alstm train --from FOLDER --model MODEL --output OUT CHANGES` writes, but for what is held against it.

    The fine-tuned network is left as it is, so that its own gain is seen; with it comes what the command made of it.
    """
    config = fine_tuning.fine_tuning_config(folder, model, parsed_changes(changes))
    path = AssociationTrainer(config, out).run(lambda _done, _total, _losses: None)
    fine = path.with_name("fine_tuned.onnx")
    shutil.copyfile(path, fine)
    return fine, fine_tuning.accept_or_restore(config, path)


def summed(gains: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Of gains `(seeds, draws)`: the mean, its standard error by what seeds and draws differ, and each seed's mean."""
    table = np.array(gains, np.float64)
    parts = [table.mean(axis=axis) for axis in (0, 1)]
    error = sum(part.var(ddof=1) / len(part) for part in parts if len(part) > 1) ** 0.5
    return {"mean": float(table.mean()), "error": float(error), "each": table.mean(axis=1).tolist()}


Scores = list[dict[str, float]]
"""Of each draw."""


def measure(name: str, cases: list[Case], args: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """One set: the rules, the network as it comes, and fine-tuned, a run for each seed and amount of labels."""
    mine, cases = halved(cases) if args.ahead else (cases, cases)
    rng = np.random.default_rng(1)
    copies = [[jittered(case, rng) for case in cases] for _ in range(args.draws)] or [cases]
    runs = 2 + len(args.seeds) * len(args.labels)
    with tqdm(total=len(cases) * len(copies) * runs, desc=name) as bar:

        def judged(make: Any) -> Scores:
            found = [score(copy, ours(make), bar) for copy in copies]
            return [{key: one[key] for key in SHOWN} for one in found]

        rules, before = judged(None), judged(open_associator(args.model))
        answer: dict[str, Any] = {"rules": mean(rules), "before": mean(before)}
        for every in args.labels:
            folder = scratch / f"{name}-{every}"
            bootstrapped(mine, folder, every, stitched=args.stitch)
            after, told = [], []
            for seed in args.seeds:
                begin = time.perf_counter()
                changes = [f"seed={seed}", *args.changes]
                path, settled = fine_tuned(folder, scratch / f"{name}-{every}-{seed}", args.model, changes)
                told.append(dataclasses.asdict(settled) | {"seconds": time.perf_counter() - begin})
                after.append(judged(open_associator(str(path))))
            answer[f"every {every}" if every else "unlabelled"] = gained(before, after, told)
    return answer


def mean(scores: Scores) -> dict[str, float]:
    """Of the draws."""
    return {key: statistics.mean(one[key] for one in scores) for key in SHOWN}


def gained(before: Scores, after: Sequence[Scores], told: list[dict[str, Any]]) -> dict[str, Any]:
    """What the seeds' networks gained, each draw compared with the same draw, and what became of them."""
    answer: dict[str, Any] = {"runs": [mean(scores) | one for scores, one in zip(after, told, strict=True)]}
    for key in SHOWN:
        gains = [[one[key] - old[key] for one, old in zip(scores, before, strict=True)] for scores in after]
        written = [[gain * (not one["kept"]) for gain in row] for row, one in zip(gains, told, strict=True)]
        answer[f"gain_{key}"], answer[f"gain_{key}_of_what_is_written"] = summed(gains), summed(written)
    return answer


def shown(name: str, found: dict[str, Any]) -> None:
    """Prints a set's gains."""
    for kind, one in found.items():
        gains = [(key, one[f"gain_{key}"]) for key in SHOWN if f"gain_{key}" in one]
        told = "  ".join(f"{key} {gain['mean']:+.2f}\u00b1{gain['error']:.2f}" for key, gain in gains)
        print(f"{name} {kind}: {told}" if gains else f"{name} {kind}: {one}", flush=True)


def numbers(text: str) -> list[int]:
    """Numbers between commas."""
    return [int(part) for part in text.split(",")]


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("changes", nargs="*", metavar="NAME=VALUE", help="changes to the fine-tuning")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="the data folder")
    parser.add_argument("--video", type=Path, default=ROOT / ".cache" / "vtest.avi", help="vtest.avi")
    parser.add_argument("--sets", default="vtest,dancetrack,mot17", help="which sets, by comma")
    parser.add_argument("--seeds", type=numbers, default=[0, 1, 2], help="of the fine-tuning")
    parser.add_argument(
        "--labels", type=numbers, default=[0, 30, 10, 1], help="each so many-th frame labelled; 0: none"
    )
    parser.add_argument("--stitch", action="store_true", help="bootstrap as 'alstm bootstrap --stitch' does")
    parser.add_argument("--ahead", action="store_true", help="learn from first halves, score on second ones")
    parser.add_argument("--draws", type=int, default=4, help="jittered copies to score on (0: the set itself)")
    parser.add_argument("--model", default="default", help="where to start")
    parser.add_argument("--detector", default="default", help="what looks at the video (default: the default one)")
    parser.add_argument("--cache", type=Path, help="where the video's detections are kept (default: nowhere)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_intermixed_args()
    found: dict[str, Any] = {"model": MODELS.get(args.model, Path(args.model)).name, "changes": args.changes}
    with tempfile.TemporaryDirectory() as folder:
        makers: dict[str, Callable[[], Iterable[Case]]] = {
            "vtest": lambda: map(
                people, vtest(args.data, args.video, args.cache or Path(folder) / "cache", args.detector)
            ),
            "dancetrack": lambda: without_motion(dancetrack(args.data / "dancetrack")),
            "mot17": lambda: without_motion(mot17_half(args.data / "mot17")),
        }
        for name in args.sets.split(","):
            found[name] = measure(name, list(makers[name]()), args, Path(folder))
            if not args.json:
                shown(name, found[name])
    if args.json:
        print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

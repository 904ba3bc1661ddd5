"""What fine-tuning on one's own recordings adds: `python -m bench.fine_tune --data FOLDER --json`.

Each set's recordings are bootstrapped with their ground truth hidden, the Association LSTM is fine-tuned on them as
`alstm train --from` does it, and the ground truth then judges the tracks on the same recordings: MOT17's second halves,
the DanceTrack sequences that were set aside (detections simulated), and vtest.avi from pixels. `gain_...` is that of
the fine-tuned network; `gain_..._of_what_is_written` is zero where the held-out clips made the command keep the old
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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from alstm_ros.association.lstm import MODELS, open_associator
from alstm_ros.config import Config
from alstm_ros.detection import load
from alstm_ros.evaluation.detection_cache import detect_all
from alstm_ros.evaluation.mot import read_labels
from alstm_ros.evaluation.sources import DetectionFrame
from alstm_ros.evaluation.video import Video
from alstm_ros.learning import command
from alstm_ros.learning.bootstrap import bootstrap
from alstm_ros.learning.recording import in_parts, write
from alstm_ros.learning.run_files import changed
from alstm_ros.learning.train import Trainer
from alstm_ros.options import replace
from bench.association import ours, score
from bench.association_data import Case, Frame, dancetrack, mot17_half, without_motion

ROOT = Path(__file__).resolve().parents[1]
SHOWN = ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW")


def vtest(data: Path, video: Path, cache: Path, detector: str) -> list[Case]:
    """The video as a detector sees it, features included."""
    config = replace(Config(), {"detector.model": detector})
    cached = detect_all(Video(video, 10), config, load, video, cache, quiet=True)
    least = config.detector.score_threshold
    frames = tuple(
        Frame(item.detections[item.detections.scores >= least], item.stamp_ns, None) for _, item in cached.frames
    )
    truth = read_labels(data / "pets09-s2l1" / "gt.txt", truth=True, length=len(frames))
    return [Case("vtest", "none", frames, truth, 10.0)]


def bootstrapped(cases: Sequence[Case], folder: Path) -> None:
    """What `alstm bootstrap` writes of these detections."""
    for case in cases:
        frames = [(k, DetectionFrame(f.detections, f.stamp_ns, f.motion)) for k, f in enumerate(case.frames, 1)]
        write(folder / f"{case.name}.npz", (bootstrap(part, Config()) for part in in_parts(frames)))


def fine_tuned(folder: Path, out: Path, model: str, changes: Sequence[str]) -> tuple[Path, command.Settled]:
    """What `alstm train --from FOLDER --model MODEL --output OUT CHANGES` writes, but for what is held against it.

    The fine-tuned network is left as it is, so that its own gain is seen; with it comes what the command made of it.
    """
    config = command.fine_tuning(folder, model, changed(changes))
    path = Trainer(config, out).run(lambda _done, _total, _losses: None)
    fine = path.with_name("fine_tuned.onnx")
    shutil.copyfile(path, fine)
    return fine, command.settle(config, path)


def summed(gains: list[float]) -> dict[str, Any]:
    """Mean, standard deviation, and each."""
    spread = statistics.stdev(gains) if len(gains) > 1 else 0.0
    return {"mean": statistics.mean(gains), "spread": spread, "each": gains}


def measure(name: str, cases: list[Case], args: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """One set: the rules, the network as it comes, and fine-tuned, a run for each seed."""
    with tqdm(total=len(cases) * (2 + len(args.seeds)), desc=name) as bar:

        def judged(make: Any) -> dict[str, float]:
            found = score(cases, ours(make), bar)
            return {key: found[key] for key in SHOWN}

        answer: dict[str, Any] = {"rules": judged(None), "before": judged(open_associator(args.model)), "after": []}
        bootstrapped(cases, scratch / name)
        for seed in args.seeds:
            begin = time.perf_counter()
            out = scratch / f"{name}-{seed}"
            path, settled = fine_tuned(scratch / name, out, args.model, [f"seed={seed}", *args.changes])
            seconds = time.perf_counter() - begin
            told = dataclasses.asdict(settled) | {"seconds": seconds}
            answer["after"].append(judged(open_associator(str(path))) | told)
    for key in SHOWN:
        gains = [after[key] - answer["before"][key] for after in answer["after"]]
        answer[f"gain_{key}"] = summed(gains)
        answer[f"gain_{key}_of_what_is_written"] = summed(
            [gain * (not after["kept"]) for gain, after in zip(gains, answer["after"], strict=True)]
        )
    return answer


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("changes", nargs="*", metavar="NAME=VALUE", help="changes to the fine-tuning")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="the data folder")
    parser.add_argument("--video", type=Path, default=ROOT / ".cache" / "vtest.avi", help="vtest.avi")
    parser.add_argument("--sets", default="vtest,dancetrack,mot17", help="which sets, by comma")
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--model", default="default", help="where to start")
    parser.add_argument("--detector", default="default", help="what looks at the video (default: the default one)")
    parser.add_argument("--cache", type=Path, help="where the video's detections are kept (default: nowhere)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_intermixed_args()
    found: dict[str, Any] = {"model": MODELS.get(args.model, Path(args.model)).name, "changes": args.changes}
    with tempfile.TemporaryDirectory() as folder:
        makers = {
            "vtest": lambda: vtest(args.data, args.video, args.cache or Path(folder) / "cache", args.detector),
            "dancetrack": lambda: without_motion(dancetrack(args.data / "dancetrack")),
            "mot17": lambda: without_motion(mot17_half(args.data / "mot17")),
        }
        for name in args.sets.split(","):
            found[name] = measure(name, list(makers[name]()), args, Path(folder))
            if not args.json:
                print(name, {key: round(value["mean"], 2) for key, value in found[name].items() if "gain" in key})
    if args.json:
        print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

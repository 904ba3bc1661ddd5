"""Are detections named rightly that a person did not label? `python -m bench.labelled_names --data FOLDER --json`.

Every so many-th frame carries the ground truth as a person's labels; `alstm bootstrap --labels` then says who is who in
the frames between. Counted are detections of unlabelled frames that got a labelled object's name and that meet an
object of the ground truth at an IoU of 0.5; `pieces` is how many objects there seem to be. FOLDER as for fine_tune.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from alstm_ros.boxes import iou
from alstm_ros.config import Config
from alstm_ros.learning.pseudo_labels.footage import PseudoLabels
from alstm_ros.learning.pseudo_labels.identities import attach_labels, identities, matched
from alstm_ros.learning.pseudo_labels.strict_links import bootstrap
from alstm_ros.recordings.frames import DetectionFrame
from alstm_ros.types import Int64
from bench.association_data import Case, dancetrack, mot17_half, people, without_motion
from bench.fine_tune import ROOT, labelled, numbers, vtest


def truth(case: Case, pairs: PseudoLabels) -> Int64:
    """`(D,)` the true object of each detection, -1 for none."""
    found = np.full(len(pairs.frames), -1)
    rows, starts = case.truth.rows(), np.searchsorted(pairs.frames, np.arange(len(pairs) + 1))
    for frame in range(min(len(pairs), case.truth.length)):
        part = slice(rows[frame], rows[frame + 1])
        boxes = pairs.boxes[starts[frame] : starts[frame + 1]].astype(np.float64)
        mine, theirs = matched(iou(boxes, case.truth.boxes[part]), 0.5)
        found[starts[frame] + mine] = case.truth.ids[part][theirs]
    return found


def measure(cases: Iterable[Case], every: int) -> dict[str, float]:
    """One set with every so many-th frame labelled."""
    counts = np.zeros(5, np.int64)
    for case in cases:
        frames = [(k, DetectionFrame(f.detections, f.stamp_ns, f.motion)) for k, f in enumerate(case.frames, 1)]
        strict = bootstrap(frames, Config())
        pairs = attach_labels(strict, labelled(case, every))
        who = identities(pairs)
        name = np.full(int(who.max(initial=-1)) + 1, -1)
        said = (pairs.objects >= 0) & (who >= 0)
        name[who[said]] = pairs.objects[said]
        mine, real = np.where(who >= 0, name[who], -1), truth(case, pairs)
        shown = (mine >= 0) & (real >= 0) & (pairs.objects < 0)
        pieces = len(np.unique(strict.tracklets)), len(name)
        counts += [len(who), shown.sum(), (mine == real)[shown].sum(), *pieces]
    detections, shown_all, right, before, after = counts.tolist()
    return {
        "detections": detections,
        "named": shown_all,
        "right": 100 * right / max(shown_all, 1),
        "pieces_before": before,
        "pieces": after,
    }


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="the data folder")
    parser.add_argument("--video", type=Path, default=ROOT / ".cache" / "vtest.avi", help="vtest.avi")
    parser.add_argument("--sets", default="vtest,dancetrack,mot17", help="which sets, by comma")
    parser.add_argument("--labels", type=numbers, default=[10, 30], help="each so many-th frame labelled")
    parser.add_argument("--cache", type=Path, help="where the video's detections are kept (default: nowhere)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in args.sets.split(","):
            if name == "vtest":
                cases = [people(case) for case in vtest(args.data, args.video, args.cache or Path(folder), "default")]
            else:
                make = mot17_half if name == "mot17" else dancetrack
                cases = without_motion(make(args.data / name))
            for every in args.labels:
                found[f"{name} every {every}"] = measure(cases, every)
    if args.json:
        print(json.dumps(found, indent=1))
    else:
        for name, one in found.items():
            print(name, *(f"{key}={value:.6g}" for key, value in one.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Trains the network again with one thing changed, on a shortened schedule, and measures each.

    python -m bench.ablations --data FOLDER --output FOLDER [--only full,no-hard] [--sets dancetrack,streets] [--json]

FOLDER of data holds `mot17`, `mot15` and `dancetrack`. Every row is trained alike (`--steps` and `--clips` a phase, one
network without merging), once a seed, so rows compare with each other and not with the network of the package. Shown
are means over the seeds; `--json` has the spread and each seed, too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from alstm_ros.association.learned.associator import open_associator
from alstm_ros.learning.run import read_run
from alstm_ros.learning.train import AssociationTrainer
from bench.association import SHOWN, ours, score, sets

CHANGES: dict[str, list[str]] = {
    "full": [],
    "rules-not-kept": ["loss.rules_right_weight=1.0"],
    "few-false": ["data.false=0.1"],
    "not-calm": ["loss.calm=0.0"],
    "no-association": ["loss.association=0.0", "loss.hard=0.0"],
    "no-hard": ["loss.hard=0.0"],
    "no-box": ["loss.box=0.0"],
    "no-score": ["loss.score=0.0"],
    "no-same": ["loss.same=0.0"],
    "no-smooth": ["loss.smooth=0.0"],
    "signed-smooth": ["loss.smoothness=signed"],
    "infonce": ["loss.kind=infonce"],
    "contrastive": ["loss.kind=contrastive"],
    "no-memory": ["model.memory=false"],
    "no-gates": ["model.gates=false"],
    "not-bounded": ["model.bound=3.0"],
    "no-own-states": ["steps=[{total}]", "data.clips={clips}"],
    "no-appearance": ["model.appearance=false"],
    "no-dancetrack": ["data.simulated=1.0"],
    "no-simulated": ["data.simulated=0.0"],
}
"""Name of a row to what is changed."""


def train(name: str, seed: int, args: argparse.Namespace) -> Path:
    """Trains one row with one seed, or takes what a run before has left."""
    total, phases = 2 * args.steps, [args.steps, args.steps]
    given = [f"data.sequences={args.data / 'dancetrack'}", f"steps={phases}", f"data.clips={args.clips}", "recorders=1"]
    given += [f"seed={seed}", "members=1"]
    given += [change.format(total=total, clips=2 * args.clips) for change in CHANGES[name]]
    trainer = AssociationTrainer(read_run(args.config, given), args.output / f"{name}-{seed}")
    with tqdm(total=total, desc=f"{name}, seed {seed}", initial=trainer.done) as bar:
        return trainer.run(lambda done, _total, _losses: bar.update(done - bar.n) and None)


def summed(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Means over the seeds, the standard deviation of each, and each seed's scores."""
    found: dict[str, Any] = {key: statistics.mean(row[key] for row in rows) for key in SHOWN}
    if len(rows) > 1:
        found["spread"] = {key: statistics.stdev(row[key] for row in rows) for key in SHOWN}
        found["each"] = [{key: row[key] for key in SHOWN} for row in rows]
    return found


def main() -> int:
    """Trains, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with mot17, mot15 and dancetrack")
    parser.add_argument("--output", type=Path, required=True, help="folder of the runs; those that exist are resumed")
    parser.add_argument("--config", type=Path, default=Path("config/train.yaml"), help="the run that is changed")
    parser.add_argument("--only", default=",".join(CHANGES), help="which rows, by comma")
    parser.add_argument("--sets", default="mot15,dancetrack,streets", help="which sets, by comma")
    parser.add_argument("--steps", type=int, default=300, help="of each of two phases")
    parser.add_argument("--clips", type=int, default=60, help="of each of two phases")
    parser.add_argument("--seeds", type=lambda text: [int(part) for part in text.split(",")], default=[0, 1, 2])
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    models = {name: [train(name, seed, args) for seed in args.seeds] for name in args.only.split(",")}
    contestants: dict[str, list[Any]] = {"the rules alone": [ours(None)]}
    contestants |= {name: [ours(open_associator(str(path))) for path in paths] for name, paths in models.items()}
    answer: dict[str, dict[str, dict[str, Any]]] = {}
    chosen = sets(args.data, args.sets.split(","))
    total = sum(map(len, chosen.values())) * sum(map(len, contestants.values()))
    with tqdm(total=total, desc="measuring") as bar:
        for name, cases in chosen.items():
            answer[name] = {who: summed([score(cases, run, bar) for run in runs]) for who, runs in contestants.items()}
    if args.json:
        print(json.dumps(answer, indent=1))
        return 0
    for name, rows in answer.items():
        print(f"\n{name:20}" + "".join(f"{column:>9}" for column in SHOWN))
        for who, scores in rows.items():
            print(f"{who:20}" + "".join(f"{scores[column]:9.3f}" for column in SHOWN))
    return 0


if __name__ == "__main__":
    sys.exit(main())

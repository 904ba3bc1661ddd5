"""A run of the detector's training, with its progress."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from alstm_ros.learning.detector.train import TrainConfig, Trainer


def run(config: TrainConfig, output: Path, *, as_json: bool) -> int:
    """Trains; progress goes to stderr, losses to TensorBoard files in the run's folder."""
    trainer = Trainer(config, output)
    latest: dict[str, float] = {}
    with (
        SummaryWriter(str(output / "tensorboard")) as board,
        tqdm(desc="labels of the teachers", unit="image", delay=1) as looks,
        tqdm(total=config.steps, initial=trainer.done, unit="step", delay=1) as bar,
    ):

        def report(done: int, losses: Mapping[str, float]) -> None:
            latest.update(losses)
            bar.update(done - bar.n)
            if done % 20 == 0:
                bar.set_postfix(loss=f"{losses['loss']:.3f}")
                for name, value in losses.items():
                    board.add_scalar(f"loss/{name}", value, done)

        path = trainer.run(report, lambda _: looks.update())
    if as_json:
        print(json.dumps({"model": str(path), "steps": trainer.done, "losses": latest}))  # noqa: T201  # the answer
    else:
        sys.stderr.write(f"The model is {path}; use it with detector.model: {path}\n")
    return 0

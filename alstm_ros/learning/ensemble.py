"""Trains several networks that differ in their seed alone, and one network that learns their mean.

Such networks decide differently where people cross, and this difference is larger than what most changes of a training
bring. Their mean varies less and is better. One network that has learnt the mean takes as much time as any of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from alstm_ros.learning.objective import LossConfig
from alstm_ros.learning.train import AssociationTrainConfig


def ensemble_runs(config: AssociationTrainConfig, folder: Path) -> Iterator[tuple[AssociationTrainConfig, Path]]:
    """The single trainings that a run consists of, each with its folder, in the order in which they are needed.

    Args:
        config: of all together.
        folder: where the last one, the result, is made; the others have folders in it.
    """
    if config.members == 1:
        yield config, folder
        return
    folders = [folder / f"member{k}" for k in range(config.members)]
    for k, place in enumerate(folders):
        yield replace(config, members=1, seed=config.members * config.seed + k), place
    networks = tuple(str(place / "association.onnx") for place in folders)
    yield (
        replace(
            config,
            members=1,
            steps=config.merge,
            start=networks[0],
            teachers=networks,
            start_share=0.0,
            data=replace(config.data, truth=False),
            loss=LossConfig(calm=0.0, small=0.0, distillation=1.0),
        ),
        folder,
    )

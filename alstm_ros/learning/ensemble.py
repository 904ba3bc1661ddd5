"""Several networks trained alike, and one that says what they say on average.

Trainings that differ in their seed alone differ in what they do where people cross, by more than most changes to a
training bring. Their mean differs less and is better; a single network that learnt it takes no more time than any.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from alstm_ros.learning.objective import LossConfig
from alstm_ros.learning.train import AssociationTrainConfig


def ensemble_runs(config: AssociationTrainConfig, folder: Path) -> Iterator[tuple[AssociationTrainConfig, Path]]:
    """The runs that a run of several members is made of, each with its folder, in the order in which they are needed.

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

"""Trains a network further on a user's own recordings, and keeps the old one unless that surely helped."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from alstm_ros.association.learned.associator import MODELS
from alstm_ros.learning.network.onnx_file import write_network
from alstm_ros.learning.network.weights import read_metadata, read_model
from alstm_ros.learning.pseudo_labels.recordings import open_recordings
from alstm_ros.learning.run_files import build_config, merged
from alstm_ros.learning.train import AssociationTrainConfig
from alstm_ros.learning.validation import Verdict, compare_networks

FINE_TUNING: Mapping[str, object] = {
    "steps": [120],
    "batch": 16,
    "rate": 1e-3,
    "start_share": 0.5,
    "data.held": 0.2,
    "data.clips": 40,
    "data.frames": 200,
    "data.simulated": 1.0,
    "data.truth": False,
    "loss.distillation": 1.0,
    "loss.calm": 0.0,
    "loss.small": 0.0,
}
"""What differs from AssociationTrainConfig's defaults when a network is trained further: minutes instead of an hour."""
LABELLED: Mapping[str, object] = {
    "steps": [300],
    "rate": 2e-3,
    "warm": 20,
    "data.own": 0.8,
    "data.clips": 60,
    "data.truth": True,
    "loss.distillation": 0.3,
}
"""What differs from FINE_TUNING where a person labelled frames, which say what the old network does not know.

Simulated scenes tell their truth, lest it learn a few people by heart.
"""


def fine_tuning_config(folder: Path, start: str, values: Mapping[str, object]) -> AssociationTrainConfig:
    """The run of `alstm train --from`: FINE_TUNING, LABELLED where frames are labelled, and the user's own values.

    Raises:
        DataError: the folder holds no bootstrapped recording.
        ModelError: the start is no network.
    """
    fixed = {"data.bootstrapped": str(folder), "start": start}
    preset = {**FINE_TUNING, **(LABELLED if any(recording.labelled for recording in open_recordings(folder)) else {})}
    given = merged(AssociationTrainConfig, preset, values, fixed)
    held = build_config(given, AssociationTrainConfig).data.held
    return build_config({**origin(folder, start, held), **given}, AssociationTrainConfig)


def origin(folder: Path, start: str, held: float) -> dict[str, str]:
    """The licence and the training data that the fine-tuned file names.

    Raises:
        DataError: the folder holds no bootstrapped recording.
    """
    recordings = open_recordings(folder)
    names = ", ".join(recording.path.stem for recording in recordings)
    frames = sum(len(recording.split_end(held)[0]) for recording in recordings)
    labelled = sum(recording.labelled for recording in recordings)
    path = MODELS.get(start, Path(start))
    base = read_metadata(path) if path.suffix == ".onnx" else {}
    told = base.get("training_data", "not told")
    return {
        "licence": base.get("licence", "not told"),
        "training_data": f"{told}; then fine-tuned on {frames} frames of its user's recordings ({names}), labelled by "
        f"'alstm bootstrap' without ground truth, {labelled} frames by a person; simulated scenes",
    }


@dataclass(frozen=True, slots=True)
class FineTuned:
    """Whether a fine-tuned network was accepted.

    Attributes:
        verdict: what the held-out stretches say; None where nothing was held out, or too little.
        kept: whether the file holds the network as it was.
        labelled: frames that a person labelled.
    """

    verdict: Verdict | None
    kept: bool
    labelled: int

    def sentences(self, path: Path, start: str) -> str:
        """The text for the user at the end."""
        use = f"The model is {path}; use it with association.model: {path}\n"
        told = f"On held-out stretches of the recordings: {self.verdict}. " if self.verdict else ""
        if self.kept:
            why = "Too little was held out to tell" if self.verdict is None else "That is no sure gain"
            why = "That is a loss" if self.verdict and self.verdict.worse else why
            return f"{told}{why}, so {path} holds the network as it was ({start}).\n"
        if self.labelled and not (self.verdict and self.verdict.better):
            return f"{told}{self.labelled} labelled frames were learned; judge what they brought.\n{use}"
        return f"{told or 'Nothing was held out; judge the model on other recordings. '}\n{use}".replace(" \n", "\n")


def accept_or_restore(config: AssociationTrainConfig, path: Path) -> FineTuned:
    """Validates on the recordings' held-out ends, and puts the old network back if there is no sure gain.

    What a person labelled also teaches boxes and scores, which the held-out ends cannot judge. Where frames are
    labelled, the old network is therefore put back only after a sure loss.

    Args:
        config: of the run that is finished.
        path: the file that it made.
    """
    recordings = open_recordings(Path(config.data.bootstrapped)) if config.data.bootstrapped else []
    labelled = sum(recording.labelled for recording in recordings)
    ends = [recording.split_end(config.data.held)[1] for recording in recordings]
    before, start = path.with_name("before.onnx"), MODELS.get(config.start, Path(config.start))
    if not config.data.held or not recordings:
        return FineTuned(None, kept=False, labelled=labelled)
    if start.suffix == ".onnx":
        shutil.copyfile(start, before)
    else:
        write_network(read_model(config.start), before, {"licence": "not told", "training_data": "not told"})
    verdict = compare_networks(ends, str(before), str(path), config.seed, config.recorders)
    kept = verdict.worse or not (verdict.better or labelled) if verdict else not labelled
    if kept:
        before.replace(path)
    else:
        before.unlink()
    return FineTuned(verdict, kept, labelled)

"""Training: phases of recorded clips, the first by the tracker's rules alone, later ones with the network inside."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from alstm_ros.association.learned.associator import open_associator
from alstm_ros.config import Config
from alstm_ros.learning.batches import make_batch
from alstm_ros.learning.clips import ClipSources, TrainingDataConfig, make_tape, split_sequences
from alstm_ros.learning.network.model import AssociationLstm
from alstm_ros.learning.network.onnx_file import write_network
from alstm_ros.learning.network.variants import VariantConfig, make_network
from alstm_ros.learning.network.weights import blended, read_model
from alstm_ros.learning.objective import LossConfig, Objective
from alstm_ros.learning.pseudo_labels.recordings import open_recordings
from alstm_ros.learning.rollout import Rollout
from alstm_ros.learning.simulation.scenes import Scene, cut, read_scene
from alstm_ros.learning.tape import Tape
from alstm_ros.options import replace

SAVE_EVERY = 120.0
"""Seconds between two checkpoints; what is trained does not depend on it."""


@dataclass(frozen=True, slots=True)
class AssociationTrainConfig:
    """All parameters of a training run; `config/train.yaml` is one.

    Attributes:
        seed: of everything that is drawn.
        steps: optimiser steps of each phase; every phase but the first has the network inside the tracker.
        batch: windows of a step.
        rate: largest learning rate.
        warm: steps until it is reached.
        decay: weight decay.
        optimiser: `adamw` or `rmsprop` (squares forgotten by 0.9 a step).
        threads: processor threads of the network; on cores that others use too, one is faster than two.
        recorders: processes that record clips.
        model: the network.
        data: the clips.
        loss: the losses.
        start: weights to start from: `default`, an ONNX file that `alstm train` wrote, or a checkpoint; the network is
            then inside the tracker from the first phase on, and its inputs stay standardised as they were. Empty for
            none.
        teachers: networks, named like `start`, whose mean is the truth where nothing is known, as far as
            `loss.distillation` asks for it; empty for `start` alone.
        members: so many networks are trained, from seeds of their own, each with these steps; then one more learns to
            say what they say on average, and that is the result; see ensemble.
        merge: optimiser steps of each phase of that last one.
        start_share: share of the weights started from in the exported model; the rest are those trained. Between the
            two lies a network that learnt something and forgot less (Wortsman et al., arXiv:2109.01903).
        licence: of the weights, told in the file.
        training_data: what they learnt from, told in the file.
    """

    RENAMED: ClassVar[Mapping[str, str]] = {
        "keep": "start_share",
        "loss.keep": "loss.rules_right_weight",
        "loss.remember": "loss.distillation",
    }

    seed: int = 0
    steps: tuple[int, ...] = (700, 700, 800)
    batch: int = 24
    rate: float = 2e-3
    warm: int = 100
    decay: float = 1e-4
    optimiser: str = "adamw"
    threads: int = 1
    recorders: int = 2
    model: VariantConfig = field(default_factory=VariantConfig)
    data: TrainingDataConfig = field(default_factory=TrainingDataConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    start: str = ""
    teachers: tuple[str, ...] = ()
    members: int = 1
    merge: tuple[int, ...] = (700, 800)
    start_share: float = 0.0
    licence: str = "Apache-2.0"
    training_data: str = "DanceTrack annotations (CC BY 4.0) with simulated detections; simulated scenes"


Report = Callable[[int, int, Mapping[str, float]], None]
"""Is called with the number of steps done, of all steps, and the losses."""


class AssociationTrainer:
    """One training run in a folder: checkpoints, the exported model, and resuming."""

    def __init__(self, config: AssociationTrainConfig, folder: Path) -> None:
        """Prepares a run, or resumes the one of the folder's checkpoint."""
        self.config, self.folder = config, folder
        self.rank, self.ranks = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        torch.manual_seed(config.seed)
        torch.set_num_threads(config.threads)
        self.device = (
            torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
            if torch.cuda.is_available()
            else torch.device("cpu")
        )
        self.model = read_model(config.start) if config.start else make_network(config.model)
        self.model.to(self.device)
        self.optimiser = _optimiser(config, self.model)
        self.done = 0
        self.checkpoint = folder / "checkpoint.pt"
        folder.mkdir(parents=True, exist_ok=True)
        if self.checkpoint.is_file():
            state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.done = int(state["done"])

    @property
    def path(self) -> Path:
        """The path of the exported model."""
        return self.folder / "association.onnx"

    def run(self, report: Report) -> Path:
        """Trains the steps that are not done yet.

        Returns:
            The exported model.
        """
        config = self.config
        total, begun = sum(config.steps), 0
        for phase, steps in enumerate(config.steps):
            if self.done < begun + steps:
                if (phase or config.start) and self.rank == 0 and not self._inside(phase).is_file():
                    self._export(self._inside(phase), self.model)
                if self.ranks > 1:
                    distributed.barrier()
                tapes = list(self.record(phase))
                try:
                    self._phase(phase, tapes, begun, total, report)
                except KeyboardInterrupt:
                    if self.rank == 0:
                        self.save()
                    raise
            begun += steps
        if self.rank == 0:
            self.save()
        return self.path

    def record(self, phase: int) -> Iterator[Tape]:
        """The phase's clips, recorded by several processes, in an order that never changes."""
        config = self.config
        model = str(self._inside(phase)) if phase or config.start else None
        seeds = [(config.seed, phase, self.rank, k) for k in range(config.data.clips)]
        work = (config.data, model)
        if config.recorders < 2:
            _prepare(*work)
            yield from map(_tape, seeds)
            return
        with ProcessPoolExecutor(config.recorders, get_context("spawn"), _prepare, work) as pool:
            yield from pool.map(_tape, seeds, chunksize=4)

    def save(self) -> None:
        """Writes the checkpoint and the exported model; each file is replaced at once or not at all."""
        fresh = self.checkpoint.with_suffix(".part")
        state = {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict(), "done": self.done}
        torch.save(state | {"config": dataclasses.asdict(self.config)}, fresh)
        fresh.replace(self.checkpoint)
        share = self.config.start_share if self.config.start else 0.0
        self._export(self.path, blended(self.model, read_model(self.config.start), share) if share else self.model)

    def _inside(self, phase: int) -> Path:
        """The model that is inside the tracker while a phase's clips are recorded; a resumed run needs the same."""
        return self.folder / f"phase{phase}.onnx"

    def _export(self, path: Path, model: AssociationLstm) -> None:
        about = {"licence": self.config.licence, "training_data": self.config.training_data}
        about |= {"steps": str(self.done), "seed": str(self.config.seed)}
        write_network(model, path, about)

    def _phase(self, phase: int, tapes: list[Tape], begun: int, total: int, report: Report) -> None:
        """The optimiser steps of one phase."""
        config, limit = self.config, Config().association.max_cost
        names = config.teachers or (config.start,) if config.start and config.loss.distillation else ()
        teachers = [read_model(name).to(self.device) for name in names]
        network: nn.Module = Objective(self.model, config.loss, teachers)
        if self.ranks > 1:
            network = DistributedDataParallel(network)
        self.model.train()
        if config.start:  # what was learnt rests on this scale
            self.model.norm_step.eval()
            self.model.norm_pair.eval()
        lengths = np.array([max(tape.frames - config.data.window + 1, 1) for tape in tapes])
        last = time.monotonic()
        for step in range(self.done, begun + config.steps[phase]):
            rng = np.random.default_rng([config.seed, phase, self.rank, step])
            which = rng.choice(len(tapes), config.batch, p=lengths / lengths.sum())
            windows = [(tapes[k], int(rng.integers(lengths[k]))) for k in which]
            batch = make_batch(windows, config.data, limit)
            for group in self.optimiser.param_groups:
                group["lr"] = config.rate * _schedule(step, total, config.warm)
            self.optimiser.zero_grad(set_to_none=True)
            loss, parts = network(batch.to(self.device))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimiser.step()
            self.done = step + 1
            report(self.done, total, {name: value.item() for name, value in parts.items()} | {"loss": loss.item()})
            if self.rank == 0 and time.monotonic() - last > SAVE_EVERY:
                self.save()
                last = time.monotonic()


def _optimiser(config: AssociationTrainConfig, model: nn.Module) -> torch.optim.Optimizer:
    if config.optimiser == "rmsprop":
        return torch.optim.RMSprop(model.parameters(), config.rate, alpha=0.9, weight_decay=config.decay)
    return torch.optim.AdamW(model.parameters(), config.rate, weight_decay=config.decay)


def _schedule(step: int, total: int, warm: int) -> float:
    """The factor of the learning rate: a linear warm-up, then a cosine down to a hundredth."""
    return min(1.0, (step + 1) / warm) * (0.01 + 0.99 * 0.5 * (1 + float(np.cos(np.pi * step / total))))


_WORKER: dict[str, Any] = {}
"""What a recording process has loaded."""


def _prepare(data: TrainingDataConfig, model: str | None) -> None:
    """Loads what a recording process needs, once."""
    folders = split_sequences(Path(data.sequences), data.hold_every)[0] if data.sequences else []
    annotated: list[Scene] = [read_scene(folder) for folder in folders]
    for folder in split_sequences(Path(data.halves), 0)[0] if data.halves else []:
        whole = read_scene(folder)
        annotated.append(cut(whole, 0, len(whole) // 2))
    recordings = open_recordings(Path(data.bootstrapped)) if data.bootstrapped else []
    sources = ClipSources(annotated, [recording.split_end(data.held)[0] for recording in recordings])
    _WORKER.update(data=data, sources=sources, inner=open_associator(model) if model is not None else None)


def _tape(seed: tuple[int, ...]) -> Tape:
    inner = _WORKER["inner"]
    # it is to learn from what its own corrections lead to, however far the tracker trusts them later
    tracker = replace(Config(), {"association.trust": 1.0})
    return make_tape(seed, _WORKER["sources"], _WORKER["data"], Rollout(tracker, inner() if inner else None))

"""Training: labelled images to a network, its running mean, and a calibrated ONNX file."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from alstm_ros.errors import ConfigError, DataError
from alstm_ros.learning.detector import losses, quality
from alstm_ros.learning.detector.augment import Item
from alstm_ros.learning.detector.data import DataConfig, Mixed, Picture, pictures
from alstm_ros.learning.detector.export import Calibration, export
from alstm_ros.learning.detector.model import DetectorNet, ModelConfig, centres
from alstm_ros.learning.detector.teacher import Looker, TeacherLabels, Teachers
from alstm_ros.types import Float32

BOX = 2.0
"""Weight of the boxes' loss against the classes'."""
CALIBRATED = 10
"""Every so many-th image that a teacher labelled is among those that the scores are calibrated on."""
MEMORY = 0.9985
"""How much of the running mean of the weights stays in each step."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """All of a training run; `config/detector.yaml` is one.

    Attributes:
        seed: of everything that is drawn.
        steps: optimiser steps.
        batch: images of a step.
        rate: largest learning rate; it rises for `warmup` steps and falls to nothing along a cosine.
        trunk: the trunk's share of that rate.
        warmup: steps.
        decay: weight decay.
        precision: `bf16` (mixed) or `fp32`.
        threads: processor threads.
        start: file of weights to start from, as `dev/import_ssdlite.py` writes it; empty starts from nothing.
        height: rows at which the exported model runs when nothing else is asked for.
        width: columns, likewise.
        offered: classes that the exported model offers; empty offers all.
        model: the network.
        data: the images.
        licence: of the weights, told in the file.
        source: where they come from, told in the file.
        training_data: what they learnt from, told in the file.
    """

    seed: int = 0
    steps: int = 3500
    batch: int = 8
    rate: float = 2e-3
    trunk: float = 0.15
    warmup: int = 150
    decay: float = 0.02
    precision: str = "bf16"
    threads: int = 1
    start: str = ""
    height: int = 448
    width: int = 608
    offered: tuple[str, ...] = ()
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    licence: str = "not told"
    source: str = "alstm train"
    training_data: str = "not told"

    def __post_init__(self) -> None:
        """Refuses what cannot be trained."""
        if self.precision not in ("bf16", "fp32"):
            raise ConfigError(f"precision is '{self.precision}'; it must be bf16 or fp32.")
        for name in ("steps", "batch", "threads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        if unknown := [name for name in self.offered if name not in self.model.classes]:
            raise ConfigError(f"offered names {', '.join(unknown)}; model.classes has {', '.join(self.model.classes)}.")


Report = Callable[[int, Mapping[str, float]], None]
"""Told the steps that are done and the losses."""


class Trainer:
    """One training run in a folder: labels, checkpoint, the exported model, and resuming."""

    def __init__(self, config: TrainConfig, folder: Path) -> None:
        """Prepares, or goes on from the folder's checkpoint.

        Raises:
            ConfigError: the folder holds another run, or the weights to start from do not fit.
        """
        self.config, self.folder, self.done = config, folder, 0
        torch.manual_seed(config.seed)
        torch.set_num_threads(config.threads)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        net = DetectorNet(config.model)
        self.checkpoint = folder / "checkpoint.pt"
        if config.start and not self.checkpoint.is_file():
            net.start_from(_weights(Path(config.start).expanduser()))
        self.net = net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.mean = copy.deepcopy(self.net).eval()
        trunk = [p for part in (net.stem, net.blocks) for p in part.parameters() if p.requires_grad]
        known = {id(p) for part in (net.stem, net.blocks) for p in part.parameters()}
        rest = [p for p in net.parameters() if id(p) not in known]
        groups = [{"params": rest, "share": 1.0}, {"params": trunk, "share": config.trunk}]
        self.optimiser = torch.optim.AdamW(groups, config.rate, weight_decay=config.decay)
        folder.mkdir(parents=True, exist_ok=True)
        if self.checkpoint.is_file():
            self._resume()

    @property
    def path(self) -> Path:
        """Where the exported model is."""
        return self.folder / "detector.onnx"

    def run(self, report: Report, labelled: Callable[[str], None] = lambda _: None) -> Path:
        """Trains what is left to train.

        Args:
            report: told of each step.
            labelled: told the name of each image that the teachers have labelled.

        Returns:
            The exported model.

        Raises:
            DataError: images cannot be read, or none is to be trained on.
            ConfigError: a teacher does not fit.
        """
        config = self.config
        items, held = self.look(labelled)
        points, strides = (part.to(self.device) for part in centres(config.data.height, config.data.width))
        mixed = Mixed(items, config.data, config.seed)
        self.net.train()
        try:
            for images, labels in mixed.batches(self.done, config.steps, config.batch):
                self._step(images, labels, points, strides, report)
        except KeyboardInterrupt:
            self.save()
            raise
        self.save()
        if held:
            self.export(self._calibration(held))
        return self.path

    def look(self, labelled: Callable[[str], None] = lambda _: None) -> tuple[list[Item], list[Picture]]:
        """What is trained on, labelled by the teachers where nobody else did, and what scores are calibrated on.

        The latter are the complete images that are held back, and some of those that the teachers labelled: the first
        are few and of scenes of another kind, the second are known to the network.
        """
        config = self.config.data
        labels = TeacherLabels(self.folder / "labels.npz", self._teachers, labelled)
        items, held, taught = [], [], []
        try:
            for picture in pictures(config, self.config.model.classes):
                boxes = labels(picture.name, picture.image) if picture.boxes is None else picture.boxes
                if picture.held:
                    held.append(picture)
                else:
                    items.append(Item(picture.image, boxes, picture.share))
                    if picture.boxes is None:
                        taught.append(dataclasses.replace(picture, boxes=boxes))
        finally:
            labels.save()
        if not any(len(item.labels) for item in items):
            raise DataError(f"data.images '{config.images}' holds no labelled image outside the split '{config.held}'.")
        return items, held + taught[::CALIBRATED]

    def save(self) -> None:
        """Writes the checkpoint, at once or not at all, and the exported model."""
        state = {"net": self.net.state_dict(), "mean": self.mean.state_dict(), "done": self.done}
        state |= {"optimiser": self.optimiser.state_dict(), "config": dataclasses.asdict(self.config)}
        fresh = self.checkpoint.with_suffix(".part")
        torch.save(state, fresh)
        fresh.replace(self.checkpoint)
        self.export()

    def export(self, calibration: Calibration | None = None) -> None:
        """Writes the running mean of the weights as ONNX."""
        config = self.config
        about = {"licence": config.licence, "source": config.source, "training_data": config.training_data}
        about |= {"height": str(config.height), "width": str(config.width), "version": "1"}
        about |= {"steps": str(self.done), "seed": str(config.seed)}
        mean = copy.deepcopy(self.mean).cpu()
        export(mean, self.path, config.offered or config.model.classes, about, calibration)

    def _step(self, images: Tensor, labels: list[Tensor], points: Tensor, strides: Tensor, report: Report) -> None:
        config = self.config
        rise = min(1.0, (self.done + 1) / config.warmup) if config.warmup else 1.0
        factor = rise * (0.02 + 0.49 * (1 + math.cos(math.pi * self.done / config.steps)))
        for group in self.optimiser.param_groups:
            group["lr"] = config.rate * group["share"] * factor
        x = images.to(self.device).permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            logits, sides = self.net(x)
        wanted = [label.to(self.device) for label in labels]
        classes, boxes = losses.detection(logits, sides, points, strides, wanted)
        total = classes + BOX * boxes
        self.optimiser.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self.optimiser.step()
        self.done += 1
        keep = min(MEMORY, self.done / (self.done + 19))
        with torch.no_grad():
            for mean, new in zip(self.mean.state_dict().values(), self.net.state_dict().values(), strict=True):
                if mean.is_floating_point():
                    mean.lerp_(new, 1 - keep)
                else:
                    mean.copy_(new)
        report(
            self.done,
            {"loss": float(total.detach()), "classes": float(classes.detach()), "boxes": float(boxes.detach())},
        )
        if self.done % 250 == 0:
            self.save()

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        before, now = state["config"], dataclasses.asdict(self.config)
        if differing := [name for name in now if now[name] != before.get(name)]:
            raise ConfigError(f"{self.folder} holds a run with another '{differing[0]}'; give another --output.")
        self.net.load_state_dict(state["net"])
        self.mean.load_state_dict(state["mean"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.done = int(state["done"])

    def _teachers(self) -> Teachers:
        config = self.config
        if not config.data.teachers:
            raise ConfigError("Some images have no complete labels; data.teachers must name detectors that label them.")
        return Teachers(config.data.teachers, config.model.classes, config.threads)

    def _calibration(self, held: Sequence[Picture]) -> Calibration | None:
        """What makes the exported model's scores chances; None where the held images cannot tell."""
        offered = self.config.offered or self.config.model.classes
        look = Looker(str(self.path), offered, threads=self.config.threads)
        kinds = [self.config.model.classes.index(name) for name in offered]
        truths = [_renumbered(picture.boxes, kinds) for picture in held if picture.boxes is not None]
        try:
            return quality.calibrate(quality.judge([look(picture.image) for picture in held], truths, offered))
        except DataError:
            return None


def _renumbered(labels: Float32, kinds: list[int]) -> Float32:
    """TeacherLabels of some classes, numbered by their place among these."""
    rows = labels[np.isin(labels[:, 5], kinds)].copy()
    rows[:, 5] = [kinds.index(int(kind)) for kind in rows[:, 5]]
    return np.asarray(rows)


def _weights(path: Path) -> Mapping[str, Float32]:
    try:
        return {name: np.asarray(value) for name, value in np.load(path).items()}
    except (OSError, ValueError) as error:
        raise ConfigError(f"start is '{path}'; it must be weights, as dev/import_ssdlite.py writes them.") from error

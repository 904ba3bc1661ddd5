"""The detector's training images: a folder with `annotations.jsonl`, videos, and a teacher where labels are missing."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from alstm_ros.errors import ConfigError, DataError
from alstm_ros.learning.detector.augment import Item, compose, disturb
from alstm_ros.types import Float32, Image

AHEAD = 4
"""Steps whose images are drawn before they are needed."""
VIDEO_WIDTH = 640
"""Frames of videos are scaled to this width."""


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Where images come from and how they are shown.

    Attributes:
        images: folder with `annotations.jsonl`: an object a line of `file`, `split`, `complete` and `boxes`, each of
            `box` (xyxy) and `cls`.
        videos: files without labels.
        every: every so many-th frame of a video is taken.
        teachers: ONNX files of detectors that label what has no complete labels, see teacher.py.
        held: the split whose complete images are never trained on; the scores are calibrated on them.
        complete: how often an image with complete labels is drawn, against one that a teacher labelled.
        video: how often a video's frame is drawn, likewise.
        mosaic: share of training images that are made of four.
        height: rows of a training image.
        width: its columns.
    """

    images: str = ""
    videos: tuple[str, ...] = ()
    every: int = 10
    teachers: tuple[str, ...] = ()
    held: str = "test"
    complete: float = 3.0
    video: float = 0.5
    mosaic: float = 0.5
    height: int = 384
    width: int = 512

    def __post_init__(self) -> None:
        """Refuses what cannot be shown."""
        for name in ("height", "width"):
            size = getattr(self, name)
            if size < 64 or size % 32:
                raise ConfigError(f"data.{name} is {size}; it must be a multiple of 32 and at least 64.")
        if not 0 <= self.mosaic <= 1:
            raise ConfigError(f"data.mosaic is {self.mosaic}; it must be 0 to 1.")
        if self.every < 1:
            raise ConfigError(f"data.every is {self.every}; it must be at least 1.")


@dataclass(frozen=True, slots=True)
class Picture:
    """One image before anybody has labelled it completely.

    Attributes:
        name: the file's, with the frame's number for a video.
        image: `(H, W, 3)` uint8 BGR.
        boxes: `(N, 6)` as in Item, or None where a teacher has to look.
        held: whether it is set aside.
        share: how often it is drawn.
    """

    name: str
    image: Image
    boxes: Float32 | None
    held: bool
    share: float


def pictures(config: DataConfig, classes: Sequence[str]) -> Iterator[Picture]:
    """All images, held ones too.

    Raises:
        DataError: the folder or a video cannot be read.
    """
    folder = Path(config.images).expanduser()
    lines = folder / "annotations.jsonl"
    if not lines.is_file():
        raise DataError(f"data.images is '{config.images}'; it must be a folder that holds annotations.jsonl.")
    for number, line in enumerate(lines.read_text(encoding="utf-8").splitlines(), 1):
        try:
            entry = json.loads(line)
            name, split, complete = str(entry["file"]), str(entry["split"]), bool(entry["complete"])
            known = [o for o in entry["boxes"] if o["cls"] in classes]
            rows = [[*o["box"], 1.0, classes.index(o["cls"])] for o in known]
            boxes = np.array(rows, np.float32).reshape(-1, 6)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{lines}, line {number}, is no image with its boxes: {error!r}") from error
        image = cv2.imread(str(folder / name))
        if image is None:
            raise DataError(f"{folder / name}, named in {lines}, is no image.")
        held = complete and split == config.held
        yield Picture(name, image, boxes if complete else None, held, config.complete if complete else 1.0)
    for video in config.videos:
        yield from _frames(Path(video).expanduser(), config)


def _frames(path: Path, config: DataConfig) -> Iterator[Picture]:
    capture, number = cv2.VideoCapture(str(path)), 0
    while capture.grab():
        if number % config.every == 0:
            image = capture.retrieve()[1]
            factor = VIDEO_WIDTH / image.shape[1]
            image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
            yield Picture(f"{path.name}/{number}", image, None, held=False, share=config.video)
        number += 1
    if not number:
        raise DataError(f"data.videos names {path}; it cannot be read as a video.")


class Mixed:
    """Training images; the k-th of a seed is always the same."""

    def __init__(self, items: list[Item], config: DataConfig, seed: int) -> None:
        """Prepares.

        Args:
            items: what is trained on.
            config: how it is shown.
            seed: of everything that is drawn.
        """
        self._items, self._config, self._seed = items, config, seed
        shares = np.array([item.share for item in items])
        self._chances = shares / shares.sum()

    def draw(self, number: int) -> tuple[Image, Float32]:
        """One training image `(H, W, 3)` uint8 and its labels `(N, 6)`."""
        rng, config = np.random.default_rng([self._seed, number]), self._config
        count = 4 if rng.random() < config.mosaic else 1
        picked = rng.choice(len(self._items), count, p=self._chances)
        image, labels = compose(rng, [self._items[i] for i in picked], config.height, config.width)
        return disturb(rng, image), labels

    def batch(self, number: int, size: int) -> tuple[Tensor, list[Tensor]]:
        """The images of one step: `(size, H, W, 3)` uint8, and the labels of each."""
        drawn = [self.draw(number * size + k) for k in range(size)]
        return torch.from_numpy(np.stack([image for image, _ in drawn])), [torch.from_numpy(rows) for _, rows in drawn]

    def batches(self, first: int, last: int, size: int) -> Iterator[tuple[Tensor, list[Tensor]]]:
        """The steps from one to before another, drawn ahead by a thread of their own."""
        with ThreadPoolExecutor(1) as pool:
            ahead = deque(pool.submit(self.batch, step, size) for step in range(first, min(first + AHEAD, last)))
            for step in range(first, last):
                batch = ahead.popleft().result()
                if step + AHEAD < last:
                    ahead.append(pool.submit(self.batch, step + AHEAD, size))
                yield batch

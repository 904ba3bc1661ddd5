"""Labels from larger detectors, where an image has none: each looks several times, and what they agree on counts.

Any file that `detector.model` takes can teach. Its weights stay where they are; only its opinion of images is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from alstm_ros import detection
from alstm_ros.boxes import iou
from alstm_ros.config import Config
from alstm_ros.options import replace
from alstm_ros.types import Float32, Image

LOOKS = ((512, False), (768, False), (768, True))
"""Longer side in pixels, and whether mirrored."""
FAINTEST = 0.1
SAME = 0.55
"""Boxes of one class that overlap so much are one object."""


class Looker:
    """One detector at one size."""

    def __init__(
        self, model: str, classes: Sequence[str], *, side: int = 0, faintest: float = 0.01, threads: int = 1
    ) -> None:
        """Opens the file.

        Args:
            model: what `detector.model` takes.
            classes: what it is asked for, all of them its own.
            side: pixels of the longer side at which it looks; 0 takes the file's own size.
            faintest: lowest score.
            threads: of the processor.

        Raises:
            ConfigError: it does not know a class, or cannot look at this size.
            ModelError: it cannot be opened or is of no known layout.
        """
        asked: dict[str, object] = {"detector.model": model, "detector.classes": tuple(classes)}
        asked |= {"detector.height": side, "detector.width": side, "detector.score_threshold": faintest}
        asked |= {"engine.threads": threads, "engine.runtime": "onnxruntime"}
        self._detector = detection.load_detector(replace(Config(), asked))
        self._number = np.array([classes.index(c) if c in classes else -1 for c in self._detector.classes])

    def __call__(self, image: Image, *, mirror: bool = False) -> Float32:
        """Boxes in an image's pixels, best first, `(N, 6)`: xyxy, score, index into the classes asked for.

        Args:
            image: `(H, W, 3)` uint8 BGR.
            mirror: whether it looks at the mirrored image.
        """
        found = self._detector([np.ascontiguousarray(image[:, ::-1]) if mirror else image])[0]
        boxes = found.boxes.copy()
        if mirror:
            boxes[:, [0, 2]] = image.shape[1] - boxes[:, [2, 0]]
        return np.column_stack([boxes, found.scores, self._number[found.classes]]).astype(np.float32)


class Teachers:
    """Several detectors, several sizes."""

    def __init__(self, models: Sequence[str], classes: Sequence[str], threads: int) -> None:
        """Opens the files, see Looker."""
        self._looks = [
            (Looker(model, classes, side=side, faintest=FAINTEST, threads=threads), mirror)
            for model in models
            for side, mirror in LOOKS
        ]

    def __call__(self, image: Image) -> Float32:
        """What they agree on: `(N, 6)`, see fuse."""
        return fuse([look(image, mirror=mirror) for look, mirror in self._looks])


class TeacherLabels:
    """The teachers' labels of images by name, kept in a file, so that each is looked at once."""

    def __init__(self, path: Path, teachers: Callable[[], Teachers], labelled: Callable[[str], None]) -> None:
        """Reads what is known.

        Args:
            path: of the file, an `.npz`.
            teachers: opens them; called when the first image is not known.
            labelled: told the name of each image that they have labelled.
        """
        self._path, self._open, self._labelled = path, teachers, labelled
        self._teachers: Teachers | None = None
        self._known: dict[str, Float32] = dict(np.load(path)) if path.is_file() else {}

    def __call__(self, name: str, image: Image) -> Float32:
        """The labels `(N, 6)` of an image `(H, W, 3)` uint8 BGR."""
        if name not in self._known:
            self._teachers = self._teachers or self._open()
            self._known[name] = self._teachers(image)
            self._labelled(name)
        return self._known[name]

    def save(self) -> None:
        """Writes what is new, at once or not at all."""
        if self._teachers is None:
            return
        fresh = self._path.with_suffix(".part")
        with fresh.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **self._known)
        fresh.replace(self._path)


def fuse(looks: Sequence[Float32]) -> Float32:
    """Merges several lists of boxes of one image, each the weighted mean of the looks that saw it.

    Solovyev et al., "Weighted boxes fusion" (Image and Vision Computing 2021), without its second pass. The score is
    the mean of the best half of the looks, 0 where fewer saw something: small objects are seen at large sizes alone.

    Args:
        looks: `(N, 6)` each: xyxy, score, class index.

    Returns:
        `(M, 6)`, best score first.
    """
    half = (len(looks) + 1) // 2
    rows = np.concatenate([np.column_stack([look, np.full(len(look), i)]) for i, look in enumerate(looks)])
    rows = rows[np.argsort(-rows[:, 4], kind="stable")].astype(np.float32)
    merged = []
    while len(rows):
        alike = (rows[:, 5] == rows[0, 5]) & (iou(rows[:1, :4], rows[:, :4])[0] > SAME)
        alike[0] = True
        group = rows[alike]
        group = group[np.sort(np.unique(group[:, 6], return_index=True)[1])]  # the best of each look
        weight = group[:, 4:5]  # falling
        merged.append([*(group[:, :4] * weight).sum(0) / weight.sum(), weight[:half].sum() / half, rows[0, 5]])
        rows = rows[~alike]
    found = np.array(merged, np.float32).reshape(-1, 6)
    return found[np.argsort(-found[:, 4], kind="stable")]

"""From images to detections: letterbox, engine, decoder, thresholds, suppression, and back to source pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alstm_ros.boxes import nms
from alstm_ros.config import Config
from alstm_ros.detection.decoders import Proposals
from alstm_ros.detection.description import describe_detector
from alstm_ros.detection.letterbox import Fit, check_images
from alstm_ros.engines import Engine, EngineStatus
from alstm_ros.errors import ConfigError
from alstm_ros.types import Detections, Image


@dataclass(frozen=True, slots=True)
class ImageBatch:
    """What goes into the engine at once.

    Attributes:
        inputs: name to tensor.
        fits: how each image lies in the network's input.
        rows: each image's place in the list that was given.
        size: height and width of the network's input.
    """

    inputs: dict[str, NDArray[Any]]
    fits: list[Fit]
    rows: list[int]
    size: tuple[int, int]


class OnnxDetector:
    """A detector's model file at work; see `pipeline.Detector` for what callers rely on."""

    def __init__(self, engine: Engine, config: Config, name: str) -> None:
        """Checks that the model, its description and the config fit together.

        Args:
            engine: the loaded model.
            config: all parameters.
            name: the model file's name, for the sentences.

        Raises:
            ModelError: the model is no detector, differs from its description, or is of no known layout.
            ConfigError: the size or a class cannot be had from this model.
        """
        self._engine = engine
        found = describe_detector(engine, config.detector, name)
        self.card, self.layout, self.evidence, self.canvas = found.card, found.layout, found.evidence, found.canvas
        self.preprocess = found.preprocess
        self._decoder, self._port = found.decoder, found.port
        self.configure(config)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, by class index."""
        return self.card.classes

    @property
    def status(self) -> EngineStatus:
        """Which runtime answers and whether another is built; cheap, and may be asked from any thread."""
        return self._engine.status

    def settle(self) -> None:
        """Waits until the runtime that will answer is chosen; a replay calls it before its first frame."""
        self._engine.settle()

    def check(self, config: Config) -> None:
        """Refuses what `configure` would refuse, and changes nothing.

        Raises:
            ConfigError: the class filter names a class that the model does not know.
        """
        unknown = [name for name in config.detector.classes if name not in self.card.classes]
        if unknown:
            raise ConfigError(
                f"Parameter 'detector.classes' names {', '.join(map(repr, unknown))}; "
                f"the model knows {', '.join(map(repr, self.card.classes))}."
            )

    def configure(self, config: Config) -> None:
        """Takes over the thresholds and the class filter; size and model stay as they were loaded.

        Raises:
            ConfigError: the class filter names a class that the model does not know; nothing changes then.
        """
        self.check(config)
        self._config = config.detector

    def __call__(self, images: Sequence[Image]) -> list[Detections]:
        """Detections of each image, in that image's pixels, best score first.

        Args:
            images: each `(H, W, 3)` uint8 BGR, of any size and strides.

        Raises:
            ImageError: an image has another shape or type, or no pixels.
            ModelError: the engine fails.
        """
        found: dict[int, Detections] = {}
        for batch in self.batches(images):
            for row, fit, candidates in zip(batch.rows, batch.fits, self.decode(self.run(batch), batch), strict=True):
                found[row] = self.select(candidates, fit)
        return [found[row] for row in range(len(images))]

    def batches(self, images: Sequence[Image]) -> Iterator[ImageBatch]:
        """The images as the engine takes them: all at once where the model takes any number, else one by one.

        Raises:
            ImageError: an image has another shape or type, or no pixels.
        """
        check_images(images)
        if self.card.preprocess == "inside":  # the graph scales them: those of one size go together
            shapes = list(dict.fromkeys(image.shape for image in images))
            groups = [[row for row, image in enumerate(images) if image.shape == shape] for shape in shapes]
        else:
            groups = [list(range(len(images)))] if images else []
        if self._port.single or self._decoder.single:
            groups = [[row] for group in groups for row in group]
        for rows in groups:
            some = [images[row] for row in rows]
            if self.card.preprocess == "inside":
                pixels = np.stack(some)
                fits, size = self.canvas.lay(some)
            else:
                pixels, fits = self.canvas.letterbox(some)
                size = (pixels.shape[1], pixels.shape[2])
            yield ImageBatch(self._port.feed(pixels, self.preprocess), fits, rows, size)

    def run(self, batch: ImageBatch) -> dict[str, NDArray[Any]]:
        """The engine's answer.

        Raises:
            ModelError: the engine fails.
        """
        return self._engine(batch.inputs)

    def decode(self, outputs: dict[str, NDArray[Any]], batch: ImageBatch) -> list[Proposals]:
        """Each image's candidates; those below the score threshold may be missing."""
        return self._decoder(outputs, batch.size, self._config.score_threshold)

    def select(self, found: Proposals, fit: Fit) -> Detections:
        """What remains of one image's candidates, in its pixels.

        Args:
            found: the candidates.
            fit: how the image lies in the network's input.
        """
        config = self._config
        keep = found.scores >= config.score_threshold
        keep &= (found.classes >= 0) & (found.classes < len(self.card.classes))
        if config.classes:
            keep &= np.isin(found.classes, [self.card.classes.index(name) for name in config.classes])
        boxes = fit.to_source(found.boxes)
        keep &= (boxes[:, 2] > boxes[:, 0]) & (
            boxes[:, 3] > boxes[:, 1]
        )  # what lies in the padding alone is cut to nothing
        keep &= np.isfinite(boxes).all(axis=1)
        features = None if found.features is None else found.features[keep]
        scores = np.minimum(found.scores[keep], 1)  # no model's number is more than certain
        rest = Detections(boxes[keep], scores, found.classes[keep].astype(np.int64), features)
        return rest[nms(rest.boxes, rest.scores, rest.classes, config.nms_threshold, config.max_detections)]

    def close(self) -> None:
        """Frees the engine."""
        self._engine.close()

"""From images to detections: letterbox, engine, decoder, thresholds, suppression, and back to source pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alstm_ros.boxes import nms
from alstm_ros.config import Config, DetectorConfig
from alstm_ros.detection import decoders
from alstm_ros.detection.card import ModelCard
from alstm_ros.detection.decoders import Candidates
from alstm_ros.detection.letterbox import Canvas, Fit
from alstm_ros.engines import Engine, EngineStatus
from alstm_ros.errors import ConfigError, ModelError
from alstm_ros.types import Detections, Image


class Detector:
    """A detector's model file at work; see `pipeline.Detector` for what callers rely on."""

    def __init__(self, engine: Engine, config: Config, name: str) -> None:
        """Checks that the model, its description and the config fit together.

        Args:
            engine: the loaded model.
            config: all parameters.
            name: the model file's name, for the sentences.

        Raises:
            ModelError: the model does not describe itself, or differs from its description.
            ConfigError: the size or a class cannot be had from this model.
        """
        self._engine = engine
        self.card = ModelCard.read(engine.metadata, name)
        self._decoder = decoders.find(self.card.decoder, engine.outputs, name)
        self._input = _image_input(engine, name)
        self.canvas = _canvas(self.card, config.detector)
        self.configure(config)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, by class index."""
        return self.card.classes

    @property
    def feature_width(self) -> int | None:
        """Length of each detection's feature vector; None where the model offers none."""
        return self._engine.outputs["features"].shape[2] if "features" in self._engine.outputs else None

    @property
    def status(self) -> EngineStatus:
        """Which runtime answers and whether another is built; cheap, and may be asked from any thread."""
        return self._engine.status

    def settle(self) -> None:
        """Waits until the runtime that will answer is chosen; a replay calls it before its first frame."""
        self._engine.settle()

    def configure(self, config: Config) -> None:
        """Takes over the thresholds and the class filter; size and model stay as they were loaded.

        Raises:
            ConfigError: the class filter names a class that the model does not know; nothing changes then.
        """
        unknown = [name for name in config.detector.classes if name not in self.card.classes]
        if unknown:
            raise ConfigError(
                f"Parameter 'detector.classes' names {', '.join(map(repr, unknown))}; "
                f"the model knows {', '.join(map(repr, self.card.classes))}."
            )
        self._config = config.detector

    def __call__(self, images: Sequence[Image]) -> list[Detections]:
        """Detections of each image, in that image's pixels, best score first.

        Args:
            images: each `(H, W, 3)` uint8 BGR, of any size and strides.

        Raises:
            ImageError: an image has another shape or type, or no pixels.
            ModelError: the engine fails.
        """
        if not images:
            return []
        batch, fits = self.canvas.letterbox(images)
        found = self._decoder.decode(self._engine({self._input: batch}))
        return [self.select(found, row, fit) for row, fit in enumerate(fits)]

    def select(self, found: Candidates, row: int, fit: Fit) -> Detections:
        """What remains of one image's candidates, in its pixels.

        Args:
            found: the candidates of the batch.
            row: the image's place in it.
            fit: how the image lies in the network's input.
        """
        config = self._config
        scores, classes = found.scores[row], found.classes[row]
        keep = scores >= config.score_threshold
        if config.classes:
            keep &= np.isin(classes, [self.card.classes.index(name) for name in config.classes])
        boxes = fit.to_source(found.boxes[row])
        keep &= (boxes[:, 2] > boxes[:, 0]) & (
            boxes[:, 3] > boxes[:, 1]
        )  # what lies in the padding alone is cut to nothing
        features = None if found.features is None else found.features[row][keep]
        rest = Detections(boxes[keep], scores[keep], classes[keep].astype(np.int64), features)
        best = nms(rest.boxes, rest.scores, rest.classes, config.nms_threshold)
        return rest[best[: config.max_detections]]

    def close(self) -> None:
        """Frees the engine."""
        self._engine.close()


def _image_input(engine: Engine, name: str) -> str:
    """Name of the model's only input."""
    fitting = [key for key, spec in engine.inputs.items() if spec.dtype == np.uint8 and len(spec.shape) == 4]
    if len(engine.inputs) != 1 or len(fitting) != 1 or engine.inputs[fitting[0]].shape[3] != 3:
        found = ", ".join(f"{key} ({spec})" for key, spec in engine.inputs.items())
        raise ModelError(f"The model file {name} takes {found}; a detector takes one batch of images, uint8 ?x?x?x3.")
    return fitting[0]


def _canvas(card: ModelCard, config: DetectorConfig) -> Canvas:
    sizes = []
    for key, asked, own in (("height", config.height, card.height), ("width", config.width, card.width)):
        size = asked or own
        if reason := card.refusal(size):
            raise ConfigError(f"Parameter 'detector.{key}' is {size}; for this model it must be {reason}, or 0.")
        sizes.append(size)
    return Canvas(sizes[0], sizes[1], card.multiple, card.minimum)

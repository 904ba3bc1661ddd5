"""A detector without a model: bright blobs on a dark picture, named by their colour. And a node that runs it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

import cv2
import numpy as np

from alstm_ros.config import Config
from alstm_ros.engines import EngineStatus
from alstm_ros.errors import ConfigError, ModelError
from alstm_ros.types import Detections, Image

CLASSES = ("blue", "green", "red", "grey")


class Blobs:
    """Finds connected pixels brighter than 100; a blob's score is its brightness, its class its strongest channel."""

    def __init__(self, config: Config) -> None:
        if config.detector.model == "missing":
            msg = "The model file 'missing' does not exist."
            raise ModelError(msg)
        self.configure(config)

    @property
    def classes(self) -> tuple[str, ...]:
        return CLASSES

    @property
    def status(self) -> EngineStatus:
        return EngineStatus("blobs", "uint8")

    def check(self, config: Config) -> None:
        unknown = set(config.detector.classes) - set(CLASSES)
        if unknown:
            msg = f"Parameter 'detector.classes' names {sorted(unknown)}; the model knows {', '.join(CLASSES)}."
            raise ConfigError(msg)

    def configure(self, config: Config) -> None:
        self.check(config)
        self._config = config.detector

    def settle(self) -> None:
        pass

    def close(self) -> None:
        """There is no model to free."""

    def __call__(self, images: Sequence[Image]) -> list[Detections]:
        time.sleep(float(os.environ.get("BLOB_DELAY", "0")))
        return [self._detect(image) for image in images]

    def _detect(self, image: Image) -> Detections:
        bright = (image.max(axis=2) > 100).astype(np.uint8)
        count, regions, stats, _ = cv2.connectedComponentsWithStats(bright)
        rows = []
        for index in range(1, count):
            left, top, width, height, area = stats[index].tolist()
            mean = image[regions == index].mean(axis=0)
            name = "grey" if np.ptp(mean) < 40 else CLASSES[int(mean.argmax())]
            score = float(mean.max() / 255)
            wanted = not self._config.classes or name in self._config.classes
            if area >= 100 and score >= self._config.score_threshold and wanted:
                rows.append((left, top, left + width, top + height, score, CLASSES.index(name)))
        table = np.array(sorted(rows, key=lambda row: -row[4]), np.float32).reshape(-1, 6)
        return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


if __name__ == "__main__":
    from alstm_ros.ros.main import main

    sys.exit(main(load_detector=Blobs))

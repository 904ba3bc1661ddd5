"""Detections that somebody else made: messages instead of a model. No file is opened and no engine started."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from alstm_ros.config import Config
from alstm_ros.detection.names import asked_names
from alstm_ros.engines.status import EngineStatus
from alstm_ros.errors import DataError
from alstm_ros.types import Detections, Image

UNNAMED = "object"
"""The class of a detection that carries no hypothesis."""


class GivenDetections:
    """Takes the place of a detector where `input.detections` is `topic`: reads `vision_msgs/Detection2DArray`.

    Class names are learnt from the messages, in the order in which they come; an index stays with its name.
    """

    def __init__(self, config: Config) -> None:
        """Takes over the names that the config gives.

        Args:
            config: all parameters; `detector.class_names` names the classes of messages that carry indices instead.

        Raises:
            ConfigError: the file of names cannot be read.
        """
        self._given = asked_names(config.detector.class_names)
        self._names = list(self._given)
        self._index = {name: index for index, name in enumerate(self._names)}
        self.configure(config)

    @property
    def classes(self) -> Sequence[str]:
        """Class names, by class index; the sequence grows as new names come."""
        return self._names

    @property
    def status(self) -> EngineStatus:
        """There is no engine."""
        return EngineStatus("none", "none", message="Detections come from a topic; no model is loaded.")

    def __call__(self, images: Sequence[Image]) -> list[Detections]:
        """Refuses.

        Raises:
            DataError: always, there is no model that could look at an image.
        """
        raise DataError(f"{len(images)} images came, but detections are taken from a topic and no model is loaded.")

    def check(self, config: Config) -> None:
        """Refuses nothing."""

    def configure(self, config: Config) -> None:
        """Takes over the score threshold, the class filter and the limit; classes that never come are no mistake."""
        self._options = config.detector

    def settle(self) -> None:
        """There is nothing to wait for."""

    def close(self) -> None:
        """There is nothing to free."""

    def read(self, message: Any) -> Detections:
        """The detections of one message that pass the threshold and the class filter, the best score first.

        Of each, the best hypothesis counts. A turned box becomes the upright one around it. Boxes without a size, or
        with a value that is not finite, are left out, and the ids that the message carries are passed over.

        Args:
            message: a Detection2DArray, of rclpy or of a bag's reader.

        Returns:
            Boxes in pixels of the image that the message's sender looked at.
        """
        wanted = set(self._options.classes)
        rows = []
        for one in message.detections:
            name, score = self._best(one.results)
            box = _upright(one.bbox)
            if box is None or not score >= self._options.score_threshold or (wanted and name not in wanted):
                continue
            rows.append((*box, score, self._index_of(name)))
        rows.sort(key=lambda row: -row[4])
        table = np.array(rows[: self._options.max_detections], np.float64).reshape(-1, 6)
        return Detections(
            table[:, :4].astype(np.float32), table[:, 4].clip(0, 1).astype(np.float32), table[:, 5].astype(np.int64)
        )

    def _best(self, results: Sequence[Any]) -> tuple[str, float]:
        if not results:
            return UNNAMED, 1.0
        # recordings of Galactic and Foxy have older versions of the messages
        hypotheses = (getattr(result, "hypothesis", result) for result in results)
        best = max(hypotheses, key=lambda hypothesis: float(hypothesis.score))
        name = str(best.class_id if hasattr(best, "class_id") else best.id)
        if name not in self._index and name.isdecimal() and int(name) < len(self._given):
            name = self._given[int(name)]
        return name, float(best.score)

    def _index_of(self, name: str) -> int:
        if name not in self._index:
            self._index[name] = len(self._names)
            self._names.append(name)
        return self._index[name]


def _upright(bbox: Any) -> tuple[float, float, float, float] | None:
    """Left, top, right, bottom; None where that is no box."""
    centre = getattr(bbox.center, "position", bbox.center)
    x, y, theta = float(centre.x), float(centre.y), float(bbox.center.theta)
    width, height = float(bbox.size_x), float(bbox.size_y)
    if not all(map(math.isfinite, (x, y, theta, width, height))) or width <= 0 or height <= 0:
        return None
    if theta:
        cosine, sine = abs(math.cos(theta)), abs(math.sin(theta))
        width, height = cosine * width + sine * height, sine * width + cosine * height
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2

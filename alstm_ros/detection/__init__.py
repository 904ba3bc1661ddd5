"""Finding objects in images."""

from __future__ import annotations

from pathlib import Path

from alstm_ros import engines
from alstm_ros.config import Config
from alstm_ros.detection.detector import OnnxDetector
from alstm_ros.detection.given import GivenDetections
from alstm_ros.parameter_text import user_path

__all__ = ["MODELS", "GivenDetections", "OnnxDetector", "detections_from", "load"]

FOLDER = Path(__file__).resolve().parents[1] / "models"
MODELS = {"default": FOLDER / "detector.onnx"}
"""Names that `detector.model` takes instead of a path."""


def detections_from(config: Config) -> OnnxDetector | GivenDetections:
    """What detections come from: the model that the config names, or, where `input.detections` is `topic`, messages.

    Args:
        config: all parameters.

    Raises:
        AlstmError: as `load` does.
    """
    return GivenDetections(config) if config.input.detections == "topic" else load(config)


def load(config: Config) -> OnnxDetector:
    """Opens the detector that the config names.

    Args:
        config: all parameters.

    Raises:
        ModelError: there is no such file, or it is no detector.
        ConfigError: a parameter does not fit the model.
        DependencyError: the engine's runtime is not installed.
    """
    path = MODELS.get(config.detector.model) or user_path(config.detector.model)
    asked = {"height": config.detector.height, "width": config.detector.width}
    sizes = {name[:length]: size for name, size in asked.items() if size for length in (len(name), 1)}  # or h and w
    engine = engines.load(path, config.engine, sizes)
    return OnnxDetector(engine, config, path.name)

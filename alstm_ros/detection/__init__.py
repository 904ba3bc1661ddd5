"""Finding objects in images."""

from __future__ import annotations

from pathlib import Path

from alstm_ros import engines
from alstm_ros.config import Config
from alstm_ros.detection.decoders import AmbiguousLayoutError
from alstm_ros.detection.detector import OnnxDetector
from alstm_ros.detection.given import GivenDetections
from alstm_ros.errors import ModelError
from alstm_ros.parameter_text import user_path

__all__ = [
    "MODELS",
    "AmbiguousLayoutError",
    "GivenDetections",
    "OnnxDetector",
    "detections_from",
    "load_detector",
    "model_file",
]

FOLDER = Path(__file__).resolve().parents[1] / "models"
MODELS = {"default": FOLDER / "detector.onnx"}
"""Names that `detector.model` takes instead of a path."""
TENSORRT_ONLY = "EfficientNMS_TRT"
"""The operation by which files for TensorRT suppress boxes."""


def detections_from(config: Config) -> OnnxDetector | GivenDetections:
    """What detections come from: the model that the config names, or, where `input.detections` is `topic`, messages.

    Args:
        config: all parameters.

    Raises:
        AlstmError: as `load_detector` does.
    """
    return GivenDetections(config) if config.input.detections == "topic" else load_detector(config)


FOREIGN_FILES = {
    (".pt", ".pth", ".ckpt"): (
        "a file of PyTorch, which holds code and weights but no graph",
        (
            "  Ultralytics:  yolo export model={name} format=onnx\n"
            "  others:       python -c 'import torch; torch.onnx.export(MODEL.eval(), torch.zeros(1, 3, 640, 640), "
            '"model.onnx")\''
        ),
    ),
    (".engine", ".plan", ".trt"): (
        "a TensorRT engine, which runs on one kind of GPU with one version of TensorRT",
        (
            "  Ultralytics:  yolo export model=WEIGHTS.pt format=onnx\n"
            "  others:       python -c 'import torch; torch.onnx.export(MODEL.eval(), torch.zeros(1, 3, 640, 640), "
            '"model.onnx")\''
        ),
    ),
}
"""Suffixes of files that people have of a detector to what such a file is, and the two lines that export it."""


def model_file(name: str) -> Path:
    """The file of `detector.model`.

    Args:
        name: a path, or a key of `MODELS`.

    Raises:
        ConfigError: it is no path.
        ModelError: it is a file of another kind than ONNX; the sentence says how to export it.
    """
    path = MODELS.get(name) or user_path(name)
    for suffixes, (what, lines) in FOREIGN_FILES.items():
        if path.suffix.lower() in suffixes:
            raise ModelError(
                f"The model file {path.name} is {what}; a detector must be an ONNX file. Export it, and give what "
                f"comes out:\n{lines.format(name=path.name)}"
            )
    return path


def load_detector(config: Config) -> OnnxDetector:
    """Opens the detector that the config names.

    Args:
        config: all parameters.

    Raises:
        ModelError: there is no such file, or it is no detector.
        ConfigError: a parameter does not fit the model.
        DependencyError: the engine's runtime is not installed.
    """
    path = model_file(config.detector.model)
    asked = {"height": config.detector.height, "width": config.detector.width}
    sizes = {name[:length]: size for name, size in asked.items() if size for length in (len(name), 1)}  # or h and w
    try:
        engine = engines.open_engine(path, config.engine, sizes)
    except ModelError as error:
        if path.is_file() and TENSORRT_ONLY.encode() in path.read_bytes():
            raise ModelError(
                f"The model file {path.name} holds the operation {TENSORRT_ONLY}, which TensorRT alone runs; ONNX "
                "Runtime always stands ready beside it here. Export the model without its suppression."
            ) from error
        raise
    return OnnxDetector(engine, config, path.name)


load = load_detector
"""The name that `load_detector` had before; it goes with the next release."""

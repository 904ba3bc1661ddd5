"""Layouts of detectors' outputs, each with a name, and how boxes are read from them."""

from __future__ import annotations

from dataclasses import replace

from alstm_ros.detection.decoders.candidates import OwnDecoder
from alstm_ros.detection.decoders.centernet import CenterNetDecoder
from alstm_ros.detection.decoders.chosen import BoxesDecoder, EfficientNmsDecoder, MmdetectionDecoder
from alstm_ros.detection.decoders.detr import DetrDecoder, RfDetrDecoder, RtDetrDecoder
from alstm_ros.detection.decoders.end_to_end import (
    EndToEndDecoder,
    FlatPredictionsDecoder,
    OrientedEndToEndDecoder,
    PaddleDecoder,
    RtDetrEndToEndDecoder,
    Yolov7EndToEndDecoder,
)
from alstm_ros.detection.decoders.layout import Decoder, Proposals, Sample
from alstm_ros.detection.decoders.nanodet import NanodetDecoder, NanodetPlusDecoder
from alstm_ros.detection.decoders.ssd import SsdDecoder
from alstm_ros.detection.decoders.yolo import YoloDecoder, YoloNasDecoder, YoloOrientedDecoder, YoloRowsDecoder
from alstm_ros.detection.decoders.yolox import Yolov5Decoder, YoloxDecoder
from alstm_ros.errors import ConfigError, ModelError

__all__ = ["DECODERS", "Decoder", "Proposals", "Sample", "find_decoder", "recognise"]

DECODERS: dict[str, type[Decoder]] = {
    "candidates": OwnDecoder,
    "yolox": YoloxDecoder,
    "yolov5": Yolov5Decoder,
    "yolo": YoloDecoder,
    "yolo_rows": YoloRowsDecoder,
    "yolo_oriented": YoloOrientedDecoder,
    "yolo_nas": YoloNasDecoder,
    "yolo_end2end": EndToEndDecoder,
    "rtdetr_end2end": RtDetrEndToEndDecoder,
    "oriented_end2end": OrientedEndToEndDecoder,
    "yolov7_end2end": Yolov7EndToEndDecoder,
    "flat_predictions": FlatPredictionsDecoder,
    "paddle": PaddleDecoder,
    "efficient_nms": EfficientNmsDecoder,
    "nanodet": NanodetDecoder,
    "nanodet_plus": NanodetPlusDecoder,
    "detr": DetrDecoder,
    "rtdetr": RtDetrDecoder,
    "rfdetr": RfDetrDecoder,
    "ssd": SsdDecoder,
    "boxes": BoxesDecoder,
    "mmdetection": MmdetectionDecoder,
    "centernet": CenterNetDecoder,
}
"""Value of `detector.decoder`, and of `decoder` in a model's metadata, to what reads such outputs."""

NO_DETECTORS = ("classify", "semantic", "depth")
"""Values of `task` in the metadata of Ultralytics for which there are no boxes."""


class AmbiguousLayoutError(ModelError):
    """A model's outputs can be read in several ways.

    Attributes:
        decoders: the names of those that fit.
    """

    def __init__(self, message: str, decoders: tuple[str, ...]) -> None:
        super().__init__(message)
        self.decoders = decoders


def find_decoder(name: str, sample: Sample, model: str) -> Decoder:
    """The decoder of this name.

    Args:
        name: what the model or the config says.
        sample: the model's outputs.
        model: the file's name, for the sentences.

    Raises:
        ModelError: there is no decoder of that name, or the outputs are not of its layout.
    """
    if name not in DECODERS:
        raise ModelError(f"The model file {model} names the decoder '{name}'; known are {', '.join(DECODERS)}.")
    decoder, sample = DECODERS[name], replace(sample, named=True)
    if not decoder.evidence(sample):
        raise ModelError(
            f"The model file {model} gives {described(sample)}; its decoder '{name}' expects {decoder.expects}."
        )
    return decoder(sample)


def recognise(asked: str, sample: Sample, model: str) -> tuple[str, Decoder, str]:
    """The decoder of a file that does not name its own.

    Args:
        asked: `detector.decoder`; `auto` takes the one that fits.
        sample: the model's outputs.
        model: the file's name, for the sentences.

    Returns:
        Its name, the decoder, and by what it was recognised, in words.

    Raises:
        ConfigError: `detector.decoder` is unknown.
        ModelError: the outputs are not of the layout that is asked for, of none that is known, or of several.
    """
    if asked != "auto":
        if asked not in DECODERS:
            raise ConfigError(
                f"Parameter 'detector.decoder' is '{asked}'; it must be one of auto, {', '.join(DECODERS)}."
            )
        return asked, find_decoder(asked, sample, model), "'detector.decoder'"
    if sample.metadata.get("task") in NO_DETECTORS:
        raise ModelError(
            f"The model file {model} says that its task is '{sample.metadata['task']}'; it must be a detector's, such "
            "as 'detect'."
        )
    fits = {name: words for name, decoder in DECODERS.items() if (words := decoder.evidence(sample))}
    if len(fits) == 1:
        [(name, words)] = fits.items()
        return name, DECODERS[name](sample), words
    given = f"Given an input of {sample.size[0]}x{sample.size[1]} it gives {described(sample)}."
    if fits:
        ways = "\n".join(f"  {name}: {DECODERS[name].expects}" for name in fits)
        raise AmbiguousLayoutError(
            f"The outputs of the model file {model} can be read in {len(fits)} ways: {' or '.join(fits)}. {given} "
            f"'detector.decoder' must say which it is; 'detector.class_names' may, by their number. `alstm check` "
            f"draws what each finds. The decoders expect:\n{ways}",
            tuple(fits),
        )
    layouts = "\n".join(f"  {name}: {decoder.expects}" for name, decoder in DECODERS.items())
    raise ModelError(
        f"The model file {model} does not describe itself, and its outputs are of no known layout. {given} The "
        f"decoders expect:\n{layouts}\nExport the model in one of these layouts; 'detector.decoder' names one "
        "where several would fit."
    )


def described(sample: Sample) -> str:
    """The outputs with their types and shapes."""
    return ", ".join(f"{name} ({spec})" for name, spec in sample.outputs.items())

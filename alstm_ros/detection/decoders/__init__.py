"""Layouts of detectors' outputs, each with a name, and how boxes are read from them."""

from __future__ import annotations

from alstm_ros.detection.decoders.candidates import OwnDecoder
from alstm_ros.detection.decoders.centernet import CenterNetDecoder
from alstm_ros.detection.decoders.detr import DetrDecoder, RtDetrDecoder
from alstm_ros.detection.decoders.layout import Decoder, Proposals, Sample
from alstm_ros.detection.decoders.nanodet import NanodetDecoder, NanodetPlusDecoder
from alstm_ros.detection.decoders.ssd import BoxesDecoder, SsdDecoder
from alstm_ros.detection.decoders.yolo import EndToEndDecoder, YoloDecoder
from alstm_ros.detection.decoders.yolox import Yolov5Decoder, YoloxDecoder
from alstm_ros.errors import ConfigError, ModelError

__all__ = ["DECODERS", "Decoder", "Proposals", "Sample", "find_decoder", "recognise"]

DECODERS: dict[str, type[Decoder]] = {
    "candidates": OwnDecoder,
    "yolox": YoloxDecoder,
    "yolov5": Yolov5Decoder,
    "yolo": YoloDecoder,
    "yolo_end2end": EndToEndDecoder,
    "nanodet": NanodetDecoder,
    "nanodet_plus": NanodetPlusDecoder,
    "detr": DetrDecoder,
    "rtdetr": RtDetrDecoder,
    "ssd": SsdDecoder,
    "boxes": BoxesDecoder,
    "centernet": CenterNetDecoder,
}
"""Value of `detector.decoder`, and of `decoder` in a model's metadata, to what reads such outputs. Where nothing names
one, the first that fits is taken."""


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
    decoder = DECODERS[name]
    if not decoder.fits(sample):
        raise ModelError(
            f"The model file {model} gives {described(sample)}; its decoder '{name}' expects {decoder.expects}."
        )
    return decoder(sample)


def recognise(asked: str, sample: Sample, model: str) -> tuple[str, Decoder]:
    """The decoder of a file that does not name its own, and its name.

    Args:
        asked: `detector.decoder`; `auto` takes the first that fits.
        sample: the model's outputs.
        model: the file's name, for the sentences.

    Raises:
        ConfigError: `detector.decoder` is unknown.
        ModelError: the outputs are not of the layout that is asked for, or of none that is known.
    """
    if asked != "auto":
        if asked not in DECODERS:
            raise ConfigError(
                f"Parameter 'detector.decoder' is '{asked}'; it must be one of auto, {', '.join(DECODERS)}."
            )
        return asked, find_decoder(asked, sample, model)
    for name, decoder in DECODERS.items():
        if decoder.fits(sample):
            return name, decoder(sample)
    layouts = "\n".join(f"  {name}: {decoder.expects}" for name, decoder in DECODERS.items())
    raise ModelError(
        f"The model file {model} does not describe itself, and its outputs are of no known layout. Given an input of "
        f"{sample.size[0]}x{sample.size[1]} it gives {described(sample)}. The decoders expect:\n{layouts}\n"
        "Export the model in one of these layouts; 'detector.decoder' names one where several would fit."
    )


def described(sample: Sample) -> str:
    """The outputs with their types and shapes."""
    return ", ".join(f"{name} ({spec})" for name, spec in sample.outputs.items())

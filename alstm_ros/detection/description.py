"""Everything that is known of a detector's file before its first image: from its metadata, else from looking at it."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from alstm_ros.config import DetectorConfig
from alstm_ros.detection import decoders
from alstm_ros.detection.card import ModelCard
from alstm_ros.detection.decoders import Decoder, Sample
from alstm_ros.detection.decoders.candidates import OwnDecoder
from alstm_ros.detection.letterbox import Canvas
from alstm_ros.detection.names import asked_names, class_list, fitting_names, names_in_metadata
from alstm_ros.detection.port import Port
from alstm_ros.detection.preprocess import Preprocess
from alstm_ros.engines import Engine, TensorSpec
from alstm_ros.errors import ConfigError, ModelError

LOG = logging.getLogger(__name__)
HEIGHT = 480
"""Rows in pixels at which a file of free size runs when nothing else is asked for."""
WIDTH = 640
"""Columns in pixels at which a file of free size runs when nothing else is asked for."""
MULTIPLE = 32
"""Stride in pixels of the coarsest map that most families predict from."""


@dataclass(frozen=True, slots=True)
class Description:
    """A detector's file, understood.

    Attributes:
        card: what it says of itself, or what was found out.
        layout: name of the decoder.
        evidence: by what the layout was recognised, in words.
        decoder: reads the outputs.
        port: takes the images.
        preprocess: what they are turned into.
        canvas: the room they are fitted into.
        metadata: all that the file says.
    """

    card: ModelCard
    layout: str
    evidence: str
    decoder: Decoder
    port: Port
    preprocess: Preprocess
    canvas: Canvas
    metadata: Mapping[str, str]


def describe_detector(engine: Engine, config: DetectorConfig, name: str) -> Description:
    """Understands a model file.

    Args:
        engine: the loaded model.
        config: the group `detector.*`.
        name: the file's name, for the sentences.

    Raises:
        ModelError: it is no detector, or of no known layout.
        ConfigError: a parameter does not fit it.
    """
    if "kind" in engine.metadata or OwnDecoder.evidence(Sample(engine.outputs)):
        return _own(engine, config, name)
    return _foreign(engine, config, name)


def _own(engine: Engine, config: DetectorConfig, name: str) -> Description:
    """A file that describes itself."""
    card = ModelCard.read(engine.metadata, name)
    layout = card.decoder if config.decoder == "auto" else config.decoder
    decoder = decoders.find_decoder(layout, Sample(engine.outputs, metadata=engine.metadata), name)
    port = Port.of(engine.inputs, name)
    if port.planes or len(port.spec.shape) == 3 or port.spec.dtype != np.uint8:
        found = ", ".join(f"{key} ({spec})" for key, spec in engine.inputs.items())
        raise ModelError(
            f"The model file {name} takes {found}; a file that describes itself takes one batch of images, "
            "uint8 ?x?x?x3."
        )
    if config.class_names:
        card = replace(card, classes=class_list(config.class_names, {}, len(card.classes), name))
    fixed = port.size if card.preprocess == "letterbox" else (card.height, card.width)
    canvas = _canvas(card, config, fixed)
    if card.preprocess == "inside" and not card.fixed:
        canvas = replace(canvas, multiple=card.multiple)
    evidence = "its metadata" if config.decoder == "auto" else "'detector.decoder'"
    return Description(
        card, layout, evidence, decoder, port, Preprocess(place=card.place, fill=card.fill), canvas, engine.metadata
    )


def _foreign(engine: Engine, config: DetectorConfig, name: str) -> Description:
    """A file that says nothing of use: it answers noise, and its answer is looked at."""
    names = asked_names(config.class_names) or names_in_metadata(engine.metadata, name)
    port = Port.of(engine.inputs, name)
    card = ModelCard("", (), *_usual_size(engine.metadata, port), MULTIPLE, MULTIPLE, "", "", "", "")
    canvas = _canvas(card, config, port.size)
    size = (canvas.height, canvas.width)
    sample = replace(_sample(engine, port, size), names=names)
    layout, decoder, evidence = decoders.recognise(config.decoder, sample, name)
    own = decoder.preprocess
    preprocess = Preprocess(
        own.color if config.color == "auto" else config.color,
        own.place if config.place == "auto" else config.place,
        own.fill,
        own.normalise if config.normalise == "auto" else config.normalise,
    )
    canvas = replace(canvas, place=preprocess.place, fill=preprocess.fill)
    classes = fitting_names(names, decoder.classes, name)
    licence = engine.metadata.get("license", "")
    card = replace(
        card, decoder=layout, classes=classes, height=size[0], width=size[1], licence=licence,
        place=preprocess.place, fill=preprocess.fill,
    )  # fmt: skip
    LOG.info(
        "%s is read as '%s', recognised by %s: %d classes, images %s, %s, %s.",
        name, layout, evidence, len(classes), preprocess.color, preprocess.place, preprocess.normalise,
    )  # fmt: skip
    return Description(card, layout, evidence, decoder, port, preprocess, canvas, engine.metadata)


def _sample(engine: Engine, port: Port, size: tuple[int, int]) -> Sample:
    """What the model gives for noise."""
    noise = np.random.default_rng(0).integers(0, 256, (1, *size, 3)).astype(np.uint8)
    values = engine(port.feed(noise, Preprocess(normalise="unit")))
    outputs = {key: TensorSpec(value.shape, value.dtype) for key, value in values.items()}
    return Sample(outputs, size, engine.metadata, values)


def _usual_size(metadata: Mapping[str, str], port: Port) -> tuple[int, int]:
    """What the file fixes, else what Ultralytics' metadata name, else a usual camera's."""
    height, width = port.size
    asked = re.fullmatch(r"\[(\d{1,5}), ?(\d{1,5})\]", metadata.get("imgsz", "").strip())
    usual = [int(part) for part in asked.groups()] if asked else []
    if not usual or any(n == 0 or n % MULTIPLE for n in usual):
        usual = [HEIGHT, WIDTH]
    return height or usual[0], width or usual[1]


def _canvas(card: ModelCard, config: DetectorConfig, fixed: tuple[int | None, int | None]) -> Canvas:
    """The room for images.

    Args:
        card: says the usual size and what others are allowed.
        config: the size that is asked for.
        fixed: height and width that the file takes and no other; None where free.
    """
    sizes = []
    asked = (("height", config.height, card.height, fixed[0]), ("width", config.width, card.width, fixed[1]))
    for key, wanted, own, only in asked:
        size = only or wanted or own
        reason = str(size) if only and wanted not in {0, only} else "" if only else card.refusal(size)
        if reason:
            raise ConfigError(
                f"Parameter 'detector.{key}' is {wanted or own}; for this model it must be {reason}, or 0."
            )
        sizes.append(size)
    multiple = 0 if None not in fixed else card.multiple
    return Canvas(sizes[0], sizes[1], multiple, card.minimum, card.place, card.fill)

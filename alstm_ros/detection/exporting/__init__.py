"""Turns a third-party detector into a file that describes itself: images in; boxes, scores, classes, features out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from onnx.onnx_ml_pb2 import ModelProto

from alstm_ros import engines
from alstm_ros.config import DetectorConfig, EngineConfig
from alstm_ros.detection.card import ModelCard
from alstm_ros.detection.description import MULTIPLE, describe_detector
from alstm_ros.detection.exporting.assembly import FEATURES, Assembly, Exported
from alstm_ros.detection.exporting.verification import verify
from alstm_ros.detection.port import Port
from alstm_ros.engines import letterbox_graph, tensorrt_graph
from alstm_ros.errors import ConfigError, ModelError

__all__ = ["FEATURES", "TOP_K", "Exported", "export_detector", "letterbox_in_graph"]

TOP_K = 512
"""Boxes that leave the graph for each image when nothing else is asked for."""


def export_detector(
    path: Path,
    config: DetectorConfig | None = None,
    *,
    top_k: int = TOP_K,
    wanted: str = "appearance",
    licence: str = "",
) -> Exported:
    """Makes the file.

    Args:
        path: a third-party ONNX file.
        config: size, decoder, class names and preprocessing, where they are not to be found out.
        top_k: boxes that leave the graph for each image.
        wanted: one of `FEATURES`.
        licence: of the weights, for the metadata; the file's own when empty.

    Raises:
        ModelError: there is no such file, it is no detector of a known layout, none that can be exported, or what comes
            out answers otherwise.
        ConfigError: a size, class list or number that does not fit it.
    """
    if top_k < 1 or wanted not in FEATURES:
        raise ConfigError(
            f"To keep are {top_k} boxes with features '{wanted}'; it must be at least 1, with {', '.join(FEATURES)}."
        )
    config = config or DetectorConfig()
    engine = engines.open_engine(path, EngineConfig(runtime="onnxruntime", threads=1))
    try:
        port = Port.of(engine.inputs, path.name)
        # A size that the file fixes may turn out to be free once its constants are.
        known = describe_detector(
            engine, replace(config, height=0, width=0) if None not in port.size else config, path.name
        )
    finally:
        engine.close()
    if known.layout == "candidates":
        raise ModelError(f"The model file {path.name} describes itself already; there is nothing to export.")
    if port.others or len(port.spec.shape) != 4:
        names = ", ".join(f"{name} ({spec})" for name, spec in engine.inputs.items())
        raise ModelError(f"The model file {path.name} takes {names}; only one with a batch of images can be exported.")
    assembly = Assembly(tensorrt_graph.read(path), known, path.name, top_k, wanted)
    made = assembly.write((config.height, config.width), licence)
    sizes = [(known.canvas.height, known.canvas.width)]  # a size at which both run
    if made.free_size and None in port.size:
        sizes = [made.size, (made.size[0] + MULTIPLE, made.size[1] + 2 * MULTIPLE)]
    compared = verify(path, made.model, replace(config, height=0, width=0), sizes, batch=made.free_batch)
    return replace(made, compared=compared)


def letterbox_in_graph(model: ModelProto, name: str) -> ModelProto:
    """The same file with images of any size going in: they are fitted into the network's input on the device.

    Args:
        model: a detector that describes itself.
        name: the file's name, for the sentences.

    Raises:
        ModelError: it does not describe_detector itself, or has the letterbox inside already.
    """
    card = ModelCard.read(tensorrt_graph.metadata(model), name)
    if card.preprocess == "inside":
        raise ModelError(f"The model file {name} takes images of any size already.")
    multiple = 0 if card.fixed else card.multiple
    room = letterbox_graph.LetterboxRoom(card.height, card.width, multiple, card.minimum, card.fill, card.place)
    return letterbox_graph.letterbox_inside(model, room)

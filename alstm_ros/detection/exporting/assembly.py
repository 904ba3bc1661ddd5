"""Puts the exported file together: images in front, the third-party graph, its decoder, top-k and features behind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto, checker, helper
from onnx.onnx_ml_pb2 import ModelProto

from alstm_ros.detection.decoders.layout import STRIDES, Outputs, Sample, Size, counts
from alstm_ros.detection.description import MULTIPLE, Description
from alstm_ros.detection.exporting import features, heads
from alstm_ros.detection.exporting.opening import (
    IMAGES,
    PREFIX,
    add_output,
    open_graph,
    put_images_in_front,
    run_once,
    writer_into,
)
from alstm_ros.engines import TensorSpec
from alstm_ros.errors import ConfigError, ModelError
from alstm_ros.onnx_graph import GraphWriter
from alstm_ros.types import UInt8

FEATURES = ("appearance", "cells", "none")
GRIDS = ("yolox", "yolov5", "yolo", "nanodet", "nanodet_plus")
"""Layouts with a row for each cell, which show by their number of rows whether a size is understood."""
TOLERANCE = 1e-3
TOP = f"{PREFIX}top"


@dataclass(frozen=True, slots=True)
class Exported:
    """The file that was made, and what can be said of it.

    Attributes:
        model: the file.
        layout: name of the decoder that the outputs were read with.
        classes: class names.
        size: height and width at which it runs when nothing else is asked for.
        free_size: whether it takes other sizes too.
        free_batch: whether it takes several images at once.
        boxes: how many leave the graph for each image.
        features: what its features are, in words.
        feature_width: their length; 0 where there are none.
        compared: how many detections were found to be as the given file's; 0 where nothing could be compared.
    """

    model: ModelProto
    layout: str
    classes: tuple[str, ...]
    size: Size
    free_size: bool
    free_batch: bool
    boxes: int
    features: str
    feature_width: int
    compared: int = 0


class Assembly:
    """One file on its way."""

    def __init__(self, source: ModelProto, known: Description, name: str, top_k: int, wanted: str) -> None:
        """Finds out what the file takes.

        Args:
            source: the third-party file.
            known: what it was recognised as.
            name: the file's name, for the sentences.
            top_k: boxes that leave the graph for each image.
            wanted: one of `FEATURES`.

        Raises:
            ModelError: it is too old, or its boxes are chosen inside.
        """
        self._known, self._name, self._wanted = known, name, wanted
        self._outputs = tuple(value.name for value in source.graph.output)
        self._size = (known.canvas.height, known.canvas.width)
        self._opened = open_graph(source, known.port, self._size, name)
        answer = self._answer(_noise(1, self._size))
        self._anchors = heads.anchors(known.decoder, answer)
        self._strides = getattr(known.decoder, "strides", STRIDES)
        self._free_batch = self._takes_batches(answer)
        self._free_size = self._takes_other_sizes()
        self._kept = min(top_k, self._anchors)

    def write(self, asked: Size, licence: str) -> Exported:
        """Makes the file.

        Args:
            asked: height and width that are wanted; 0 for the file's own.
            licence: of the weights; the file's own when empty.

        Raises:
            ConfigError: the size cannot be had.
        """
        size = (asked[0] or self._size[0], asked[1] or self._size[1])
        if (size != self._size and not self._free_size) or any(pixels % MULTIPLE for pixels in size):
            must = (
                f"multiples of {MULTIPLE}"
                if self._free_size
                else f"{self._size[0]}x{self._size[1]}, which its file fixes"
            )
            raise ConfigError(f"The size asked for {self._name} is {size[0]}x{size[1]}; it must be {must}.")
        model = ModelProto()
        model.CopyFrom(self._opened)
        w = writer_into(model)
        batch: int | str = "batch" if self._free_batch else 1
        sides = ("height", "width") if self._free_size else self._size
        put_images_in_front(w, self._known.port, self._known.preprocess, [batch, *sides, 3])
        del model.graph.output[:]
        inside = features.maps_inside(self._opened.graph)
        values = run_once(model, {IMAGES: _noise(1, self._size)}, inside)
        shapes = {name: values[name].shape for name in inside}
        head = heads.write_head(self._known.decoder, heads.Site(w, self._outputs, self._size, self._free_size, IMAGES))
        best = w.reduce("ReduceMax", head.scores, [2])
        w.op("TopK", best, w.const([self._kept]), axis=1, outputs=2, name=TOP)
        index = w.op("Unsqueeze", f"{TOP}_1", w.const([2]))  # (B, K, 1)
        classes = w.op("ArgMax", w.rows(head.scores, index), axis=2, keepdims=0)
        boxes = head.boxes(index)
        said, looks, width = self._features(w, shapes, index, boxes)
        add_output(w, "boxes", boxes, TensorProto.FLOAT, [batch, self._kept, 4])
        add_output(w, "scores", TOP, TensorProto.FLOAT, [batch, self._kept])
        add_output(w, "classes", classes, TensorProto.INT64, [batch, self._kept])
        if width:
            add_output(w, "features", looks, TensorProto.FLOAT, [batch, self._kept, width])
        helper.set_model_props(model, self._metadata(size, licence))
        checker.check_model(model)
        return Exported(
            model,
            self._known.layout,
            self._known.card.classes,
            size,
            self._free_size,
            self._free_batch,
            self._kept,
            said,
            width,
        )

    def _features(self, w: GraphWriter, shapes: features.Shapes, index: str, boxes: str) -> tuple[str, str, int]:
        """Writes the features that are wanted, or the next best: what they are, their name, their length."""
        graph = self._opened.graph
        if self._wanted == "none":
            return "none, as asked", "", 0
        look = features.appearance_map(graph, shapes, self._size) if self._wanted == "appearance" else ""
        if look:
            place = features.AppearanceMap(look, shapes[look][1], features.STRIDE)
            name, width = features.write_appearance(w, place, boxes, self._kept)
            return (
                f"appearance in each box, from '{look}' ({place.channels} channels, stride {place.stride})",
                name,
                width,
            )
        read = heads.read_outputs(self._known.decoder, self._outputs)
        levels = features.cell_levels(graph, read, shapes, self._size, self._anchors)
        if levels:
            name, width = features.write_cells(w, levels, shapes, index, tiled=self._known.layout == "yolov5")
            maps = "; ".join(f"{level.rows}x{level.columns}: {', '.join(level.tensors)}" for level in levels)
            return f"cells, from what feeds the last convolutions ({maps})", name, width
        rows = features.row_tensor(graph, read[0], shapes, self._anchors)
        if rows:
            name, width = features.write_rows(w, rows, shapes[rows][2], index)
            return f"queries: the embedding '{rows}' that the scores are computed from", name, width
        return (
            (
                "none: there is no map of stride 4, and no convolutions or rows were found that account for its "
                f"{self._anchors} anchors"
            ),
            "",
            0,
        )

    def _answer(self, images: UInt8, *, free: bool = False) -> Outputs:
        """What the opened graph gives for images.

        Args:
            images: `(B, H, W, 3)`.
            free: whether its input takes any batch and size.
        """
        model = ModelProto()
        model.CopyFrom(self._opened)
        if free:
            [value] = model.graph.input
            dims = value.type.tensor_type.shape.dim
            for place in range(4):
                if place != (1 if self._known.port.planes else 3):
                    dims[place].dim_param = f"free_{place}"
            for output in model.graph.output:
                output.type.tensor_type.ClearField("shape")
        return run_once(model, self._known.port.feed(images, self._known.preprocess))

    def _takes_batches(self, alone: Outputs) -> bool:
        """Whether two images at once are answered as each alone."""
        two = _noise(2, self._size)
        try:
            together = self._answer(two, free=True)
            other = self._answer(two[1:], free=True)
        except ModelError:
            return False
        return all(
            together[name].shape == (2, *value.shape[1:])
            and np.allclose(together[name][:1], value, TOLERANCE, TOLERANCE)
            and np.allclose(together[name][1:], other[name], TOLERANCE, TOLERANCE)
            for name, value in alone.items()
            if name in heads.read_outputs(self._known.decoder, self._outputs)
        )

    def _takes_other_sizes(self) -> bool:
        """Whether an input of another size and shape gives as many rows as it has cells."""
        if self._known.layout not in GRIDS or self._anchors != sum(counts(self._size, self._strides)):
            return False
        other = (self._size[0] + MULTIPLE, self._size[1] + 3 * MULTIPLE)
        try:
            values = self._answer(_noise(1, other), free=True)
        except ModelError:
            return False
        outputs = {name: TensorSpec(value.shape, value.dtype) for name, value in values.items()}
        sample = Sample(outputs, other, self._known.metadata, values, self._known.card.classes)
        return bool(type(self._known.decoder).evidence(sample))

    def _metadata(self, size: Size, licence: str) -> dict[str, str]:
        smallest = MULTIPLE
        while self._free_size and sum(counts((smallest, smallest), self._strides)) < self._kept:
            smallest += MULTIPLE
        card = self._known.card
        multiple, minimum = (MULTIPLE, smallest) if self._free_size else (1, 1)
        said = {
            "kind": "detector",
            "decoder": "candidates",
            "classes": "\n".join(card.classes),
            "height": str(size[0]),
            "width": str(size[1]),
            "multiple": str(multiple),
            "minimum": str(minimum),
            "color": "bgr",
            "preprocess": "letterbox",
            "place": self._known.preprocess.place,
            "fill": str(self._known.preprocess.fill),
            "fixed": "false" if self._free_size else "true",
            "version": "1",
            "licence": licence or card.licence or "not named",
            "source": f"{self._name}, exported by alstm",
            "training_data": "not named by its author",
        }
        return dict(sorted(said.items()))


def _noise(count: int, size: Size) -> UInt8:
    return np.random.default_rng(0).integers(0, 256, (count, *size, 3)).astype(np.uint8)

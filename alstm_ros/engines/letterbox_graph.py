"""The letterbox inside the graph: images of any size go in, and the device fits them into the network's input.

The same geometry as `detection.letterbox`, in whole numbers, so that both place an image alike; a pixel differs by at
most 1 of 255, since OpenCV's weights have 11 bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from onnx.onnx_ml_pb2 import ModelProto, NodeProto

from alstm_ros.engines import tensorrt_graph
from alstm_ros.errors import ModelError

PREFIX = "letterbox/"
SOURCE_HEIGHT, SOURCE_WIDTH = "source_height", "source_width"
"""Names of the input's free axes; in the metadata, the largest sizes for which TensorRT is built."""
LARGEST = (1080, 1920)
SMALLEST = 64


def letterbox_inside(
    model: ModelProto,
    *,
    height: int,
    width: int,
    multiple: int,
    minimum: int,
    fill: int = 127,
    place: str = "corner",
    largest: tuple[int, int] = LARGEST,
) -> ModelProto:
    """Puts the letterbox in front of a detector.

    Args:
        model: takes one input `(batch, h, w, 3)` uint8; not changed.
        height: most rows of the network's input.
        width: most columns.
        multiple: rows and columns of the network's input are a multiple of this; 0 where they are always the most.
        minimum: and at least this.
        fill: grey of the padding, 0..255.
        place: where an image lies in its input: `corner` (top left), `centre`, or `stretch` to all of it.
        largest: height and width of the largest image for which TensorRT is built; larger ones go to ONNX Runtime.

    Returns:
        A new model with the same outputs, in the pixels of the network's input as before. Its input has free axes for
        rows and columns, and its metadata says `preprocess` `inside`.

    Raises:
        ModelError: the model has no such input, or is of an opset before 13.
    """
    made = ModelProto()
    made.CopyFrom(model)
    images = [value for value in made.graph.input if value.type.tensor_type.elem_type == TensorProto.UINT8]
    weights = {weight.name for weight in made.graph.initializer}
    others = [value.name for value in made.graph.input if value.name not in weights | {v.name for v in images}]
    opset = next((entry.version for entry in made.opset_import if entry.domain in {"", "ai.onnx"}), 0)
    if len(images) != 1 or others or len(images[0].type.tensor_type.shape.dim) != 4 or opset < 13:
        raise ModelError(
            "The letterbox goes in front of a detector of opset 13 or later whose one input is uint8 ?x?x?x3; this "
            f"model is of opset {opset} and takes {', '.join(value.name for value in made.graph.input) or 'nothing'}."
        )
    name = images[0].name
    tensorrt_graph.cast_first(made.graph, images[0])
    [cast] = [node for node in made.graph.node if list(node.input) == [name]]
    writer = _Writer()
    if place == "stretch":
        rows, columns = writer.ints(height), writer.ints(width)
    else:
        source_rows, source_columns = writer.axis(name, 1), writer.axis(name, 2)
        rows = writer.fitted(source_rows, height, source_columns, width)
        columns = writer.fitted(source_columns, width, source_rows, height)
    floats = writer.node("Cast", name, to=TensorProto.FLOAT)
    planes = writer.node("Transpose", floats, perm=(0, 3, 1, 2))  # (B, 3, H, W)
    size = writer.node("Concat", writer.axis(name, 0), writer.ints(3), rows, columns, axis=0)
    scaled = writer.node("Resize", planes, "", "", size, mode="linear", coordinate_transformation_mode="half_pixel")
    filled = writer.node("Round", scaled)  # (B, 3, rows, columns), whole numbers as OpenCV gives
    if place != "stretch":
        filled = writer.padded(filled, rows, columns, (height, width), (multiple, minimum), fill, place)
    canvas = writer.node("Transpose", filled, perm=(0, 2, 3, 1))
    users = [node for node in made.graph.node if node != cast]
    for node in users:
        node.input[:] = [canvas if tensor == cast.output[0] else tensor for tensor in node.input]
    nodes = [*writer.nodes, *users]
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    made.graph.initializer.extend(writer.weights)
    for axis, free in ((1, SOURCE_HEIGHT), (2, SOURCE_WIDTH)):
        images[0].type.tensor_type.shape.dim[axis].dim_param = free
    about = {entry.key: entry.value for entry in made.metadata_props}
    about |= {"preprocess": "inside", SOURCE_HEIGHT: str(largest[0]), SOURCE_WIDTH: str(largest[1])}
    about |= {f"least_{SOURCE_HEIGHT}": str(SMALLEST), f"least_{SOURCE_WIDTH}": str(SMALLEST)}
    helper.set_model_props(made, about)
    return made


class _Writer:
    """Nodes under construction; every method returns the name of a tensor, sizes as int64 of one element."""

    def __init__(self) -> None:
        """Starts with none."""
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []

    def node(self, operation: str, *inputs: str, **attributes: Any) -> str:
        name = f"{PREFIX}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, list(inputs), [name], name=name, **attributes))
        return name

    def ints(self, *values: int) -> str:
        return self._weight(np.array(values, np.int64))

    def axis(self, tensor: str, place: int) -> str:
        return self.node("Gather", self.node("Shape", tensor), self.ints(place), axis=0)

    def fitted(self, size: str, most: int, other: str, other_most: int) -> str:
        """One side of `Fit.of`: the image's, scaled to `other_most` on the other side, or `most` if that is less.

        size * other_most / other, to the nearest: (2 * size * other_most + other) / (2 * other).
        """
        doubled = self.node("Add", self.node("Mul", size, self.ints(2 * other_most)), other)
        nearest = self.node("Div", doubled, self.node("Mul", other, self.ints(2)))
        return self.node("Min", self.node("Max", nearest, self.ints(1)), self.ints(most))

    def padded(
        self,
        image: str,
        rows: str,
        columns: str,
        most: tuple[int, int],
        allowed: tuple[int, int],
        fill: int,
        place: str,
    ) -> str:
        """The image in the room that `Canvas` gives it."""
        spare = [
            self.node("Sub", self._room(need, limit, *allowed), need)
            for need, limit in ((rows, most[0]), (columns, most[1]))
        ]
        none = self.ints(0, 0)
        before = [self.ints(0), self.ints(0)]
        if place == "centre":
            before = [self.node("Div", size, self.ints(2)) for size in spare]
        after = [self.node("Sub", size, first) for size, first in zip(spare, before, strict=True)]
        amounts = self.node("Concat", none, *before, none, *after, axis=0)
        return self.node("Pad", image, amounts, self._weight(np.array(fill, np.float32)))

    def _room(self, need: str, most: int, multiple: int, minimum: int) -> str:
        if not multiple:
            return self.ints(most)
        steps = self.node("Div", self.node("Add", need, self.ints(multiple - 1)), self.ints(multiple))
        room = self.node("Mul", steps, self.ints(multiple))
        return self.node("Min", self.node("Max", room, self.ints(minimum)), self.ints(most))

    def _weight(self, values: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> str:
        name = f"{PREFIX}constant_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name

"""The letterbox inside the graph: images of any size go in, and the device fits them into the network's input.

The same geometry as `detection.letterbox`, in whole numbers, so that both place an image alike; a pixel differs by at
most 1 of 255, since OpenCV's weights have 11 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from onnx import TensorProto, helper
from onnx.onnx_ml_pb2 import ModelProto

from alstm_ros.engines import tensorrt_graph
from alstm_ros.errors import ModelError
from alstm_ros.onnx_graph import GraphWriter, Naming

PREFIX = "letterbox/"
"""The beginning of every name that is added."""
NAMING = Naming(f"{PREFIX}{{n}}", constant=f"{PREFIX}constant_{{n}}", shared=False)
"""The names of what is added."""
SOURCE_HEIGHT, SOURCE_WIDTH = "source_height", "source_width"
"""Names of the input's free axes; in the metadata they hold the largest sizes for which TensorRT is built."""
LARGEST = (1080, 1920)
"""Height and width in pixels of the largest image for which TensorRT is built unless told otherwise."""
SMALLEST = 64
"""Height and width in pixels of the smallest image for which TensorRT is built."""


@dataclass(frozen=True, slots=True)
class LetterboxRoom:
    """The room that images are fitted into.

    Attributes:
        height: most rows of the network's input.
        width: most columns.
        multiple: rows and columns of the network's input are a multiple of this; 0 where they are always the most.
        minimum: and at least this.
        fill: grey of the padding, 0..255.
        place: where an image lies in its input: `corner` (top left), `centre`, or `stretch` to all of it.
    """

    height: int
    width: int
    multiple: int
    minimum: int
    fill: int = 127
    place: str = "corner"


def letterbox_inside(model: ModelProto, room: LetterboxRoom, largest: tuple[int, int] = LARGEST) -> ModelProto:
    """Puts the letterbox in front of a detector.

    Args:
        model: takes one input `(batch, h, w, 3)` uint8; not changed.
        room: the network's input.
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
    fit = _Fitting(GraphWriter(made.graph, opset, NAMING))
    if room.place == "stretch":
        rows, columns = fit.ints(room.height), fit.ints(room.width)
    else:
        source_rows, source_columns = fit.axis(name, 1), fit.axis(name, 2)
        rows = fit.fitted(source_rows, room.height, source_columns, room.width)
        columns = fit.fitted(source_columns, room.width, source_rows, room.height)
    floats = fit.op("Cast", name, to=TensorProto.FLOAT)
    planes = fit.op("Transpose", floats, perm=(0, 3, 1, 2))  # (B, 3, H, W)
    size = fit.op("Concat", fit.axis(name, 0), fit.ints(3), rows, columns, axis=0)
    scaled = fit.op("Resize", planes, "", "", size, mode="linear", coordinate_transformation_mode="half_pixel")
    filled = fit.op("Round", scaled)  # (B, 3, rows, columns), whole numbers as OpenCV gives
    if room.place != "stretch":
        filled = fit.padded(filled, rows, columns, room)
    canvas = fit.op("Transpose", filled, perm=(0, 2, 3, 1))
    made.graph.node.remove(cast)
    for node in made.graph.node:
        if not node.output[0].startswith(PREFIX):
            node.input[:] = [canvas if tensor == cast.output[0] else tensor for tensor in node.input]
    for axis, free in ((1, SOURCE_HEIGHT), (2, SOURCE_WIDTH)):
        images[0].type.tensor_type.shape.dim[axis].dim_param = free
    about = {entry.key: entry.value for entry in made.metadata_props}
    about |= {"preprocess": "inside", SOURCE_HEIGHT: str(largest[0]), SOURCE_WIDTH: str(largest[1])}
    about |= {f"least_{SOURCE_HEIGHT}": str(SMALLEST), f"least_{SOURCE_WIDTH}": str(SMALLEST)}
    helper.set_model_props(made, about)
    return made


class _Fitting:
    """What fits an image, written in front of a graph; sizes are int64 of one element."""

    def __init__(self, writer: GraphWriter) -> None:
        self._writer = writer

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        return self._writer.op(kind, *inputs, front=True, **attributes)

    def ints(self, *values: int) -> str:
        return self._writer.const(values)

    def axis(self, tensor: str, place: int) -> str:
        return self.op("Gather", self.op("Shape", tensor), self.ints(place), axis=0)

    def fitted(self, size: str, most: int, other: str, other_most: int) -> str:
        """One side of `Fit.of`: the image's, scaled to `other_most` on the other side, or `most` if that is less.

        size * other_most / other, to the nearest: (2 * size * other_most + other) / (2 * other).
        """
        doubled = self.op("Add", self.op("Mul", size, self.ints(2 * other_most)), other)
        nearest = self.op("Div", doubled, self.op("Mul", other, self.ints(2)))
        return self.op("Min", self.op("Max", nearest, self.ints(1)), self.ints(most))

    def padded(self, image: str, rows: str, columns: str, room: LetterboxRoom) -> str:
        """The image of these rows and columns in the room that `Canvas` gives it."""
        spare = [
            self.op("Sub", self._given(need, most, room), need)
            for need, most in ((rows, room.height), (columns, room.width))
        ]
        none = self.ints(0, 0)
        before = [self.ints(0), self.ints(0)]
        if room.place == "centre":
            before = [self.op("Div", size, self.ints(2)) for size in spare]
        after = [self.op("Sub", size, first) for size, first in zip(spare, before, strict=True)]
        amounts = self.op("Concat", none, *before, none, *after, axis=0)
        return self.op("Pad", image, amounts, self._writer.const(float(room.fill)))

    def _given(self, need: str, most: int, room: LetterboxRoom) -> str:
        """Rows or columns that a batch takes whose images need so many."""
        if not room.multiple:
            return self.ints(most)
        steps = self.op("Div", self.op("Add", need, self.ints(room.multiple - 1)), self.ints(room.multiple))
        whole = self.op("Mul", steps, self.ints(room.multiple))
        return self.op("Min", self.op("Max", whole, self.ints(room.minimum)), self.ints(most))

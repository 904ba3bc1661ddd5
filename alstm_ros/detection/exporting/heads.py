"""The decoders once more, as ONNX nodes: scores of every anchor, and boxes of those that are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from alstm_ros.detection.decoders import DECODERS
from alstm_ros.detection.decoders.detr import DetrDecoder, RtDetrDecoder
from alstm_ros.detection.decoders.layout import Decoder, Outputs, Size, grid
from alstm_ros.detection.decoders.nanodet import BINS, SIDES, NanodetDecoder, NanodetPlusDecoder
from alstm_ros.detection.decoders.priors import priors
from alstm_ros.detection.decoders.ssd import GROWTHS, MOST_GROWTH, MOVES, SsdDecoder
from alstm_ros.detection.decoders.yolo import YoloDecoder
from alstm_ros.detection.decoders.yolox import YoloxDecoder
from alstm_ros.errors import ModelError
from alstm_ros.onnx_graph import GraphWriter

BOX = (0, 4)


@dataclass(frozen=True, slots=True)
class Site:
    """Where a head is written.

    Attributes:
        writer: of the model's graph.
        outputs: names of the model's outputs.
        size: height and width of its input.
        free: whether other sizes are taken too.
        images: name of the input, `(B, H, W, 3)`.
    """

    writer: GraphWriter
    outputs: tuple[str, ...]
    size: Size
    free: bool
    images: str

    def grid(self, strides: tuple[int, ...]) -> str:
        """Column, row and stride of every cell, `(N, 3)`; see `layout.grid`."""
        w = self.writer
        if not self.free:
            return w.const(grid(self.size, strides))
        shape = w.op("Shape", self.images)
        maps = []
        for stride in strides:
            cells = []
            for axis in (2, 1):
                pixels = w.op("Gather", shape, w.const(axis))
                count = w.op("Div", w.op("Add", pixels, w.const(stride - 1)), w.const(stride))
                steps = w.floats(w.op("Range", w.const(0), count, w.const(1)))
                cells.append((count, w.reshape(steps, [1, -1, 1] if axis == 2 else [-1, 1, 1])))
            sides = [w.reshape(count, [1]) for count, _ in reversed(cells)]
            full = w.op("Concat", *sides, w.const([1]), axis=0)
            parts = [w.op("Expand", steps, full) for _, steps in cells]
            parts.append(w.op("Expand", w.const(float(stride)), full))
            maps.append(w.reshape(w.op("Concat", *parts, axis=2), [-1, 3]))
        return w.op("Concat", *maps, axis=0)


@dataclass(frozen=True, slots=True)
class Head:
    """What a layout comes to.

    Attributes:
        scores: `(B, N, C)` in 0..1.
        boxes: takes the name of indices `(B, K, 1)`, returns that of xyxy `(B, K, 4)` in pixels of the input.
    """

    scores: str
    boxes: Callable[[str], str]


def write_head(decoder: Decoder, site: Site) -> Head:
    """Writes what reads a model's outputs.

    Args:
        decoder: knows the layout.
        site: the model.

    Raises:
        ModelError: this layout has chosen its boxes already, so that no anchor is left to choose or to describe.
    """
    for kind, head in _HEADS.items():
        if isinstance(decoder, kind):
            return head(decoder, site)
    layout = next((name for name, kind in DECODERS.items() if kind is type(decoder)), "")
    raise ModelError(
        f"A model of the layout '{layout}' cannot be exported: its boxes are chosen inside, or are peaks of a map, and "
        "no anchors are left that features could be taken from. Use the file as it is, or export it without its "
        "postprocessing."
    )


def read_outputs(decoder: Decoder, outputs: Sequence[str]) -> tuple[str, ...]:
    """Names of the outputs that a head reads; masks and the like are none of them."""
    if isinstance(decoder, NanodetDecoder):
        return tuple(name for pair in decoder.names for name in pair)
    if isinstance(decoder, SsdDecoder):
        return (decoder.logits, decoder.encodings)
    if isinstance(decoder, RtDetrDecoder):
        return decoder.parts
    return (outputs[0],)


def anchors(decoder: Decoder, answer: Outputs) -> int:
    """How many boxes an answer chooses from."""
    shapes = [answer[name].shape for name in read_outputs(decoder, tuple(answer))]
    if isinstance(decoder, NanodetDecoder):
        return sum(shape[1] for shape in shapes[::2])
    return int(shapes[0][2 if isinstance(decoder, YoloDecoder) else 1])


def write_corners(w: GraphWriter, centres: str, sizes: str) -> str:
    """Centre and size, `(B, K, 2)` each, to xyxy `(B, K, 4)`."""
    half = w.op("Mul", sizes, w.const(0.5))
    return w.op("Concat", w.op("Sub", centres, half), w.op("Add", centres, half), axis=2)


def _yolox(decoder: YoloxDecoder, site: Site) -> Head:
    w, rows = site.writer, site.writer.floats(site.outputs[0])
    scores = w.op("Mul", w.columns(rows, 4, 5), w.columns(rows, 5, 5 + decoder.classes))

    def boxes(index: str) -> str:
        kept = w.rows(w.columns(rows, *BOX), index)
        centres, sizes = w.columns(kept, 0, 2), w.columns(kept, 2, 4)
        if not decoder.decoded:
            cells = w.op("Gather", site.grid((8, 16, 32)), _flat(w, index), axis=0)
            stride = w.columns(cells, 2, 3)
            centres = w.op("Mul", w.op("Add", centres, w.columns(cells, 0, 2)), stride)
            sizes = w.op("Mul", w.op("Exp", sizes), stride)
        return write_corners(w, centres, sizes)

    return Head(scores, boxes)


def _yolo(decoder: YoloDecoder, site: Site) -> Head:
    w = site.writer
    rows = w.op("Transpose", w.floats(site.outputs[0]), perm=[0, 2, 1])

    def boxes(index: str) -> str:
        kept = w.rows(w.columns(rows, *BOX), index)
        return write_corners(w, w.columns(kept, 0, 2), w.columns(kept, 2, 4))

    return Head(w.columns(rows, 4, 4 + decoder.classes), boxes)


def _nanodet(decoder: NanodetDecoder | NanodetPlusDecoder, site: Site) -> Head:
    w = site.writer
    if isinstance(decoder, NanodetDecoder):
        scores, bins = (w.floats(w.op("Concat", *(pair[i] for pair in decoder.names), axis=1)) for i in (0, 1))
    else:
        rows = w.floats(site.outputs[0])
        scores, bins = w.columns(rows, 0, decoder.classes), w.columns(rows, decoder.classes, decoder.classes + SIDES)
    if decoder.raw:
        scores = w.op("Sigmoid", scores)

    def boxes(index: str) -> str:
        parts = w.reshape(w.rows(bins, index), [0, 0, 4, BINS])
        weights = w.op("Mul", w.op("Softmax", parts, axis=3), w.const(np.arange(BINS, dtype=np.float32)))
        means = w.op("Mul", w.reduce("ReduceMean", weights, [3]), w.const(float(BINS)))  # ReduceSum changed its form
        cells = w.op("Gather", site.grid(decoder.strides), _flat(w, index), axis=0)
        stride = w.columns(cells, 2, 3)
        sides = w.op("Mul", means, stride)
        points = w.op("Mul", w.op("Add", w.columns(cells, 0, 2), w.const(decoder.centre)), stride)
        low = w.op("Sub", points, w.columns(sides, 0, 2))
        return w.op("Concat", low, w.op("Add", points, w.columns(sides, 2, 4)), axis=2)

    return Head(scores, boxes)


def _ssd(decoder: SsdDecoder, site: Site) -> Head:
    w = site.writer
    logits, encodings = (w.floats(name) for name in (decoder.logits, decoder.encodings))
    scores = w.columns(w.op("Softmax", logits, axis=2), 1, 1 + decoder.classes)

    def boxes(index: str) -> str:
        if decoder.anchors:
            anchors = w.reshape(w.floats(decoder.anchors), [-1, 4])
        else:
            known = priors(site.size, decoder.count)
            anchors = w.const(np.zeros((0, 4), np.float32) if known is None else known)
        placed, code = w.op("Gather", anchors, _flat(w, index), axis=0), w.rows(encodings, index)
        sides = w.op("Sub", w.columns(placed, 2, 4), w.columns(placed, 0, 2))
        middles = w.op("Add", w.columns(placed, 0, 2), w.op("Mul", sides, w.const(0.5)))
        moves = w.op("Mul", w.op("Mul", w.columns(code, 0, 2), w.const(1 / MOVES)), sides)
        growth = w.op("Min", w.op("Mul", w.columns(code, 2, 4), w.const(1 / GROWTHS)), w.const(MOST_GROWTH))
        return write_corners(w, w.op("Add", middles, moves), w.op("Mul", w.op("Exp", growth), sides))

    return Head(scores, boxes)


def _detr(decoder: RtDetrDecoder, site: Site) -> Head:
    w = site.writer
    logits = w.floats(decoder.parts[0])
    if isinstance(decoder, DetrDecoder):
        scores = w.columns(w.op("Softmax", logits, axis=2), 0, decoder.classes)
    else:
        scores = w.op("Sigmoid", logits)

    def boxes(index: str) -> str:
        pixels = w.const(np.array([site.size[1], site.size[0]] * 2, np.float32))
        kept = w.op("Mul", w.rows(w.floats(decoder.parts[1]), index), pixels)
        return write_corners(w, w.columns(kept, 0, 2), w.columns(kept, 2, 4))

    return Head(scores, boxes)


def _flat(w: GraphWriter, index: str) -> str:
    """Indices `(B, K, 1)` to `(B, K)`."""
    return w.op("Squeeze", index, w.const([2]))


_HEADS: dict[type, Callable[..., Head]] = {
    YoloxDecoder: _yolox,  # and YOLOv5, which is one whose rows are decoded
    YoloDecoder: _yolo,
    NanodetDecoder: _nanodet,
    NanodetPlusDecoder: _nanodet,
    SsdDecoder: _ssd,
    RtDetrDecoder: _detr,  # and DETR
}
"""Kind of decoder to what writes it."""

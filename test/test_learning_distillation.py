"""Learning without forgetting: where nothing is known, the network is held to what it said before, and only there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="learning needs torch")

import torch
from test_learning_fine_tune import recording

from alstm_ros.config import Config
from alstm_ros.learning.answers import answers
from alstm_ros.learning.batches import TrainingBatch, make_batch
from alstm_ros.learning.clips import ClipSources, TrainingDataConfig, make_tape
from alstm_ros.learning.distillation import distillation_loss
from alstm_ros.learning.fine_tuning import FINE_TUNING
from alstm_ros.learning.network.model import AssociationLstm, LstmConfig
from alstm_ros.learning.objective import LossConfig, objective
from alstm_ros.learning.pseudo_labels.augment import draw_augmented_clip
from alstm_ros.learning.rollout import Rollout, record_clip
from alstm_ros.learning.tape import Tape
from alstm_ros.learning.train import AssociationTrainConfig

DATA = TrainingDataConfig(window=40, frames=80)


def network(seed: int) -> AssociationLstm:
    """A small network of which every part says something."""
    torch.manual_seed(seed)
    model = AssociationLstm(LstmConfig(hidden=16, head=16, pair=16))
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return model.eval()


def own() -> Tape:
    rng = np.random.default_rng(0)
    return record_clip(draw_augmented_clip(rng, [recording(200)], 80), rng, Rollout(Config()))


def batch_of(tape: Tape) -> TrainingBatch:
    return make_batch([(tape, 0), (tape, 20)], DATA, Config().association.max_cost)


def test_what_is_the_same_is_remembered_whole() -> None:
    batch = batch_of(own())
    said = answers(network(1), batch)
    assert len(said.refined) == int(batch.valid.sum())
    assert distillation_loss(said, answers(network(1), batch), batch).item() == 0
    assert distillation_loss(said, answers(network(2), batch), batch).item() > 0


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
    assert distillation_loss(one, other, known).item() == 0
    assert distillation_loss(one, other, replace(known, score=-ones)).item() > 0
    assert distillation_loss(one, other, replace(known, same=-ones)).item() > 0
    assert distillation_loss(one, other, replace(known, real=0 * ones)).item() > 0
    unknown = replace(known, pairs=replace(pairs, use=~pairs.use))
    assert distillation_loss(one, other, unknown).item() > 0


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
    assert distillation_loss(one, other, sparse).item() == 0
    assert distillation_loss(one, other, replace(sparse, score=-torch.ones_like(first))).item() > 0
    assert distillation_loss(one, other, replace(sparse, real=torch.zeros_like(first))).item() > 0


def test_a_clip_without_its_truth_teaches_nothing_but_remembering() -> None:
    seed, tracker = (0, 0), Config()
    told = make_tape(seed, ClipSources(), DATA, Rollout(tracker))
    tape = make_tape(seed, ClipSources(), replace(DATA, truth=False), Rollout(tracker))
    np.testing.assert_array_equal(tape.steps.x, told.steps.x)
    np.testing.assert_array_equal(tape.pairs.g, told.pairs.g)
    batch, model = batch_of(tape), network(1)
    silent = LossConfig(calm=0.0, small=0.0, distillation=1.0)
    total, parts = objective(model, batch, silent, [network(1)])
    assert total.item() < 1e-9  # rounding
    total, parts = objective(model, batch, silent, [network(2)])
    assert total.item() == parts["distillation"].item() > 0
    assert objective(model, batch_of(told), silent, [network(1)])[0].item() > 0


def test_a_network_that_strayed_comes_back_where_nothing_is_known() -> None:
    batch, old, model = batch_of(own().without_truth()), network(1), network(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=torch.manual_seed(3)))
    config = LossConfig(calm=0.0, small=0.0, distillation=1.0)
    first = objective(model, batch, config, [old])[0].item()
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(60):
        optimiser.zero_grad()
        objective(model, batch, config, [old])[0].backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert objective(model, batch, config, [old])[0].item() < 0.2 * first


def test_ordinary_training_knows_nothing_of_it() -> None:
    assert AssociationTrainConfig().loss.distillation == 0
    assert AssociationTrainConfig().data.truth
    assert "distillation" not in objective(network(1), batch_of(own()), LossConfig())[1]
    assert FINE_TUNING["loss.distillation"]

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from alstm_ros.association.associator import Candidates, TrackView
from alstm_ros.association.learned.associator import STATES, LearnedAssociator, configured, open_associator
from alstm_ros.association.learned.competition import candidate_margins, crowding, paired_iou, place_of
from alstm_ros.association.learned.features import APPEARANCE, PAIR, STEP
from alstm_ros.association.learned.history import Unclaimed
from alstm_ros.association.tracker import IdCounter, TrackManager
from alstm_ros.boxes import iou
from alstm_ros.config import Config, EngineConfig
from alstm_ros.engines import open_engine
from alstm_ros.errors import ModelError
from alstm_ros.options import replace
from alstm_ros.types import Detections, FrameResult

SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported network with random weights: nothing that it says is constant."""
    torch = pytest.importorskip("torch", reason="learning needs torch")
    from alstm_ros.learning.network.model import AssociationLstm, LstmConfig
    from alstm_ros.learning.network.onnx_file import write_network

    torch.manual_seed(0)
    network = AssociationLstm(LstmConfig())
    with torch.no_grad():
        for value in network.parameters():
            value.normal_(0, 0.1)
    path = tmp_path_factory.mktemp("model") / "association.onnx"
    write_network(network.eval(), path, {"licence": "none"})
    return path


def frame(number: int, width: int | None = None, count: int = 5) -> Detections:
    """People who walk to the right, side by side."""
    rng = np.random.default_rng(number)
    left = 100 * np.arange(count) + 3 * number
    boxes = np.stack([left, np.full(count, 50), left + 40, np.full(count, 150)], axis=1).astype(np.float32)
    looks = None if width is None else rng.normal(size=(count, width)).astype(np.float32)
    scores = np.linspace(0.95, 0.9, count).astype(np.float32)
    return Detections(boxes, scores, np.zeros(count, np.int64), looks)


def walk(manager: TrackManager, frames: range, width: int | None = None) -> list[FrameResult]:
    return [manager.update(frame(k, width), k * SECOND // 30) for k in frames]


def learned(model: Path, changes: dict[str, object] | None = None) -> TrackManager:
    config = replace(Config(), {"association.model": str(model), **(changes or {})})
    return TrackManager(config, IdCounter(), configured(config)())


@pytest.mark.parametrize("width", [None, APPEARANCE, 96])
def test_refined_tracks_come_with_embeddings_and_confidences(model: Path, width: int | None) -> None:
    last = walk(learned(model), range(10), width)[-1].tracks
    assert last.ids.tolist() == [1, 2, 3, 4, 5]
    assert last.embeddings.shape[1] > 0
    assert np.abs(last.embeddings).max() > 0
    assert np.all((last.confidences > 0) & (last.confidences < 1))
    assert np.all((last.scores >= 0) & (last.scores <= 1))
    raw = frame(9).boxes[last.detection]
    assert not np.allclose(last.boxes, raw)
    assert np.abs(last.boxes - raw).max() < 60


def test_unrefined_output_is_what_was_detected(model: Path) -> None:
    last = walk(learned(model, {"output.refined": False}), range(10))[-1].tracks
    assert np.array_equal(last.boxes, frame(9).boxes[last.detection])
    assert np.array_equal(last.scores, frame(9).scores[last.detection])


def test_an_untrained_network_publishes_what_the_rules_do(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="learning needs torch")
    from alstm_ros.learning.network.model import AssociationLstm, LstmConfig
    from alstm_ros.learning.network.onnx_file import write_network

    write_network(AssociationLstm(LstmConfig()).eval(), tmp_path / "model.onnx", {"licence": "none"})
    rules = walk(TrackManager(replace(Config(), {"association.model": ""}), IdCounter()), range(20))
    for want, got in zip(rules, walk(learned(tmp_path / "model.onnx"), range(20)), strict=True):
        for name in ("ids", "boxes", "scores", "states", "velocities"):
            assert np.array_equal(getattr(got.tracks, name), getattr(want.tracks, name))


def test_the_same_input_gives_the_same_bytes(model: Path) -> None:
    runs = [walk(learned(model), range(20)) for _ in range(2)]
    for a, b in zip(*runs, strict=True):
        assert a.tracks.boxes.tobytes() == b.tracks.boxes.tobytes()
        assert a.tracks.confidences.tobytes() == b.tracks.confidences.tobytes()


def test_a_reset_forgets_every_state(model: Path) -> None:
    manager = learned(model)
    first = walk(manager, range(12))
    manager.reset()
    again = walk(manager, range(12))
    assert np.array_equal(first[-1].tracks.embeddings, again[-1].tracks.embeddings)
    assert not set(first[-1].tracks.ids) & set(again[-1].tracks.ids)


def test_an_unseen_track_keeps_its_state(model: Path) -> None:
    manager = learned(model)
    before = walk(manager, range(10))[-1].tracks
    gone = [manager.update(Detections.empty(), k * SECOND // 30).tracks for k in range(10, 20)]
    assert all(np.array_equal(tracks.embeddings, before.embeddings) for tracks in gone)


def test_states_grow_with_the_number_of_tracks(model: Path) -> None:
    manager = learned(model)
    for k, count in enumerate((1, 40, 3, 200)):
        tracks = manager.update(frame(k, count=count), k * SECOND // 30).tracks
        assert len(tracks) >= count


def test_a_model_of_another_kind_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model file"):
        open_associator(str(tmp_path / "none.onnx"))
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info("x", 1, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [value], [
        onnx.helper.make_tensor_value_info("y", 1, [1])
    ])  # fmt: skip
    other = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "other.onnx"
    path.write_bytes(other.SerializeToString())
    with pytest.raises(ModelError, match=r"other\.onnx.*association"):
        open_associator(str(path))


def test_the_file_says_what_it_is(model: Path) -> None:
    engine = open_engine(model, EngineConfig(threads=1))
    assert engine.metadata["kind"] == "association"
    assert engine.inputs["x"].shape == (None, STEP)
    assert engine.inputs["pairs"].shape == (None, PAIR)
    assert {f"{name}_next" for name in STATES} <= set(engine.outputs)
    assert isinstance(open_associator(str(model))(), LearnedAssociator)


def test_margins_are_those_of_a_table() -> None:
    rng = np.random.default_rng(0)
    rows, columns = np.nonzero(rng.random((6, 7)) < 0.4)
    costs = np.asarray(rng.integers(0, 6, len(rows)) / 4, np.float32)  # some alike
    nothing = TrackView(*(np.zeros(6),) * 8)  # type: ignore[arg-type]  # only their number is looked at
    found = Detections(np.zeros((7, 4), np.float32), np.ones(7, np.float32), np.zeros(7, np.int64))
    got = candidate_margins(Candidates(nothing, found, rows, columns, costs, 0.85, 1), costs)
    for k in range(len(rows)):
        for side, index in enumerate((rows, columns)):
            rivals = [costs[j] for j in range(len(rows)) if j != k and index[j] == index[k]]
            want = np.clip(min(rivals, default=np.inf) - costs[k], -1, 1)
            assert got[k, side] == pytest.approx(want, abs=1e-6)


def test_what_belonged_to_nobody_is_remembered() -> None:
    """The same free box for three frames beside a track; a new one has not been there."""
    leftovers, box = Unclaimed(), np.array([[300.0, 50.0, 340.0, 150.0]], np.float32)
    nothing, taken = TrackView(*(np.zeros(0),) * 8), np.array([0])  # type: ignore[arg-type]  # no track is looked at
    waits = []
    for k in range(4):
        others = box + k if k < 3 else box + 500
        found = Detections(np.concatenate([box - 200, others]), np.ones(2, np.float32), np.zeros(2, np.int64))
        asked = Candidates(nothing, found, taken, taken, np.zeros(1, np.float32), 0.85, 100_000_000)
        free, share = leftovers(asked)
        waits.append((round(float(free[0]), 3), round(float(free[1]), 3), share))
        leftovers.learn(found, free, taken)
    assert waits == [(0, 0, 0), (0, 0.1, 0.5), (0, 0.2, 0.5), (0, 0, 0.5)]


def test_crowding_is_that_of_all_pairs() -> None:
    rng = np.random.default_rng(2)
    boxes = rng.uniform(0, 90, (40, 4)).astype(np.float32)
    boxes[:, 2:] = boxes[:, :2] + rng.uniform(5, 40, (40, 2))
    scores = rng.random(40).astype(np.float32)
    table = iou(boxes, boxes)
    np.fill_diagonal(table, 0)
    most, covered = crowding(boxes, scores)
    assert np.allclose(most, table.max(axis=1), atol=1e-5)
    for k in range(40):
        better = boxes[scores > scores[k]]
        size = np.minimum(boxes[k, 2:], better[:, 2:]) - np.maximum(boxes[k, :2], better[:, :2])
        shares = np.prod(np.maximum(size, 0), axis=1) / np.prod(boxes[k, 2:] - boxes[k, :2])
        assert covered[k] == pytest.approx(shares.max(initial=0), abs=1e-5)
    assert [part.tolist() for part in crowding(boxes[:1], scores[:1])] == [[0.0], [0.0]]


def test_pairs_are_found_among_the_candidates() -> None:
    nothing = TrackView(*(np.zeros(0),) * 8)  # type: ignore[arg-type]
    rows, columns = np.nonzero(np.random.default_rng(3).random((5, 6)) < 0.5)
    found = Detections(np.zeros((6, 4), np.float32), np.ones(6, np.float32), np.zeros(6, np.int64))
    asked = Candidates(nothing, found, rows, columns, np.zeros(len(rows), np.float32), 0.85, 1)
    index, there = place_of(asked, np.repeat(np.arange(5), 6), np.tile(np.arange(6), 5))
    for k, (row, column) in enumerate((r, c) for r in range(5) for c in range(6)):
        assert bool(there[k]) == ((rows == row) & (columns == column)).any()
        if there[k]:
            assert (rows[index[k]], columns[index[k]]) == (row, column)


def test_paired_iou_is_the_diagonal_of_all_pairs() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.uniform(0, 50, (2, 20, 4)).astype(np.float32)
    a[:, 2:] += a[:, :2]
    b[:, 2:] += b[:, :2]
    assert np.allclose(paired_iou(a, b), np.diag(iou(a, b)), atol=1e-6)

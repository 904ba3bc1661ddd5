from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="learning needs torch")

from alstm_ros.boxes import warp
from alstm_ros.config import Config
from alstm_ros.errors import DataError
from alstm_ros.learning.batches import make_batch
from alstm_ros.learning.clips import ClipSources, TrainingDataConfig, make_tape, split_sequences
from alstm_ros.learning.rollout import Rollout
from alstm_ros.learning.simulation import scenes
from alstm_ros.learning.simulation.detector_noise import DUPLICATE, FALSE, DetectorNoise, SimulatedDetector, judged
from alstm_ros.learning.simulation.world import simulate


def scene(seed: int = 0, length: int = 60) -> scenes.Scene:
    """A simulated scene with somebody in it and known motion of the camera."""
    for k in range(seed, seed + 1000, 7):
        made = simulate(np.random.default_rng(k), length)
        if made.affines is not None and len(made.ids) > 3 * length:
            return made
    raise AssertionError("no scene")


def test_the_same_seed_gives_the_same_scene_and_tape() -> None:
    a, b = (make_tape((1, 2), ClipSources(), TrainingDataConfig(frames=40), Rollout(Config())) for _ in range(2))
    assert np.array_equal(a.steps.x, b.steps.x)
    assert np.array_equal(a.steps.truth.same, b.steps.truth.same)
    assert np.array_equal(a.pairs.g, b.pairs.g)
    assert np.array_equal(a.pairs.cost, b.pairs.cost)
    assert np.array_equal(a.pairs.truth.label, b.pairs.truth.label)


def test_mirrored_and_reversed_twice_is_the_scene_itself() -> None:
    made = scene()
    for change in (scenes.mirror, scenes.reverse):
        back = change(change(made))
        assert np.allclose(back.boxes, made.boxes, atol=1e-3)
        assert np.array_equal(back.ids, made.ids)
        assert back.affines is not None
        assert made.affines is not None
        assert np.allclose(back.affines[1:], made.affines[1:], atol=1e-6)


def test_camera_motion_still_explains_a_changed_scene() -> None:
    """Something that stands still is carried from frame to frame by the affines, whatever was done to the scene."""
    frames, still = 12, np.array([[300.0, 200.0, 340.0, 300.0]], np.float32)
    made = scenes.Scene(
        "still", (640, 480), np.arange(frames) * 10**8, np.arange(frames), np.ones(frames, np.int64),
        np.zeros(frames, np.int64), np.repeat(still, frames, 0), np.ones(frames, np.float32),
        np.tile(np.eye(2, 3), (frames, 1, 1)),
    )  # fmt: skip
    rng = np.random.default_rng(5)
    made = scenes.shake(made, rng.normal(0, 9, (frames, 2)), rng.uniform(0.9, 1.1, frames), known=True)
    for changed in (
        made,
        scenes.mirror(made),
        scenes.reverse(made),
        scenes.thinned(made, np.array([0, 3, 4, 9])),
        scenes.resize(made, 0.5),
        scenes.resize(made, 0.8, 1.5),
        scenes.cut(made, 3, 6),
        scenes.crop(made, 40, 30, (560, 420), cut_boxes=False),
    ):
        assert changed.affines is not None
        for k in range(1, len(changed)):
            assert np.allclose(warp(changed.boxes[k - 1 : k], changed.affines[k]), changed.boxes[k], atol=0.05)


def test_a_nearer_box_hides_what_is_behind_it() -> None:
    boxes = np.array([[0, 0, 10, 100], [0, 0, 10, 120], [50, 0, 60, 10]], np.float32)
    assert scenes.visible_share(boxes).tolist() == [0, 1, 1]


def test_a_perfect_detector_finds_everything_as_it_is() -> None:
    made = scene(1)
    perfect = DetectorNoise(
        jitter=0,
        shrink=0,
        spread=0,
        hiding=0,
        blind=-9,
        small=0,
        drop=0,
        score=9,
        nms=1,
        clutter=0,
        shadow=0,
        part=0,
        double=0,
        ghost=0,
    )
    detector, rows = SimulatedDetector(made, perfect, np.random.default_rng(0)), made.rows()
    for k in range(len(made)):
        found, truth = detector(k)
        order = np.argsort(truth)
        want = made.boxes[rows[k] : rows[k + 1]]
        inside = (want[:, 2] < 1.1 * made.size[0]) & (want[:, 3] < 1.1 * made.size[1])
        inside &= made.visible[rows[k] : rows[k + 1]] >= 0.6  # of what is hidden, only a part is found
        inside &= (want[:, 0] > -0.1 * made.size[0]) & (want[:, 1] > -0.1 * made.size[1])
        assert set(np.flatnonzero(inside) + rows[k]) <= set(truth)
        got = {int(t): box for t, box in zip(truth[order], found.boxes[order], strict=True)}
        for row in np.flatnonzero(inside):
            assert np.allclose(got[int(row + rows[k])], want[row], atol=0.1)


def test_a_detector_errs_as_its_noise_says() -> None:
    made = scene(2, 200)
    noisy = SimulatedDetector(made, DetectorNoise(drop=0.2, clutter=4.0, width=49), np.random.default_rng(0))
    found = [noisy(k) for k in range(len(made))]
    true = sum(int((truth >= 0).sum()) for _, truth in found)
    false = sum(int((truth == FALSE).sum()) for _, truth in found)
    assert true < 0.85 * len(made.ids)
    assert false > 50
    assert all(d.features is not None and d.features.shape == (len(d), 49) for d, _ in found)
    assert all(np.all(np.diff(d.scores) <= 0) for d, _ in found)


def test_labels_agree_with_the_truth() -> None:
    tape = make_tape((3, 1), ClipSources(), TrainingDataConfig(frames=80, mistakes=0.0), Rollout(Config()))
    for frame in np.unique(tape.pairs.frame):
        rows = tape.pairs.frame == frame
        good = rows & (tape.pairs.truth.label == 1)
        assert len(np.unique(tape.pairs.row[good])) == good.sum()  # a track has one right detection at most
        assert len(np.unique(tape.pairs.column[good])) == good.sum()  # and a detection one right track


def test_a_batch_holds_what_the_tapes_hold() -> None:
    config = TrainingDataConfig(frames=80)
    tapes = [make_tape((4, k), ClipSources(), config, Rollout(Config())) for k in range(3)]
    batch = make_batch([(tape, 10) for tape in tapes], config, 0.85)
    steps = sum(int(((t.steps.frame >= 10) & (t.steps.frame < 10 + config.window)).sum()) for t in tapes)
    assert int(batch.lengths.sum()) == steps
    length = batch.x.shape[1]
    row, step = batch.at // length, batch.at % length
    assert bool((step < batch.lengths[row]).all())  # each pair's key is of a step that was taken


def test_a_tenth_of_the_sequences_or_so_is_never_trained_on(tmp_path: Path) -> None:
    for k in range(10):
        (tmp_path / f"s{k}").mkdir()
        (tmp_path / f"s{k}" / "gt.txt").write_text("")
    train, held = split_sequences(tmp_path, 5)
    assert [path.name for path in held] == ["s4", "s9"]
    assert len(train) == 8
    with pytest.raises(DataError, match="holds no sequence"):
        split_sequences(tmp_path / "nothing", 5)


def test_dancetrack_is_read(shared: Path) -> None:
    made = scenes.read_scene(shared / "data/dancetrack/dancetrack0001")
    assert (len(made), len(made.ids)) == (703, 4912)
    assert made.affines is not None
    assert made.stamps_ns[20] == 10**9  # 20 frames a second


def test_a_sequence_without_its_rate_or_size_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gt.txt").write_text("1,1,10,10,20,40,1,1,1\n")
    (tmp_path / "seqinfo.ini").write_text("[Sequence]\nname=one\nseqLength=1\n")
    with pytest.raises(DataError, match="must say frameRate, imWidth and imHeight"):
        scenes.read_scene(tmp_path)


def test_a_detection_is_what_it_lies_on() -> None:
    """The object itself, too far off to be it, a half of one that is not found, a second one on it, nothing at all."""
    real = np.array([[0, 0, 40, 100], [200, 0, 240, 100]], np.float32)
    found = np.array([[2, 0, 42, 100], [200, 60, 240, 100], [0, 50, 40, 100], [4, 5, 44, 105], [99, 0, 140, 90]])
    origin, whole = np.array([7, 8, 8, FALSE, FALSE]), np.array([True, True, False, False, False])
    got = judged(found.astype(np.float32), origin, whole, real, 7)
    assert got.tolist() == [7, DUPLICATE - 8, DUPLICATE - 8, DUPLICATE - 7, FALSE]


def test_a_scene_without_objects_gives_false_detections_alone() -> None:
    none = np.zeros(0, np.int64)
    boxes, shares = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    made = scenes.Scene("empty", (640, 480), np.arange(30) * 10**8, none, none, none, boxes, shares)
    detector = SimulatedDetector(made, DetectorNoise(clutter=5.0, width=8), np.random.default_rng(0))
    found = [detector(k) for k in range(30)]
    assert sum(len(detections) for detections, _ in found) > 30
    assert all((truth == FALSE).all() for _, truth in found)


def test_ghosts_stay_where_an_object_was() -> None:
    """Everything that is found long after the only object has gone is false, and near where it was."""
    frames = 40
    box, ones = np.tile(np.array([[300, 200, 340, 300]], np.float32), (20, 1)), np.ones(20, np.int64)
    made = scenes.Scene(
        "gone", (640, 480), np.arange(frames) * 10**8, np.arange(20), ones, 0 * ones, box, np.ones(20, np.float32)
    )
    seen = 0
    for seed in range(20):
        noise = DetectorNoise(clutter=0, shadow=0, part=0, double=0, ghost=1, blink=1, false=(1.0, 0.1), drop=0)
        detector = SimulatedDetector(made, noise, np.random.default_rng(seed))
        every = [detector(k) for k in range(frames)]
        for found, truth in every[20:]:
            seen += len(found)
            assert (truth == FALSE).all()
            assert np.abs((found.boxes[:, :2] + found.boxes[:, 2:]) / 2 - [320, 250]).max(initial=0) < 60
    assert seen > 20

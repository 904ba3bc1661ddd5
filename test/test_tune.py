"""`alstm tune` finds what helps on recordings it has not seen, recommends nothing else, and repeats itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import recordings
from blobs import Blobs

from alstm_ros import cli
from alstm_ros.commands import tune as command
from alstm_ros.config import Config
from alstm_ros.detection import load_detector
from alstm_ros.evaluation.tuning import LEFT_OUT, bounds, propose, searched, tracks_of
from alstm_ros.options import options, replace
from alstm_ros.parameter_text import load_config
from alstm_ros.pipeline import Frame
from alstm_ros.recordings.detection_cache import DetectedSource, detect_all, select
from alstm_ros.recordings.detector_pool import DetectorPool
from alstm_ros.recordings.replay import image_step
from alstm_ros.recordings.sources import Window, open_source
from alstm_ros.types import Image

LENGTH = 60


def sequence(folder: Path, score: float, *, ghosts: bool = False, seed: int = 0) -> Path:
    """Three walkers whose detections have this score, and, if wanted, false ones of the same kind that come and go."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for frame in range(1, LENGTH + 1):
        for person in range(3):
            left, top = 3.0 * frame + 10 * person, 60 + 200 * person
            truth.append(f"{frame},{person + 1},{left},{top},50,120,1,1,1")
            seen = 0.95 if ghosts else score
            found.append(f"{frame},-1,{left + rng.normal():.2f},{top + rng.normal():.2f},50,120,{seen},-1,-1,-1")
        for ghost in range(6 if ghosts else 0):
            left = 300 + 100 * ghost + frame // 6 * 7
            found.append(f"{frame},-1,{left},{100 * ghost},40,100,{score},-1,-1,-1")
    (folder / "gt.txt").write_text("\n".join(truth), encoding="utf-8")
    (folder / "det.txt").write_text("\n".join(found), encoding="utf-8")
    info = f"[Sequence]\nname={folder.name}\nframeRate=10\nseqLength={LENGTH}\nimWidth=1000\nimHeight=800\n"
    (folder / "seqinfo.ini").write_text(info, encoding="utf-8")
    return folder


def tune(*arguments: object) -> int:
    return cli.main(["tune", *map(str, arguments)])


def held_out_of(folders: list[Path], capsys: pytest.CaptureFixture[str]) -> set[str]:
    """Which sequences the seed 0 sets aside."""
    tune(*folders, "--gt", *folders, "--output", folders[0] / "x.yaml", "--trials", 1, "--json")
    return {text.split()[0] for text in json.loads(capsys.readouterr().out)["held_out"]}


def test_finds_what_helps_and_repeats_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Detections that score 0.5 need a lower threshold for birth than the default's 0.7."""
    folders = [sequence(tmp_path / f"s{i}", 0.5, seed=i) for i in range(3)]
    call = (*folders, "--gt", tmp_path, "--trials", 15, "--json")
    assert tune(*call, "--output", tmp_path / "a.yaml") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["recommended"]
    assert found["default"] == 0
    assert found["best"] > 90
    assert found["best_held_out"] > 90
    assert found["trials"] + found["pruned"] == 15
    assert len(found["held_out"]) == 1
    assert tune(*call, "--output", tmp_path / "b.yaml") == 0
    text = (tmp_path / "a.yaml").read_text(encoding="utf-8")
    assert text == (tmp_path / "b.yaml").read_text(encoding="utf-8")

    assert load_config(tmp_path / "a.yaml").tracks.birth_score <= 0.5
    assert f"HOTA on what was held out: {found['best_held_out']:.2f}, before 0.00" in text
    tracks = [part for folder in folders for part in (folder,)]
    assert (
        cli.main(
            ["track", *map(str, tracks), "--config", str(tmp_path / "a.yaml"), "--output", f"{tmp_path}/o/{{name}}.txt"]
        )
        == 0
    )
    capsys.readouterr()
    everything = ["evaluate", f"{tmp_path}/o", "--gt", *map(str, folders), "--json"]
    assert cli.main([*everything, "--require", "HOTA>=90"]) == 0


def test_refuses_what_wins_only_where_it_was_searched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The held-out sequence has false detections of just the score that is worth following elsewhere."""
    names = [tmp_path / "probe" / f"s{i}" for i in range(3)]
    [aside] = held_out_of([sequence(name, 0.5) for name in names], capsys)
    folders = [sequence(tmp_path / f"s{i}", 0.5, ghosts=f"s{i}" == aside) for i in range(3)]
    output = tmp_path / "x.yaml"
    assert tune(*folders, "--gt", *folders, "--output", output, "--trials", 15, "--json") == 1
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert not found["recommended"]
    assert found["best"] > found["default"]
    assert found["best_held_out"] < found["default_held_out"]
    assert "wins on what it was searched on" in captured.err
    assert not output.exists()


def test_refuses_where_nothing_is_better(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [sequence(tmp_path / f"s{i}", 0.95, seed=i) for i in range(2)]
    assert tune(*folders, "--gt", *folders, "--output", tmp_path / "x.yaml", "--trials", 1) == 1
    captured = capsys.readouterr()
    assert "nothing better than the parameters at hand" in captured.err
    assert "held out" in captured.out


def test_single_recording_holds_out_its_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = sequence(tmp_path / "s", 0.5)
    call = (folder, "--gt", folder, "--output", tmp_path / "x.yaml", "--json")
    assert tune(*call, "--trials", 12, "--holdout", 0.25) == 0
    assert json.loads(capsys.readouterr().out)["held_out"] == ["s 46-60"]


def test_storage_is_shared_and_budget_ends_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [sequence(tmp_path / f"s{i}", 0.5, seed=i) for i in range(2)]
    call = (*folders, "--gt", *folders, "--output", tmp_path / "x.yaml", "--json")
    stored = ("--storage", f"sqlite:///{tmp_path}/study.db", "--study", "mine")
    tune(*call, *stored, "--trials", 4)
    first = json.loads(capsys.readouterr().out)
    tune(*call, *stored, "--trials", 3)
    second = json.loads(capsys.readouterr().out)
    assert first["trials"] + first["pruned"] == 4
    assert second["trials"] + second["pruned"] == 7
    assert tune(*call, "--budget", "2s") in {0, 1}
    assert json.loads(capsys.readouterr().out)["trials"] >= 1


def test_detections_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bag = recordings.write_bag(tmp_path / "bag", range(1, 6))
    made = []

    class Counting(Blobs):
        def __init__(self, config: Config) -> None:
            made.append(config)
            super().__init__(config)

    first = detect_all(DetectedSource(open_source(bag), Config(), Counting, bag, tmp_path / "cache", quiet=True))
    again = detect_all(DetectedSource(open_source(bag), Config(), Counting, bag, tmp_path / "cache", quiet=True))
    assert len(made) == 1
    assert made[0].detector.score_threshold <= 0.05
    assert (first.name, first.classes, first.length) == (again.name, again.classes, again.length)
    for (number, frame), (same_number, same) in zip(first.frames, again.frames, strict=True):
        assert (number, frame.stamp_ns) == (same_number, same.stamp_ns)
        np.testing.assert_array_equal(frame.detections.boxes, same.detections.boxes)
        np.testing.assert_array_equal(frame.detections.scores, same.detections.scores)
    other = replace(Config(), {"detector.nms_threshold": 0.4})
    detect_all(DetectedSource(open_source(bag), other, Counting, bag, tmp_path / "cache", quiet=True))
    assert len(made) == 2
    monkeypatch.setattr(recordings, "scene", lambda _: np.zeros((64, 96, 3), np.uint8))
    recordings.write_bag(tmp_path / "new", range(1, 6))
    new = tmp_path / "new"
    detect_all(DetectedSource(open_source(new), Config(), Counting, new, tmp_path / "cache", quiet=True))
    assert len(made) == 3


def test_what_a_detector_would_drop_can_be_chosen_later(vtest: Path, tmp_path: Path) -> None:
    """The cache keeps what overlaps; choosing from it gives what a detector with these parameters gives."""
    source = Window(open_source(vtest), "1-2")
    cached = detect_all(DetectedSource(source, Config(), load_detector, vtest, tmp_path, quiet=True, whole=True))
    assert cached.whole
    assert detect_all(DetectedSource(source, Config(), load_detector, vtest, tmp_path, quiet=True, whole=True)).whole
    for threshold, overlap, most in ((0.1, 0.6, 300), (0.3, 0.2, 300), (0.05, 0.9, 20)):
        changes = {
            "detector.score_threshold": threshold,
            "detector.nms_threshold": overlap,
            "detector.max_detections": most,
        }
        config = replace(Config(), changes)
        detector = load_detector(config)
        for (_, image), (_, frame) in zip(source, cached.frames, strict=True):
            assert isinstance(image, Frame)
            [want] = detector([image.image])
            found = select(frame.detections, config)
            assert 0 < len(want) < len(frame.detections)
            np.testing.assert_array_equal(found.boxes, want.boxes)
            np.testing.assert_array_equal(found.scores, want.scores)


@pytest.mark.parametrize("camera", ["none", "image", "auto"])
def test_cached_detections_give_the_tracks_of_the_images(
    camera: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A camera that turns over a textured ground, and something that moves on it."""
    ground = np.random.default_rng(2).integers(0, 90, (200, 500, 3), np.uint8)

    def picture(number: int) -> Image:
        seen = ground[:140, 6 * number : 6 * number + 180].copy()
        seen[40:80, 10 + 2 * number : 40 + 2 * number] = 235
        return np.asarray(seen, np.uint8)

    monkeypatch.setattr(recordings, "scene", picture)
    bag = recordings.write_bag(tmp_path / "bag", range(1, 16))
    config = replace(Config(), {"motion.camera": camera})
    step = image_step(config, DetectorPool(Blobs(config)))
    want = [step(frame).tracks for _, frame in open_source(bag)]
    for _ in range(2):  # made, and read from the disk
        source = DetectedSource(open_source(bag), config, Blobs, bag, tmp_path / "cache", quiet=True, whole=True)
        cached = detect_all(source)
        moved = [frame.camera_motion is not None for _, frame in cached.frames]
        assert any(moved) == (camera != "none")
        found = tracks_of(cached, config)
        shown = [tracks.boxes[tracks.published] for tracks in want]
        np.testing.assert_array_equal(found.boxes, np.concatenate(shown))
        assert found.ids.tolist() == np.concatenate([tracks.ids[tracks.published] for tracks in want]).tolist()
    assert len(found) > 5


def test_searched_are_all_live_parameters_that_act_on_tracks() -> None:
    import optuna

    known = searched(Config())
    everything = {name for name, option in options(Config()).items() if option.live}
    assert everything - set(known) == {*LEFT_OUT, "detector.classes"}
    assert "association.trust" not in searched(replace(Config(), {"association.model": ""}))
    assert not any(name.startswith("detector.") for name in searched(Config(), images=False))
    for option in known.values():
        low, high = bounds(option)
        assert low <= high
        assert option.low is None or low >= option.low
        assert option.high is None or high <= option.high
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(50):
        replace(Config(), propose(study.ask(), known))  # refuses what is out of range


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("1.5h", 5400)])
def test_times(text: str, seconds: float) -> None:
    assert command.parse_time(text) == seconds


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--budget", "30"], "--budget is '30'"),
        (["--holdout", "1"], "--holdout is 1"),
        (["--frames", "1-1"], "fewer than two frames"),
    ],
)
def test_refusals_are_sentences(
    tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = sequence(tmp_path / "s", 0.5)
    assert tune(folder, "--gt", folder, "--output", tmp_path / "x.yaml", *arguments) == 2
    assert said in capsys.readouterr().err

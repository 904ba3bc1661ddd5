"""Labels of a few frames: out to a person, and back, in two formats."""

from __future__ import annotations

import configparser
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import recordings
from blobs import Blobs
from walked_labels import renamed, walk, write_text

from alstm_ros import cli
from alstm_ros.commands import track as command
from alstm_ros.errors import DataError
from alstm_ros.recordings.labels import Labels
from alstm_ros.recordings.sparse_labels import SparseLabels, every_nth, keep_frames, read_sparse, write_coco, write_mot


def alstm(*arguments: object) -> int:
    return cli.main([str(item) for item in arguments])


def rows(labels: Labels) -> list[tuple[int, int, list[float]]]:
    return [*zip(labels.frames.tolist(), labels.ids.tolist(), labels.boxes.round(2).tolist(), strict=True)]


@pytest.mark.parametrize("layout", ["mot", "coco"])
def test_what_is_written_is_read(tmp_path: Path, layout: str) -> None:
    labels = walk(40, {1: (1, 25), 2: (9, 28)})
    named = Labels(
        labels.frames,
        labels.ids,
        labels.boxes,
        labels.scores,
        labels.ids - 1,
        labels.counted,
        ("person", "car"),
        labels.length,
    )
    sparse = every_nth(SparseLabels("walk", named, np.arange(1, 41), 10.0, 640, 480), 8)
    assert sparse.frames.tolist() == [1, 9, 17, 25, 33]
    path = tmp_path / ("labels.json" if layout == "coco" else "labels")
    (write_coco if layout == "coco" else write_mot)(sparse, path)
    back = read_sparse(path)
    assert (back.name, back.fps, back.width, back.height, back.labels.length) == ("walk", 10.0, 640, 480, 40)
    assert back.frames.tolist() == sparse.frames.tolist()  # frame 33 has no box and is labelled all the same
    assert rows(back.labels) == rows(sparse.labels)
    assert back.labels.names == ("person", "car")
    assert back.labels.classes.tolist() == sparse.labels.classes.tolist()


def test_compress_keeps_the_labelled_frames() -> None:
    labels = walk(20, {1: (1, 20), 2: (5, 10)})
    part = keep_frames(labels, np.array([2, 6, 19]))
    assert (part.length, part.frames.tolist(), part.ids.tolist()) == (3, [1, 2, 2, 3], [1, 1, 2, 1])
    np.testing.assert_array_equal(part.boxes[0], labels.boxes[labels.frames == 2][0])


def test_boxes_outside_of_labelled_frames_are_refused() -> None:
    with pytest.raises(DataError, match="box in frame 1, which is not among"):
        SparseLabels("x", walk(5, {1: (1, 5)}), np.array([2, 3, 4, 5]))


@pytest.mark.parametrize("layout", ["mot", "coco"])
def test_from_bag_to_corrected_labels_to_scores(
    tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Track, export, let a person correct an id and delete a box, and score the tracks against that."""

    def scene(number: int) -> np.ndarray:
        picture = np.zeros((120, 200, 3), np.uint8)
        picture[20:60, 10 + 2 * number : 40 + 2 * number, 0] = 220
        picture[70:110, 150 - 2 * number : 180 - 2 * number, 2] = 220
        return picture

    monkeypatch.setattr(recordings, "scene", scene)
    monkeypatch.setattr(command, "load_detector", Blobs)
    bag = recordings.write_bag(tmp_path / "drive", range(1, 32))
    assert alstm("track", bag, "--output", tmp_path / "drive.jsonl") == 0
    out = tmp_path / "labels" / ("drive.json" if layout == "coco" else "drive")
    assert alstm("export-labels", tmp_path / "drive.jsonl", "--output", out, "--every", 10, "--images", bag) == 0
    images = out.parent / "img1" if layout == "coco" else out / "img1"
    assert sorted(item.name for item in images.iterdir()) == [f"{number:06d}.jpg" for number in (1, 11, 21, 31)]
    picture = cv2.imread(str(images / "000011.jpg"))
    assert picture is not None
    assert picture.shape == (120, 200, 3)

    drafted = read_sparse(out)
    assert (drafted.fps, drafted.width, drafted.height) == (recordings.FPS, 200, 120)
    assert len(drafted.labels) == 8
    capsys.readouterr()
    call = ("evaluate", tmp_path / "drive.jsonl", "--gt", out, "--json", "--report", tmp_path / "r.html")
    assert alstm(*call) == 0
    numbers = json.loads(capsys.readouterr().out)["all"]
    assert (numbers["FP"], numbers["FN"], numbers["IDSW"]) == (0, 0, 0)

    _correct(out, layout)
    assert alstm(*call, "--images", bag) == 0
    numbers = json.loads(capsys.readouterr().out)["all"]
    assert (numbers["FP"], numbers["FN"], numbers["IDSW"]) == (1, 0, 0)  # the deleted box was published
    assert numbers["IDF1"] < 100


def _correct(out: Path, layout: str) -> None:
    """Frame 31: object 1 is called 9, object 2 is deleted."""
    if layout == "coco":
        tree = json.loads(out.read_text(encoding="utf-8"))
        last = [item for item in tree["annotations"] if item["image_id"] == 31]
        last[0]["attributes"]["track_id"] = 9
        tree["annotations"].remove(last[1])
        for image in tree["images"]:  # as tools do on export
            image["id"] += 100
        for item in tree["annotations"]:
            item["image_id"] += 100
        out.write_text(json.dumps(tree), encoding="utf-8")
        return
    text = (out / "gt.txt").read_text(encoding="utf-8")
    lines = [line.replace("31,1,", "31,9,", 1) for line in text.splitlines() if not line.startswith("31,2,")]
    (out / "gt.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_mot_text_without_stamps(tmp_path: Path) -> None:
    found = write_text(tmp_path / "x.txt", renamed(walk(30, {1: (1, 30)}), {}))
    assert alstm("export-labels", found, "--output", tmp_path / "l", "--every", 7, "--fps", 25) == 0
    sparse = read_sparse(tmp_path / "l")
    assert (sparse.fps, sparse.frames.tolist()) == (25, [1, 8, 15, 22, 29])


def test_damage_is_told_in_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = write_text(tmp_path / "x.txt", walk(30, {1: (1, 30)}))
    assert alstm("export-labels", found, "--output", tmp_path / "l", "--every", 0) == 2
    assert "--every is 0" in capsys.readouterr().err
    assert alstm("export-labels", found, "--output", tmp_path / "l") == 2
    assert "give --fps" in capsys.readouterr().err
    assert alstm("export-labels", found, "--output", tmp_path / "l", "--fps", 30) == 0
    parser = configparser.ConfigParser()
    parser.read(tmp_path / "l" / "seqinfo.ini")
    parser["Labels"]["frames"] = "one two"
    with (tmp_path / "l" / "seqinfo.ini").open("w") as file:
        parser.write(file)
    with pytest.raises(DataError, match="must list frame numbers"):
        read_sparse(tmp_path / "l")
    (tmp_path / "c.json").write_text('{"images": []}', encoding="utf-8")
    with pytest.raises(DataError, match="no COCO file"):
        read_sparse(tmp_path / "c.json")

"""Which of several things a folder is: what is taken, what is told to be left, and what is refused with both names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from recordings import scene, write_bag
from walked_labels import evaluate, walk, write_text

from alstm_ros.errors import DataError
from alstm_ros.evaluation.pairing import find_results, find_truths
from alstm_ros.recordings.contents import contents_of
from alstm_ros.recordings.sources import open_source

INFO = "[Sequence]\nname=walk\nframeRate=12.5\nseqLength=4\nimWidth=96\nimHeight=64\n"


def pictures(folder: Path, count: int, suffix: str = ".jpg") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, count + 1):
        cv2.imwrite(str(folder / f"{number:06}{suffix}"), scene(number))


def bag(folder: Path, frames: int = 3) -> Path:
    return write_bag(folder, range(1, frames + 1))


def bare(folder: Path, *names: str) -> None:
    """Storage files without their metadata."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        made = bag(folder / "made")
        shutil.move(next(made.glob("*.mcap")), folder / name)
        shutil.rmtree(made)


def screenshots_beside_a_bag(folder: Path) -> None:
    bag(folder)
    pictures(folder, 2, ".png")


def tracks_beside_a_bag(folder: Path) -> None:
    made = bag(folder)
    shutil.copy(next(made.glob("*.mcap")), folder / "tracks.mcap")


def screenshots_beside_a_file(folder: Path) -> None:
    bare(folder, "drive.mcap")
    pictures(folder, 1, ".png")


def tracks_beside_images(folder: Path) -> None:
    from alstm_ros.recordings.mcap_sink import McapBag
    from alstm_ros.recordings.sinks import RunInfo

    pictures(folder, 5)
    McapBag(folder / "tracks.mcap", RunInfo(("person",))).close()


def labels_beside_images(folder: Path) -> None:
    pictures(folder, 5, ".jpg")
    pictures(folder, 5, ".png")


def what_systems_leave(folder: Path) -> None:
    pictures(folder, 5)
    for name in ("._000001.jpg", ".DS_Store", "Thumbs.db", "desktop.ini", "notes.txt"):
        (folder / name).write_bytes(b"x")
    (folder / "previews.jpg").mkdir()


def a_sequence_with_a_preview(folder: Path) -> None:
    pictures(folder / "img1", 4)
    (folder / "seqinfo.ini").write_text(INFO, encoding="utf-8")
    cv2.imwrite(str(folder / "preview.jpg"), scene(1))


def detections_and_images(folder: Path) -> None:
    write_text(folder / "det.txt", walk(4, {1: (1, 4)}))
    (folder / "seqinfo.ini").write_text(INFO, encoding="utf-8")
    pictures(folder / "img1", 4)


def an_unfinished_recording(folder: Path) -> None:
    bare(folder, "drive_0.mcap", "drive_1.mcap", "drive_10.mcap", "drive_2.mcap")


TAKEN: dict[str, tuple[Callable[[Path], object], str, int, list[str]]] = {
    "screenshots beside a bag": (screenshots_beside_a_bag, "bag", 3, ["2 images (000001.png, ...)"]),
    "tracks beside a bag": (tracks_beside_a_bag, "bag", 3, ["1 file (tracks.mcap)"]),
    "screenshots beside a file": (screenshots_beside_a_file, "bag", 3, ["1 image (000001.png)"]),
    "tracks beside images": (tracks_beside_images, "images", 5, ["1 file of a bag (tracks.mcap)"]),
    "labels beside images": (labels_beside_images, "images", 5, ["5 images (000001.png, ...) of the same names"]),
    "what systems leave": (what_systems_leave, "images", 5, []),
    "a sequence with a preview": (a_sequence_with_a_preview, "images", 4, ["1 image (preview.jpg)"]),
    "detections and images": (detections_and_images, "detections", 4, ["4 images (000001.jpg, ...)"]),
    "an unfinished recording": (an_unfinished_recording, "bag", 12, []),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_one_thing_is_taken_and_the_rest_told(tmp_path: Path, kind: str) -> None:
    make, taken, frames, left = TAKEN[kind]
    folder = tmp_path / "drive"
    make(folder)
    found = contents_of(folder)
    assert found.kind == taken
    assert len(found.notes) == len(left)
    for note, what in zip(found.notes, left, strict=True):
        assert what in note
        assert note.endswith("left.")
    assert len(list(open_source(folder))) == frames


def test_the_files_of_a_recording_come_in_its_order(tmp_path: Path) -> None:
    an_unfinished_recording(tmp_path / "drive")
    names = [file.name for file in contents_of(tmp_path / "drive").files]
    assert names == ["drive_0.mcap", "drive_1.mcap", "drive_2.mcap", "drive_10.mcap"]


def test_several_recordings_are_refused_with_their_names(tmp_path: Path) -> None:
    bare(tmp_path / "drives", "monday.mcap", "tuesday.mcap")
    with pytest.raises(
        DataError, match=r"holds 2 bags and no metadata.yaml of one: monday.mcap, tuesday.mcap; give one."
    ):
        open_source(tmp_path / "drives")


def test_a_folder_of_something_else_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    with pytest.raises(DataError, match=r"holds neither a bag .* nor images .*, only a.mp4."):
        open_source(tmp_path)


def test_a_sequence_knows_its_rate(tmp_path: Path) -> None:
    a_sequence_with_a_preview(tmp_path / "walk")
    stamps = [frame.stamp_ns for _, frame in open_source(tmp_path / "walk")]
    assert np.diff(stamps).tolist() == [80_000_000] * 3


def test_truths_and_results_among_other_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = walk(20, {1: (1, 20)})
    truths, results = tmp_path / "truths", tmp_path / "results"
    write_text(truths / "a.txt", labels, truth=True)
    write_text(truths / "b" / "gt.txt", labels, truth=True)
    write_text(truths / "b" / "det.txt", labels)
    for folder in (truths, results):
        for name in (".hidden.txt", "README.txt", "package.json"):
            folder.mkdir(exist_ok=True)
            text = json.dumps({"name": "x"}) if name.endswith("json") else "These are the labels of Monday.\n"
            (folder / name).write_text(text, encoding="utf-8")
    write_text(results / "a.txt", labels)
    write_text(results / "b.txt", labels)
    assert sorted(find_truths([truths])) == ["a", "b"]
    assert sorted(find_results([results])) == ["a", "b"]
    assert evaluate(results, "--gt", truths, "--require", "MOTA==100") == 0
    error = capsys.readouterr().err
    assert f"note: Of {truths}, README.txt, package.json are left: they hold no labels." in error
    assert f"note: Of {results}, README.txt is left: it holds no tracks." in error


def test_an_unfinished_recording_is_one_ground_truth(tmp_path: Path) -> None:
    an_unfinished_recording(tmp_path / "drive")
    assert find_truths([tmp_path / "drive"]) == {"drive": tmp_path / "drive"}
    assert find_results([tmp_path / "drive"]) == {"drive": tmp_path / "drive"}

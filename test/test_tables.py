"""Tables from outside: every cell is checked, ids of any size are told apart, what is left out is counted and told."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from walked_labels import evaluate, walk, write_text

from alstm_ros import cli
from alstm_ros.errors import DataError
from alstm_ros.recordings.labels import Labels
from alstm_ros.recordings.mot import MotDetections, read_camera_motion, read_labels, read_sequence
from alstm_ros.recordings.number_table import read_table
from alstm_ros.recordings.sparse_labels import SparseLabels, read_sparse, write_coco, write_mot
from alstm_ros.recordings.track_files import read_result

LENGTH = 20
UNKNOWN_SCORES = "Every score of det.txt is -1, which says that none is known; 1 is taken."
NO_NUMBER = "1 row of det.txt left out: a cell is no finite number, in line 1."
NO_SCORES = "No score of det.txt is above 0, so none of its detections is used."
INFO = "[Sequence]\nname=walk\nframeRate=10\nseqLength=20\nimWidth=640\nimHeight=480\n"


def replaced(lines: Sequence[str], row: int, change: Callable[[list[str]], None]) -> str:
    """A text with one of its rows changed cell by cell."""
    cells = lines[row].split(",")
    change(cells)
    return "\n".join([*lines[:row], ",".join(cells), *lines[row + 1 :]]) + "\n"


def put(place: int, text: str) -> Callable[[list[str]], None]:
    def change(cells: list[str]) -> None:
        cells[place] = text

    return change


def drop(cells: list[str]) -> None:
    del cells[3:]


BAD_ROWS = {
    "NaN in the box": (put(2, "nan"), "a cell is no finite number"),
    "infinite width": (put(4, "inf"), "a cell is no finite number"),
    "NaN score": (put(6, "nan"), "a cell is no finite number"),
    "a word": (put(5, "tall"), "a cell is no finite number"),
    "an empty cell": (put(3, ""), "a cell is empty"),
    "half an id": (put(1, "1.5"), "its id is no whole number"),
    "no id": (put(1, "bob"), "its id is no whole number"),
    "half a frame": (put(0, "2.5"), "its frame is no number of a frame"),
    "a stamp for a frame": (put(0, "1700000000000"), "its frame is no number of a frame"),
    "far outside": (put(2, "1e200"), "its box is no place in an image"),
    "too short": (drop, "it has fewer than 7 columns"),
}


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_a_row_that_cannot_be_used_is_left_out_and_told(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change, reason = BAD_ROWS[kind]
    labels = walk(LENGTH, {1: (1, LENGTH), 2: (1, LENGTH)})
    truth = write_text(tmp_path / "gt.txt", labels, truth=True)
    found = write_text(tmp_path / "x.txt", labels)
    found.write_text(replaced(found.read_text().splitlines(), 7, change), encoding="utf-8")
    assert evaluate(found, "--gt", truth, "--json") == 1
    out = json.loads(capsys.readouterr().out)
    assert (out["all"]["FP"], out["all"]["FN"], out["all"]["IDSW"]) == (0, 1, 0)
    [problem] = out["problems"]
    assert problem.startswith(f"1 row of x.txt left out: {reason}")


def test_the_ground_truth_is_checked_likewise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = walk(LENGTH, {1: (1, LENGTH)})
    truth = write_text(tmp_path / "gt.txt", labels, truth=True)
    truth.write_text(replaced(truth.read_text().splitlines(), 3, put(2, "nan")), encoding="utf-8")
    assert evaluate(write_text(tmp_path / "x.txt", labels), "--gt", truth, "--json") == 1
    out = json.loads(capsys.readouterr().out)
    assert (out["all"]["FP"], out["all"]["FN"]) == (1, 0)
    assert out["problems"] == ["1 row of gt.txt left out: a cell is no finite number, in line 4."]


def test_an_empty_column_moves_no_other(tmp_path: Path) -> None:
    labels = walk(LENGTH, {1: (1, LENGTH)})
    path = write_text(tmp_path / "x.txt", labels)
    lines = [",".join([*line.split(",")[:7], "", "", ""]) for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines), encoding="utf-8")
    back = read_labels(path, truth=False)
    np.testing.assert_array_equal(back.boxes, labels.boxes)
    assert back.problems == ()
    lines = [",".join([*line.split(",")[:3], "", *line.split(",")[3:7]]) for line in lines]
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match=r"20 rows of x.txt left out: a cell is empty, first in line 1"):
        read_labels(path, truth=False)


@pytest.mark.parametrize("offset", [0, 10**12, 2**53, 2**63 - 10, 2**64, 10**30, -(10**12), -(2**70)])
def test_ids_of_any_size_are_told_apart(tmp_path: Path, offset: int, capsys: pytest.CaptureFixture[str]) -> None:
    labels = walk(LENGTH, {1: (1, LENGTH), 2: (1, LENGTH)})
    lines = [line.split(",") for line in write_text(tmp_path / "x.txt", labels).read_text().splitlines()]
    text = "\n".join(",".join([cells[0], str(offset + int(cells[1])), *cells[2:]]) for cells in lines)
    (tmp_path / "x.txt").write_text(text, encoding="utf-8")
    for truth in (True, False):
        one = write_text(tmp_path / "gt.txt", labels, truth=True)
        two = tmp_path / "x.txt"
        if truth:
            two, one = write_text(tmp_path / "y.txt", labels), tmp_path / "big.txt"
            one.write_text(text.replace(",0.9,-1,-1,-1", ",1,1,1"), encoding="utf-8")
        assert evaluate(two, "--gt", one, "--json") == 0
        numbers = json.loads(capsys.readouterr().out)["all"]
        assert (numbers["MOTA"], numbers["IDF1"], numbers["IDSW"]) == (100, 100, 0)
    line = {"stamp_ns": 0, "camera": "", "detections": [{"box": [0, 0, 9, 9], "score": 1}], "events": []}
    item = {"class": "person", "score": 0.9, "box": [0, 0, 9, 9], "state": "confirmed", "detection": 0}
    tracks = [{**item, "id": str(offset + 1)}, {**item, "id": str(offset + 2)}]
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({**line, "frame": 1, "tracks": tracks}), encoding="utf-8")
    assert len(set(read_result(path).labels.ids.tolist())) == 2


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", None),
        ("# only a comment\n\n", None),
        ("1 2 3 4 5 6 7\n1\t2\t3\t4\t5\t6\t7\n", None),
        ("1;2;3;4;5;6;7\r\n", None),
        ("\ufeff1, 2, 3, 4, 5, 6, 7\r\n", None),
        ("1,2,3,4,5,6,7,\n", None),
        ("1,2,3\n4,5,6\n", "has 3 columns; it must have at least 7"),
        ("frame,id,left,top,width,height,score\n", "no table of numbers"),
        ("\x00\x01\x02", "columns"),
        ("1_0,2,3,4,5,6,7", "no table"),
    ],
)
def test_what_a_table_is(tmp_path: Path, text: str, why: str | None) -> None:
    path = tmp_path / "table.txt"
    path.write_bytes(text.encode())
    if why is not None:
        with pytest.raises(DataError, match=why):
            read_table(path, 7)
        return
    table = read_table(path, 7)
    assert table.good.all()
    assert not table.left_out
    assert (table.values[:, :7] == [1, 2, 3, 4, 5, 6, 7]).all()


def test_a_head_line_is_left_out_and_told(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("frame,id,left,top,width,height,score\n1,1,0,0,9,9,1\n2,1,0,0,9,9,1\n", encoding="utf-8")
    labels = read_labels(path, truth=False)
    assert labels.frames.tolist() == [1, 2]
    assert labels.problems == ("1 row of x.txt left out: its id is no whole number, in line 1.",)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("frameRate=10\n", ""), None),
        (("seqLength=20\n", ""), None),
        (("imWidth=640\n", ""), None),
        (("name=walk\n", "name=100 % walk\n"), None),
        (("frameRate=10", "frameRate=nan"), "frameRate is 'nan'"),
        (("frameRate=10", "frameRate=-10"), "frameRate is '-10'"),
        (("seqLength=20", "seqLength=1e12"), "seqLength is '1e12'"),
        (("seqLength=20", "seqLength=twenty"), "seqLength is 'twenty'"),
        (("[Sequence]", "[Other]"), "no section"),
        (("[Sequence]", "Sequence"), "no MOTChallenge seqinfo.ini"),
    ],
)
def test_labels_whose_facts_are_incomplete(tmp_path: Path, change: tuple[str, str], said: str | None) -> None:
    labels = walk(LENGTH, {1: (1, LENGTH)})
    write_text(tmp_path / "walk" / "gt.txt", labels, truth=True)
    (tmp_path / "walk" / "seqinfo.ini").write_text(INFO.replace(*change), encoding="utf-8")
    found = write_text(tmp_path / "x.txt", labels)
    if said is None:
        assert evaluate(found, "--gt", tmp_path / "walk", "--require", "MOTA==100") == 0
        return
    with pytest.raises(DataError, match=said):
        read_sequence(tmp_path / "walk" / "seqinfo.ini")
    assert evaluate(found, "--gt", tmp_path / "walk") == 2


def test_detections_need_a_frame_rate(tmp_path: Path) -> None:
    write_text(tmp_path / "det.txt", walk(LENGTH, {1: (1, LENGTH)}))
    (tmp_path / "seqinfo.ini").write_text(INFO.replace("frameRate=10\n", ""), encoding="utf-8")
    with pytest.raises(DataError, match="lacks frameRate"):
        MotDetections(tmp_path / "det.txt", tmp_path / "seqinfo.ini")


@pytest.mark.parametrize(
    ("rows", "told", "left"),
    [
        ("1,-1,-1,-1,-1,-1,-1\n", ["1 row of det.txt left out: its box has no size."], 0),
        ("1,-1,9,9,0,5,1\n2,-1,9,9,5,5,1\n", ["1 row of det.txt left out: its box has no size."], 1),
        ("1,-1,9,9,5,5,-1\n2,-1,9,9,5,5,-1\n", [UNKNOWN_SCORES], 2),
        ("1,-1,9,9,5,5,-3\n2,-1,9,9,5,5,-1\n", [NO_SCORES], 2),
        (
            "1,-1,nan,9,5,5,1\n2,-1,9,9,5,5,1\n",
            ["1 row of det.txt left out: a cell is no finite number, in line 1."],
            1,
        ),
    ],
)
def test_detections_that_say_nothing_are_told(tmp_path: Path, rows: str, told: list[str], left: int) -> None:
    (tmp_path / "det.txt").write_text(rows, encoding="utf-8")
    (tmp_path / "seqinfo.ini").write_text(INFO, encoding="utf-8")
    source = MotDetections(tmp_path / "det.txt", tmp_path / "seqinfo.ini")
    assert source.problems == told
    assert sum(len(frame.detections) for _, frame in source) == left
    given = ("track", "--detections", tmp_path / "det.txt", "--seqinfo", tmp_path / "seqinfo.ini")
    assert cli.main([*map(str, given), "--output", str(tmp_path / "x.txt")]) == 1


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("3 1 0 nan 0 1 0", "a cell is no finite number, in line 3"),
        ("3 0 0 0 0 0 0", "its motion leaves nothing of the image"),
        ("3 1 0 0 0 1", "it has fewer than 7 columns, in line 3"),
    ],
)
def test_a_camera_motion_that_is_none_is_told_and_moves_no_other(tmp_path: Path, row: str, reason: str) -> None:
    rows = [f"{i} 1 0 {i} 0 1 0" for i in range(1, LENGTH + 1)]
    rows[2] = row
    (tmp_path / "gmc.txt").write_text("\n".join(rows), encoding="utf-8")
    motion, left_out = read_camera_motion(tmp_path / "gmc.txt", LENGTH)
    assert sorted(motion) == [1, 2, *range(4, LENGTH + 1)]
    assert all(motion[number][0, 2] == number for number in motion)
    assert left_out.sentences() == (f"1 row of gmc.txt left out: {reason}.",)
    write_text(tmp_path / "det.txt", walk(LENGTH, {1: (1, LENGTH)}))
    (tmp_path / "seqinfo.ini").write_text(INFO, encoding="utf-8")
    source = MotDetections(tmp_path / "det.txt", tmp_path / "seqinfo.ini", tmp_path / "gmc.txt")
    assert source.problems == list(left_out.sentences())


def classed(names: tuple[str, ...]) -> SparseLabels:
    labels = walk(LENGTH, {1: (1, LENGTH), 2: (1, LENGTH)})
    parts = (labels.frames, labels.ids, labels.boxes, labels.scores, labels.ids - 1, labels.counted)
    return SparseLabels("100 % walk", Labels(*parts, names, LENGTH), np.arange(1, LENGTH + 1), 10.0, 640, 480)


@pytest.mark.parametrize(
    "names", [("person", "car"), ("traffic light", "stop sign"), ("two\nlines", "100 %"), ("a", '"')]
)
def test_class_names_of_any_kind_are_read_again(tmp_path: Path, names: tuple[str, ...]) -> None:
    labels = classed(names)
    write_mot(labels, tmp_path / "labels")
    write_coco(labels, tmp_path / "labels.json")
    for path in (tmp_path / "labels", tmp_path / "labels.json"):
        back = read_sparse(path)
        assert (back.name, back.labels.names) == ("100 % walk", names)
        assert back.labels.classes.tolist() == labels.labels.classes.tolist()


def test_class_names_as_they_were_written_before(tmp_path: Path) -> None:
    write_mot(classed(("person", "car")), tmp_path)
    text = (tmp_path / "seqinfo.ini").read_text(encoding="utf-8")
    (tmp_path / "seqinfo.ini").write_text(text.replace('["person", "car"]', "person car"), encoding="utf-8")
    assert read_sparse(tmp_path).labels.names == ("person", "car")


@pytest.mark.parametrize("bad", ["-1", "3", "0", "1.5", ""])
def test_a_class_that_is_none_becomes_no_other(tmp_path: Path, bad: str) -> None:
    write_mot(classed(("person", "car")), tmp_path)
    lines = (tmp_path / "gt.txt").read_text(encoding="utf-8").splitlines()
    (tmp_path / "gt.txt").write_text(replaced(lines, 5, put(7, bad)), encoding="utf-8")
    labels = read_sparse(tmp_path).labels
    assert len(labels) == 2 * LENGTH - 1
    assert set(labels.classes.tolist()) == {0, 1}
    assert labels.problems == ("1 row of gt.txt left out: its class is none of the class numbers 1 to 2.",)


COCO_ROWS = {
    "NaN": ({"bbox": [float("nan"), 0, 9, 9]}, "its box is no place in an image"),
    "short box": ({"bbox": [0, 0, 9]}, "its box is no place in an image"),
    "no box": ({"bbox": None}, "its box is no place in an image"),
    "label -1": ({"category_id": -1}, "its class is no name"),
    "image that is not there": ({"image_id": 999}, "its frame is no number of a frame"),
    "no id": ({"attributes": {}}, "it has no id"),
}


@pytest.mark.parametrize("kind", COCO_ROWS)
def test_an_annotation_that_cannot_be_used_is_left_out_and_told(tmp_path: Path, kind: str) -> None:
    change, reason = COCO_ROWS[kind]
    write_coco(classed(("person", "car")), tmp_path / "x.json")
    tree = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    tree["annotations"][5] |= change
    del tree["info"]["fps"]
    (tmp_path / "x.json").write_text(json.dumps(tree), encoding="utf-8")
    labels = read_sparse(tmp_path / "x.json")
    assert labels.fps == 0
    assert len(labels.labels) == 2 * LENGTH - 1
    assert labels.labels.problems == (f"1 annotation of x.json left out: {reason}, in annotation 6.",)


JSON_LINES = {
    "cut off": ('{"frame": 3, "stamp', "1 line of x.jsonl left out: it is none of 'alstm track', in line 3."),
    "a number": ("3", "1 line of x.jsonl left out: it is none of 'alstm track', in line 3."),
    "twice": ('{"frame": 2, "stamp_ns": 2, "tracks": []}', "1 line of x.jsonl left out: it is none of"),
    "a word for a frame": ('{"frame": "3", "stamp_ns": 3, "tracks": []}', "1 line of x.jsonl left out: it is none of"),
    "a frame of a stamp": ('{"frame": 99999999999, "stamp_ns": 3, "tracks": []}', "1 line of x.jsonl left out"),
    "NaN": (None, "1 box of x.jsonl left out: its box is no place in an image, in line 3."),
}


@pytest.mark.parametrize("kind", JSON_LINES)
def test_a_line_that_cannot_be_used_is_left_out_and_told(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text, told = JSON_LINES[kind]
    labels = walk(5, {1: (1, 5)})
    lines = []
    for frame, box in zip(labels.frames.tolist(), labels.boxes.tolist(), strict=True):
        item = {"class": "person", "score": 0.9, "box": box, "state": "confirmed", "detection": 0, "id": "1"}
        found = [{"class": "person", "score": 0.9, "box": box}]
        lines.append({"frame": frame, "stamp_ns": frame, "tracks": [item], "detections": found})
    lines[2]["tracks"][0]["box"] = [float("nan"), *labels.boxes[2, 1:].tolist()]
    texts = [json.dumps(line) for line in lines]
    texts[2] = text or texts[2]
    (tmp_path / "x.jsonl").write_text("\n".join(texts) + "\n", encoding="utf-8")
    assert evaluate(tmp_path / "x.jsonl", "--gt", write_text(tmp_path / "gt.txt", labels, truth=True), "--json") == 1
    out = json.loads(capsys.readouterr().out)
    assert (out["all"]["FP"], out["all"]["FN"]) == (0, 1)
    [problem] = out["problems"]
    assert problem.startswith(told)


@pytest.mark.parametrize(
    ("tail", "said"),
    [
        ("0,1,1", "No row of {} counts: its seventh column is 0 in all of them."),
        ("1,3,1", "MOT17 judges class 1 of {}, pedestrians, and none of its rows is of it; with --benchmark none"),
    ],
)
def test_a_ground_truth_of_which_nothing_counts_is_refused(
    tmp_path: Path, tail: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = walk(LENGTH, {1: (1, LENGTH)})
    truth = write_text(tmp_path / "gt.txt", labels, truth=True)
    truth.write_text(truth.read_text().replace(",1,1,1\n", f",{tail}\n"), encoding="utf-8")
    found = write_text(tmp_path / "x.txt", labels)
    assert evaluate(found, "--gt", truth) == 2
    assert said.format(truth) in capsys.readouterr().err
    if tail.startswith("1"):
        assert evaluate(found, "--gt", truth, "--benchmark", "none", "--require", "MOTA==100") == 0

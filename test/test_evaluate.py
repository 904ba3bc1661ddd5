"""`alstm evaluate` as a command: its report, requirements, exit codes and refusals, and which files belong together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from walked_labels import evaluate, renamed, walk, write_text

from alstm_ros.errors import DataError
from alstm_ros.evaluation.pairing import benchmark_of, find_results, find_truths, pair
from alstm_ros.recordings.track_files import read_truth


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three sequences, a good run and a poor one."""
    truth = walk(30, {1: (1, 30), 2: (1, 30)})
    for i in range(3):
        write_text(tmp_path / "gt" / f"s{i}" / "gt.txt", truth, truth=True)
        write_text(tmp_path / "good" / f"s{i}.txt", renamed(truth, {(1, 28): 9}))
        write_text(tmp_path / "poor" / f"s{i}.txt", renamed(truth, {(1, 15): 9, (2, 10 + i): 8}))
    return tmp_path


def test_command(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = runs / "report.html"
    call = (runs / "good", "--gt", runs / "gt", "--against", runs / "poor", "--report", report)
    assert evaluate(*call, "--require", "HOTA>=80 IDSW<=3") == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0].split()[:3] == ["HOTA", "DetA", "AssA"]
    assert [line.split()[0] for line in said.splitlines()[1:5]] == ["s0", "s1", "s2", "all"]
    assert "95 % interval" in said
    page = report.read_text(encoding="utf-8")
    assert page.count('<div class="strip">') == 3
    assert page.count("data:image/jpeg;base64,") == 9  # before, last, first with the new; the end is too near for after
    assert "http" not in page.replace("http-equiv", "")  # nothing is loaded from elsewhere
    for i in range(3):
        assert f"<h2>s{i}</h2>" in page


def test_better_than_another_run_can_be_required(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, poor = runs / "good", runs / "poor"
    report = runs / "report.html"
    call = ("--gt", runs / "gt", "--require", "+AssA>0 +IDSW<=-3", "--json")
    assert evaluate(good, "--against", poor, *call, "--report", report) == 0
    assert json.loads(capsys.readouterr().out)["requirements"] == {"+AssA>0": True, "+IDSW<=-3": True}
    assert "met with -3" in report.read_text(encoding="utf-8")
    assert evaluate(poor, "--against", good, *call) == 1
    assert "not good enough: +IDSW is 3; required is <= -3." in capsys.readouterr().err
    assert evaluate(good, *call) == 2
    assert "name that run with --against" in capsys.readouterr().err


def test_command_json_and_exit_codes(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(runs / "poor", "--gt", runs / "gt", "--require", "IDSW<=3", "--json") == 1
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["all"]["IDSW"] == 6
    assert found["requirements"] == {"IDSW<=3": False}
    assert set(found["sequences"]) == {"s0", "s1", "s2"}
    assert "not good enough: IDSW is 6" in captured.err
    assert evaluate(runs / "good", "--gt", runs / "gt", "--frames", "1-20", "--json", "--jobs", "2") == 0
    assert json.loads(capsys.readouterr().out)["all"]["IDSW"] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing", "--gt", "{}/gt"], "no results at nothing"),
        (["{}/good", "--gt", "nothing"], "no ground truth at nothing"),
        (["{}/good", "--gt", "{}/gt/s0"], "'s1' has no ground truth"),
        (["{}/good/s0.txt", "--gt", "{}/gt"], "'s1' has no result"),
        (["{}/good/s0.txt", "{}/poor/s0.txt", "--gt", "{}/gt"], "called 's0'"),
        (["{}/good", "--gt", "{}/gt", "--require", "HOTA=60"], "not understood"),
        (
            ["{}/good/s0.txt", "--gt", "{}/gt/s0/gt.txt", "--frames", "1-5", "--against", "{}/poor/s0.txt"],
            "at least two",
        ),
        (["{}/gt/s0/gt.txt", "--gt", "{}/good"], "has no result"),
    ],
)
def test_refusals_are_sentences(
    runs: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(*[text.replace("{}", str(runs)) for text in arguments]) == 2
    assert said in capsys.readouterr().err


def test_result_may_outlast_text_but_not_a_sequence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, found = walk(5, {1: (1, 5)}), walk(9, {1: (1, 9)})
    target = write_text(tmp_path / "s" / "gt.txt", truth, truth=True)
    result = write_text(tmp_path / "r.txt", found)
    assert evaluate(result, "--gt", target, "--json") == 0
    assert json.loads(capsys.readouterr().out)["all"]["FP"] == 4
    info = "[Sequence]\nname=s\nframeRate=30\nseqLength=5\nimWidth=9\nimHeight=9\n"
    (tmp_path / "s" / "seqinfo.ini").write_text(info, encoding="utf-8")
    assert evaluate(result, "--gt", target) == 2
    assert "a box in frame 9; the ground truth ends with frame 5" in capsys.readouterr().err


def test_pairing(tmp_path: Path) -> None:
    truth = walk(5, {1: (1, 5)})
    folder = tmp_path / "MOT17-02"
    write_text(folder / "gt" / "gt.txt", truth, truth=True)
    info = "[Sequence]\nname=MOT17-02-FRCNN\nframeRate=30\nseqLength=9\nimWidth=9\nimHeight=9\n"
    (folder / "seqinfo.ini").write_text(info, encoding="utf-8")
    write_text(tmp_path / "r" / "MOT17-02-FRCNN.txt", truth)
    other = write_text(tmp_path / "other" / "gt.txt", truth, truth=True)
    write_text(tmp_path / "r" / "other.txt", truth)
    truths = find_truths([folder, other])
    pairs = pair(truths, find_results([tmp_path / "r"]))
    assert [(item.name, item.result.name) for item in pairs] == [
        ("MOT17-02", "MOT17-02-FRCNN.txt"),
        ("other", "other.txt"),
    ]
    assert read_truth(truths["MOT17-02"]).labels.length == 9
    assert benchmark_of(truths["MOT17-02"]) == "MOT17"
    write_text(other, truth)  # classes are -1 then
    assert benchmark_of(other) == "MOT15"


def test_a_folder_may_hold_a_result_in_several_formats(tmp_path: Path) -> None:
    for name in ("one.txt", "one.jsonl", "one.mcap", "one.mp4", "two.txt", "two.mcap"):
        (tmp_path / name).write_bytes(b"")
    found = find_results([tmp_path])
    assert {name: path.suffix for name, path in found.items()} == {"one": ".jsonl", "two": ".mcap"}
    with pytest.raises(DataError, match="may be given once"):
        find_results([tmp_path / "one.txt", tmp_path / "one.jsonl"])


def test_report_cuts_out_images(runs: Path, tmp_path: Path) -> None:
    import cv2

    images = tmp_path / "s0"
    images.mkdir()
    for number in range(1, 31):
        cv2.imwrite(str(images / f"{number}.png"), np.full((200, 400, 3), (0, 0, 255), np.uint8))
    page = tmp_path / "r.html"
    one = (runs / "good" / "s0.txt", "--gt", runs / "gt" / "s0", "--report", page)
    assert evaluate(*one, "--images", images) == 0
    assert "No images were given" not in page.read_text(encoding="utf-8")
    assert _mean_colour(page)[2] > 200
    assert evaluate(*one) == 0
    assert "No images were given" in page.read_text(encoding="utf-8")
    assert _mean_colour(page)[2] < 100


def _mean_colour(page: Path) -> np.ndarray[Any, Any]:
    import base64
    import re

    import cv2

    [first, *_] = re.findall(r"data:image/jpeg;base64,([^\"]+)", page.read_text(encoding="utf-8"))
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(first), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(np.median(picture.reshape(-1, 3), axis=0))

"""`alstm evaluate`: numbers mean what they say, whatever files they come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recordings
from rosbags.rosbag2 import StoragePlugin, Writer

from alstm_ros import cli
from alstm_ros.errors import ConfigError, DataError
from alstm_ros.evaluation.compare import paired_bootstrap, parse_requirements
from alstm_ros.evaluation.interfaces import typestore
from alstm_ros.evaluation.labels import Labels, make
from alstm_ros.evaluation.pairing import benchmark_of, find_results, find_truths, pair
from alstm_ros.evaluation.reading import Recording, align, read_result, read_truth
from alstm_ros.evaluation.scoring import Judged, judge, total

BOX = (10.0, 20.0, 40.0, 100.0)


def walk(length: int, ids: dict[int, tuple[int, int]], shift: float = 0.0, height: float = 80.0) -> Labels:
    """Objects that walk to the right, each in frames first..last of `ids`, 100 pixels apart."""
    rows = [(f, key, 100.0 * key + f + shift) for key, (a, b) in ids.items() for f in range(a, b + 1)]
    frames, keys, lefts = (np.array(column) for column in zip(*rows, strict=True))
    boxes = np.stack([lefts, np.full(len(lefts), 50.0), lefts + 40, np.full(len(lefts), 50 + height)], axis=1)
    return make(frames, keys, boxes, np.ones(len(frames)), np.ones(len(frames)), length=length)


def renamed(labels: Labels, changes: dict[tuple[int, int], int]) -> Labels:
    """Ids changed: (id, from this frame on) -> new id."""
    ids = labels.ids.copy()
    for (key, first), new in changes.items():
        ids[(labels.ids == key) & (labels.frames >= first)] = new
    return make(labels.frames, ids, labels.boxes, labels.scores, labels.classes, length=labels.length)


def judged(truth: Labels, found: Labels, benchmark: str = "none", raw: Labels | None = None) -> Judged:
    return judge(Recording("s", truth), Recording("s", found, raw), benchmark)


def test_perfect_result_is_perfect() -> None:
    truth = walk(30, {1: (1, 30), 2: (5, 25)})
    numbers = judged(truth, renamed(truth, {(1, 1): 7, (2, 1): 9})).score.numbers
    perfect = {"HOTA": 100, "DetA": 100, "AssA": 100, "MOTA": 100, "IDF1": 100, "AP50": 100, "AP50:95": 100}
    zero = {"IDSW": 0, "Frag": 0, "FP": 0, "FN": 0, "ML": 0, "flicker": 0}
    assert {name: numbers[name] for name in (*perfect, *zero)} == pytest.approx(perfect | zero)
    assert numbers["length"] == (30 + 21) / 2
    assert "latency_p50" not in numbers
    assert "AP50_raw" not in numbers


def test_switches_are_found_where_they_are() -> None:
    truth = walk(30, {1: (1, 30), 2: (1, 30)})
    item = judged(truth, renamed(truth, {(1, 11): 5, (2, 21): 6}))
    assert item.score.numbers["IDSW"] == 2
    [first, second] = item.timelines["pedestrian"].switches
    assert (first.frame, first.object_id, first.before, first.after, first.last_frame) == (11, 1, 1, 5, 10)
    assert (second.frame, second.object_id, second.before, second.after) == (21, 2, 2, 6)


def test_switch_after_a_gap() -> None:
    truth = walk(30, {1: (1, 30), 3: (1, 30)})  # TrackEval counts no fragmentation over frames without any track
    gone = (truth.ids == 1) & (truth.frames >= 10) & (truth.frames <= 15)
    item = judged(truth, renamed(truth.select(~gone), {(1, 16): 2}))
    [switch] = item.timelines["pedestrian"].switches
    assert (switch.last_frame, switch.frame) == (9, 16)
    assert item.score.numbers["IDSW"] == item.score.numbers["Frag"] == 1


def test_flicker_is_the_second_difference_over_height() -> None:
    truth = walk(40, {1: (1, 40)}, height=80)
    wobble = np.where(truth.frames % 2 == 0, 1.0, -1.0)[:, None]  # +1, -1, +1: second difference 4 in each corner
    shaken = make(truth.frames, truth.ids, truth.boxes + wobble, truth.scores, truth.classes, length=40)
    numbers = judged(truth, truth, raw=shaken).score.numbers
    assert numbers["flicker"] == pytest.approx(0, abs=1e-9)
    assert numbers["flicker_raw"] == pytest.approx(100 * 4 / 80)
    assert numbers["AP50:95"] > numbers["AP50:95_raw"]


def test_distractors_count_under_mot17_and_not_under_mot15() -> None:
    truth = walk(20, {1: (1, 20), 2: (1, 20)})
    classes = np.where(truth.ids == 2, 8, 1)  # 8 is a distractor
    counted = truth.ids == 1
    target = make(truth.frames, truth.ids, truth.boxes, truth.scores, classes, counted=counted, length=20)
    assert judged(target, truth, "MOT17").score.numbers["FP"] == 0
    assert judged(target, truth, "MOT15").score.numbers["FP"] == 20
    assert judged(target, truth, "MOT17").score.numbers["FN"] == 0


def test_total_is_counted_over_the_sum() -> None:
    truth = walk(30, {1: (1, 30)})
    good, bad = judged(truth, truth), judged(truth, truth.select(truth.frames <= 10))
    together = total([good, bad])
    assert together.numbers["FN"] == 20
    assert together.numbers["MOTA"] == pytest.approx(100 * 40 / 60)
    assert together.frames == 60


def test_classes_are_scored_apart() -> None:
    truth = walk(20, {1: (1, 20), 2: (1, 20)})
    kinds = (truth.ids == 2).astype(np.int64)
    target = make(truth.frames, truth.ids, truth.boxes, truth.scores, kinds, names=("person", "car"), length=20)
    same = judged(target, target).score.numbers
    assert (same["MOTA"], same["AP50"]) == (100, 100)
    wrong = make(truth.frames, truth.ids, truth.boxes, truth.scores, 0 * kinds, names=("person",), length=20)
    numbers = judged(target, wrong).score.numbers
    assert (numbers["FP"], numbers["FN"]) == (20, 20)
    assert numbers["AP50"] == pytest.approx((50 + 0) / 2, abs=5)  # half of the persons are none, and no car is found


def test_people_alone_are_scored_against_text() -> None:
    truth = walk(20, {1: (1, 20)})
    both = walk(20, {1: (1, 20), 2: (1, 20)})
    found = make(both.frames, both.ids, both.boxes, both.scores, both.ids - 1, names=("person", "car"), length=20)
    assert judged(truth, found).score.numbers["FP"] == 0


def test_ids_that_stand_twice_are_refused() -> None:
    with pytest.raises(DataError, match="Id 3 stands twice in frame 2"):
        make(*(np.array(column) for column in ([1, 2, 2], [3, 3, 3], [BOX] * 3, [1, 1, 1], [1, 1, 1])))


def test_bootstrap_is_seeded_and_sees_what_is_there() -> None:
    truth = walk(30, {1: (1, 30), 2: (1, 30)})
    names = [f"s{i}" for i in range(6)]
    here, there = [], []
    for i, name in enumerate(names):
        good = judge(Recording(name, truth), Recording(name, renamed(truth, {(1, 28 - i): 9})), "none").score
        poor = judge(
            Recording(name, truth), Recording(name, renamed(truth, {(1, 15): 9, (2, 10 + i): 8})), "none"
        ).score
        here.append(good)
        there.append(poor)
    first, again = paired_bootstrap(here, there, 200, seed=3), paired_bootstrap(here, there, 200, seed=3)
    assert first == again
    by_name = {item.metric: item for item in first}
    assert by_name["AssA"].low > 0
    assert by_name["AssA"].worse == 0
    assert by_name["IDSW"].high < 0
    assert by_name["IDSW"].worse == 0
    assert by_name["DetA"].worse == 1  # equal is not better
    assert by_name["HOTA"].low <= by_name["HOTA"].here - by_name["HOTA"].there <= by_name["HOTA"].high
    with pytest.raises(DataError, match="different sequences"):
        paired_bootstrap(here, there[::-1])
    with pytest.raises(DataError, match="at least two"):
        paired_bootstrap(here[:1], there[:1])


@pytest.mark.parametrize("text", ["", "HOTA", "HOTA>=x", "HOTA~60", "HOT>=60", "HOTA>="])
def test_requirements_that_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="require"):
        parse_requirements(text)


def test_requirements() -> None:
    [one, two, three] = parse_requirements("HOTA >= 60.5, IDSW<=20 AP50:95>1")
    assert [str(item) for item in (one, two, three)] == ["HOTA>=60.5", "IDSW<=20", "AP50:95>1"]
    assert one.check({"HOTA": 60.5}) is None
    assert one.check({"HOTA": 60.4}) == "HOTA is 60.40; required is >= 60.5."
    assert two.check({"IDSW": 21}) == "IDSW is 21; required is <= 20."
    assert three.check({}) == "AP50:95 is not known for these results; required is > 1."


def write_text(path: Path, labels: Labels, *, truth: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tail = "1,1,1" if truth else "0.9,-1,-1,-1"
    rows = zip(labels.frames, labels.ids, labels.boxes, strict=True)
    lines = [f"{f},{key},{a},{b},{c - a},{d - b},{tail}" for f, key, (a, b, c, d) in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three sequences, a good run and a poor one."""
    truth = walk(30, {1: (1, 30), 2: (1, 30)})
    for i in range(3):
        write_text(tmp_path / "gt" / f"s{i}" / "gt.txt", truth, truth=True)
        write_text(tmp_path / "good" / f"s{i}.txt", renamed(truth, {(1, 28): 9}))
        write_text(tmp_path / "poor" / f"s{i}.txt", renamed(truth, {(1, 15): 9, (2, 10 + i): 8}))
    return tmp_path


def evaluate(*arguments: object) -> int:
    return cli.main(["evaluate", *map(str, arguments)])


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


def detections_bag(path: Path, labels: Labels, delay_ns: int = 0, *, every: int = 1, class_id: str = "person") -> Path:
    """A bag with one Detection2DArray for each frame, recorded so long after its stamp."""
    store = typestore()
    types = store.types
    kind = "vision_msgs/msg/Detection2DArray"
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection("/tracked", kind, typestore=store)
        for frame in range(1, labels.length + 1, every):
            header = recordings.header(recordings.stamp(frame))
            found = [
                _detection(types, header, labels, row, class_id)
                for row in np.flatnonzero(labels.frames == frame).tolist()
            ]
            message = types[kind](header=header, detections=found)
            writer.write(connection, recordings.stamp(frame) + delay_ns, store.serialize_cdr(message, kind))
    return path


def _detection(types: Any, header: Any, labels: Labels, row: int, class_id: str) -> Any:
    left, top, right, bottom = labels.boxes[row].tolist()
    pose = types["geometry_msgs/msg/PoseWithCovariance"](
        pose=types["geometry_msgs/msg/Pose"](
            position=types["geometry_msgs/msg/Point"](x=0.0, y=0.0, z=0.0),
            orientation=types["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=0.0, w=1.0),
        ),
        covariance=np.zeros(36),
    )
    best = types["vision_msgs/msg/ObjectHypothesis"](class_id=class_id, score=float(labels.scores[row]))
    centre = types["vision_msgs/msg/Point2D"](x=(left + right) / 2, y=(top + bottom) / 2)
    return types["vision_msgs/msg/Detection2D"](
        header=header,
        results=[types["vision_msgs/msg/ObjectHypothesisWithPose"](hypothesis=best, pose=pose)],
        bbox=types["vision_msgs/msg/BoundingBox2D"](
            center=types["vision_msgs/msg/Pose2D"](position=centre, theta=0.0),
            size_x=right - left,
            size_y=bottom - top,
        ),
        id=f"robot-{labels.ids[row]}",
    )


def test_bags_are_matched_by_stamps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = walk(30, {1: (1, 30), 2: (1, 30)})
    target = detections_bag(tmp_path / "truth", truth)
    live = detections_bag(tmp_path / "live", truth, delay_ns=25_000_000, every=2)
    assert evaluate(live, "--gt", target, "--json", "--report", tmp_path / "r.html") == 0
    numbers = json.loads(capsys.readouterr().out)["all"]
    assert (numbers["FP"], numbers["FN"], numbers["IDSW"]) == (0, 30, 0)  # every second frame was dropped
    assert numbers["latency_p50"] == pytest.approx(25)
    assert "<h3>Speed: latency of each frame</h3>" in (tmp_path / "r.html").read_text(encoding="utf-8")

    text = write_text(tmp_path / "gt.txt", truth, truth=True)
    assert evaluate(live, "--gt", text) == 2
    assert "frames were dropped" in capsys.readouterr().err
    whole = detections_bag(tmp_path / "whole", truth)
    assert evaluate(whole, "--gt", text, "--require", "MOTA==100") == 0


def test_frames_without_truth_are_told(tmp_path: Path) -> None:
    truth = walk(30, {1: (1, 30)})
    target = read_truth(detections_bag(tmp_path / "truth", truth, every=3))
    result = align(target, read_result(detections_bag(tmp_path / "result", truth)))
    assert result.labels.length == target.labels.length == 10
    assert judge(target, result, "none").score.numbers["MOTA"] == 100
    assert result.problems == ("20 frames of result have no ground truth and are left out.",)


def test_jsonl_knows_raw_boxes(tmp_path: Path) -> None:
    lines = []
    for frame in range(1, 11):
        box = [10 + frame, 20, 50 + frame, 100]
        track = {"id": "1", "class": "person", "score": 0.9, "box": box, "state": "confirmed", "detection": 0}
        lost = {**track, "id": "2", "state": "lost", "detection": None}
        found = {"class": "person", "score": 0.5, "box": [box[0] + 5, *box[1:]]}
        line = {"frame": frame, "stamp_ns": frame * 10, "tracks": [track, lost], "detections": [found]}
        lines.append(json.dumps(line))
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    result = read_result(path)
    assert result.raw is not None
    assert result.labels.ids.tolist() == [1] * 10
    assert result.labels.stamps_ns.tolist() == list(range(10, 101, 10))
    np.testing.assert_array_equal(result.raw.boxes[:, 0] - result.labels.boxes[:, 0], 5)
    assert set(result.raw.scores.tolist()) == {0.5}
    path.write_text('{"frame": 1}', encoding="utf-8")
    with pytest.raises(DataError, match="no JSON Lines"):
        read_result(path)


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

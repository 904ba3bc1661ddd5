"""The numbers of `alstm evaluate` mean what they say."""

from __future__ import annotations

import numpy as np
import pytest
from walked_labels import renamed, walk

from alstm_ros.errors import ConfigError, DataError
from alstm_ros.evaluation.compare import paired_bootstrap, parse_requirements
from alstm_ros.evaluation.scoring import Judged, score_sequence, total
from alstm_ros.recordings.labels import Labels, make_labels
from alstm_ros.recordings.track_files import SequenceTracks

BOX = (10.0, 20.0, 40.0, 100.0)


def judged(truth: Labels, found: Labels, benchmark: str = "none", raw: Labels | None = None) -> Judged:
    return score_sequence(SequenceTracks("s", truth), SequenceTracks("s", found, raw), benchmark)


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
    shaken = make_labels(truth.frames, truth.ids, truth.boxes + wobble, truth.scores, truth.classes, length=40)
    numbers = judged(truth, truth, raw=shaken).score.numbers
    assert numbers["flicker"] == pytest.approx(0, abs=1e-9)
    assert numbers["flicker_raw"] == pytest.approx(100 * 4 / 80)
    assert numbers["AP50:95"] > numbers["AP50:95_raw"]


def test_distractors_count_under_mot17_and_not_under_mot15() -> None:
    truth = walk(20, {1: (1, 20), 2: (1, 20)})
    classes = np.where(truth.ids == 2, 8, 1)  # 8 is a distractor
    counted = truth.ids == 1
    target = make_labels(truth.frames, truth.ids, truth.boxes, truth.scores, classes, counted=counted, length=20)
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
    target = make_labels(truth.frames, truth.ids, truth.boxes, truth.scores, kinds, names=("person", "car"), length=20)
    same = judged(target, target).score.numbers
    assert (same["MOTA"], same["AP50"]) == (100, 100)
    wrong = make_labels(truth.frames, truth.ids, truth.boxes, truth.scores, 0 * kinds, names=("person",), length=20)
    numbers = judged(target, wrong).score.numbers
    assert (numbers["FP"], numbers["FN"]) == (20, 20)
    assert numbers["AP50"] == pytest.approx((50 + 0) / 2, abs=5)  # half of the persons are none, and no car is found


def test_people_alone_are_scored_against_text() -> None:
    truth = walk(20, {1: (1, 20)})
    both = walk(20, {1: (1, 20), 2: (1, 20)})
    found = make_labels(
        both.frames, both.ids, both.boxes, both.scores, both.ids - 1, names=("person", "car"), length=20
    )
    assert judged(truth, found).score.numbers["FP"] == 0


def test_ids_that_stand_twice_are_refused() -> None:
    with pytest.raises(DataError, match="Id 3 stands twice in frame 2"):
        make_labels(*(np.array(column) for column in ([1, 2, 2], [3, 3, 3], [BOX] * 3, [1, 1, 1], [1, 1, 1])))


def test_bootstrap_is_seeded_and_sees_what_is_there() -> None:
    truth = walk(30, {1: (1, 30), 2: (1, 30)})
    names = [f"s{i}" for i in range(6)]
    here, there = [], []
    for i, name in enumerate(names):
        good = score_sequence(
            SequenceTracks(name, truth), SequenceTracks(name, renamed(truth, {(1, 28 - i): 9})), "none"
        ).score
        poor = score_sequence(
            SequenceTracks(name, truth), SequenceTracks(name, renamed(truth, {(1, 15): 9, (2, 10 + i): 8})), "none"
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

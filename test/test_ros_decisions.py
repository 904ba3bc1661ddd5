"""What the node decides, without a node: sources, reasons for silence, missing images, the mailbox."""

from __future__ import annotations

import importlib.util
import itertools
import statistics
import threading
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="ROS is not installed")

from sensor_msgs.msg import Image as ImageMessage

from alstm_ros.config import InputConfig
from alstm_ros.errors import ImageError
from alstm_ros.images import decode
from alstm_ros.ros.batching import measure_batch_size
from alstm_ros.ros.diagnostics import MISSING
from alstm_ros.ros.image_timeout import FACTOR, REMEMBERED, ImageTimeout
from alstm_ros.ros.mailbox import Arrival, Mailbox
from alstm_ros.ros.missing import missing_fraction
from alstm_ros.ros.statistics import CameraStatistics, quantile
from alstm_ros.ros.topics import COMPRESSED, IMAGE, Endpoint, choose_source, explain
from alstm_ros.ros.transport import PROFILE_VARIABLES, SETTING, VARIABLE, large_data_hint, remedy
from alstm_ros.types import Image

ROOT = Path(__file__).resolve().parents[1]
PERIOD = 33_000_000
endpoints = st.lists(
    st.builds(Endpoint, st.sampled_from([IMAGE, COMPRESSED]), st.booleans(), st.booleans()), max_size=4
)
wishes = st.builds(
    InputConfig,
    transport=st.sampled_from(["auto", "raw", "compressed"]),
    reliability=st.sampled_from(["auto", "reliable", "best_effort"]),
    durability=st.sampled_from(["auto", "volatile", "transient_local"]),
)


@given(wishes, endpoints, endpoints)
def test_auto_qos_matches_every_publisher_and_asks_no_less_than_all_offer(
    options: InputConfig, here: Sequence[Endpoint], beside: Sequence[Endpoint]
) -> None:
    found = {"/image": here, "/image/compressed": beside}
    source = choose_source(options, "/image", found)
    ends = [end for end in found[source.topic] if end.type == source.type]
    if options.reliability == "auto":
        assert source.reliable == (bool(ends) and all(end.reliable for end in ends))
    else:
        assert source.reliable == (options.reliability == "reliable")
    if options.durability == "auto":
        assert source.transient == (bool(ends) and all(end.transient for end in ends))
    else:
        assert source.transient == (options.durability == "transient_local")
    if options.transport == "raw":
        assert source.type == IMAGE
    if options.transport == "compressed":
        assert source.type == COMPRESSED
    wanted = {IMAGE} if options.transport == "raw" else {COMPRESSED} if options.transport == "compressed" else None
    anywhere = any(
        wanted is None or end.type in wanted
        for name, group in found.items()
        for end in group
        if (name == "/image" or end.type == COMPRESSED)
    )
    assert bool(ends) == anywhere  # a usable publisher is never passed over


@given(wishes, endpoints, endpoints)
def test_a_reason_is_given_for_every_silence(
    options: InputConfig, here: Sequence[Endpoint], beside: Sequence[Endpoint]
) -> None:
    found = {"/image": here, "/image/compressed": beside}
    source = choose_source(options, "/image", found)
    cause = explain(options, source, found, ["/camera/image_raw"], "")
    fitting = [end for end in found[source.topic] if end.type == source.type]
    reaching = [e for e in fitting if (e.reliable or not source.reliable) and (e.transient or not source.transient)]
    assert (cause.kind == "no_data") <= bool(fitting)
    assert (cause.kind == "incompatible_qos") <= (len(reaching) < len(fitting))
    assert (cause.kind in {"no_publisher", "wrong_type"}) == (not fitting)
    assert source.topic in cause.sentence


@pytest.mark.parametrize(
    ("topic", "transport", "expected"),
    [
        ("/image", "auto", ("/image", IMAGE)),
        ("/image", "compressed", ("/image/compressed", COMPRESSED)),
        ("/image/compressed", "auto", ("/image/compressed", COMPRESSED)),
        ("/image/compressed", "compressed", ("/image/compressed", COMPRESSED)),
    ],
)
def test_with_no_publisher_the_likeliest_source_is_subscribed_to(
    topic: str, transport: str, expected: tuple[str, str]
) -> None:
    source = choose_source(InputConfig(transport=transport), topic, {})
    assert (source.topic, source.type) == expected
    assert not source.reliable
    assert not source.transient


def test_a_fixed_transport_that_the_topic_does_not_carry_is_named() -> None:
    found = {"/image": [Endpoint(COMPRESSED, reliable=True, transient=False)]}
    options = InputConfig(transport="raw")
    cause = explain(options, choose_source(options, "/image", found), found, [], "")
    assert cause.kind == "wrong_type"
    assert "since input.transport is 'raw'" in cause.sentence


@given(st.lists(st.integers(-3_000_000, 3_000_000), min_size=20, max_size=100))
def test_a_camera_with_jitter_misses_nothing(jitter: list[int]) -> None:
    stamps = [index * PERIOD + offset for index, offset in enumerate(jitter)]
    assert missing_fraction(stamps) == 0


def stamps_of(gaps: Sequence[float]) -> list[int]:
    """Stamps in ns of gaps in periods."""
    return [round(PERIOD * end) for end in itertools.accumulate(gaps, initial=0)]


def lost_by_chance(share: float, seed: int = 0) -> list[int]:
    chance = np.random.default_rng(seed).random(300)
    return [index * PERIOD for index in range(300) if chance[index] >= share][:100]


@pytest.mark.parametrize("share", [0.3, 0.4, 0.5])
def test_images_lost_by_chance_are_noticed(share: float) -> None:
    noticed = [missing_fraction(lost_by_chance(share, seed)) for seed in range(20)]
    assert sum(missing > MISSING for missing in noticed) >= 17
    assert statistics.mean(filter(None, noticed)) == pytest.approx(share, abs=0.05)
    assert missing_fraction(lost_by_chance(share)[:20]) == 0  # too few to tell
    assert missing_fraction([*lost_by_chance(share), 0]) == 0  # time went back


@pytest.mark.parametrize(
    "gaps",
    [
        [1] * 50 + [2] * 50,  # a rate that drops
        [1, 2] * 50,  # a camera that alternates, or every third image lost: nobody can tell
        [1, 1, 3] * 33,
        [0.1] * 60 + [1] * 40,  # after a flood
        [1] * 48 + [30, 25] + [1] * 50,  # pauses
        [1] * 30 + [2] * 30 + [3] * 40,  # light that goes
    ],
)
def test_gaps_that_are_not_by_chance_are_no_losses(gaps: list[float]) -> None:
    assert missing_fraction(stamps_of(gaps)) == 0


def test_false_reports_are_rare_on_every_simulated_camera() -> None:
    """The same cameras as in `bench/missing.py`, which looks at each more often."""
    specification = importlib.util.spec_from_file_location("missing_bench", ROOT / "bench" / "missing.py")
    assert specification is not None
    assert specification.loader is not None
    bench = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(bench)
    for name, draw in bench.cameras().items():
        assert sum(bench.warned(draw, 100)) <= 1, name


@given(st.integers(4, 600), st.integers(1, 40))
def test_a_camera_slower_than_the_timeout_is_called_silent_once_at_most(period: int, images: int) -> None:
    limit, timeout, told, silent = ImageTimeout(), 3, 0, False
    limit.wait(0)
    for now in range(period * images):
        if now and now % period == 0:
            limit.arrived(now)
            silent = False
        elif limit.silent_ns(now) >= limit.limit_ns(timeout) and not silent:
            told, silent = told + 1, True
    assert told == 1  # before the first image, when nothing is known of it yet


@given(st.integers(1, 100), st.integers(0, 10_000))
def test_a_fast_camera_that_stops_is_called_silent_in_time_even_after_a_pause(period: int, pause: int) -> None:
    limit, timeout, now = ImageTimeout(), 300, pause
    limit.wait(0)
    for _ in range(REMEMBERED + 1):
        limit.arrived(now)
        now += period
    assert limit.limit_ns(timeout) <= max(timeout, FACTOR * period)
    limit.wait(now)
    assert limit.limit_ns(timeout) == timeout


def test_stamps_that_go_back_are_counted() -> None:
    counting = CameraStatistics()
    for stamp in (5, 6, 6, 3, 4, 2):
        counting.process(stamp)
    assert counting.counts().backward == 2


def test_stamps_that_stand_still_are_counted() -> None:
    counting = CameraStatistics()
    for stamp in (5, 5, 5, 6, 5):
        counting.receive(stamp, replaces=False)
    assert counting.counts().repeated == 2


@given(st.lists(st.text(max_size=50), max_size=60))
def test_what_is_counted_does_not_grow_with_what_a_sender_writes(encodings: list[str]) -> None:
    counting = CameraStatistics()
    for encoding in encodings:
        with pytest.raises(ImageError) as caught:
            decode(bytes(16), f"?{encoding}", 4, 4, 4)
        counting.damage(caught.value)
    counts = counting.counts()
    assert counts.damaged == ({"unknown encoding": len(encodings)} if encodings else {})
    assert all(len(sentence) < 1000 for sentence in counts.sentences.values())


def test_counts_are_a_copy_that_another_thread_cannot_change() -> None:
    counting, stop = CameraStatistics(), threading.Event()

    def count() -> None:
        for index in itertools.count():
            counting.damage(ImageError("x", f"cause {index % 1000}"))
            if stop.is_set():
                return

    thread = threading.Thread(target=count)
    thread.start()
    for _ in range(300):
        copy = counting.counts()
        assert sum(copy.damaged.values()) >= len(list(copy.damaged.items()))
    stop.set()
    thread.join()


def test_quantile_is_the_nearest_rank() -> None:
    assert quantile(range(100), 0.5) == 50
    assert quantile(range(100), 0.99) == 99
    assert quantile([7], 0.99) == 7


def arrival(camera: str, stamp_ns: int) -> Arrival:
    return Arrival(camera, ImageMessage(), stamp_ns, 0)


def test_the_mailbox_keeps_the_newest_of_each_camera_and_serves_who_waits_longest() -> None:
    mailbox = Mailbox(["front", "rear"])
    assert not mailbox.put(arrival("rear", 1))
    assert not mailbox.put(arrival("front", 3))
    assert mailbox.put(arrival("rear", 2))
    assert [(a.camera, a.stamp_ns) for a in mailbox.take(2)] == [("rear", 2), ("front", 3)]
    assert not mailbox.drain(0.01)  # they are in work
    mailbox.put(arrival("rear", 4))
    mailbox.close()
    assert mailbox.take(2) == []
    assert mailbox.drain(1.0)


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=200), st.integers(1, 4))
def test_no_camera_starves_however_fast_the_others_are(arrivals: list[str], every: int) -> None:
    """Each camera that waits is served before any other is served twice."""
    mailbox, waiting = Mailbox("abcd"), dict[str, list[str]]()  # who was served since it began to wait
    for number, camera in enumerate(arrivals):
        mailbox.put(arrival(camera, number))
        waiting.setdefault(camera, [])
        if number % every == 0:
            (served,) = mailbox.take(1)
            assert served.stamp_ns == max(n for n, name in enumerate(arrivals[: number + 1]) if name == served.camera)
            waiting.pop(served.camera)
            for others in waiting.values():
                assert served.camera not in others
                others.append(served.camera)


@pytest.mark.parametrize(("costs", "expected"), [((1.0, 4.0), 1), ((1.0, 1.2), 4), ((1.0, 3.5), 1)])
def test_images_are_batched_only_where_that_gains(
    costs: tuple[float, float], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def detect(images: list[Image]) -> None:
        nonlocal now
        now += costs[0] if len(images) == 1 else costs[1]

    monkeypatch.setattr("alstm_ros.ros.batching.time.perf_counter", lambda: now)
    assert measure_batch_size(detect, 4) == expected


def test_draining_waits_for_what_is_in_work_and_throws_away_what_waits() -> None:
    mailbox = Mailbox([""])
    mailbox.put(arrival("", 1))
    assert mailbox.take(1)
    mailbox.put(arrival("", 2))
    drained = threading.Event()

    def drain() -> None:
        assert mailbox.drain(30)
        drained.set()

    waiting = threading.Thread(target=drain)
    waiting.start()
    assert not drained.wait(0.05)
    taking = threading.Thread(target=mailbox.take, args=(1,))  # the work is done; there is nothing more
    taking.start()
    assert drained.wait(30)
    mailbox.close()
    waiting.join()
    taking.join()


PLAIN: dict[str, str] = {}
LOCAL = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
OLD_LOCAL = {"ROS_LOCALHOST_ONLY": "1"}


@pytest.mark.parametrize(
    "environment", [LOCAL, OLD_LOCAL, {"ROS_AUTOMATIC_DISCOVERY_RANGE": "localhost", VARIABLE: SETTING}]
)
def test_where_discovery_stays_on_this_machine_a_profile_is_the_remedy(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROS_HOME", str(tmp_path))
    wanted = remedy(environment, 24)
    assert set(wanted) == set(PROFILE_VARIABLES)
    (path,) = set(wanted.values())
    tree = ET.parse(path)  # noqa: S314  # our own
    assert tree.findtext(".//{*}segment_size") == str(24 * 1024 * 1024)
    assert remedy(environment | wanted, 24) == {}
    assert remedy(environment, 24) == wanted  # the file is there already


@pytest.mark.parametrize("environment", [PLAIN, {"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET", "ROS_LOCALHOST_ONLY": "0"}])
def test_elsewhere_the_variable_is_the_remedy(environment: dict[str, str]) -> None:
    assert remedy(environment) == {VARIABLE: SETTING}
    assert remedy(environment | {VARIABLE: "UDPv4"}) == {}
    assert remedy(environment | {PROFILE_VARIABLES[0]: "/mine.xml"}) == {}


@pytest.mark.parametrize(
    ("environment", "hint"),
    [
        (PLAIN, f"start the camera's process with {VARIABLE}='{SETTING}'"),
        ({VARIABLE: SETTING}, f"start the camera's process, as this one is, with {VARIABLE}='{SETTING}'"),
        ({VARIABLE: "LARGE_DATA"}, ""),
        (LOCAL, f"start the camera's process with {PROFILE_VARIABLES[0]}='"),
        (LOCAL | {VARIABLE: SETTING}, f"start the camera's process with {PROFILE_VARIABLES[0]}='"),
        (LOCAL | {VARIABLE: "LARGE_DATA"}, f"start the camera's process with {PROFILE_VARIABLES[0]}='"),
        (LOCAL | {PROFILE_VARIABLES[0]: "/mine.xml"}, "give Fast DDS more shared memory in /mine.xml"),
    ],
)
def test_the_hint_looks_at_the_whole_environment(
    environment: dict[str, str], hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (VARIABLE, *PROFILE_VARIABLES, *LOCAL, *OLD_LOCAL):
        monkeypatch.delenv(name, raising=False)
    for name, value in (environment | {"ROS_HOME": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    assert hint in large_data_hint()
    assert bool(hint) == bool(large_data_hint())

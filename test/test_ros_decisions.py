"""What the node decides, without a node: sources, reasons for silence, missing images, the mailbox."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="ROS is not installed")

from sensor_msgs.msg import Image as ImageMessage

from alstm_ros.config import InputConfig
from alstm_ros.ros.image_timeout import FACTOR, REMEMBERED, ImageTimeout
from alstm_ros.ros.mailbox import Arrival, Mailbox
from alstm_ros.ros.statistics import CameraStatistics, missing_fraction, quantile
from alstm_ros.ros.topics import COMPRESSED, IMAGE, Endpoint, choose_source, explain

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


def test_lost_images_are_noticed() -> None:
    every_third_lost = [index * PERIOD for index in range(90) if index % 3]
    assert missing_fraction(every_third_lost) == pytest.approx(1 / 3, abs=0.02)
    assert missing_fraction(every_third_lost[:9]) == 0  # too few to tell
    assert missing_fraction([*every_third_lost, 0]) == 0  # time went back


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
    statistics = CameraStatistics()
    for stamp in (5, 6, 6, 3, 4, 2):
        statistics.processing(stamp)
    assert statistics.backward == 2


def test_quantile_is_the_nearest_rank() -> None:
    assert quantile(range(100), 0.5) == 50
    assert quantile(range(100), 0.99) == 99
    assert quantile([7], 0.99) == 7


def arrival(camera: str, stamp_ns: int) -> Arrival:
    return Arrival(camera, ImageMessage(), stamp_ns, 0)


def test_the_mailbox_keeps_the_newest_of_each_camera_in_their_order() -> None:
    mailbox = Mailbox(["front", "rear"])
    assert not mailbox.put(arrival("rear", 1))
    assert mailbox.put(arrival("rear", 2))
    assert not mailbox.put(arrival("front", 3))
    assert [(a.camera, a.stamp_ns) for a in mailbox.take()] == [("front", 3), ("rear", 2)]
    assert not mailbox.drain(0.01)  # they are in work
    mailbox.put(arrival("rear", 4))
    mailbox.close()
    assert mailbox.take() == []
    assert mailbox.drain(1.0)


def test_draining_waits_for_what_is_in_work_and_throws_away_what_waits() -> None:
    mailbox = Mailbox([""])
    mailbox.put(arrival("", 1))
    assert mailbox.take()
    mailbox.put(arrival("", 2))
    drained = threading.Event()

    def drain() -> None:
        assert mailbox.drain(30)
        drained.set()

    waiting = threading.Thread(target=drain)
    waiting.start()
    assert not drained.wait(0.05)
    taking = threading.Thread(target=mailbox.take)  # the work is done; there is nothing more
    taking.start()
    assert drained.wait(30)
    mailbox.close()
    waiting.join()
    taking.join()

"""What a person sees on the overlay, told by its pixels."""

from __future__ import annotations

import colorsys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from imaging import picture
from numpy.typing import NDArray

from alstm_ros.drawing import Mark, Overlay, colour, marks
from alstm_ros.types import Image, Tracks, TrackState

SECOND = 1_000_000_000
BLACK = np.zeros((120, 160, 3), np.uint8)
BOX = (40.0, 50.0, 80.0, 100.0)

NUMBERS = st.floats(-1e9, 1e9) | st.floats(-50, 250)
MARKS = st.builds(
    Mark, st.integers(0, 99).map(str), st.tuples(*[NUMBERS] * 4), st.text(max_size=9), st.floats(0, 1), st.booleans()
)


def draw(*shown: Mark, scale: float = 1.0) -> Image:
    return Overlay().draw(BLACK, 0, shown, scale)


def count(image: Image, track_id: str) -> int:
    return int((image == colour(track_id)).all(axis=2).sum())


def painted(pixels: Image) -> NDArray[np.bool_]:
    """Where something stands on the black ground; thin lines are anti-aliased and do not reach their full colour."""
    return np.asarray(pixels.max(axis=-1) > 100)


@given(
    height=st.integers(1, 80),
    width=st.integers(1, 80),
    shown=st.lists(MARKS, max_size=5),
    stamps=st.lists(st.integers(0, 9 * SECOND), min_size=1, max_size=4),
    scale=st.sampled_from((0.1, 0.5, 1.0)),
)
def test_any_marks_fit_on_any_picture(
    height: int, width: int, shown: list[Mark], stamps: list[int], scale: float
) -> None:
    image = picture(height, width)
    kept = image.copy()
    first, second = Overlay(), Overlay()
    for stamp in stamps:
        drawn = first.draw(image, stamp, shown, scale)
        assert drawn.shape == (max(1, round(height * scale)), max(1, round(width * scale)), 3)
        assert drawn.dtype == np.uint8
        assert drawn.flags.c_contiguous
        assert np.array_equal(drawn, second.draw(image, stamp, shown, scale)), "the same input, the same picture"
    assert np.array_equal(image, kept)


def test_a_picture_with_strides() -> None:
    wide = picture(60, 160)
    assert np.array_equal(Overlay().draw(wide[:, ::2], 0, []), wide[:, ::2])


def test_nothing_to_draw_leaves_the_picture_as_it_is() -> None:
    image = picture(30, 40)
    assert np.array_equal(Overlay().draw(image, 0, []), image)


def test_a_box_has_its_ids_colour_and_label() -> None:
    drawn = draw(Mark("12", BOX, "person", 0.9))
    assert (drawn[60:90, 40] == colour("12")).all()
    assert (drawn[100, 50:70] == colour("12")).all()
    assert not drawn[70:90, 50:70].any(), "the object itself stays visible"
    assert count(drawn[38:50], "12") > 300, "the label's ground"


def test_a_lost_box_is_dashed() -> None:
    side = draw(Mark("12", BOX, "person", 0.9, lost=True))[52:98, 40]
    assert painted(side).any()
    assert not painted(side).all()


def test_the_label_shows_the_score_unless_lost() -> None:
    low, high = (draw(Mark("12", BOX, "person", score)) for score in (0.11, 0.88))
    assert not np.array_equal(low, high)
    low, high = (draw(Mark("12", BOX, "person", score, lost=True)) for score in (0.11, 0.88))
    assert np.array_equal(low, high)


def test_scale_moves_the_box() -> None:
    drawn = draw(Mark("12", BOX, "person", 0.9), scale=0.5)
    assert (drawn[30:45, 20] == colour("12")).all()


def test_labels_of_neighbours_do_not_cover_each_other() -> None:
    alone = count(draw(Mark("1", BOX, "a", 0.9)), "1")
    both = draw(Mark("1", BOX, "a", 0.9), Mark("2", (45.0, 50.0, 85.0, 100.0), "a", 0.9))
    assert count(both, "1") > 0.7 * alone
    assert count(both, "2") > 0.7 * alone


def test_a_trail_follows_ages_and_ends() -> None:
    overlay = Overlay(trail_ns=2 * SECOND)
    for step in range(5):
        left = 10.0 + 20 * step
        drawn = overlay.draw(BLACK, step * SECOND // 2, [Mark("3", (left, 40, left + 10, 80), "person", 0.9)])
    assert painted(drawn[80, 16:80]).all(), "from the middle of the first box's foot on"
    gone = overlay.draw(BLACK, 3 * SECOND, [Mark("3", (90, 40, 100, 80), "person", 0.9)])
    assert not gone[80, 10:50].any()
    assert painted(gone[80, 56:80]).all()
    assert not overlay.draw(BLACK, 6 * SECOND, []).any()


def test_a_lost_object_leaves_no_trail() -> None:
    overlay = Overlay()
    for step in range(3):
        left = 10.0 + 20 * step
        drawn = overlay.draw(
            BLACK, step * SECOND // 2, [Mark("3", (left, 40, left + 10, 80), "person", 0.9, lost=True)]
        )
    assert not drawn[80, :48].any()


def test_a_jump_back_in_time_clears_the_trails() -> None:
    overlay = Overlay()
    for stamp, left in ((5, 10.0), (6, 60.0)):
        overlay.draw(BLACK, stamp * SECOND, [Mark("3", (left, 40, left + 10, 80), "person", 0.9)])
    drawn = overlay.draw(BLACK, 5 * SECOND, [Mark("3", (110, 40, 120, 80), "person", 0.9)])
    assert not drawn[80, :105].any()


def test_colours_of_consecutive_ids_are_far_apart() -> None:
    def hue(track_id: int) -> float:
        return colorsys.rgb_to_hsv(*reversed([value / 255 for value in colour(str(track_id))]))[0]

    for a, b in pairwise(range(200)):
        apart = abs(hue(a) - hue(b))
        assert min(apart, 1 - apart) > 0.3
    assert colour("front/12") == colour("12")
    assert colour("cat") != colour("dog")


@pytest.mark.parametrize("prefix", ["", "robot1/"])
def test_marks_of_tracks(prefix: str) -> None:
    n = 3
    tracks = Tracks(
        ids=np.array([4, 7, 9]),
        boxes=np.arange(12, dtype=np.float32).reshape(n, 4),
        scores=np.array([0.5, 0.75, 1], np.float32),
        classes=np.array([0, 1, 0]),
        states=np.array([TrackState.CONFIRMED, TrackState.TENTATIVE, TrackState.LOST], np.uint8),
        velocities=np.zeros((n, 2), np.float32),
        ages_ns=np.zeros(n, np.int64),
        unseen_ns=np.zeros(n, np.int64),
        detection=np.array([1, 0, -1]),
        confidences=np.zeros(n, np.float32),
        embeddings=np.zeros((n, 0), np.float32),
        coasting=np.zeros(n, bool),
    )
    assert marks(tracks, ("person", "car"), prefix) == [
        Mark(f"{prefix}4", (0, 1, 2, 3), "person", 0.5),
        Mark(f"{prefix}9", (8, 9, 10, 11), "person", 1.0, lost=True),
    ]

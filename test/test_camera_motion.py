"""The camera's motion from images: against known motions of real frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from alstm_ros.camera_motion import CameraMotion
from alstm_ros.config import Config
from alstm_ros.engines.status import EngineStatus
from alstm_ros.options import replace
from alstm_ros.pipeline import Frame, Pipeline
from alstm_ros.types import Affine, Detections, Image

SECOND = 1_000_000_000
NOTHING = np.zeros((0, 4), np.float32)
CORNERS = np.array([[0, 0], [640, 0], [0, 480], [640, 480]], np.float64)


def texture(height: int = 600, width: int = 800) -> Image:
    """A picture with corners at many scales."""
    rng = np.random.default_rng(0)
    layers = [
        cv2.resize(rng.uniform(0, 255, (height // n, width // n, 3)).astype(np.float32), (width, height))
        for n in (4, 16, 64)
    ]
    return np.asarray(np.clip(np.mean(layers, axis=0) * 2 - 128, 0, 255), np.uint8)


def moved(turn: float, zoom: float, right: float, down: float) -> Affine:
    """Turn (degrees) and zoom about the picture's middle, then a shift."""
    affine = cv2.getRotationMatrix2D((320.0, 240.0), turn, zoom)
    affine[:, 2] += right, down
    return np.asarray(affine, np.float64)


def view(picture: Image, affine: Affine) -> Image:
    """480 x 640 pixels of the picture's middle, seen by a camera that moved."""
    middle = np.array([[1, 0, -80], [0, 1, -60], [0, 0, 1]], np.float64)
    return np.asarray(cv2.warpAffine(picture, affine @ middle, (640, 480), borderMode=cv2.BORDER_REFLECT), np.uint8)


def error(found: Affine | None, wanted: Affine) -> float:
    """Pixels by which the picture's corners are misplaced, at most."""
    assert found is not None
    off = CORNERS @ (found - wanted)[:, :2].T + (found - wanted)[:, 2]
    return float(np.linalg.norm(off, axis=1).max())


@pytest.mark.parametrize(
    "motion",
    [(0, 1, 5, 0), (0, 1, -23, 14), (2, 1, 0, 0), (0, 1.03, 0, 0), (-3, 0.97, 12, -20), (0, 1, 60, 0)],
    ids=str,
)
def test_known_motions(motion: tuple[float, float, float, float]) -> None:
    picture, affine = texture(), moved(*motion)
    follow = CameraMotion("auto")
    assert follow(view(picture, moved(0, 1, 0, 0)), NOTHING, 0) is None
    assert error(follow(view(picture, affine), NOTHING, SECOND // 30), affine) < 0.6


def test_sides_are_scaled_apart() -> None:
    """An odd size is not reduced by one number exactly; turns still come out right."""
    picture, affine = texture(900, 1201), moved(2, 1, 9, 4)
    follow = CameraMotion("auto")
    follow(picture, NOTHING, 0)
    seen = np.asarray(cv2.warpAffine(picture, affine, (1201, 900), borderMode=cv2.BORDER_REFLECT), np.uint8)
    assert error(follow(seen, NOTHING, SECOND // 30), affine) < 1.0


def test_a_street_seen_from_a_moving_camera(vtest: Path) -> None:
    """Real frames with people walking about, whose boxes are given or not, warped by known motions."""
    video, follow = cv2.VideoCapture(str(vtest)), CameraMotion("auto")
    rng, before, errors = np.random.default_rng(1), np.eye(3), []
    for k in range(40):
        there, picture = video.read()
        assert there
        path = (3 * math.sin(k / 4), 1 + 0.03 * math.sin(k / 5), 30 * math.sin(k / 6), 20 * math.sin(k / 3))
        now = np.concatenate([moved(*path), [[0, 0, 1]]])
        frame = np.asarray(cv2.warpAffine(picture, now[:2], (640, 480), borderMode=cv2.BORDER_REFLECT), np.uint8)
        low = rng.uniform(0, 400, (4, 2))
        boxes = np.concatenate([low, low + np.array([40, 100])], axis=1).astype(np.float32)
        found = follow(frame, boxes, k * SECOND // 10)
        if k:
            errors.append(error(found, (now @ np.linalg.inv(before))[:2]))
        before = now
    assert np.median(errors) < 0.5
    assert max(errors) < 2.5


def test_a_standing_camera_stands(vtest: Path) -> None:
    """People walk about, and the camera is not said to have moved."""
    video, follow = cv2.VideoCapture(str(vtest)), CameraMotion("auto")
    answers = []
    for k in range(40):
        _, picture = video.read()
        answers.append(follow(np.asarray(picture, np.uint8), NOTHING, k * SECOND // 10))
    assert all(answer is None for answer in answers)


def test_a_slow_drift_is_not_lost() -> None:
    """A camera that creeps by a fifth of a pixel a frame: the motions that are told add up to where it is."""
    picture, follow, told = texture(), CameraMotion("auto"), 0.0
    for k in range(60):
        affine = follow(view(picture, moved(0, 1, k / 5, 0)), NOTHING, k * SECOND // 30)
        told += 0 if affine is None else float(affine[0, 2])
    assert told == pytest.approx(59 / 5, abs=1.0)


@pytest.mark.parametrize("source", ["auto", "image"])
def test_light_and_noise_do_not_move_the_camera(source: str) -> None:
    rng, follow = np.random.default_rng(0), CameraMotion(source)
    street = view(texture(), moved(0, 1, 0, 0)).astype(np.float32)
    for k in range(30):
        seen = street * (1 + 0.2 * math.sin(k / 2)) + rng.normal(0, 4, street.shape)
        assert follow(np.clip(seen, 0, 255).astype(np.uint8), NOTHING, k * SECOND // 30) is None


def test_the_first_moved_frame_is_seen() -> None:
    """After a long stand the very first frame of a motion is told, whole."""
    picture, follow = texture(), CameraMotion("auto")
    for k in range(100):
        assert follow(view(picture, moved(0, 1, 0, 0)), NOTHING, k * SECOND // 10) is None
    affine = moved(1, 1, 4, -7)
    assert error(follow(view(picture, affine), NOTHING, 10 * SECOND), affine) < 0.8


def test_nothing_is_told_where_the_camera_is_said_to_stand() -> None:
    picture, follow = texture(), CameraMotion("none")
    follow(view(picture, moved(0, 1, 0, 0)), NOTHING, 0)
    assert follow(view(picture, moved(0, 1, 9, 0)), NOTHING, 1000) is None
    follow.configure("auto")  # what was seen before is not compared with
    assert follow(view(picture, moved(0, 1, 18, 0)), NOTHING, 2000) is None
    assert follow(view(picture, moved(0, 1, 27, 0)), NOTHING, 3000) is not None


def test_an_image_that_is_a_part_of_another_is_read_in_its_own_pixels() -> None:
    big, affine = texture(), moved(0, 1, 6, 3)
    answers = []
    for whole in (True, False):
        follow = CameraMotion("auto")
        for k, motion in enumerate((moved(0, 1, 0, 0), moved(0, 1, 0, 0), affine)):
            seen = cv2.warpAffine(big, motion, (800, 600), borderMode=cv2.BORDER_REFLECT)[60:540, 80:720]
            answers.append(follow(np.ascontiguousarray(seen) if whole else np.asarray(seen, np.uint8), NOTHING, k))
    assert answers[1] is answers[4] is None
    assert error(answers[2], affine) < 0.6
    np.testing.assert_array_equal(answers[2], answers[5])


def test_objects_do_not_move_the_camera() -> None:
    """A lorry that fills most of the picture drives by: known as an object it is left out."""
    street = view(texture(), moved(0, 1, 0, 0))
    lorry = np.ascontiguousarray(np.flip(texture(480, 640), axis=1))[60:420, :460]
    answers = dict[bool, Affine | None]()
    for known in (True, False):
        follow = CameraMotion("auto")
        for k in range(2):
            left = 60 + 12 * k
            seen = street.copy()
            seen[60:420, left : left + 460] = lorry
            boxes = np.array([[left, 60, left + 460, 420]], np.float32) if known else NOTHING
            answers[known] = follow(seen, boxes, k * SECOND // 30)
    assert answers[True] is None
    assert error(answers[False], moved(0, 1, 12, 0)) < 1


def test_nothing_to_compare_with() -> None:
    """After a gap, a jump back, a new size, a reset, and in pictures without corners, nothing is said."""
    picture = texture()
    here, there = view(picture, moved(0, 1, 0, 0)), view(picture, moved(0, 1, 9, 0))
    small = np.ascontiguousarray(there[:240])
    grey = np.full_like(there, 90)
    noise = np.random.default_rng(0).integers(0, 255, there.shape).astype(np.uint8)
    for second, stamp in ((there, SECOND + 1), (there, -1), (there, 0), (small, 1000), (grey, 1000), (noise, 1000)):
        follow = CameraMotion("auto")
        follow(here, NOTHING, 0)
        assert follow(second, NOTHING, stamp) is None
    follow = CameraMotion("auto")
    follow(here, NOTHING, 0)
    follow.reset()
    assert follow(there, NOTHING, 1000) is None
    tiny = CameraMotion("auto")
    for k in range(3):
        assert tiny(np.zeros((1, 1, 3), np.uint8), NOTHING, k) is None


def test_same_images_same_answer() -> None:
    picture, answers = texture(), list[Affine]()
    for _ in range(2):
        follow = CameraMotion("auto")
        cv2.setRNGSeed(int(np.random.default_rng(len(answers)).integers(1000)))
        follow(view(picture, moved(0, 1, 0, 0)), NOTHING, 0)
        found = follow(view(picture, moved(1, 1.01, 7, 3)), NOTHING, 1000)
        assert found is not None
        answers.append(found)
    assert answers[0].tobytes() == answers[1].tobytes()


class Standing:
    """A detector that knows where people stand in the world, as the camera sees them."""

    classes = ("person",)
    status = EngineStatus("standing", "none")

    def __init__(self) -> None:
        self.boxes = np.zeros((0, 4), np.float32)

    def __call__(self, images: Sequence[Image]) -> list[Detections]:
        n = len(self.boxes)
        return [Detections(self.boxes, np.full(n, 0.9, np.float32), np.zeros(n, np.int64)) for _ in images]

    def check(self, config: Config) -> None:
        """Refuses nothing."""

    def configure(self, config: Config) -> None:
        """Takes no parameters."""

    def settle(self) -> None:
        """Is settled."""

    def close(self) -> None:
        """Holds nothing."""


def ids_of(changes: dict[str, object]) -> set[int]:
    """Ids that three people get who stand still before a camera that starts to turn; one is hidden at first."""
    detector = Standing()
    pipeline = Pipeline(replace(Config(), {"association.model": "", **changes}), detector)
    world = np.array([[100, 80, 130, 160], [250, 200, 280, 290], [380, 120, 405, 190]], np.float32)
    ids, shift, picture = set[int](), 0.0, texture(480, 1600)
    for k in range(30):
        shift += 18.0 if k >= 8 else 0.0
        seen = world + np.array([shift, 0, shift, 0], np.float32)
        detector.boxes = seen[1:] if 8 <= k < 14 else seen
        image = np.ascontiguousarray(picture[:, 800 - round(shift) :][:, :640])
        ids |= set(pipeline.process(Frame(image, k * SECOND // 30)).tracks.ids.tolist())
    return ids


def test_tracks_follow_the_camera_through_the_pipeline() -> None:
    assert ids_of({}) == ids_of({"motion.camera": "image"}) == {1, 2, 3}
    assert ids_of({"motion.camera": "none"}) > {1, 2, 3}

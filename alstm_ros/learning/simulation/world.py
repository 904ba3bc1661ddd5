"""Simulated scenes: people and vehicles on a floor, seen by a camera that may move.

Walkers and cars move in metres on the plane y = 0; a pinhole camera at some height, pitch and focal length sees them.
The point is variety of motion, crowding, frame rate and perspective, not likeness.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from alstm_ros.boxes import area, clip
from alstm_ros.learning.simulation.scenes import Scene, visible_share
from alstm_ros.types import Float64

SIZES = ((1920, 1080), (1280, 720), (640, 480), (768, 576), (1242, 375))
"""Widths and heights of the images that are drawn, pixels."""
RATES = (30.0, 30.0, 25.0, 20.0, 14.0, 10.0, 7.0)
"""Frame rates that are drawn, frames a second."""
NEAR = 0.8
"""Objects closer than this many metres are not seen."""
_INSIDE = 0.3
"""Objects of which less than this share is inside the image are not seen."""


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole camera's path, `(F,)` each in metres and radians; it looks down by the pitch."""

    size: tuple[int, int]
    focal: float
    height: float
    x: Float64
    z: Float64
    yaw: Float64
    pitch: Float64


def simulate(rng: np.random.Generator, length: int) -> Scene:
    """Makes one scene.

    Args:
        rng: draws everything.
        length: frames.

    Returns:
        The scene; where the camera turns or shakes, its affines hold the part that a rotation explains (what image
        registration finds far away), unless it was drawn as unknown.
    """
    rate = float(rng.choice(RATES))
    size = SIZES[rng.integers(len(SIZES))]
    camera = _camera(rng, size, length, rate)
    kind = rng.choice(["street", "hall", "road", "dance"], p=[0.4, 0.25, 0.15, 0.2])
    many = int(rng.integers(8, 90)) if kind in ("street", "hall") else int(rng.integers(3, 16))
    ends = rng.random() < 0.5  # whether the truth ends at the image's edge, as labels of photographs do
    parts = []
    for number in range(many):
        vehicle = kind == "road" and rng.random() < 0.8
        path = {"road": _drive if vehicle else _walk, "dance": _dance}.get(str(kind), _walk)
        x, z = path(rng, camera, length, rate)
        tall = rng.uniform(1.4, 1.8) if vehicle else rng.normal(1.7, 0.1)
        wide = rng.uniform(1.7, 4.0) if vehicle else rng.uniform(0.55, 0.85)
        sway = _smooth(rng, length, rate, 0.8) * (0.02 if vehicle else (0.35 if kind == "dance" else 0.12))
        crouch = np.abs(_smooth(rng, length, rate, 1.0)) * (0.25 if kind == "dance" else 0.02)
        born, life = 0, length
        if rng.random() < 0.3:  # somebody who appears or leaves inside the image, as through a door
            born = int(rng.integers(0, max(1, length - 10)))
            life = int(rng.integers(10, length))
        found, metres = _project(camera, x, z, tall * (1 - crouch), wide * (1 + sway))
        if ends:
            found, whole = clip(found, *size), found
            seen = (metres > NEAR) & (area(found) > _INSIDE * area(whole))
        else:
            seen = (metres > NEAR) & (area(clip(found, *size)) > _INSIDE * area(found))
        seen &= (found[:, 3] - found[:, 1] > 12) & (found[:, 3] - found[:, 1] < 1.4 * size[1])  # pixels
        seen[:born] = False
        seen[born + life :] = False
        frames = np.flatnonzero(seen)
        cls = np.full(len(frames), int(vehicle))
        parts.append((frames, np.full(len(frames), number), cls, found[frames], metres[frames]))
    frames, ids, classes, where, away = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((ids, frames))
    frames, depth, boxes = frames[order], away[order].astype(np.float32), where[order].astype(np.float32)
    rows = np.searchsorted(frames, np.arange(length + 1))
    shares = [visible_share(boxes[a:b], depth[a:b]) for a, b in pairwise(rows)]
    return Scene(
        name=f"simulated-{kind}",
        size=size,
        stamps_ns=np.round(np.arange(length) * (1e9 / rate)).astype(np.int64),
        frames=frames.astype(np.int64),
        ids=ids[order].astype(np.int64),
        classes=classes[order].astype(np.int64),
        boxes=boxes,
        visible=np.concatenate([np.zeros(0, np.float32), *shares]),
        affines=_registration(camera) if rng.random() < 0.7 else None,  # share of known motion
    )


def _camera(rng: np.random.Generator, size: tuple[int, int], length: int, rate: float) -> Camera:
    """A fixed, turning, shaking or driving camera."""
    seconds = np.arange(length) / rate
    kind = rng.choice(["fixed", "turning", "handheld", "driving"], p=[0.45, 0.15, 0.25, 0.15])
    yaw, x, z = np.zeros(length), np.zeros(length), np.zeros(length)
    height = float(rng.uniform(1.3, 2.5) if kind in ("handheld", "driving") else rng.uniform(1.5, 7.0))
    pitch = np.full(length, float(np.arctan2(height - 1.0, rng.uniform(6.0, 25.0))))
    if kind == "turning":
        yaw = rng.uniform(0.1, 0.5) * np.sin(seconds * rng.uniform(0.2, 0.8) + rng.uniform(0, 6))
    if kind == "handheld":
        z = seconds * rng.uniform(0.0, 1.4)
        x = _smooth(rng, length, rate, 2.0) * 0.3
        yaw = _smooth(rng, length, rate, 1.0) * 0.06 + _smooth(rng, length, rate, 0.15) * 0.004
        pitch = pitch + _smooth(rng, length, rate, 0.3) * 0.006
    if kind == "driving":
        z = seconds * rng.uniform(1.0, 12.0)
        yaw = _smooth(rng, length, rate, 3.0) * 0.15
        pitch = pitch + _smooth(rng, length, rate, 0.3) * 0.004
    return Camera(size, float(size[0] * rng.uniform(0.6, 1.3)), height, x, z, yaw, pitch)


def _smooth(rng: np.random.Generator, length: int, rate: float, seconds: float) -> Float64:
    """`(F,)` smooth noise of unit variance that forgets itself after about so many seconds."""
    width = max(1.0, seconds * rate)
    reach = int(3 * width)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    noise = np.convolve(rng.standard_normal(length + 2 * reach), kernel, "valid")
    return np.asarray(noise / np.sqrt((kernel**2).sum()))


def _spot(rng: np.random.Generator, camera: Camera, length: int) -> tuple[float, float]:
    """A place that the camera sees at a random time: metres."""
    when = int(rng.integers(length))
    distance = float(np.exp(rng.uniform(np.log(2.5), np.log(35.0))))
    angle = camera.yaw[when] + rng.uniform(-0.55, 0.55) * camera.size[0] / camera.focal
    return float(camera.x[when] + distance * np.sin(angle)), float(camera.z[when] + distance * np.cos(angle))


def _walk(rng: np.random.Generator, camera: Camera, length: int, rate: float) -> tuple[Float64, Float64]:
    """People: mostly straight at 0-2 m/s, turning slowly, stopping now and then."""
    spot = _spot(rng, camera, length)
    speed = max(0.0, rng.normal(1.1, 0.5)) * (rng.random() > 0.15)  # some stand
    pace = np.clip(speed * (1 + 0.25 * _smooth(rng, length, rate, 1.5)), 0, None)
    if rng.random() < 0.25:  # some stop for a while
        stop, wait = int(rng.integers(length)), int(rng.uniform(1, 4) * rate)
        pace[stop : stop + wait] = 0
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(_smooth(rng, length, rate, 1.0)) * rng.uniform(0, 0.5) / rate
    return _along(rng, spot, pace * np.array([np.sin(heading), np.cos(heading)]), rate)


def _drive(rng: np.random.Generator, camera: Camera, length: int, rate: float) -> tuple[Float64, Float64]:
    """Vehicles: fast, straight, braking and turning smoothly."""
    spot = _spot(rng, camera, length)
    pace = np.clip(rng.uniform(2, 16) * (1 + 0.4 * _smooth(rng, length, rate, 2.5)), 0, None)
    heading = rng.choice([0.0, np.pi, np.pi / 2, -np.pi / 2]) + rng.normal(0, 0.1)
    heading = heading + np.cumsum(_smooth(rng, length, rate, 2.0)) * 0.2 / rate
    return _along(rng, spot, pace * np.array([np.sin(heading), np.cos(heading)]), rate)


def _dance(rng: np.random.Generator, camera: Camera, length: int, rate: float) -> tuple[Float64, Float64]:
    """Dancers: about a common middle, quick turns, crossing one another."""
    middle = float(camera.z[length // 2] + rng.uniform(5, 8))
    wide, quick = rng.uniform(0.8, 2.5), rng.uniform(0.4, 1.5)
    x = camera.x[length // 2] + rng.uniform(-2, 2) + wide * _smooth(rng, length, rate, quick)
    return x, middle + rng.uniform(-1, 1) + 0.5 * wide * _smooth(rng, length, rate, quick)


def _along(
    rng: np.random.Generator, spot: tuple[float, float], velocity: Float64, rate: float
) -> tuple[Float64, Float64]:
    """The path, x and z in metres, with this velocity `(2, F)` in m/s that passes a spot at a random time."""
    x, z = np.cumsum(velocity[0]) / rate, np.cumsum(velocity[1]) / rate
    when = int(rng.integers(len(x)))
    return x - x[when] + spot[0], z - z[when] + spot[1]


def _project(camera: Camera, x: Float64, z: Float64, tall: Float64, wide: Float64) -> tuple[Float64, Float64]:
    """Boxes `(F, 4)` xyxy in pixels and depth `(F,)` in metres of something upright on the floor."""
    east, north = x - camera.x, z - camera.z
    side = east * np.cos(camera.yaw) - north * np.sin(camera.yaw)
    ahead = east * np.sin(camera.yaw) + north * np.cos(camera.yaw)
    sin, cos = np.sin(camera.pitch), np.cos(camera.pitch)

    def image_y(above: Float64 | float) -> tuple[Float64, Float64]:
        drop = camera.height - above  # below the lens
        depth = ahead * cos + drop * sin
        return camera.size[1] / 2 + camera.focal * (drop * cos - ahead * sin) / np.maximum(depth, 0.1), depth

    bottom, depth = image_y(0.0)
    top, _ = image_y(tall)
    middle = camera.size[0] / 2 + camera.focal * side / np.maximum(depth, 0.1)
    half = 0.5 * camera.focal * wide / np.maximum(depth, 0.1)
    return np.stack([middle - half, np.minimum(top, bottom), middle + half, np.maximum(top, bottom)], axis=1), depth


def _registration(camera: Camera) -> Float64:
    """`(F, 2, 3)`: what registering one image to the next finds of the camera's turning."""
    affines = np.tile(np.eye(2, 3), (len(camera.yaw), 1, 1))
    affines[1:, 0, 2] = -camera.focal * np.diff(camera.yaw)
    affines[1:, 1, 2] = -camera.focal * np.diff(camera.pitch)
    return affines

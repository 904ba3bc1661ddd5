"""Scenes, which say what moved where, and the ways to make another scene of one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alstm_ros.boxes import area, clip, warp
from alstm_ros.errors import DataError
from alstm_ros.recordings.mot import read_camera_motion, read_labels, read_sequence
from alstm_ros.types import Float32, Float64, Int64

GRID = 6
"""Points per side of the grid on which the visible share of a box is counted."""
PEDESTRIAN = 1
"""MOTChallenge's number of the class that is read."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What moved where, without any detector.

    Attributes:
        name: where it is from.
        size: width and height of the image, pixels.
        stamps_ns: `(F,)` int64, one a frame, ascending.
        frames: `(K,)` int64, the frame (0-based) of each box, ascending.
        ids: `(K,)` int64, which object.
        classes: `(K,)` int64, what kind of object.
        boxes: `(K, 4)` float32, xyxy in pixels.
        visible: `(K,)` float32 in 0..1, the share of the box that nothing nearer covers.
        affines: `(F, 2, 3)` float64, previous frame to this one, or None where the camera's motion is unknown.
    """

    name: str
    size: tuple[int, int]
    stamps_ns: Int64
    frames: Int64
    ids: Int64
    classes: Int64
    boxes: Float32
    visible: Float32
    affines: Float64 | None = None

    def __len__(self) -> int:
        """The number of frames."""
        return len(self.stamps_ns)

    def rows(self) -> Int64:
        """`(F + 1,)`: where each frame's boxes begin in the arrays over boxes."""
        return np.searchsorted(self.frames, np.arange(len(self) + 1)).astype(np.int64)


def visible_share(boxes: Float32, depth: Float32 | None = None) -> Float32:
    """The share of each box that no nearer box covers, counted on a grid of points.

    Args:
        boxes: `(N, 4)` xyxy of one frame.
        depth: `(N,)`, smaller is nearer; by default a box that ends lower in the image is nearer, as on a floor.

    Returns:
        `(N,)` in 0..1.
    """
    if len(boxes) < 2:  # one alone is covered by nobody
        return np.ones(len(boxes), np.float32)
    depth = -boxes[:, 3] if depth is None else depth
    steps = (np.arange(GRID, dtype=np.float32) + 0.5) / GRID
    x = boxes[:, :1] + (boxes[:, 2:3] - boxes[:, :1]) * steps  # (N, G)
    y = boxes[:, 1:2] + (boxes[:, 3:] - boxes[:, 1:2]) * steps  # (N, G)
    in_x = (x[:, None] > boxes[None, :, 0, None]) & (x[:, None] < boxes[None, :, 2, None])  # (N, N, G)
    in_y = (y[:, None] > boxes[None, :, 1, None]) & (y[:, None] < boxes[None, :, 3, None])  # (N, N, G)
    nearer = depth[None, :] < depth[:, None]  # (N, N)
    covered = np.einsum("ijx,ijy->ixy", (in_x & nearer[..., None]).astype(np.float32), in_y.astype(np.float32)) > 0
    return np.asarray(1 - covered.mean(axis=(1, 2)), np.float32)


def read_scene(folder: Path) -> Scene:
    """Reads a sequence in MOTChallenge's layout: `gt.txt`, `seqinfo.ini` and, where there is one, `gmc.txt`.

    Pedestrians that count are taken. A camera's motion that is not told of every frame is left out.

    Args:
        folder: the sequence's folder.

    Returns:
        The scene; the visible share is computed from the boxes.

    Raises:
        DataError: a file is missing or is no such text, or the size or the rate of the images is not told.
    """
    facts = read_sequence(folder / "seqinfo.ini")
    if not (facts.fps and facts.width and facts.height):
        raise DataError(f"{folder / 'seqinfo.ini'} must say frameRate, imWidth and imHeight for a training.")
    labels = read_labels(folder / "gt.txt", truth=True, length=facts.length)
    labels = labels.select(labels.counted & (labels.classes == PEDESTRIAN))
    path = folder / "gmc.txt"
    motion = read_camera_motion(path, labels.length)[0] if path.is_file() else {}
    order = np.lexsort((labels.ids, labels.frames))
    boxes = labels.boxes[order].astype(np.float32)
    shares = [visible_share(boxes[a:b]) for a, b in pairwise(labels.rows().tolist())]
    return Scene(
        name=folder.name,
        size=(facts.width, facts.height),
        stamps_ns=np.round(np.arange(labels.length) * (1e9 / facts.fps)).astype(np.int64),
        frames=labels.frames[order] - 1,
        ids=labels.ids[order],
        classes=np.zeros(len(order), np.int64),
        boxes=boxes,
        visible=np.concatenate([np.zeros(0, np.float32), *shares]),
        affines=np.array(list(motion.values())) if motion and len(motion) == labels.length else None,
    )


def cut(scene: Scene, first: int, length: int) -> Scene:
    """The part of a scene from one frame on, at most so many frames."""
    rows, last = scene.rows(), min(first + length, len(scene))
    part = slice(rows[first], rows[last])
    return replace(
        scene,
        stamps_ns=scene.stamps_ns[first:last],
        frames=scene.frames[part] - first,
        ids=scene.ids[part],
        classes=scene.classes[part],
        boxes=scene.boxes[part],
        visible=scene.visible[part],
        affines=None if scene.affines is None else scene.affines[first:last],
    )


def mirror(scene: Scene) -> Scene:
    """Left becomes right."""
    boxes = scene.boxes.copy()
    boxes[:, [0, 2]] = scene.size[0] - scene.boxes[:, [2, 0]]
    if scene.affines is None:
        return replace(scene, boxes=boxes)
    # x' = W - x on both sides of the affine: M -> S M S with S the mirror in homogeneous form
    flip = np.array([[-1.0, 0.0, scene.size[0]], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    return replace(scene, boxes=boxes, affines=(flip @ _square(scene.affines) @ flip)[:, :2])


def reverse(scene: Scene) -> Scene:
    """Time runs backwards; stamps still ascend."""
    order = np.lexsort((scene.ids, len(scene) - 1 - scene.frames))
    affines = None
    if scene.affines is not None:  # the step into frame k, reversed, is the inverse of the step that left it
        inverse = np.linalg.inv(_square(scene.affines))[::-1, :2]
        affines = np.concatenate([np.eye(2, 3)[None], inverse[:-1]])
    return replace(
        scene,
        stamps_ns=scene.stamps_ns[-1] - scene.stamps_ns[::-1] + scene.stamps_ns[0],
        frames=(len(scene) - 1 - scene.frames)[order],
        ids=scene.ids[order],
        classes=scene.classes[order],
        boxes=scene.boxes[order],
        visible=scene.visible[order],
        affines=affines,
    )


def thinned(scene: Scene, keep: Int64) -> Scene:
    """The scene as a camera sees it that loses frames; stamps stay true and the camera's motion is chained.

    Args:
        scene: the scene.
        keep: ascending indices of the frames to keep.

    Returns:
        The thinner scene.
    """
    place = np.full(len(scene), -1, np.int64)
    place[keep] = np.arange(len(keep))
    rows = place[scene.frames] >= 0
    affines = None
    if scene.affines is not None:
        chained, total, wanted = [], np.eye(3), set(keep.tolist())
        for k, step in enumerate(_square(scene.affines)):
            total = step @ total
            if k in wanted:
                chained.append(total[:2])
                total = np.eye(3)
        affines = np.array(chained).reshape(-1, 2, 3)
    return replace(
        scene,
        stamps_ns=scene.stamps_ns[keep],
        frames=place[scene.frames][rows],
        ids=scene.ids[rows],
        classes=scene.classes[rows],
        boxes=scene.boxes[rows],
        visible=scene.visible[rows],
        affines=affines,
    )


def resize(scene: Scene, factor: float, wider: float = 1.0) -> Scene:
    """The scene as a camera of another resolution sees it, whose pixels may be wider than high."""
    scale, affines = np.array([factor * wider, factor, 1.0]), scene.affines
    if affines is not None:
        affines = (scale[:, None] * _square(affines) / scale)[:, :2]
    size = (max(1, round(scene.size[0] * scale[0])), max(1, round(scene.size[1] * factor)))
    boxes = (scene.boxes * np.tile(scale[:2], 2)).astype(np.float32)
    return replace(scene, size=size, boxes=boxes, affines=affines)


def crop(scene: Scene, left: int, top: int, size: tuple[int, int], *, cut_boxes: bool) -> Scene:
    """A window of the image: who walks out of it is gone, and who walks in is new to it.

    Args:
        scene: the scene.
        left: the window's left side, pixels.
        top: its upper side, pixels.
        size: its width and height.
        cut_boxes: whether the truth ends at the window's edge, or is the whole object.

    Returns:
        The scene as the smaller camera sees it; boxes with three quarters outside are left out.
    """
    moved = scene.boxes - np.array([left, top, left, top], np.float32)
    inside = clip(moved, *size)
    keep = area(inside) > 0.25 * np.maximum(area(moved), 1)
    affines = None
    if scene.affines is not None:
        there, back = np.eye(3), np.eye(3)
        there[:2, 2], back[:2, 2] = (-left, -top), (left, top)
        affines = (there @ _square(scene.affines) @ back)[:, :2]
    return replace(_where(scene, keep), size=size, boxes=(inside if cut_boxes else moved)[keep], affines=affines)


def live_in(scene: Scene, spans: dict[int, tuple[int, int]]) -> Scene:
    """The scene with some objects there only from one frame to another, as if they came and went through a door."""
    keep = np.ones(len(scene.ids), bool)
    for key, (first, last) in spans.items():
        keep &= (scene.ids != key) | ((scene.frames >= first) & (scene.frames <= last))
    return _where(scene, keep)


def shake(scene: Scene, offsets: Float64, scales: Float64, *, known: bool) -> Scene:
    """Adds motion of the camera: each frame is scaled about the image's centre and shifted.

    Args:
        scene: the scene.
        offsets: `(F, 2)` pixels.
        scales: `(F,)`, 1 is none.
        known: whether the affines tell it; else the scene has none afterwards.

    Returns:
        The scene as the moving camera sees it.
    """
    centre = np.array(scene.size) / 2
    moved = np.zeros((len(scene), 3, 3))
    moved[:, 0, 0] = moved[:, 1, 1] = scales
    moved[:, :2, 2] = centre - scales[:, None] * centre + offsets
    moved[:, 2, 2] = 1
    rows = scene.rows()
    boxes = [warp(scene.boxes[a:b], moved[k, :2]) for k, (a, b) in enumerate(pairwise(rows))]
    affines = None
    if known:
        steps = _square(scene.affines) if scene.affines is not None else np.tile(np.eye(3), (len(scene), 1, 1))
        before = np.concatenate([moved[:1], moved[:-1]])
        affines = (moved @ steps @ np.linalg.inv(before))[:, :2]
        affines[0] = np.eye(2, 3)
    return replace(scene, boxes=np.concatenate([np.zeros((0, 4), np.float32), *boxes]), affines=affines)


def _where(scene: Scene, keep: NDArray[np.bool_]) -> Scene:
    """The boxes of a mask."""
    return replace(
        scene,
        frames=scene.frames[keep],
        ids=scene.ids[keep],
        classes=scene.classes[keep],
        boxes=scene.boxes[keep],
        visible=scene.visible[keep],
    )


def _square(affines: Float64) -> Float64:
    """`(F, 2, 3)` to `(F, 3, 3)`."""
    last = np.tile(np.array([[[0.0, 0.0, 1.0]]]), (len(affines), 1, 1))
    return np.concatenate([affines, last], axis=1)

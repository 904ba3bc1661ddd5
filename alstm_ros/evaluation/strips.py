"""Cut-outs around id switches, so that a person sees why they happened."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from alstm_ros.drawing import colour
from alstm_ros.evaluation.switches import Switch, Timeline
from alstm_ros.evaluation.trackeval_adapter import Prepared
from alstm_ros.pipeline import Frame
from alstm_ros.recordings.frames import FrameSource
from alstm_ros.types import Float64, Image

HEIGHT, WIDTH = 176, 132  # of a cut-out, pixels
AROUND = 8  # frames before and after the switch that are shown too
CONTEXT = 1.9  # a cut-out is so many times as high as the object
BACKDROP = 52  # grey where there is no image


@dataclass(slots=True)
class Strip:
    """The cut-outs of one switch.

    Attributes:
        switch: what happened.
        frames: which frames are shown.
        pictures: a data URI for each.
    """

    switch: Switch
    frames: list[int]
    pictures: list[str] = field(default_factory=list)


def frames_of(switch: Switch, length: int) -> list[int]:
    """Frames that tell the story: the last with the old track, the first with the new, between, before and after."""
    gap = (switch.last_frame + switch.frame) // 2
    wanted = {switch.last_frame - AROUND, switch.last_frame, gap, switch.frame, switch.frame + AROUND}
    return sorted(frame for frame in wanted if 1 <= frame <= length)


def cut_out(
    switches: Sequence[Switch], sequence: Prepared, images: FrameSource | None, numbers: Sequence[int]
) -> list[Strip]:
    """Makes the strips; walks through the images once and keeps only the cut-outs.

    Args:
        switches: of this sequence.
        sequence: its boxes.
        images: the sequence's frames; None draws the boxes on a plain ground.
        numbers: the frames' numbers in the recording, and so among the images.
    """
    strips = [Strip(switch, frames_of(switch, len(sequence.ids))) for switch in switches]
    wanted = {frame for strip in strips for frame in strip.frames}
    made: dict[tuple[int, int], str] = {}
    if images is None:
        for frame in wanted:
            _cut_frame(None, frame, strips, sequence, made)
    elif wanted:
        places = {numbers[frame - 1]: frame for frame in wanted}
        last = max(places)
        for number, item in images:
            if number in places and isinstance(item, Frame):
                _cut_frame(item.image, places[number], strips, sequence, made)
            if number >= last:
                break
    for index, strip in enumerate(strips):
        strip.frames = [frame for frame in strip.frames if (index, frame) in made]
        strip.pictures = [made[index, frame] for frame in strip.frames]
    return strips


def _cut_frame(
    image: Image | None, frame: int, strips: Sequence[Strip], sequence: Prepared, made: dict[tuple[int, int], str]
) -> None:
    for index, strip in enumerate(strips):
        if frame in strip.frames:
            made[index, frame] = _encode(_picture(image, frame, strip.switch, sequence))


def _picture(image: Image | None, frame: int, switch: Switch, sequence: Prepared) -> Image:
    place = _object_box(frame, switch, sequence)
    height = max(float(place[3] - place[1]), float(place[2] - place[0]), 8.0) * CONTEXT
    scale = HEIGHT / height
    centre_x, centre_y = (place[0] + place[2]) / 2, (place[1] + place[3]) / 2
    affine = np.array([[scale, 0, WIDTH / 2 - scale * centre_x], [0, scale, HEIGHT / 2 - scale * centre_y]])
    if image is None:
        canvas = np.full((HEIGHT, WIDTH, 3), BACKDROP, np.uint8)
    else:
        smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        canvas = np.asarray(
            cv2.warpAffine(image, affine, (WIDTH, HEIGHT), flags=smooth, borderValue=(BACKDROP,) * 3), np.uint8
        )
    rows = np.flatnonzero(sequence.gt_ids[frame - 1] == switch.object_id)
    for row in rows:
        _rectangle(canvas, affine, sequence.gt_boxes[frame - 1][row], (255, 255, 255), 1)
    for key, box in zip(sequence.ids[frame - 1].tolist(), sequence.boxes[frame - 1], strict=True):
        ink = colour(str(key))
        corner = _rectangle(canvas, affine, box, ink, 2)
        if 0 <= corner[0] < WIDTH - 10 and -12 < corner[1] < HEIGHT:
            spot = (max(corner[0], 2), max(corner[1] - 4, 12))
            cv2.putText(canvas, str(key), spot, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 3, cv2.LINE_AA)
            cv2.putText(canvas, str(key), spot, cv2.FONT_HERSHEY_SIMPLEX, 0.45, ink, 1, cv2.LINE_AA)
    return canvas


def _object_box(frame: int, switch: Switch, sequence: Prepared) -> Float64:
    """The object's box in a frame, or, where it is not annotated, where the switch happened."""
    rows = np.flatnonzero(sequence.gt_ids[frame - 1] == switch.object_id)
    return sequence.gt_boxes[frame - 1][rows[0]] if len(rows) else switch.box


def _rectangle(canvas: Image, affine: Float64, box: Float64, ink: tuple[int, int, int], width: int) -> tuple[int, int]:
    corners = np.clip(box.reshape(2, 2) @ affine[:, :2].T + affine[:, 2], -1000, 1000).round().astype(int)
    (left, top), (right, bottom) = corners.tolist()
    cv2.rectangle(canvas, (left, top), (right, bottom), ink, width, cv2.LINE_AA)
    return left, top


def _encode(picture: Image) -> str:
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 82])
    return "data:image/jpeg;base64," + base64.b64encode(bytes(data)).decode("ascii")


def choose_switches(timelines: Mapping[str, Timeline], limit: int) -> list[tuple[str, Switch]]:
    """At most so many switches of a sequence, spread evenly over it; with the class each belongs to."""
    every = sorted(
        ((name, switch) for name, line in timelines.items() for switch in line.switches), key=lambda pair: pair[1].frame
    )
    if len(every) <= limit:
        return every
    picks = np.linspace(0, len(every) - 1, limit).round().astype(int)
    return [every[i] for i in picks]

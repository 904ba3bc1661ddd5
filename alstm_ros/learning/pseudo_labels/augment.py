"""Augments clips of a user's own recordings: frames are dropped, clips laid over each other, tracklets interrupted.

Strict links lie where the rules are sure already, so there is little to learn from them alone. Augmentation makes them
harder: the camera loses frames, clips of different times are laid over each other so that people cross who never met,
and tracklets are interrupted. Who is who stays known all the while.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from alstm_ros.learning.pseudo_labels.footage import COLUMNS, PseudoLabels
from alstm_ros.learning.pseudo_labels.recordings import LabelSource
from alstm_ros.learning.simulation.scenes import visible_share
from alstm_ros.types import Float32

HIDING = 4.5
"""Logits that a score loses when its object is wholly hidden, as `hiding` of simulation's DetectorNoise."""
CROWD = 45
"""Clips are laid over each other up to so many detections a frame."""
FLOOR = 0.1
"""Detections of a lower score are hidden, as a detector's threshold hides them."""


@dataclass(frozen=True, slots=True)
class Gaps:
    """How tracklets are interrupted.

    Attributes:
        share: of the tracklets that are long enough.
        longest: seconds of a gap, at most.
        rest: frames that stay on either side of it, at least.
    """

    share: float = 0.25
    longest: float = 0.6
    rest: int = 4


@dataclass(frozen=True, slots=True)
class AugmentedClip:
    """Some frames of a recording, made harder.

    Attributes:
        footage: its detections, with those that are hidden.
        hidden: `(D,)` bool, detections that a gap or somebody in front hides from the tracker.
    """

    footage: PseudoLabels
    hidden: NDArray[np.bool_]

    @property
    def shown(self) -> NDArray[np.bool_]:
        """`(D,)` bool, the detections that the tracker gets: those that are not hidden and whose boxes have a size."""
        return ~self.hidden & self.footage.sound()


@dataclass(frozen=True, slots=True)
class Hardness:
    """How clips are made harder.

    Attributes:
        steps: of so many frames each, one is kept; drawn from these.
        gaps: how tracklets are interrupted.
    """

    steps: tuple[int, ...] = (1, 1, 2, 3, 5)
    gaps: Gaps = field(default_factory=Gaps)


def draw_augmented_clip(
    rng: np.random.Generator, sources: Sequence[LabelSource], frames: int, hardness: Hardness | None = None
) -> AugmentedClip:
    """A clip of one of the recordings, made harder.

    Args:
        rng: draws.
        sources: the recordings to cut from, the longer the more often.
        frames: its length, at most.
        hardness: what is done to it.
    """
    hardness = hardness or Hardness()
    lengths = np.array([len(source) for source in sources], np.float64)
    source = sources[int(rng.choice(len(sources), p=lengths / lengths.sum()))]
    footage = source.part(rng)
    step = int(rng.choice(hardness.steps))
    clip = _cut(rng, footage, frames, step)
    faint = np.zeros(len(clip.frames), bool)
    if np.isnan(footage.motion).all():  # two times of a moving camera would not fit each other
        room = CROWD / max(len(clip.frames) / max(len(clip), 1), 1)
        for _ in range(min(int(rng.integers(4)), round(room) - 1)):
            clip, faint = overlay(clip, displaced(_cut(rng, source.part(rng), frames, step), rng), faint, rng)
    return AugmentedClip(clip, faint | interrupted(clip, hardness.gaps, rng))


def _cut(rng: np.random.Generator, footage: PseudoLabels, frames: int, step: int) -> PseudoLabels:
    span = min(len(footage), frames * min(step, 2))
    first = int(rng.integers(len(footage) - span + 1))
    return footage.at(np.arange(first, first + span, step))


def displaced(footage: PseudoLabels, rng: np.random.Generator) -> PseudoLabels:
    """Moves a clip to the left or right by a large part of its width, and mirrors it half of the time.

    The camera's motion must be unknown.
    """
    width = float(footage.boxes[:, 2].max(initial=1.0))
    shift = rng.uniform(0.1, 0.4) * width * rng.choice([-1, 1])
    mirrored = rng.random() < 0.5
    moved = []
    for boxes in (footage.boxes, footage.truths):
        table = boxes.copy()
        table[:, [0, 2]] = (width - boxes[:, [2, 0]] if mirrored else boxes[:, [0, 2]]) + shift
        moved.append(table)
    return replace(footage, boxes=moved[0], truths=moved[1])


def overlay(
    one: PseudoLabels, other: PseudoLabels, hidden: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[PseudoLabels, NDArray[np.bool_]]:
    """Two clips of one camera as if they had happened at once.

    Who ends lower in the image hides the other, whose score falls, whose box errs, and who is not found at all when too
    little is left.

    Args:
        one: gives the stamps and the camera's motion.
        other: frames beyond the end of `one` are left out; its objects are others than those of `one`.
        hidden: `(D,)` which detections of `one` are hidden before.
        rng: draws the errors.

    Returns:
        Both together, and which detections are hidden `(D,)`.
    """
    other = other.choose(other.frames < len(one))
    shifted = replace(
        other,
        tracklets=np.where(other.tracklets >= 0, other.tracklets + one.tracklets.max(initial=-1) + 1, -1),
        objects=np.where(other.objects >= 0, other.objects + one.objects.max(initial=-1) + 1, other.objects),
    )
    joined = {name: np.concatenate([getattr(one, name), getattr(shifted, name)]) for name in COLUMNS}
    order = np.argsort(joined["frames"], kind="stable")
    mine = (np.arange(len(order)) < len(one.frames))[order]
    both = replace(one.choose(np.zeros(len(one.frames), bool)), **{name: joined[name][order] for name in COLUMNS})
    lost = _covered(both.frames, both.boxes, mine)
    logits = np.log(both.scores / np.maximum(1 - both.scores, 1e-4)) - HIDING * lost**1.5
    height = (both.boxes[:, 3:] - both.boxes[:, 1:2]) * lost[:, None]
    boxes = both.boxes + rng.normal(0, 0.06, (len(lost), 4)) * height
    scores = np.where(lost > 0, 1 / (1 + np.exp(-logits)), both.scores)
    made = replace(both, boxes=boxes.astype(np.float32), scores=scores.astype(np.float32))
    before = np.concatenate([hidden, np.zeros(len(other.frames), bool)])[order]
    return made, before | (scores < FLOOR) & (lost > 0) | (rng.random(len(lost)) < 0.7 * lost)


def _covered(frames: NDArray[np.int64], boxes: Float32, mine: NDArray[np.bool_]) -> Float32:
    """`(D,)` the share of each box that those of the other clip cover and its own do not."""
    lost = np.zeros(len(frames), np.float32)
    for first, last in pairwise([*np.flatnonzero(np.diff(frames, prepend=-1)).tolist(), len(frames)]):
        part = slice(first, last)
        together = visible_share(boxes[part])
        for side in (mine[part], ~mine[part]):
            lost[part][side] = np.maximum(visible_share(boxes[part][side]) - together[side], 0)
    return lost


def interrupted(footage: PseudoLabels, gaps: Gaps, rng: np.random.Generator) -> NDArray[np.bool_]:
    """`(D,)` which detections a gap in their tracklet hides."""
    hidden = np.zeros(len(footage.frames), bool)
    steps = np.diff(footage.stamps_ns)
    longest = max(1, round(gaps.longest * 1e9 / float(np.median(steps)))) if len(steps) else 1
    order = np.argsort(footage.tracklets, kind="stable")
    known, starts = np.unique(footage.tracklets[order], return_index=True)
    for key, rows in zip(known.tolist(), np.split(order, starts[1:]), strict=True):
        room = len(rows) - 2 * gaps.rest
        if key < 0 or room < 1 or rng.random() >= gaps.share:
            continue
        length = int(rng.integers(1, min(longest, room) + 1))
        begin = gaps.rest + int(rng.integers(room - length + 1))
        hidden[rows[begin : begin + length]] = True
    return hidden

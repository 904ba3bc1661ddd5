"""Validates a fine-tuned network on the ends of recordings, which were not trained on and which nobody labelled.

Stretches of those ends are made harder (`augment`), and the tracker runs over them with the network before and after
the fine-tuning. Strict tracklets tell who is who, which gives the accuracy of the association. The new network is
better only if it is better by more than chance explains, as the differences between the stretches show it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from alstm_ros.association.learned.associator import open_associator
from alstm_ros.config import Config
from alstm_ros.learning.pseudo_labels.augment import AugmentedClip, Gaps, Hardness, draw_augmented_clip
from alstm_ros.learning.pseudo_labels.footage import PseudoLabels, replay_footage
from alstm_ros.learning.pseudo_labels.identities import identities
from alstm_ros.learning.pseudo_labels.recordings import LabelSource
from alstm_ros.learning.pseudo_labels.strict_links import Strictness
from alstm_ros.learning.truth import Separation
from alstm_ros.recordings.parallel import run_all
from alstm_ros.types import Float64, Int64

STRETCH = 30
"""Frames of a stretch, which overlaps no other, so that their gains vary independently."""
STRETCHES = 96
"""Stretches at most; of more, so many are chosen evenly."""
CLIPS = 96
"""Clips of all stretches together; of each stretch there are at least two."""
HARDNESS = Hardness(steps=(1, 2), gaps=Gaps(share=0.5, longest=2.0))
"""How the stretches are made harder: gaps last nearly as long as tracks are kept, for without any network is right."""
SURE = 0.95
"""Share of the gains by chance that are below a sure gain, by Student's distribution."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How two networks compare on the held-out stretches.

    Attributes:
        stretches: how many.
        before: AssA of the network as it was, %, mean over the stretches.
        after: of the network as it is now.
        error: standard error of the difference.
    """

    stretches: int
    before: float
    after: float
    error: float

    @property
    def _least(self) -> float:
        """The smallest difference that is sure."""
        return float(student.ppf(SURE, self.stretches - 1)) * self.error

    @property
    def better(self) -> bool:
        """Whether the network surely got better."""
        return self.after - self.before > self._least

    @property
    def worse(self) -> bool:
        """Whether it surely got worse."""
        return self.before - self.after > self._least

    def __str__(self) -> str:
        """The numbers as a sentence's part."""
        return (
            f"AssA {self.before:.2f} before, {self.after:.2f} now ({self.after - self.before:+.2f} "
            f"\u00b1 {self.error:.2f}, {self.stretches} stretches)"
        )


def compare_networks(
    recordings: Sequence[LabelSource], before: str, after: str, seed: int, jobs: int = 1
) -> Verdict | None:
    """Judges two networks on the same clips.

    Args:
        recordings: held-out parts.
        before: a model, as `association.model` names it,
        after: and another.
        seed: of what makes them harder.
        jobs: processes.

    Returns:
        The verdict; None where the recordings are too short to tell.
    """
    count = sum(1 for _ in _stretches(recordings))
    if count < 2:
        return None
    chosen = set(np.linspace(0, count - 1, min(count, STRETCHES)).round().astype(int).tolist())
    every = enumerate(_stretches(recordings))
    stretches = [part.at(np.arange(first, first + STRETCH)) for place, (part, first) in every if place in chosen]
    rng = np.random.default_rng([seed, 1])
    rounds = max(2, CLIPS // len(stretches))
    clips = [draw_augmented_clip(rng, [part], STRETCH, HARDNESS) for _ in range(rounds) for part in stretches]
    found = list(run_all(_judge, [(clip, before, after) for clip in clips], jobs, None))
    return verdict(np.array(found).reshape(-1, len(stretches), 2))


def _stretches(recordings: Sequence[LabelSource]) -> Iterator[tuple[PseudoLabels, int]]:
    """All stretches: a part of a recording, and the stretch's first frame in it."""
    for recording in recordings:
        for part in recording.parts():
            yield from ((part, first) for first in range(0, len(part) - STRETCH + 1, STRETCH))


def verdict(found: Float64) -> Verdict | None:
    """What accuracies `(clips, stretches, 2)`, before and now, say; None where below two stretches show anybody."""
    shown = np.isfinite(found).all(axis=2, keepdims=True)
    count = shown.sum(axis=0)
    each = np.where(shown, found, 0).sum(axis=0)[count[:, 0] > 0] / count[count[:, 0] > 0]  # (stretches, 2)
    if len(each) < 2:
        return None
    gain = each[:, 1] - each[:, 0]
    error = float(gain.std(ddof=1)) / math.sqrt(len(gain))
    return Verdict(len(each), float(each[:, 0].mean()), float(each[:, 1].mean()), error)


def _judge(task: tuple[AugmentedClip, str, str]) -> tuple[float, float]:
    """AssA of one clip with either model."""
    clip, before, after = task
    return association_accuracy(clip, before), association_accuracy(clip, after)


def association_accuracy(clip: AugmentedClip, model: str) -> float:
    """AssA (Luiten et al., HOTA, IJCV 2021), %, of the tracker on a clip, as far as it is known who is who.

    An id that goes to two objects costs where they certainly are two, not where one may be the other, come back.

    Args:
        clip: the detections.
        model: what `association.model` names.

    Returns:
        The accuracy; NaN where nobody is known.
    """
    who = identities(clip.footage)
    separation = Separation.of(clip.footage, who, Strictness().duplicate)
    ids = tracked(clip, model)
    shown = (who >= 0) & ~clip.hidden
    return _accuracy(who[shown], ids[shown], separation.apart)


def tracked(clip: AugmentedClip, model: str) -> Int64:
    """`(D,)` the track id that each detection of a clip gets with a model (or none, if empty), -1 for none."""
    associator = open_associator(model)() if model else None
    ids, shown = np.full(len(clip.footage.frames), -1, np.int64), np.flatnonzero(clip.shown)
    for part, result in replay_footage(clip.footage.choose(clip.shown), associator, Config()):
        hit = result.tracks.detection >= 0
        ids[shown[part][result.tracks.detection[hit]]] = result.tracks.ids[hit]
    return ids


def _accuracy(who: Int64, ids: Int64, apart: np.ndarray) -> float:
    """See association_accuracy; `apart` says of any two objects whether they certainly are two."""
    followed = ids >= 0
    if not followed.any():
        return math.nan
    known, rows = np.unique(ids[followed], return_inverse=True)
    together = np.zeros((len(apart), len(known)))  # (objects, ids)
    np.add.at(together, (who[followed], rows.reshape(-1)), 1)
    length = np.bincount(who, minlength=len(apart)).astype(np.float64)
    others: Float64 = apart.astype(np.float64) @ together  # detections of certainly other objects under an id
    each = together / np.maximum(length[:, None] + others, 1)
    return float(100 * (together * each).sum() / together.sum())

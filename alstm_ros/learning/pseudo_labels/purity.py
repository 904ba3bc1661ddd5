"""How right bootstrapped labels are, where ground truth exists after all."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from alstm_ros.boxes import iou
from alstm_ros.learning.pseudo_labels.footage import DIFFERENT, SAME, UNKNOWN, PseudoLabels
from alstm_ros.learning.pseudo_labels.identities import matched
from alstm_ros.recordings.labels import Labels


@dataclass(frozen=True, slots=True)
class Purity:
    """How the labels compare with ground truth.

    Attributes:
        same: pairs labelled SAME, both detections being known objects.
        same_right: those whose objects are the same.
        same_half: pairs labelled SAME of which one detection is a known object and the other none.
        different: pairs labelled DIFFERENT, both detections being known objects.
        different_right: those whose objects are not the same.
        unknown: pairs left out.
        pairs: all pairs.
    """

    same: int
    same_right: int
    same_half: int
    different: int
    different_right: int
    unknown: int
    pairs: int

    def __add__(self, other: Purity) -> Purity:
        """Both together."""
        return Purity(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    def percent(self) -> dict[str, float]:
        """Purity of both labels, the share of half known links, and the share of pairs left out, %."""
        return {
            "same": 100 * self.same_right / max(self.same, 1),
            "same_half": 100 * self.same_half / max(self.same + self.same_half, 1),
            "different": 100 * self.different_right / max(self.different, 1),
            "unknown": 100 * self.unknown / max(self.pairs, 1),
        }


def purity(footage: PseudoLabels, truth: Labels, overlap: float = 0.5) -> Purity:
    """Compares with ground truth that was hidden until now.

    A detection is the object that the best matching of its frame gives it at this IoU. A pair tells something about
    objects where both of its detections are one; links with one such end are counted apart.

    Args:
        footage: what was bootstrapped.
        truth: every annotated object, those that a benchmark does not count included.
        overlap: the smallest IoU of a match.
    """
    objects = np.full(len(footage.frames), -1, np.int64)
    rows = truth.rows()
    starts = footage.rows().tolist()
    for index, number in enumerate(footage.numbers.tolist()):
        mine = slice(starts[index], starts[index + 1])
        theirs = slice(rows[number - 1], rows[number]) if number <= truth.length else slice(0, 0)
        found, columns = matched(iou(footage.boxes[mine].astype(np.float64), truth.boxes[theirs]), overlap)
        objects[mine][found] = truth.ids[theirs][columns]
    one, other = objects[footage.first], objects[footage.second]
    known = (one >= 0) & (other >= 0)
    same, different = (footage.labels == SAME) & known, (footage.labels == DIFFERENT) & known
    return Purity(
        int(same.sum()),
        int((same & (one == other)).sum()),
        int(((footage.labels == SAME) & ((one >= 0) ^ (other >= 0))).sum()),
        int(different.sum()),
        int((different & (one != other)).sum()),
        int((footage.labels == UNKNOWN).sum()),
        len(footage.labels),
    )

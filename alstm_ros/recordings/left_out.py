"""What of an input from outside cannot be used: counted by reason, and told once for each."""

from __future__ import annotations

from dataclasses import dataclass, field

MOST_FRAMES = 10_000_000
"""Frames of the longest sequence that is believed, four days at 30 frames a second; a larger number is no frame's."""
FARTHEST = 1e9
"""Pixels; a coordinate beyond is no place in an image."""


@dataclass(slots=True)
class LeftOut:
    """Parts of one input that are left out.

    Attributes:
        source: the input's name.
        what: what one part is, such as `row`.
        reasons: reason to how often, and where first.
    """

    source: str
    what: str = "row"
    reasons: dict[str, tuple[int, str]] = field(default_factory=dict)

    def add(self, reason: str, place: str = "") -> None:
        """Counts one part.

        Args:
            reason: the same words for the same cause, such as `its box is no number`.
            place: where it stands, such as `line 12`.
        """
        count, first = self.reasons.get(reason, (0, place))
        self.reasons[reason] = (count + 1, first)

    def __len__(self) -> int:
        """How many parts are left out."""
        return sum(count for count, _ in self.reasons.values())

    def sentences(self) -> tuple[str, ...]:
        """One sentence for each reason."""
        found = []
        for reason, (count, place) in self.reasons.items():
            where = f", {'first ' if count > 1 else ''}in {place}" if place else ""
            found.append(f"{count} {self.what}{'s' if count > 1 else ''} of {self.source} left out: {reason}{where}.")
        return tuple(found)

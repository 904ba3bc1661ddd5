"""Memory that is kept between frames."""

from __future__ import annotations

import numpy as np

from alstm_ros.types import Float64


class Workspace:
    """Matrices by name, with room that grows and stays.

    At 300 objects a matrix of all pairs is so large that the C library gives it back to the system each time and takes
    it anew, and those page faults cost as much as all arithmetic on it.
    """

    def __init__(self) -> None:
        """Holds nothing yet."""
        self._room: dict[str, Float64] = {}

    def matrix(self, name: str, rows: int, columns: int) -> Float64:
        """`(rows, columns)` float64 of any content, valid until it is asked for by the same name again."""
        need = rows * columns
        if name not in self._room or len(self._room[name]) < need:
            self._room[name] = np.empty(2 * need)
        return self._room[name][:need].reshape(rows, columns)

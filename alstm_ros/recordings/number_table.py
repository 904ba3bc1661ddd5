"""Tables of numbers in text files from outside, checked cell by cell."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alstm_ros.errors import DataError
from alstm_ros.recordings.left_out import LeftOut
from alstm_ros.types import Float64, Int64

EXACT = 2.0**53
"""Whole numbers from here on are not told apart as float64."""
Line = tuple[int, str]
"""Number of a line in its file, from 1, and its text."""


@dataclass(frozen=True, slots=True)
class NumberTable:
    """What a table holds, one row for each line that is neither empty nor a comment.

    Attributes:
        values: `(R, C)` float64; NaN where a cell is missing or no number.
        ids: `(R,)` int64, the second column where it holds ids: the numbers themselves where they fit, else others that
            differ likewise.
        good: `(R,)` bool, whether every cell that a row must have is a finite number.
        left_out: the others.
    """

    values: Float64
    ids: Int64
    good: NDArray[np.bool_]
    left_out: LeftOut


def read_table(path: Path, columns: int, *, keyed: bool = False) -> NumberTable:
    """Reads numbers separated by commas, semicolons or blanks.

    Args:
        path: the file.
        columns: so many cells of a row must be finite numbers.
        keyed: whether the second column holds ids, which must be whole numbers.

    Returns:
        Every row; those that cannot be used are counted in `left_out`.

    Raises:
        DataError: it cannot be read, or no row can be used.
    """
    lines = _lines(path)
    if not lines:
        return NumberTable(np.zeros((0, columns)), np.zeros(0, np.int64), np.zeros(0, bool), LeftOut(path.name))
    separator = next((sign for sign in ",;" if sign in lines[0][1]), None)
    values = _whole(lines, separator, columns)
    if values is None or (keyed and not _are_ids(values[:, 1])):
        return _cells(lines, separator, (columns, keyed), path)
    ids = values[:, 1].astype(np.int64) if keyed else np.zeros(len(values), np.int64)
    return NumberTable(values, ids, np.ones(len(values), bool), LeftOut(path.name))


def _lines(path: Path) -> list[Line]:
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")  # a byte that is no text is no number either
    except OSError as error:
        raise DataError(f"{path} is no table of numbers: {error}.") from error
    stripped = ((number, line.split("#")[0].strip()) for number, line in enumerate(text.splitlines(), 1))
    return [(number, line) for number, line in stripped if line]


def _whole(lines: Sequence[Line], separator: str | None, columns: int) -> Float64 | None:
    """The table where every cell is what it should be, which is soon seen."""
    values = np.zeros((0, 0))
    with contextlib.suppress(ValueError):
        values = np.loadtxt([line for _, line in lines], np.float64, delimiter=separator, ndmin=2)
    if values.shape[1] < columns or not np.isfinite(values[:, :columns]).all():
        return None
    return values


def _are_ids(column: Float64) -> bool:
    return bool(((np.abs(column) < EXACT) & (column == np.round(column))).all())


def _cells(lines: Sequence[Line], separator: str | None, wanted: tuple[int, bool], path: Path) -> NumberTable:
    """The table cell by cell."""
    columns, keyed = wanted
    rows = [[cell.strip() for cell in line.split(separator)] for _, line in lines]
    width = max(columns, *(len(row) for row in rows))
    values = np.full((len(rows), width), np.nan)
    good = np.zeros(len(rows), bool)
    left_out = LeftOut(path.name)
    keys: list[int] = []
    for i, ((number, _), row) in enumerate(zip(lines, rows, strict=True)):
        values[i, : len(row)] = [_number(cell) for cell in row]
        key = _integer(row[1]) if keyed and len(row) > 1 else 0
        keys.append(key or 0)
        reason = _fault(row[:columns], values[i, :columns], key, columns)
        if reason is None:
            good[i] = True
        else:
            left_out.add(reason, f"line {number}")
    if not good.any():
        widest = max(len(row) for row in rows)
        if widest < columns:
            raise DataError(f"{path} has {widest} columns; it must have at least {columns}.")
        raise DataError(f"{path} is no table of numbers: {' '.join(left_out.sentences())}")
    return NumberTable(values, distinct(keys), good, left_out)


def _fault(row: Sequence[str], values: Float64, key: int | None, columns: int) -> str | None:
    """Why a row cannot be used; None where it can."""
    if len(row) < columns:
        return f"it has fewer than {columns} columns"
    if key is None:
        return "its id is no whole number"
    if not np.isfinite(values).all():
        return "a cell is empty" if "" in row else "a cell is no finite number"
    return None


def _number(cell: str) -> float:
    try:
        return float("nan") if "_" in cell else float(cell)
    except ValueError:
        return float("nan")


def _integer(cell: str) -> int | None:
    """A whole number of any size; some programs write it as 12.0."""
    with contextlib.suppress(ValueError):
        return int(cell)
    value = _number(cell)
    return int(value) if np.isfinite(value) and value == round(value) else None


def distinct(keys: Sequence[int]) -> Int64:
    """`(R,)` int64: the numbers themselves where all fit into 64 bits, else 1, 2, 3 ... in the order they come."""
    low, high = min(keys, default=0), max(keys, default=0)
    if low < -(2**63) or high >= 2**63:
        places = {key: place for place, key in enumerate(dict.fromkeys(keys), 1)}
        keys = [places[key] for key in keys]
    return np.array(keys, np.int64).reshape(-1)

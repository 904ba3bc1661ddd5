"""Which result belongs to which ground truth, and which benchmark's rules apply."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from alstm_ros.errors import DataError
from alstm_ros.evaluation.trackeval_adapter import BENCHMARKS
from alstm_ros.recordings.bag_folder import is_recording
from alstm_ros.recordings.mot import has_classes, read_sequence
from alstm_ros.recordings.number_table import read_table
from alstm_ros.recordings.sinks import SINKS
from alstm_ros.recordings.track_files import name_of, seqinfo_of

RESULTS = (".jsonl", ".mcap", ".db3", ".zstd", ".txt")
"""What tells most comes first: where a folder holds a name in several formats, that is one result."""
TRUTHS = (".mcap", ".db3", ".zstd", ".txt", ".json")
"""Suffixes of ground truth."""
BESIDE = ("det.txt", "gmc.txt")
"""What lies beside ground truth in MOTChallenge's layout and is none."""
HEAD = 20
"""Lines of a text that are looked at for numbers."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One sequence.

    Attributes:
        name: the ground truth's.
        truth: its file.
        result: the tracker's.
    """

    name: str
    truth: Path
    result: Path


def find_truths(paths: Sequence[Path], notes: list[str] | None = None) -> dict[str, Path]:
    """Name to file: each path is a `gt.txt`, another text, a bag, a sequence's folder, or a folder of those.

    Args:
        paths: where to look.
        notes: takes a sentence for each folder of which something is left.

    Raises:
        DataError: a path holds no ground truth, or two have one name.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if not path.exists():
            raise DataError(f"There is no ground truth at {path}.")
        files = _truths_in(path, [] if notes is None else notes)
        if not files:
            raise DataError(f"{path} holds no ground truth: no gt.txt, no gt/gt.txt, no bag, and no folder of those.")
        for file in files:
            _add(found, name_of(file), file)
    return found


def _truths_in(path: Path, notes: list[str]) -> list[Path]:
    if path.is_file() or is_recording(path):
        return [path]
    inner = [file for file in (path / "gt.txt", path / "gt" / "gt.txt") if file.is_file()]
    if inner:
        if inner[1:]:
            notes.append(f"Of {path}, gt.txt is taken, gt/gt.txt left.")
        return inner[:1]
    shown = [item for item in sorted(path.iterdir()) if not item.name.startswith(".")]
    folders = [file for item in shown if item.is_dir() for file in _truths_in(item, notes)]
    files = [item for item in shown if item.is_file() and item.suffix in TRUTHS and item.name not in BESIDE]
    return [*folders, *_sorted_out(path, files, notes, "labels")]


def _sorted_out(folder: Path, files: Sequence[Path], notes: list[str], what: str) -> list[Path]:
    """The files that hold numbers or annotations, or are no text at all; the others are told."""
    good = [file for file in files if _may_be(file)]
    left = [file.name for file in files if file not in good]
    if left:
        are, they, hold = ("is", "it", "holds") if len(left) == 1 else ("are", "they", "hold")
        notes.append(f"Of {folder}, {', '.join(left)} {are} left: {they} {hold} no {what}.")
    return good


def _may_be(file: Path) -> bool:
    """Whether a text begins with numbers, and a JSON file holds annotations; an empty one is a sequence of nobody."""
    if file.suffix == ".json":
        return b'"annotations"' in file.read_bytes()
    if file.suffix != ".txt":
        return True
    with file.open(encoding="utf-8-sig", errors="replace") as lines:
        first = [line for line in islice(lines, HEAD) if line.strip() and not line.startswith("#")]
    return not first or any(re.match(r"\s*[-+.\d]", line) for line in first)


def find_results(paths: Sequence[Path], notes: list[str] | None = None) -> dict[str, Path]:
    """Name to file: each path is a file of `alstm track`, a bag, or a folder of those.

    Args:
        paths: where to look.
        notes: takes a sentence for each folder of which something is left.

    Raises:
        DataError: a path holds no results, or two have one name.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if not path.exists():
            raise DataError(f"There are no results at {path}.")
        files = [path]
        if path.is_dir() and not is_recording(path):
            shown = [item for item in path.iterdir() if not item.name.startswith(".")]
            bags = [item for item in shown if item.is_dir() and is_recording(item)]
            texts = sorted(item for item in shown if item.is_file() and item.suffix in RESULTS)
            files = _once(_sorted_out(path, texts, [] if notes is None else notes, "tracks") + bags)
        if not files:
            raise DataError(f"The folder {path} holds no results ({', '.join(SINKS)}).")
        for file in files:
            _add(found, name_of(file), file)
    return found


def _once(files: Sequence[Path]) -> list[Path]:
    """One file of each name, by RESULTS; two bags or two files of one suffix are left to be complained of."""
    found: dict[str, list[Path]] = {}
    for file in sorted(files, key=lambda item: RESULTS.index(item.suffix) if item.is_file() else 1):
        same = found.setdefault(name_of(file), [])
        if not same or same[0].suffix == file.suffix:
            same.append(file)
    return sorted(file for same in found.values() for file in same)


def _add(found: dict[str, Path], name: str, file: Path) -> None:
    if name in found:
        raise DataError(f"Both {found[name]} and {file} are called '{name}'; each sequence may be given once.")
    found[name] = file


def pair(truths: dict[str, Path], results: dict[str, Path]) -> list[Pair]:
    """Brings them together by name; a single result belongs to a single ground truth whatever they are called.

    A result may also bear the name that the ground truth's `seqinfo.ini` gives, such as MOT17-02-FRCNN.

    Raises:
        DataError: one of either side stands alone.
    """
    if len(truths) == len(results) == 1:
        [(name, truth)], [result] = truths.items(), results.values()
        return [Pair(name, truth, result)]
    left = dict(results)
    pairs = []
    for name, truth in truths.items():
        info = seqinfo_of(truth) if truth.suffix == ".txt" else None
        names = (name, read_sequence(info).name) if info else (name,)
        match = next((key for key in names if key in left), None)
        if match is None:
            raise DataError(
                f"Ground truth '{name}' has no result of that name; there are {', '.join(sorted(results))}."
            )
        pairs.append(Pair(name, truth, left.pop(match)))
    if left:
        raise DataError(f"Result '{min(left)}' has no ground truth of that name; there are {', '.join(truths)}.")
    return pairs


def benchmark_of(truth: Path) -> str:
    """Whose rules apply to a ground truth: by its folders' and `seqinfo.ini`'s names, else by its columns.

    A text with class numbers follows MOT17, which changes nothing where there are only pedestrians; one without, MOT15.
    """
    if truth.suffix != ".txt":
        return "none"
    info = seqinfo_of(truth)
    names = [part.upper() for part in truth.resolve().parts]
    names += [read_sequence(info).name.upper()] if info else []
    for name in reversed(names):
        for benchmark in BENCHMARKS[:-1]:
            if benchmark in name:
                return benchmark
    return "MOT17" if has_classes(read_table(truth, 6, keyed=True).values) else "MOT15"

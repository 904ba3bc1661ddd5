"""Which result belongs to which ground truth, and which benchmark's rules apply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alstm_ros.errors import DataError
from alstm_ros.evaluation.trackeval_adapter import BENCHMARKS
from alstm_ros.recordings.mot import has_classes, read_sequence
from alstm_ros.recordings.number_table import read_table
from alstm_ros.recordings.sinks import SINKS
from alstm_ros.recordings.track_files import name_of, seqinfo_of

RESULTS = (".jsonl", ".mcap", ".db3", ".txt")
"""What tells most comes first: where a folder holds a name in several formats, that is one result."""
TRUTHS = (".mcap", ".db3", ".zstd", ".txt", ".json")


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


def find_truths(paths: Sequence[Path]) -> dict[str, Path]:
    """Name to file: each path is a `gt.txt`, another text, a bag, a sequence's folder, or a folder of those.

    Raises:
        DataError: a path holds no ground truth, or two have one name.
    """
    found: dict[str, Path] = {}
    for path in paths:
        files = _truths_in(path)
        if not files:
            raise DataError(f"{path} holds no ground truth: no gt.txt, no gt/gt.txt, no bag, and no folder of those.")
        for file in files:
            _add(found, name_of(file), file)
    return found


def _truths_in(path: Path) -> list[Path]:
    if not path.exists():
        raise DataError(f"There is no ground truth at {path}.")
    if path.is_file() or (path / "metadata.yaml").is_file():
        return [path]
    for inner in (path / "gt.txt", path / "gt" / "gt.txt"):
        if inner.is_file():
            return [inner]
    folders = [file for item in sorted(path.iterdir()) if item.is_dir() for file in _truths_in(item)]
    return folders or sorted(item for item in path.iterdir() if item.suffix in TRUTHS)


def find_results(paths: Sequence[Path]) -> dict[str, Path]:
    """Name to file: each path is a file of `alstm track`, a bag, or a folder of those.

    Raises:
        DataError: a path holds no results, or two have one name.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if not path.exists():
            raise DataError(f"There are no results at {path}.")
        files = [path]
        if path.is_dir() and not (path / "metadata.yaml").is_file():
            bags = [item for item in path.iterdir() if (item / "metadata.yaml").is_file()]
            files = _once([item for item in path.iterdir() if item.suffix in RESULTS] + bags)
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

"""Labels of a few frames: written from tracks, corrected by a person, read back in the same format.

MOTChallenge: a folder with `gt.txt` and `seqinfo.ini`, whose section `[Labels]` lists the labelled frames, so that one
without objects is known to be empty and not unlabelled. COCO: one JSON file; its images are the labelled frames.
"""

from __future__ import annotations

import configparser
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alstm_ros.errors import DataError
from alstm_ros.recordings.labels import Labels, make_labels
from alstm_ros.recordings.mot import read_labels, read_sequence
from alstm_ros.recordings.sinks import PartFile
from alstm_ros.types import Int64

SECTION, ENTRY = "Labels", "frames"


@dataclass(frozen=True, slots=True)
class SparseLabels:
    """Labels of some frames of a sequence.

    Attributes:
        name: the sequence's name.
        labels: the boxes; none outside of the labelled frames.
        frames: `(F,)` int64, the labelled frames' numbers, ascending; one may hold no box.
        fps: frames a second; 0 where unknown.
        width: of the images, pixels; 0 where unknown.
        height: of the images, pixels; 0 where unknown.
    """

    name: str
    labels: Labels
    frames: Int64
    fps: float = 0.0
    width: int = 0
    height: int = 0

    def __post_init__(self) -> None:
        """Checks that boxes stand in labelled frames only.

        Raises:
            DataError: one does not.
        """
        stray = np.setdiff1d(self.labels.frames, self.frames)
        if len(stray):
            raise DataError(f"{self.name} has a box in frame {stray[0]}, which is not among its labelled frames.")


def every_nth(sparse: SparseLabels, every: int) -> SparseLabels:
    """Every so many frames of it, from the first on.

    Raises:
        DataError: every is below 1.
    """
    if every < 1:
        raise DataError(f"--every is {every}; it must be at least 1.")
    frames = sparse.frames[::every]
    keep = np.isin(sparse.labels.frames, frames)
    return SparseLabels(sparse.name, sparse.labels.select(keep), frames, sparse.fps, sparse.width, sparse.height)


def keep_frames(labels: Labels, frames: Int64) -> Labels:
    """The given frames alone, numbered 1, 2, 3 ... anew: what a metric sees of a sparsely labelled sequence."""
    places = np.searchsorted(frames, labels.frames)
    inside = (places < len(frames)) & (frames[np.minimum(places, len(frames) - 1)] == labels.frames)
    part = labels.select(inside)
    return make_labels(
        places[inside] + 1,
        part.ids,
        part.boxes,
        part.scores,
        part.classes,
        counted=part.counted,
        names=part.names,
        length=len(frames),
        stamps_ns=labels.stamps_ns[frames - 1] if len(frames) and len(labels.stamps_ns) >= frames[-1] else None,
    )


def write_mot(sparse: SparseLabels, folder: Path) -> None:
    """Writes a MOTChallenge folder; class numbers count from 1 in the order of `labels.names`.

    Raises:
        DataError: nothing can be written there, or the frame rate is not known.
    """
    if not sparse.fps:
        raise DataError(f"The frame rate of {sparse.name} is not known, and a seqinfo.ini needs one; give --fps.")
    lines = []
    labels = sparse.labels
    for frame, key, box, index in zip(labels.frames, labels.ids, labels.boxes, labels.classes, strict=True):
        left, top, right, bottom = box.tolist()
        number = index + 1 if labels.names else index
        lines.append(f"{frame},{key},{left:.2f},{top:.2f},{right - left:.2f},{bottom - top:.2f},1,{number},1\n")
    parser = configparser.ConfigParser()
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # the documented way to keep capitals
    parser["Sequence"] = {
        "name": sparse.name,
        "imDir": "img1",
        "frameRate": f"{sparse.fps:g}",
        "seqLength": str(labels.length),
        "imWidth": str(sparse.width),
        "imHeight": str(sparse.height),
        "imExt": ".jpg",
    }
    parser[SECTION] = {ENTRY: " ".join(map(str, sparse.frames)), "classes": " ".join(labels.names)}
    text, info = PartFile(folder / "gt.txt"), PartFile(folder / "seqinfo.ini")
    text.part.write_text("".join(lines), encoding="utf-8")
    with info.part.open("w", encoding="utf-8") as file:
        parser.write(file)
    text.finish()
    info.finish()


def write_coco(sparse: SparseLabels, path: Path) -> None:
    """Writes a COCO file; ids stand in `attributes.track_id`, where CVAT keeps and shows them.

    Raises:
        DataError: nothing can be written there.
    """
    labels = sparse.labels
    names = labels.names or ("pedestrian",)
    annotations = []
    rows = zip(labels.frames.tolist(), labels.ids.tolist(), labels.boxes.tolist(), labels.classes.tolist(), strict=True)
    for number, (frame, key, (left, top, right, bottom), index) in enumerate(rows, 1):
        box = [round(value, 2) for value in (left, top, right - left, bottom - top)]
        annotations.append(
            {
                "id": number,
                "image_id": frame,
                "category_id": index + 1 if labels.names else 1,
                "bbox": box,
                "area": round(box[2] * box[3], 2),
                "iscrowd": 0,
                "attributes": {"track_id": key},
            }
        )
    tree = {
        "info": {"description": sparse.name, "frames": labels.length, "fps": sparse.fps},
        "images": [
            {"id": frame, "file_name": image_name(frame), "width": sparse.width, "height": sparse.height}
            for frame in sparse.frames.tolist()
        ],
        "categories": [{"id": index, "name": name} for index, name in enumerate(names, 1)],
        "annotations": annotations,
    }
    file = PartFile(path)
    file.part.write_text(json.dumps(tree, indent=1), encoding="utf-8")
    file.finish()


def image_name(frame: int) -> str:
    """Where a frame's image lies beside the labels."""
    return f"img1/{frame:06d}.jpg"


def read_sparse(path: Path) -> SparseLabels:
    """Reads labels of some frames.

    Args:
        path: a COCO file, a folder with `gt.txt` and `seqinfo.ini`, or that `gt.txt`. Without a section `[Labels]`,
            every frame of the sequence is labelled.

    Raises:
        DataError: it cannot be read.
    """
    if path.suffix == ".json":
        return _read_coco(path)
    folder = path if path.is_dir() else path.parent
    facts = read_sequence(folder / "seqinfo.ini")
    parser = configparser.ConfigParser()
    parser.read(folder / "seqinfo.ini", encoding="utf-8")
    labels = read_labels(folder / "gt.txt", truth=True, length=facts.length)
    frames = np.arange(1, facts.length + 1)
    if parser.has_section(SECTION):
        listed = parser.get(SECTION, ENTRY, fallback="").split()
        if not listed or not all(part.isdecimal() for part in listed):
            raise DataError(
                f"{folder / 'seqinfo.ini'}: 'frames' in [Labels] must list frame numbers, such as '1 11 21'."
            )
        frames = np.unique(np.array(listed, np.int64))
        names = tuple(parser.get(SECTION, "classes", fallback="").split())
        labels = _named(labels, names, folder / "gt.txt") if names else labels
    return SparseLabels(facts.name, labels, frames, facts.fps, facts.width, facts.height)


def _named(labels: Labels, names: tuple[str, ...], path: Path) -> Labels:
    if len(labels) and not 1 <= labels.classes.min() <= labels.classes.max() <= len(names):
        raise DataError(f"{path} has class {labels.classes.max()}; [Labels] names classes 1 to {len(names)}.")
    return make_labels(
        labels.frames,
        labels.ids,
        labels.boxes,
        labels.scores,
        labels.classes - 1,
        counted=labels.counted,
        names=names,
        length=labels.length,
    )


def _read_coco(path: Path) -> SparseLabels:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        # Tools number images anew; the name they keep.
        numbers = {item["id"]: int(Path(item["file_name"]).stem) for item in tree["images"]}
        names = tuple(item["name"] for item in tree["categories"])
        places = {item["id"]: index for index, item in enumerate(tree["categories"])}
        info = tree.get("info", {})
        rows = [_coco_row(item, numbers, places) for item in tree["annotations"]]
        sizes = {(item.get("width", 0), item.get("height", 0)) for item in tree["images"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no COCO file of labelled frames: {error!r}.") from error
    frames = np.unique(np.array(list(numbers.values()), np.int64))
    length = int(info.get("frames") or (frames[-1] if len(frames) else 0))
    columns: Sequence[Any] = list(zip(*rows, strict=True)) or ([], [], [], [])
    labels = make_labels(
        np.array(columns[0], np.int64),
        np.array(columns[1], np.int64),
        np.array(columns[2], np.float64),
        np.ones(len(rows)),
        np.array(columns[3], np.int64),
        names=names,
        length=length,
    )
    width, height = sizes.pop() if len(sizes) == 1 else (0, 0)
    return SparseLabels(
        info.get("description") or path.stem, labels, frames, float(info.get("fps") or 0), width, height
    )


def _coco_row(item: dict[str, Any], numbers: dict[int, int], places: dict[int, int]) -> tuple[int, int, Any, int]:
    left, top, width, height = item["bbox"]
    key = item.get("attributes", {}).get("track_id", item.get("track_id"))
    if key is None:
        raise ValueError(f"annotation {item.get('id')} has no attributes.track_id")
    return numbers[item["image_id"]], int(key), (left, top, left + width, top + height), places[item["category_id"]]

"""Labels of a few frames: written from tracks, corrected by a person, read back in the same format.

MOTChallenge: a folder with `gt.txt` and `seqinfo.ini`, whose section `[Labels]` lists the labelled frames, so that one
without objects is known to be empty and not unlabelled. COCO: one JSON file; its images are the labelled frames.
"""

from __future__ import annotations

import configparser
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from alstm_ros.errors import DataError
from alstm_ros.recordings.label_rows import LabelRow, LabelRows, is_frame
from alstm_ros.recordings.labels import Labels, make_labels
from alstm_ros.recordings.left_out import LeftOut
from alstm_ros.recordings.mot import read_ini, read_sequence, table_labels
from alstm_ros.recordings.number_table import read_table
from alstm_ros.recordings.sinks import PartFile
from alstm_ros.types import Int64

SECTION, ENTRY, CLASSES = "Labels", "frames", "classes"
"""Where a `seqinfo.ini` lists the labelled frames, and the classes as a JSON list: a name may hold blanks."""


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
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # the documented way to keep capitals
    parser["Sequence"] = {
        "name": " ".join(sparse.name.split()),
        "imDir": "img1",
        "frameRate": f"{sparse.fps:g}",
        "seqLength": str(labels.length),
        "imWidth": str(sparse.width),
        "imHeight": str(sparse.height),
        "imExt": ".jpg",
    }
    parser[SECTION] = {ENTRY: " ".join(map(str, sparse.frames)), CLASSES: json.dumps(labels.names)}
    with PartFile(folder / "gt.txt") as text, PartFile(folder / "seqinfo.ini") as info:
        text.part.write_text("".join(lines), encoding="utf-8")
        with info.part.open("w", encoding="utf-8") as file:
            parser.write(file)


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
    with PartFile(path) as file:
        file.part.write_text(json.dumps(tree, indent=1), encoding="utf-8")


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
    parser = read_ini(folder / "seqinfo.ini")
    file = folder / "gt.txt"
    table = read_table(file, 6, keyed=True)
    listed = parser.get(SECTION, ENTRY, fallback="").split()
    if parser.has_section(SECTION) and not (listed and all(part.isdecimal() for part in listed)):
        raise DataError(f"{folder / 'seqinfo.ini'}: 'frames' in [Labels] must list frame numbers, such as '1 11 21'.")
    names = _class_names(parser.get(SECTION, CLASSES, fallback=""), folder / "seqinfo.ini")
    labels = table_labels(file, table, truth=True, length=facts.length, names=names)
    frames = np.unique(np.array(listed, np.int64)) if listed else np.arange(1, labels.length + 1)
    return SparseLabels(facts.name, labels, frames, facts.fps, facts.width, facts.height)


def _class_names(text: str, path: Path) -> tuple[str, ...]:
    """Names as this package writes them, a JSON list, or as it wrote them before, separated by blanks."""
    if not text.lstrip().startswith("["):
        return tuple(text.split())
    try:
        names = json.loads(text)
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f'{path}: \'classes\' in [Labels] must be a list of names, such as ["person", "car"].')
    return tuple(names)


def _read_coco(path: Path) -> SparseLabels:
    try:
        tree = json.loads(path.read_text(encoding="utf-8-sig"))
        numbers = {item["id"]: _frame_of(item["file_name"]) for item in tree["images"]}
        names = {item["id"]: item["name"] for item in tree["categories"]}
        info = tree.get("info") or {}
        rows = LabelRows(LeftOut(path.name, "annotation"))
        for item in tree["annotations"]:
            rows.add(_coco_row(item, numbers, names), f"annotation {item.get('id')}")
        sizes = {(item.get("width") or 0, item.get("height") or 0) for item in tree["images"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} is no COCO file of labelled frames: {error!r}.") from error
    frames = np.unique(np.array(list(numbers.values()), np.int64))
    if len(frames) < len(numbers):
        raise DataError(f"{path}: two images have the same frame number in their names, which file_name must end in.")
    last, fps = info.get("frames"), info.get("fps")
    length: int = last if is_frame(last) else int(frames[-1]) if len(frames) else 0
    rate = float(fps) if isinstance(fps, int | float) and 0 < fps < 1e6 else 0.0
    try:
        labels = rows.labels(length)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    listed = tuple(name for name in names.values() if isinstance(name, str))
    labels = _in_order(labels, listed)
    width, height = sizes.pop() if len(sizes) == 1 else (0, 0)
    name = info.get("description") or path.stem
    return SparseLabels(str(name), labels, frames, rate, width, height)


def _in_order(labels: Labels, names: tuple[str, ...]) -> Labels:
    """The same with the file's own list of classes, those without a box too."""
    if not set(labels.names) <= set(names) or len(set(names)) < len(names):
        return labels
    places = np.array([names.index(name) for name in labels.names], np.int64)
    classes = places[labels.classes] if len(labels) else labels.classes
    return replace(labels, names=names, classes=classes)


def _frame_of(name: str) -> int:
    """The number that an image's name ends in: tools number images anew; the name they keep."""
    found = re.search(r"(\d{1,12})\D*$", Path(name).stem)
    if found is None or not is_frame(int(found[1])):
        raise ValueError(f"the image {name!r} has no frame number in its name")
    return int(found[1])


def _coco_row(item: dict[str, Any], numbers: dict[Any, int], names: dict[Any, str]) -> LabelRow:
    key = (item.get("attributes") or {}).get("track_id", item.get("track_id"))
    if isinstance(key, float) and key.is_integer():
        key = int(key)
    box: Any = item.get("bbox")
    if not (isinstance(box, list) and len(box) == 4 and all(isinstance(side, int | float) for side in box)):
        box = [float("nan")] * 4
    left, top, width, height = box
    corners = (left, top, left + width, top + height)
    return LabelRow(numbers.get(item.get("image_id")), key, names.get(item.get("category_id")), corners, 1.0)

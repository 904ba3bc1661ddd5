"""Names for the classes of files that do not carry any."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress

from alstm_ros.errors import ConfigError, ModelError
from alstm_ros.parameter_text import user_path

LONGEST_TEXT = 1_000_000
"""The most characters of a metadata's names that are read."""
LONGEST_NAME = 200
"""The most characters of a class name."""
MOST_NAMES = 30_000
"""The most classes of a model."""

COCO = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
"""The 80 classes of COCO (Lin et al., 2014) that have objects, in the order of their ids."""

_UNUSED = (0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
"""Ids below 91 that COCO never gave out; 0 is the background in torchvision."""


def _by_id() -> tuple[str, ...]:
    names = iter(COCO)
    return tuple(f"unused_{i}" if i in _UNUSED else next(names) for i in range(91))


COCO_BY_ID = _by_id()
"""The same 80 at their ids, which go up to 90: 91 names."""


def names_in_metadata(metadata: Mapping[str, str], model: str) -> tuple[str, ...]:
    """The class names that a file tells of itself; empty if none.

    Args:
        metadata: of the file: `classes` as we write them, `names` as Ultralytics does, such as `{0: 'person'}`.
        model: the file's name, for the sentences.

    Raises:
        ModelError: what is there cannot be names.
    """
    if own := tuple(name for name in metadata.get("classes", "").split("\n") if name):
        return own
    text = metadata.get("names", "")
    if not text.strip():
        return ()
    parsed = _parsed(text) if len(text) <= LONGEST_TEXT else None
    names = _in_order(parsed)
    reason = "it must be a list or a mapping from 0, 1, 2 ... to names" if names is None else _reason(names)
    if names is None or reason:
        shown = ascii(text if len(text) <= 60 else f"{text[:60]}...")
        raise ModelError(
            f"The metadata of the model file {model} tells the class names as {shown}, which cannot be read: {reason}. "
            "'detector.class_names' names them instead."
        )
    return names


def _parsed(text: str) -> object:
    """A literal of JSON or Python; None where it is neither."""
    broken = (ValueError, SyntaxError, TypeError, RecursionError, MemoryError)
    with suppress(*broken):
        return json.loads(text)
    with suppress(*broken):
        return ast.literal_eval(text)
    return None


def _in_order(parsed: object) -> tuple[str, ...] | None:
    """Names by class number; None where numbers are missing or no numbers."""
    if isinstance(parsed, Mapping):
        numbers = {str(key): value for key, value in parsed.items()}
        if len(parsed) > MOST_NAMES or set(numbers) != set(map(str, range(len(parsed)))):
            return None
        parsed = [numbers[str(i)] for i in range(len(parsed))]
    if not isinstance(parsed, list | tuple) or not parsed or not all(isinstance(n, str | int | float) for n in parsed):
        return None
    return tuple(map(str, parsed))


def _reason(names: Sequence[str]) -> str:
    """Why names cannot be used, in words; empty where they can."""
    if len(names) > MOST_NAMES:
        return f"it has {len(names)} names; {MOST_NAMES} are the most"
    for number, name in enumerate(names):
        if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
            return (
                f"class {number} must have a name of 1 to {LONGEST_NAME} printable characters in one line, not "
                f"{name[:60]!a}"
            )
    return ""


def class_list(asked: Sequence[str], metadata: Mapping[str, str], count: int, model: str) -> tuple[str, ...]:
    """The class names of a file.

    Args:
        asked: `detector.class_names`: the names, or one text file with a name on each line; empty for the file's own.
        metadata: of the file: `classes` as we write them, `names` as Ultralytics does.
        count: how many the outputs tell apart; 0 where they do not show it.
        model: the file's name, for the sentences.

    Raises:
        ConfigError: the file of names cannot be read, a name comes twice, or there are too few or too many.
        ModelError: what the file tells of itself cannot be names.
    """
    return fitting_names(asked_names(asked) or names_in_metadata(metadata, model), count, model)


def fitting_names(names: tuple[str, ...], count: int, model: str) -> tuple[str, ...]:
    """The names, COCO's or made up where there are none; see `class_list`.

    Raises:
        ConfigError: a name comes twice, or there are too few or too many.
    """
    if not names:
        known = {0: COCO, len(COCO): COCO, len(COCO_BY_ID): COCO_BY_ID}
        return known.get(count) or tuple(f"class_{i}" for i in range(count))
    if len(set(names)) < len(names) or (count and len(names) != count):
        raise ConfigError(
            f"There are {len(set(names))} different class names among {len(names)} for {model}, whose outputs tell "
            f"{count or 'an unknown number of'} classes apart; 'detector.class_names' must give each class a name of "
            "its own, in the order of the model's indices."
        )
    return names


def asked_names(asked: Sequence[str]) -> tuple[str, ...]:
    """The names of `detector.class_names`: a list, or one text file with a name on each line.

    Raises:
        ConfigError: the file cannot be read, or a name cannot be one.
    """
    if len(asked) != 1 or not asked[0].endswith((".txt", ".names")):
        return _checked(tuple(asked))
    path = user_path(asked[0])
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The class names of 'detector.class_names' cannot be read from {path}: {error}") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise ConfigError(f"The file {path} of 'detector.class_names' is empty; it must hold a name on each line.")
    return _checked(names)


def _checked(names: tuple[str, ...]) -> tuple[str, ...]:
    if reason := _reason(names):
        raise ConfigError(f"In 'detector.class_names', {reason}.")
    return names

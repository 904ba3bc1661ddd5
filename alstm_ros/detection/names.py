"""Names for the classes of files that do not carry any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alstm_ros.detection.decoders.yolo import class_names
from alstm_ros.errors import ConfigError
from alstm_ros.parameter_text import user_path

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


def class_list(asked: Sequence[str], metadata: Mapping[str, str], count: int, model: str) -> tuple[str, ...]:
    """The class names of a file.

    Args:
        asked: `detector.class_names`: the names, or one text file with a name on each line; empty for the file's own.
        metadata: of the file: `classes` as we write them, `names` as Ultralytics does.
        count: how many the outputs tell apart; 0 where they do not show it.
        model: the file's name, for the sentences.

    Raises:
        ConfigError: the file of names cannot be read, a name comes twice, or there are too few or too many.
    """
    own = tuple(name for name in metadata.get("classes", "").split("\n") if name) or class_names(metadata)
    names = asked_names(asked) or own
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
    """The names of `detector.class_names`, read from its file where it names one.

    Raises:
        ConfigError: the file cannot be read, or is empty.
    """
    if len(asked) != 1 or not asked[0].endswith((".txt", ".names")):
        return tuple(asked)
    path = user_path(asked[0])
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The class names of 'detector.class_names' cannot be read from {path}: {error}") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise ConfigError(f"The file {path} of 'detector.class_names' is empty; it must hold a name on each line.")
    return names

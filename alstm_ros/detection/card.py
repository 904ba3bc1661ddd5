"""What a detector's model file says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alstm_ros.detection.letterbox import FILL
from alstm_ros.detection.preprocess import PLACES
from alstm_ros.errors import ModelError

_REQUIRED = ("kind", "decoder", "classes", "height", "width", "multiple", "minimum", "color", "preprocess")


@dataclass(frozen=True, slots=True)
class ModelCard:
    """The metadata of an ONNX file.

    Attributes:
        decoder: name of the layout of its outputs, a key of `decoders.DECODERS`.
        classes: class names, by class index.
        height: rows in pixels at which it runs when nothing else is asked for.
        width: columns in pixels, likewise.
        multiple: what height and width must be multiples of.
        minimum: the smallest height and width that it takes.
        licence: of the weights.
        source: where the weights come from.
        training_data: what they were trained on.
        version: of the file.
        preprocess: `letterbox` where images are fitted into its input before; `inside` where the graph does so.
        place: where the image lies in the input, see `preprocess.Preprocess`.
        fill: grey of the padding.
        fixed: whether it takes no other size.
    """

    decoder: str
    classes: tuple[str, ...]
    height: int
    width: int
    multiple: int
    minimum: int
    licence: str
    source: str
    training_data: str
    version: str
    preprocess: str = "letterbox"
    place: str = "corner"
    fill: int = FILL
    fixed: bool = False

    @classmethod
    def read(cls, metadata: Mapping[str, str], name: str) -> ModelCard:
        """Checks metadata and takes it over.

        Args:
            metadata: the file's keys and values.
            name: the file's name, for the sentences.

        Raises:
            ModelError: a key is missing, or its value is not one that this version knows.
        """
        missing = [key for key in _REQUIRED if not metadata.get(key)]
        if missing:
            raise ModelError(
                f"The model file {name} does not describe itself: its metadata lacks {', '.join(missing)} "
                f"(it holds {', '.join(sorted(metadata)) or 'none'})."
            )
        allowed = {
            "kind": ("detector",),
            "color": ("bgr",),
            "preprocess": ("letterbox", "inside"),
            "place": PLACES,
            "fixed": ("true", "false"),
        }
        said = {"place": "corner", "fill": str(FILL), "fixed": "false"} | dict(metadata)
        for key, wanted in allowed.items():
            if said[key] not in wanted:
                words = " or ".join(f"'{value}'" for value in wanted)
                raise ModelError(f"The model file {name} says {key} '{said[key]}'; it must be {words}.")
        if not said["fill"].isdecimal() or int(said["fill"]) > 255:
            raise ModelError(f"The model file {name} says fill '{said['fill']}'; it must be a whole number up to 255.")
        height, width, multiple, minimum = (
            _size(metadata[key], key, name) for key in ("height", "width", "multiple", "minimum")
        )
        classes = tuple(metadata["classes"].split("\n"))
        if not all(classes) or len(set(classes)) < len(classes):
            raise ModelError(f"The model file {name} says classes {classes}; each must have a name of its own.")
        licence, source, training, version = (
            metadata.get(key, "") for key in ("licence", "source", "training_data", "version")
        )
        card = cls(
            metadata["decoder"], classes, height, width, multiple, minimum, licence, source, training, version,
            said["preprocess"], said["place"], int(said["fill"]), said["fixed"] == "true",
        )  # fmt: skip
        for key, size in (("height", card.height), ("width", card.width)):
            if reason := card.refusal(size):
                raise ModelError(f"The model file {name} says {key} {size}; it must be {reason}.")
        return card

    def refusal(self, size: int) -> str:
        """What a height or width must be, in words, where this one is not; empty where it is."""
        if size % self.multiple == 0 and size >= self.minimum:
            return ""
        return f"a multiple of {self.multiple} and at least {self.minimum}"


def _size(text: str, key: str, name: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ModelError(f"The model file {name} says {key} '{text}'; it must be a whole number above 0.")
    return int(text)

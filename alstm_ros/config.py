"""Every parameter of the node and of the `alstm` command. See `options` for how one declaration serves them all."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial

from alstm_ros.errors import ConfigError
from alstm_ros.options import option, validate
from alstm_ros.types import MAX_PIXELS

_unit = partial(option, low=0.0, high=1.0, live=True)
"""A number from 0 to 1 that may change while the node runs."""


class _Group:
    """A group of parameters that checks itself when it is made."""

    __slots__ = ()

    def __post_init__(self) -> None:
        """Checks every value.

        Raises:
            ConfigError: a value is refused.
        """
        validate(self)


@dataclass(frozen=True, slots=True)
class DetectorConfig(_Group):
    """`detector.*`: finding objects in one image."""

    model: str = option("default", "The detector's ONNX file: a path, or the name of one that comes with the package.")
    decoder: str = option(
        "auto",
        "Layout of the model's outputs, see docs/detectors.md; auto takes what the file says, else what its outputs "
        "look like.",
    )
    class_names: tuple[str, ...] = option(
        (),
        "Names of the model's classes in the order of its indices, or one .txt file with a name on each line; an empty "
        "list takes the file's own, or COCO's where their number fits.",
    )
    color: str = option(
        "auto",
        "Order of colours that the model takes; auto is its family's. Files that describe themselves take bgr.",
        choices=("auto", "bgr", "rgb"),
    )
    place: str = option(
        "auto",
        "Where the image lies in the model's input: in the top left corner, in the centre, or stretched over all of "
        "it; auto is its family's.",
        choices=("auto", "corner", "centre", "stretch"),
    )
    normalise: str = option(
        "auto",
        "What pixels become: none (0..255), unit (0..1), signed (-1..1), or mean and deviation of imagenet, caffe or "
        "centernet; auto is the model's family's.",
        choices=("auto", "none", "unit", "signed", "imagenet", "caffe", "centernet"),
    )
    height: int = option(
        0, "Height in pixels at which the network runs; 0 takes the model file's own.", low=0, high=4096
    )
    width: int = option(0, "Width in pixels at which the network runs; 0 takes the model file's own.", low=0, high=4096)
    score_threshold: float = _unit(
        0.1, "Detections below this score are dropped before the tracker sees them. Low ones still hold tracks."
    )
    nms_threshold: float = _unit(0.6, "A box goes when it overlaps a better one of its class by more than this IoU.")
    max_detections: int = option(
        300, "At most so many detections a frame, the best ones.", low=1, high=10000, live=True
    )
    classes: tuple[str, ...] = option(
        (), "Names of the classes to keep; an empty list keeps every class that the model knows.", live=True
    )


@dataclass(frozen=True, slots=True)
class AssociationConfig(_Group):
    """`association.*`: deciding which detection is which object."""

    model: str = option(
        "default",
        "The learned association's ONNX file: a path, or 'default' for the one that comes with the package; "
        "empty for the rules alone.",
    )
    runtime: str = option(
        "auto",
        "Where the live node runs the learned association: cpu; gpu (through TensorRT); auto measures both at start "
        "and takes the faster. The processor answers until the GPU is ready. Replays use the processor, so that they "
        "repeat.",
        choices=("auto", "cpu", "gpu"),
    )
    trust: float = _unit(
        0.7, "How far the learned association's corrections of costs count; 0 leaves the decisions to the rules."
    )
    max_cost: float = _unit(
        0.85, "A detection is never given to a track at a cost of this or more; without overlap it is 1 at least."
    )
    margin: float = option(
        0.4,
        "How far an object may be off its expected way, in box heights for each second between two frames.",
        low=0.0,
        high=10.0,
        live=True,
    )
    score_weight: float = option(
        0.15, "Cost of a score that differs by 1 from the track's last one.", low=0.0, high=2.0, live=True
    )
    low_score_penalty: float = _unit(0.2, "Added to the cost of a detection whose score is below `tracks.high_score`.")
    lost_penalty: float = _unit(0.05, "Added to the cost of a track that was not seen in the last frame.")
    lost_growth: float = _unit(
        0.04, "Added to the cost of a track for each second for which it was not seen, 3 at most."
    )
    common_motion: bool = option(
        default=True,
        doc="Take what all tracks do at once as the camera's motion, and move those that are not seen along with it.",
        live=True,
    )
    class_penalty: float = option(
        0.3, "Added to the cost where detection and track differ in class.", low=0.0, high=2.0, live=True
    )


@dataclass(frozen=True, slots=True)
class MotionConfig(_Group):
    """`motion.*`: what moves besides the objects."""

    camera: str = option(
        "auto",
        "Where the camera's own motion is read from, which tracks are moved along with. auto: from the images (optical "
        "flow of what no object covers) while the camera moves, at next to no cost while it stands. image: the same, "
        "without a look at whether it stands first. none: the camera stands still.",
        choices=("auto", "image", "none"),
        live=True,
        spellings=(("off", "none"), (False, "none"), (True, "auto")),  # YAML reads off as false and on as true
    )


@dataclass(frozen=True, slots=True)
class TracksConfig(_Group):
    """`tracks.*`: birth, life and death of tracks."""

    high_score: float = _unit(0.6, "Detections below this score only hold tracks that nothing better holds.")
    low_score: float = _unit(0.1, "Detections below this score are left alone.")
    birth_score: float = _unit(0.7, "A track is born only of a detection of at least this score.")
    birth_overlap: float = _unit(
        0.6, "No track is born of a detection that overlaps a tracked one by more than this IoU."
    )
    confirm_hits: int = option(
        2,
        "Detections after which a track is confirmed; those of the first frame are at once.",
        low=1,
        high=100,
        live=True,
    )
    confirm_score: float = _unit(0.85, "A newborn track of at least this score is confirmed at once.")
    lost_seconds: float = option(
        2.5, "A track that has not been detected for longer than this ends.", low=0.0, high=60.0, live=True
    )


@dataclass(frozen=True, slots=True)
class EngineConfig(_Group):
    """`engine.*`: what runs the model files."""

    threads: int = option(
        2, "Processor threads for a model on the CPU; 0 takes one for each physical core.", low=0, high=256
    )
    runtime: str = option(
        "auto",
        "What runs the models: onnxruntime (on the processor); cuda (ONNX Runtime's CUDA provider); tensorrt. The "
        "processor answers until the GPU is ready. auto is the best that is installed where a GPU answers.",
        choices=("auto", "onnxruntime", "cuda", "tensorrt"),
    )
    precision: str = option(
        "fp16",
        "What the GPU computes convolutions and matrix products in; the rest and the CPU stay at fp32.",
        choices=("fp16", "fp32"),
    )
    device: int = option(0, "Index of the GPU.", low=0, high=63)
    max_batch: int = option(
        4,
        "Largest batch that TensorRT builds for; at least the number of cameras. Larger ones go to ONNX Runtime.",
        low=1,
        high=64,
    )
    build_seconds: int = option(
        1800,
        "Seconds after which the process that builds and first runs a TensorRT engine is ended; ONNX Runtime then goes "
        "on answering.",
        low=1,
        high=86400,
    )
    cache_dir: str = option(
        "",
        "Folder for built TensorRT engines; empty is `alstm_ros` in the user's cache folder ($XDG_CACHE_HOME, "
        "~/.cache).",
    )


@dataclass(frozen=True, slots=True)
class InputConfig(_Group):
    """`input.*`: the image topics."""

    detections: str = option(
        "model",
        "Where detections come from: the model finds them in the image, or they are taken from the topic `detections` "
        "(vision_msgs/Detection2DArray) of another node; then no model is loaded, and no image is needed.",
        choices=("model", "topic"),
    )
    transport: str = option(
        "auto",
        "Whether the image topic carries sensor_msgs/Image (raw) or CompressedImage (compressed); auto looks.",
        choices=("auto", "raw", "compressed"),
    )
    reliability: str = option(
        "auto",
        "QoS reliability of the image subscription; auto follows the publishers found.",
        choices=("auto", "reliable", "best_effort"),
    )
    durability: str = option(
        "auto",
        "QoS durability of the image subscription; auto follows the publishers found.",
        choices=("auto", "volatile", "transient_local"),
    )
    timeout: float = option(
        3.0,
        "Seconds without an image after which the node says why; a slower camera's own period is learnt.",
        low=0.1,
        high=3600.0,
        live=True,
    )
    max_age: float = option(
        0.0,
        "Seconds from an image's stamp after which it is not processed any more; 0 takes images of any age.",
        low=0.0,
        high=3600.0,
        live=True,
    )
    max_pixels: int = option(
        MAX_PIXELS,
        "An image of more pixels than this is dropped before it is unpacked.",
        low=1,
        high=1_000_000_000,
        live=True,
    )


@dataclass(frozen=True, slots=True)
class OutputConfig(_Group):
    """`output.*`: what is published."""

    id_prefix: str = option("", "Text put before every id, such as the robot's name.")
    refined: bool = option(
        default=True,
        doc="Publish boxes and scores as the learned association refines them; false publishes them as detected. "
        "Without a learned association boxes are always the motion filter's, and scores are evened out.",
        live=True,
    )
    coast_seconds: float = option(
        0.2,
        "Seconds for which a well known object that is not detected is still published, where it is expected and with "
        "a falling score; 0 publishes only what is detected.",
        low=0.0,
        high=2.0,
        live=True,
    )
    overlay_scale: float = option(
        1.0, "Size of the overlay image relative to the camera's.", low=0.1, high=1.0, live=True
    )
    jpeg_quality: int = option(80, "JPEG quality of `~/overlay/compressed`.", low=1, high=100, live=True)


@dataclass(frozen=True, slots=True)
class Config(_Group):
    """All of it."""

    autostart: bool = option(
        default=True, doc="Configure and activate at start; false leaves that to a lifecycle manager."
    )
    cameras: tuple[str, ...] = option(
        (), "Names of the cameras, each with its own image topic and tracks; an empty list is one unnamed camera."
    )
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    association: AssociationConfig = field(default_factory=AssociationConfig)
    motion: MotionConfig = field(default_factory=MotionConfig)
    tracks: TracksConfig = field(default_factory=TracksConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    input: InputConfig = field(default_factory=InputConfig)
    output: OutputConfig = field(default_factory=OutputConfig)

    def __post_init__(self) -> None:
        """Checks every value, and that the cameras' names can be part of topic names.

        Raises:
            ConfigError: a value is refused.
        """
        _Group.__post_init__(self)  # super() without arguments does not work in a slotted dataclass
        for name in self.cameras:
            if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name) or self.cameras.count(name) > 1:
                msg = (
                    f"Parameter 'cameras' is {list(self.cameras)!r}; each name must be a letter, then letters, digits "
                    "and underscores, since it becomes part of topic names, and none may come twice."
                )
                raise ConfigError(msg)

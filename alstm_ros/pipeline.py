"""One frame's way: images to detections to tracks. The live node and every replay call this and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from alstm_ros.association.learned.associator import configured
from alstm_ros.association.tracker import IdCounter, TrackManager
from alstm_ros.camera_motion import CameraMotion
from alstm_ros.config import Config
from alstm_ros.engines.status import EngineStatus
from alstm_ros.types import Affine, Detections, FrameResult, Image


class Detector(Protocol):
    """Finds objects in a batch of images."""

    @property
    def classes(self) -> Sequence[str]:
        """Class names, by class index."""
        ...

    @property
    def status(self) -> EngineStatus:
        """What runs the model now."""
        ...

    def __call__(self, images: Sequence[Image]) -> list[Detections]:
        """Detections of each image, in that image's pixels, best score first."""
        ...

    def check(self, config: Config) -> None:
        """Refuses what `configure` would refuse, and changes nothing.

        Raises:
            ConfigError: a value does not fit to this detector.
        """
        ...

    def configure(self, config: Config) -> None:
        """Takes over the thresholds and the class filter.

        Raises:
            ConfigError: a value does not fit to this detector; nothing changes then.
        """
        ...

    def settle(self) -> None:
        """Waits until the runtime that will answer is chosen, so that two runs over one recording cannot differ."""
        ...

    def close(self) -> None:
        """Frees the model; it cannot detect afterwards."""
        ...


@dataclass(frozen=True, slots=True)
class Frame:
    """One image of one camera.

    Attributes:
        image: `(H, W, 3)` uint8 BGR.
        stamp_ns: when it was taken, nanoseconds.
        camera: the camera's name; empty for the only one.
        frame_id: the coordinate frame that the image's header names; only carried along.
    """

    image: Image
    stamp_ns: int
    camera: str = ""
    frame_id: str = ""


@dataclass(frozen=True, slots=True)
class DetectionFrame:
    """What a detector found in one image that need not be at hand.

    Attributes:
        detections: of this frame.
        stamp_ns: when the image was taken, nanoseconds.
        camera_motion: `(2, 3)`, pixels of the previous frame to this one's; None where unknown.
        camera: the camera's name; empty for the only one.
        frame_id: the coordinate frame that the header names; only carried along.
        image: `(H, W, 3)` uint8 BGR, the image of that moment, where there is one: the camera's motion is read from it.
    """

    detections: Detections
    stamp_ns: int
    camera_motion: Affine | None = None
    camera: str = ""
    frame_id: str = ""
    image: Image | None = None


AnyFrame = Frame | DetectionFrame


class Pipeline:
    """Detector, and one tracker and one follower of its own motion for each camera; ids are unique over all cameras."""

    def __init__(self, config: Config, detector: Detector, ids: IdCounter | None = None, *, live: bool = False) -> None:
        """Makes the trackers.

        Args:
            config: all parameters.
            detector: finds the objects; shared by all cameras.
            ids: where ids come from, so that they can go on over several pipelines; a new counter when None.
            live: whether `association.runtime` counts; a replay's association stays on the processor.
        """
        self._detector = detector
        ids = ids or IdCounter()
        self._association = configured(config, live=live)
        self._trackers = {camera: TrackManager(config, ids, self._association()) for camera in config.cameras or ("",)}
        self._motions = {camera: CameraMotion(config.motion.camera) for camera in self._trackers}

    @property
    def detector(self) -> Detector:
        """What detections come from."""
        return self._detector

    @property
    def classes(self) -> Sequence[str]:
        """Class names, by class index."""
        return self._detector.classes

    @property
    def status(self) -> EngineStatus:
        """What runs the detector now."""
        return self._detector.status

    def process(self, frame: AnyFrame) -> FrameResult:
        """Detects and tracks in one frame."""
        return self.process_batch([frame])[0]

    def process_batch(self, frames: Sequence[AnyFrame]) -> list[FrameResult]:
        """Detects in all frames at once, then tracks each; a camera's frames are taken in the order given."""
        found = self.detect(frames)
        return [self.track(frame, detections) for frame, detections in zip(frames, found, strict=True)]

    def detect(self, frames: Sequence[AnyFrame]) -> list[Detections]:
        """The first half: detections of each frame, as one batch; those that a frame brings with it are taken."""
        images = [frame.image for frame in frames if isinstance(frame, Frame)]
        found = iter(self._detector(images) if images else ())
        return [next(found) if isinstance(frame, Frame) else frame.detections for frame in frames]

    def track(self, frame: AnyFrame, detections: Detections) -> FrameResult:
        """The second half: takes a frame's detections into its camera's tracks."""
        moved = frame.camera_motion if isinstance(frame, DetectionFrame) else None
        if frame.image is not None and moved is None:
            moved = self._motions[frame.camera](frame.image, detections.boxes, frame.stamp_ns)
        return self._trackers[frame.camera].update(detections, frame.stamp_ns, moved)

    def check(self, config: Config) -> None:
        """Refuses parameters that `configure` would refuse, and changes nothing.

        Raises:
            ConfigError: the detector refuses a value.
        """
        self._detector.check(config)

    def configure(self, config: Config) -> None:
        """Takes over the parameters that may change while running; tracks and ids stay.

        Raises:
            ConfigError: the detector refuses a value; nothing changes then.
        """
        self._detector.configure(config)
        for tracker in self._trackers.values():
            tracker.configure(config)
        for motion in self._motions.values():
            motion.configure(config.motion.camera)

    def reset(self) -> None:
        """Ends every track; ids go on from where they were."""
        for tracker in self._trackers.values():
            tracker.reset()
        for motion in self._motions.values():
            motion.reset()

    def close(self) -> None:
        """Frees the detector; nothing can be processed afterwards."""
        self._detector.close()
        self._association.close()

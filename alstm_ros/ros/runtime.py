"""All that a configured node holds: the pipeline, its worker, and each camera's subscription and publishers."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node

from alstm_ros.config import Config
from alstm_ros.detection.given import GivenDetections
from alstm_ros.engines import EngineStatus
from alstm_ros.errors import ConfigError
from alstm_ros.pipeline import Pipeline
from alstm_ros.ros.diagnostics import CameraDiagnostics
from alstm_ros.ros.frame_reader import FrameReader
from alstm_ros.ros.input import CameraInput
from alstm_ros.ros.mailbox import Arrival, Mailbox
from alstm_ros.ros.output import CameraOutput
from alstm_ros.ros.statistics import CameraStatistics
from alstm_ros.ros.worker import CameraStages, Worker

FRAME_TIMEOUT = 30.0
"""How many seconds stopping waits for the frame in work, so that nothing is published afterwards."""


class Runtime:
    """What a configured node runs; its cameras are subscribed to between `start` and `stop`."""

    def __init__(self, node: Node, config: Config, pipeline: Pipeline) -> None:
        """Makes the publishers and starts the worker.

        Args:
            node: owns publishers and subscriptions.
            config: all parameters.
            pipeline: detects and tracks.
        """
        names = config.cameras or ("",)
        self._pipeline = pipeline
        self._mailbox = Mailbox(names)
        self._statistics = {name: CameraStatistics() for name in names}
        self._inputs = {name: CameraInput(node, name, config.input, self) for name in names}
        self._outputs = {name: CameraOutput(node, name, config, pipeline.classes) for name in names}
        self._refuse_own_topics(node)
        given = pipeline.detector if isinstance(pipeline.detector, GivenDetections) else None
        self._readers = {name: FrameReader(node, name, config, given) for name in names}
        stages = {
            name: CameraStages(self._readers[name], self._outputs[name], self._statistics[name]) for name in names
        }
        self._worker = Worker(node, config, pipeline, self._mailbox, stages)
        what = "image" if given is None else "detections"
        place = node.get_fully_qualified_name().lstrip("/")
        self._diagnostics = [
            CameraDiagnostics(
                f"{place}: {name}/{what}" if name else f"{place}: {what}",
                self._inputs[name],
                self._statistics[name],
                node,
            )
            for name in names
        ]

    def _refuse_own_topics(self, node: Node) -> None:
        """Raises ConfigError where an image topic is one that the node itself publishes."""
        own = {publisher.topic_name for publisher in node.publishers}
        for source in self._inputs.values():
            if source.topic in own:
                for output in self._outputs.values():
                    output.close()
                raise ConfigError(
                    f"The images would come from {source.topic}, which this node publishes itself; remap image to the "
                    "camera's topic."
                )

    def start(self) -> None:
        """Subscribes."""
        for source in self._inputs.values():
            source.start()
        for reader in self._readers.values():
            reader.look()

    def stop(self) -> None:
        """Frees the subscriptions and waits for the frame in work; nothing is published afterwards."""
        for source in self._inputs.values():
            source.stop()
        for reader in self._readers.values():
            reader.stop()
        self._mailbox.drain(FRAME_TIMEOUT)

    def close(self) -> None:
        """Ends the worker and frees the publishers and the model."""
        self.stop()
        self._worker.close()
        self._pipeline.close()
        for output in self._outputs.values():
            output.close()

    def look(self) -> None:
        """Follows the publishers of every image topic that is subscribed to."""
        for name, source in self._inputs.items():
            if source.source is not None:
                source.look()
                self._readers[name].look()

    def check(self, config: Config) -> None:
        """Refuses what `configure` would refuse, and changes nothing.

        Raises:
            ConfigError: the detector refuses a value.
        """
        self._pipeline.check(config)

    def configure(self, config: Config) -> None:
        """Takes over the live parameters before the next frame; `check` has taken them."""
        self._worker.configure(config)
        for source in self._inputs.values():
            source.options = config.input
        for output in self._outputs.values():
            output.configure(config)

    def reset(self) -> None:
        """Ends every track before the next frame; ids go on."""
        self._worker.reset()

    @property
    def engine(self) -> EngineStatus:
        """What runs the detector now."""
        return self._pipeline.status

    @property
    def batch(self) -> int:
        """How many images go through the detector at once."""
        return self._worker.batch

    def statuses(self) -> list[DiagnosticStatus]:
        """The state of each camera."""
        return [camera.status() for camera in self._diagnostics]

    def deliver(self, arrival: Arrival) -> None:
        """Takes an image that came."""
        statistics = self._statistics[arrival.camera]
        statistics.age("receipt", arrival.age_ns)
        statistics.receive(arrival.stamp_ns, replaces=self._mailbox.put(arrival))

    def lose(self, camera: str, images: int) -> None:
        """Takes note of images that were lost on the way."""
        self._statistics[camera].lose(images)

"""The thread in which images become results, so that the executor stays free for clock, services and parameters."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass

from rclpy.node import Node

from alstm_ros.config import Config
from alstm_ros.detection.given import GivenDetections
from alstm_ros.errors import AlstmError, ImageError
from alstm_ros.pipeline import AnyFrame, Pipeline
from alstm_ros.ros.batching import measure_batch_size
from alstm_ros.ros.frame_reader import FrameReader
from alstm_ros.ros.mailbox import Arrival, Mailbox
from alstm_ros.ros.output import CameraOutput
from alstm_ros.ros.statistics import CameraStatistics
from alstm_ros.types import SECOND, Detections


@dataclass(frozen=True, slots=True)
class CameraStages:
    """What stands before and behind the pipeline for one camera.

    Attributes:
        read: makes a frame of a message.
        output: publishes the results.
        statistics: counts and timings.
    """

    read: FrameReader
    output: CameraOutput
    statistics: CameraStatistics


class Worker:
    """Takes images from the mailbox, runs the pipeline on them and publishes.

    Attributes:
        batch: how many images go through the detector at once.
    """

    def __init__(
        self, node: Node, config: Config, pipeline: Pipeline, mailbox: Mailbox, cameras: Mapping[str, CameraStages]
    ) -> None:
        """Starts the thread.

        Args:
            node: whose log is written to.
            config: all parameters.
            pipeline: detects and tracks.
            mailbox: where images come from; closing it ends the thread.
            cameras: where frames come from and results go, by camera.
        """
        self.batch = 1
        self._node = node
        self._options = config.input
        self._pipeline = pipeline
        self._mailbox = mailbox
        self._cameras = cameras
        self._runtime: str | None = None  # for which `batch` was measured
        self._said: set[str] = set()
        self._lock = threading.Lock()  # the pipeline's: held while it works on a frame, or is changed
        self._thread = threading.Thread(target=self._run, name="alstm worker", daemon=True)
        self._thread.start()

    def configure(self, config: Config) -> None:
        """Takes over the live parameters before the next frame; waits for the one in work."""
        with self._lock:
            self._pipeline.configure(config)
            self._options = config.input
            for camera in self._cameras.values():
                camera.read.configure(config)

    def reset(self) -> None:
        """Ends every track before the next frame."""
        with self._lock:
            self._pipeline.reset()

    def close(self) -> None:
        """Ends the thread after the frame in work."""
        self._mailbox.close()
        self._thread.join()

    def _run(self) -> None:
        self._measure()
        while arrivals := self._mailbox.take(self.batch):
            if not self._try(arrivals) and len(arrivals) > 1:
                for arrival in arrivals:  # one camera's failure is not another's
                    self._try([arrival])
            self._measure()

    def _measure(self) -> None:
        """Measures whether batches gain, at start and when another runtime has taken over."""
        runtime = self._pipeline.status.runtime
        if runtime == self._runtime or len(self._cameras) == 1 or isinstance(self._pipeline.detector, GivenDetections):
            return
        self._runtime = runtime
        try:
            with self._lock:
                self.batch = measure_batch_size(self._pipeline.detector, len(self._cameras))
        except Exception as error:  # noqa: BLE001  # a dead thread would leave a node that looks alive and is not
            self._warn(error)

    def _try(self, arrivals: list[Arrival]) -> bool:
        """Processes images; returns False where that failed."""
        try:
            with self._lock:
                self._process(arrivals)
        except Exception as error:  # noqa: BLE001  # a dead thread would leave a node that looks alive and is not
            if not self._node.context.ok():  # after a signal, publishing fails, and that is nothing to report
                return True
            if len(arrivals) == 1:
                self._cameras[arrivals[0].camera].statistics.fail()
                self._warn(error)
            return False
        return True

    def _process(self, arrivals: list[Arrival]) -> None:
        began = time.monotonic_ns()
        good: list[tuple[Arrival, AnyFrame]] = []
        for arrival in arrivals:
            statistics = self._cameras[arrival.camera].statistics
            statistics.time("wait", began - arrival.received_ns)
            if self._is_old(arrival, began):
                statistics.drop_old()
                continue
            frame = self._read(arrival)
            if frame is not None:
                good.append((arrival, frame))
        if not good:
            return
        before = time.monotonic_ns()
        found = self._pipeline.detect([frame for _, frame in good])
        after = time.monotonic_ns()
        for (arrival, frame), detections in zip(good, found, strict=True):
            statistics = self._cameras[arrival.camera].statistics
            statistics.time("detect", after - before)
            statistics.age("inference start", arrival.age_at(before))
            statistics.age("inference end", arrival.age_at(after))
            self._finish(arrival, frame, detections)

    def _finish(self, arrival: Arrival, frame: AnyFrame, detections: Detections) -> None:
        """Tracks and publishes at once, whoever else was in the batch."""
        end = self._cameras[arrival.camera]
        began = time.monotonic_ns()
        end.statistics.process(arrival.stamp_ns)
        result = self._pipeline.track(frame, detections)
        tracked = time.monotonic_ns()
        end.output.publish(arrival.message.header, frame.image, result)
        now = time.monotonic_ns()
        end.statistics.time("track", tracked - began)
        end.statistics.time("publish", now - tracked)
        end.statistics.time("total", now - arrival.received_ns)
        end.statistics.age("publishing", arrival.age_at(now))
        end.statistics.finish(len(result.tracks))

    def _is_old(self, arrival: Arrival, now_ns: int) -> bool:
        age, limit = arrival.age_at(now_ns), self._options.max_age
        return age is not None and limit > 0 and age > limit * SECOND

    def _read(self, arrival: Arrival) -> AnyFrame | None:
        """The frame, or None where its image is damaged; the damage is counted, and its cause told once."""
        camera = self._cameras[arrival.camera]
        before = time.monotonic_ns()
        try:
            frame = camera.read(arrival)
        except ImageError as error:
            camera.statistics.damage(error)
            self._warn_once(f"{arrival.camera} {error.cause}", f"An image is dropped: {error}")
            return None
        camera.statistics.time("convert", time.monotonic_ns() - before)
        return frame

    def _warn(self, error: Exception) -> None:
        told = str(error) if isinstance(error, AlstmError) else "".join(traceback.format_exception(error))
        self._warn_once(type(error).__name__, f"A frame could not be processed: {told}")

    def _warn_once(self, cause: str, sentence: str) -> None:
        """Warns once for each cause; there are as many as there are kinds of errors, whatever a sender does."""
        if cause not in self._said:
            self._said.add(cause)
            self._node.get_logger().warning(sentence)

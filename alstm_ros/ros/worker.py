"""The thread in which images become results, so that the executor stays free for clock, services and parameters."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rclpy.impl.rcutils_logger import RcutilsLogger

from alstm_ros.config import Config
from alstm_ros.errors import AlstmError, ImageError
from alstm_ros.pipeline import AnyFrame, Pipeline
from alstm_ros.ros.frame_reader import FrameReader
from alstm_ros.ros.mailbox import Arrival, Mailbox
from alstm_ros.ros.output import CameraOutput
from alstm_ros.ros.statistics import CameraStatistics
from alstm_ros.types import FrameResult


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
    """Takes images from the mailbox, runs the pipeline on them and publishes."""

    def __init__(
        self,
        pipeline: Pipeline,
        mailbox: Mailbox,
        cameras: Mapping[str, CameraStages],
        logger: RcutilsLogger,
        running: Callable[[], bool],
    ) -> None:
        """Starts the thread.

        Args:
            pipeline: detects and tracks.
            mailbox: where images come from; closing it ends the thread.
            cameras: where frames come from and results go, by camera.
            logger: the node's.
            running: whether ROS still runs in this process.
        """
        self._pipeline = pipeline
        self._mailbox = mailbox
        self._cameras = cameras
        self._logger = logger
        self._running = running
        self._said: set[str] = set()
        self._lock = threading.Lock()  # the pipeline's: held while it works on a frame, or is changed
        self._thread = threading.Thread(target=self._run, name="alstm worker", daemon=True)
        self._thread.start()

    def configure(self, config: Config) -> None:
        """Takes over the live parameters before the next frame; waits for the one in work.

        Raises:
            ConfigError: the detector refuses a value, such as a class that its model does not know.
        """
        with self._lock:
            self._pipeline.configure(config)

    def reset(self) -> None:
        """Ends every track before the next frame."""
        with self._lock:
            self._pipeline.reset()

    def close(self) -> None:
        """Ends the thread after the frame in work."""
        self._mailbox.close()
        self._thread.join()

    def _run(self) -> None:
        while arrivals := self._mailbox.take():
            self._try(arrivals)

    def _try(self, arrivals: list[Arrival]) -> None:
        try:
            self._process(arrivals)
        except Exception as error:  # noqa: BLE001  # a dead thread would leave a node that looks alive and is not
            if self._running():  # after a signal, publishing fails, and that is nothing to report
                self._fail(arrivals, error)

    def _process(self, arrivals: list[Arrival]) -> None:
        began = time.monotonic_ns()
        good: list[tuple[Arrival, AnyFrame]] = []
        for arrival in arrivals:
            self._cameras[arrival.camera].statistics.time("wait", began - arrival.received_ns)
            frame = self._read(arrival)
            if frame is not None:
                good.append((arrival, frame))
        if not good:
            return
        frames = [frame for _, frame in good]
        with self._lock:
            before = time.monotonic_ns()
            found = self._pipeline.detect(frames)
            detected = time.monotonic_ns() - before
            results: list[tuple[Arrival, AnyFrame, FrameResult]] = []
            for (arrival, frame), detections in zip(good, found, strict=True):
                before = time.monotonic_ns()
                results.append((arrival, frame, self._pipeline.track(frame, detections)))
                statistics = self._cameras[arrival.camera].statistics
                statistics.processing(arrival.stamp_ns)
                statistics.time("track", time.monotonic_ns() - before)
                statistics.time("detect", detected)
        for arrival, frame, result in results:
            before = time.monotonic_ns()
            self._cameras[arrival.camera].output.publish(arrival.message.header, frame.image, result)
            now = time.monotonic_ns()
            statistics = self._cameras[arrival.camera].statistics
            statistics.time("publish", now - before)
            statistics.time("total", now - arrival.received_ns)
            statistics.tracks = len(result.tracks)
            statistics.processed += 1

    def _read(self, arrival: Arrival) -> AnyFrame | None:
        """The frame, or None where its image is damaged; the damage is counted, and its cause told once."""
        statistics = self._cameras[arrival.camera].statistics
        before = time.monotonic_ns()
        try:
            frame = self._cameras[arrival.camera].read(arrival)
        except ImageError as error:
            statistics.damaged[error.cause] += 1
            statistics.sentences[error.cause] = str(error)
            self._warn_once(f"{arrival.camera} {error.cause}", f"An image is dropped: {error}")
            return None
        statistics.time("convert", time.monotonic_ns() - before)
        return frame

    def _fail(self, arrivals: list[Arrival], error: Exception) -> None:
        for arrival in arrivals:
            self._cameras[arrival.camera].statistics.failed += 1
        told = str(error) if isinstance(error, AlstmError) else traceback.format_exc()
        self._warn_once(f"{type(error).__name__}", f"A frame could not be processed: {told}")

    def _warn_once(self, cause: str, sentence: str) -> None:
        if cause not in self._said:
            self._said.add(cause)
            self._logger.warning(sentence)

"""The whole path once, for real: a video, played by one process, tracked by the node in another, recorded by this one.

Leaves in the output folder `annotated.mp4`, `bag/` (mcap; `ros2 bag play` takes it), `summary.json` and `node.log`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import FrameType

import numpy as np
import rclpy
from demo_processes import NodeProcess, PlayerProcess, ProcessError, Sent, running
from demo_recorder import Recorder, open_bag
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from tqdm import tqdm

from alstm_ros.drawing import Mark, Overlay
from alstm_ros.errors import AlstmError, DataError
from alstm_ros.recordings.video import Video
from alstm_ros.recordings.video_sink import VideoWriter
from alstm_ros.ros.transport import SETTING, VARIABLE

ROOT = Path(__file__).resolve().parents[1]
FPS = 25.0  # where the video itself tells no rate
START = 60.0  # s, for the node to load its model; reached only where something is wrong
SETTLE = 0.5  # s, for the last of the node's publishers to find this process too
REST = 3.0  # s after the last frame; what is not answered by then counts as dropped


def track(args: argparse.Namespace, recorder: Recorder, total: int | None) -> dict[int, Sent]:
    """Plays the video through the node while the recorder listens.

    Returns:
        What was sent, by stamp.

    Raises:
        ProcessError: the node or the player ended early, or never got ready.
    """
    executor = SingleThreadedExecutor()
    executor.add_node(recorder)

    def listen(seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        end = time.monotonic() + seconds
        while not (done := until()) and time.monotonic() < end:
            node.check()
            executor.spin_once(timeout_sec=0.05)
        return done

    with running(NodeProcess(args.output / "node.log")) as node:
        if not listen(START, lambda: recorder.ready):
            raise ProcessError(f"The node is not ready after {START:g} s. {node.story()}")
        listen(SETTLE)
        player = PlayerProcess(args.video, args.frames, args.rate)
        with running(player), progress("tracking", total) as bar:
            while player.playing:
                listen(0.2)
                bar.update(len(recorder.results) - bar.n)
            listen(REST, lambda: len(recorder.results) >= len(player.sent))
            bar.update(len(recorder.results) - bar.n)
        if player.code:
            raise ProcessError(f"The player ended with exit code {player.code}; it said why above.")
        ended_ns = time.monotonic_ns()
        listen(START, lambda: recorder.counted_ns > ended_ns)  # it tells its counts each second
    return player.sent


def annotate(args: argparse.Namespace, recorder: Recorder, sent: dict[int, Sent]) -> None:
    """Draws what was received on the video's frames, by stamp; a frame without a result keeps the last one's."""
    stamps = {one.number: stamp_ns for stamp_ns, one in sent.items()}
    overlay, writer = Overlay(), VideoWriter(args.output / "annotated.mp4")
    marks: list[Mark] = []
    try:
        for number, frame in progress("drawing", len(sent), islice(Video(args.video, FPS), len(sent))):
            marks = recorder.marks.get(stamps[number], marks)
            writer.write(overlay.draw(frame.image, stamps[number], marks), stamps[number])
    finally:
        writer.close()


def summarise(video: Path, recorder: Recorder, sent: dict[int, Sent]) -> dict[str, object]:
    """The run in numbers; what the node itself counted stands in `node`."""
    results = {stamp: result for stamp, result in recorder.results.items() if stamp in sent}
    latency = [(result.received_ns - sent[stamp].sent_ns) / 1e6 for stamp, result in results.items()]
    return {
        "video": video.name,
        "first_stamp_ns": min(sent),  # of the video's first frame; ties the bag to the video
        "frames_sent": len(sent),
        "frames_processed": len(results),
        "frames_dropped": len(sent) - len(results),
        "latency_ms_p50": round(float(np.percentile(latency, 50)), 2),
        "latency_ms_p99": round(float(np.percentile(latency, 99)), 2),
        "objects_seen": len({key for result in results.values() for key in result.ids}),
        "node": recorder.counts,
    }


def demo(args: argparse.Namespace) -> dict[str, object]:
    """Runs all of it and returns the summary.

    Raises:
        AlstmError: the video cannot be read, or a process did not do its part.
    """
    video = Video(args.video, FPS)
    if next(iter(video), None) is None:
        raise DataError(f"{args.video} holds no frame that can be decoded.")
    total = min((count for count in (video.length, args.frames) if count), default=None)
    args.output.mkdir(parents=True, exist_ok=True)
    for name in ("annotated.mp4", "summary.json"):
        (args.output / name).unlink(missing_ok=True)
    shutil.rmtree(args.output / "bag", ignore_errors=True)
    domain = os.environ["ROS_DOMAIN_ID"]
    print(f"Playing {args.video} through the node; to watch its topics, set ROS_DOMAIN_ID={domain}.", file=sys.stderr)
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    bag = open_bag(args.output / "bag")
    try:
        recorder = Recorder("/alstm", bag)
        sent = track(args, recorder, total)
    finally:
        bag.close()
        rclpy.try_shutdown()
    if not recorder.results:
        raise ProcessError(f"None of the {len(sent)} frames was answered; {args.output / 'node.log'} may say why.")
    annotate(args, recorder, sent)
    summary = summarise(args.video, recorder, sent)
    (args.output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return summary


def progress(title: str, total: int | None, frames: object = None) -> tqdm:
    """A bar on a terminal, a line now and then in a log."""
    interval = 0.2 if sys.stderr.isatty() else 10
    return tqdm(frames, desc=title, total=total, unit=" frames", mininterval=interval)


def set_environment(*, large_data: bool) -> None:
    """What the processes inherit: a domain where nobody else's topics mix in, and transports that large images pass."""
    os.environ.setdefault("ROS_DOMAIN_ID", str(free_domain()))
    if large_data:
        os.environ[VARIABLE] = SETTING


def free_domain() -> int:
    """A ROS domain that nobody on this machine is in: one whose port for discovery (RTPS 2.2, 9.6.1.1) is not bound."""
    for domain in (1 + (os.getpid() + step) % 100 for step in range(100)):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
            probe.bind(("", 7400 + 250 * domain))
            return domain
    raise ProcessError("Each of the ROS domains 1 to 100 is in use here; set ROS_DOMAIN_ID to choose one all the same.")


def stop(number: int, _frame: FrameType | None) -> None:
    """Ends in good order on a signal."""
    raise SystemExit(128 + number)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo and prints the summary; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--video", type=Path, default=ROOT / ".cache" / "vtest.avi")
    parser.add_argument("--output", type=Path, default=ROOT / "demo")
    parser.add_argument("--frames", type=int, help="only so many")
    parser.add_argument("--rate", type=float, default=1.0, help="speed relative to the video's own")
    parser.add_argument("--no-large-data", action="store_true", help="leave Fast DDS's transports as they are")
    args = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        set_environment(large_data=not args.no_large_data)
        summary = demo(args)
    except AlstmError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; the bag holds what came until then.", file=sys.stderr)
        return 130
    print(
        f"\n{summary['frames_sent']} frames sent, {summary['frames_processed']} processed, "
        f"{summary['frames_dropped']} dropped\n"
        f"latency, publishing to receiving: p50 {summary['latency_ms_p50']} ms, p99 {summary['latency_ms_p99']} ms\n"
        f"{summary['objects_seen']} objects seen\n"
        f"{args.output}: annotated.mp4, bag, summary.json, node.log"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

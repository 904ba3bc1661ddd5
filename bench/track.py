"""How fast `alstm track` is, and how much memory it takes: `bench/track.py --json`, parts named by --part.

detections: text in, text out, one core.
video: all that `alstm track VIDEO --output x.txt` does between its first frame and the finished file (decoding, colour
conversion, detection, tracking, text, progress) against the detector's own time: the detector as the node opens it,
`engine.threads` on each frame, called with the same frames one by one, which is letterbox, network, decoding of its
outputs, thresholds and suppression. Frames "in memory" were decoded before; "decoded" they are by the same thread, as a
plain loop over a video does. Loading the model counts nowhere. The three take turns, --repeats times; the ratio is that
of the medians, and each turn's is told. It means something only on an idle machine. `alstm track` has as many frames in
the detector at once as the node has threads on one, so it can be faster than the detector alone.
bits: of how many of the video's frames the detections that `alstm track` makes so differ from the node's, in any bit.
memory: peak of a process that tracks a bag of --gigabytes, which is made and deleted again.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter

from alstm_ros.config import Config
from alstm_ros.detection import load_detector
from alstm_ros.options import replace as change
from alstm_ros.recordings.detector_pool import DetectorPool
from alstm_ros.recordings.interfaces import typestore
from alstm_ros.recordings.mot import MotDetections
from alstm_ros.recordings.prefetch import Prefetched
from alstm_ros.recordings.replay import detection_step, image_step, replay
from alstm_ros.recordings.sinks import RunInfo
from alstm_ros.recordings.sources import Window
from alstm_ros.recordings.video import Video

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 8
PARTS = ("detections", "video", "bits", "memory")
FIELDS = ("boxes", "scores", "classes", "features")


def best(function: Callable[[], float]) -> float:
    """The shortest of a few runs: what others do on this machine only ever adds time."""
    return min(function() for _ in range(REPEATS))


def detections(folder: Path, model: str) -> dict[str, Any]:
    """Frames a minute over MOT17's sequences with their detections, on one core, with a learned association or none."""
    config = change(Config(), {"association.model": model})
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    frames, seconds = 0, 0.0
    with tempfile.TemporaryDirectory() as out:
        for sequence in sorted(folder.iterdir()):
            source = MotDetections(sequence / "det.txt", sequence / "seqinfo.ini", sequence / "gmc.txt")

            def once(source: MotDetections = source) -> float:
                step = detection_step(config)
                return replay(source, step, [Path(out) / "x.txt"], RunInfo(("pedestrian",)), quiet=True).seconds

            frames += source.length
            seconds += best(once)
    os.sched_setaffinity(0, cores)
    return {
        "association": model or "rules",
        "frames": frames,
        "frames_per_minute": round(60 * frames / seconds),
        "ms_per_frame": 1000 * seconds / frames,
    }


def video(path: Path, count: int, model: str, repeats: int) -> dict[str, Any]:
    """What decoding, tracking and writing add to the detector."""
    config = change(Config(), {"association.model": model})
    detector, pool = load_detector(config), DetectorPool.open(load_detector, config)
    frames = [frame for _, frame in islice(Video(path, 10), count)]

    def in_memory() -> None:
        for frame in frames:
            detector([frame.image])

    def decoded() -> None:
        for _, frame in islice(Video(path, 10), count):
            detector([frame.image])

    with tempfile.TemporaryDirectory() as out:

        def everything() -> None:
            part = Prefetched(Window(Video(path, 10), f"1-{count}"))
            replay(part, image_step(config, pool), [Path(out) / "x.txt"], RunInfo(detector.classes))

        in_memory()  # the first call fills caches
        turns = [[timed(work) for work in (in_memory, decoded, everything)] for _ in range(repeats)]
    alone, loop, whole = (statistics.median(column) for column in zip(*turns, strict=True))
    return {
        "frames": count,
        "detector_ms_per_frame": 1000 * alone / count,
        "decoded_ms_per_frame": 1000 * loop / count,
        "track_ms_per_frame": 1000 * whole / count,
        "over_in_memory_percent": 100 * (whole / alone - 1),
        "over_in_memory_percent_each": sorted(100 * (turn[2] / turn[0] - 1) for turn in turns),
        "over_decoded_percent": 100 * (whole / loop - 1),
        "over_decoded_percent_each": sorted(100 * (turn[2] / turn[1] - 1) for turn in turns),
    }


def bits(path: Path) -> dict[str, Any]:
    """Whether several frames at once, each on one thread, come out as one by one on several threads."""
    detector, pool = load_detector(Config()), DetectorPool.open(load_detector, Config())
    frames = differing = found = 0
    for (_, frame), many in pool.walk(Video(path, 10), lambda item: pool.detector([item[1].image])[0]):
        [one] = detector([frame.image])
        same = (getattr(one, name).tobytes() == getattr(many, name).tobytes() for name in FIELDS)
        frames, differing, found = frames + 1, differing + (not all(same)), found + len(one)
    return {"threads": Config().engine.threads, "frames": frames, "detections": found, "frames_that_differ": differing}


def timed(work: Callable[[], None]) -> float:
    """Seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def memory(gigabytes: float) -> dict[str, Any]:
    """Peak resident memory of `alstm track` on a bag of 1080p images."""
    with tempfile.TemporaryDirectory() as folder:
        bag = Path(folder) / "big.mcap"
        frames = write_big_bag(bag, gigabytes)
        size = bag.stat().st_size
        call = [sys.executable, "-m", "alstm_ros.cli", "track", str(bag), "--output", f"{folder}/x.txt", "--json"]
        done = subprocess.run(call, cwd=ROOT, check=True, stdout=subprocess.PIPE)
        tracked = json.loads(done.stdout)["runs"][0]["frames"]
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return {"bag_gigabytes": size / 1e9, "frames": frames, "tracked": tracked, "peak_gigabytes": peak / 1e9}


def write_big_bag(path: Path, gigabytes: float) -> int:
    """Writes raw 1080p images of moving noise, one after the other; returns how many."""
    store = typestore()
    types = store.types
    kind = "sensor_msgs/msg/Image"
    noise = np.random.default_rng(0).integers(0, 255, (1080, 1920, 3), np.uint8)
    count = max(round(gigabytes * 1e9 / noise.nbytes), 1)
    with path.open("wb") as file:
        writer = McapWriter(file, compression=CompressionType.NONE)
        writer.start(profile="ros2")
        schema = writer.register_schema(kind, "ros2msg", store.generate_msgdef(kind, ros_version=2)[0].encode())
        channel = writer.register_channel("/camera/image_raw", "cdr", schema)
        for number in range(count):
            stamp_ns = 1_700_000_000_000_000_000 + number * 33_333_333
            stamp = types["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
            message = types[kind](
                header=types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera"),
                height=1080,
                width=1920,
                encoding="bgr8",
                is_bigendian=0,
                step=5760,
                data=np.roll(noise, 7 * number, axis=1).reshape(-1),
            )
            writer.add_message(channel, stamp_ns, bytes(store.serialize_cdr(message, kind)), stamp_ns)
        writer.finish()
    return count


def main() -> None:
    """Runs the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=PARTS, help="default: all")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "mot17", help="MOT17 sequences")
    parser.add_argument("--video", type=Path, default=ROOT / ".cache" / "vtest.avi", help="the video")
    parser.add_argument("--frames", type=int, default=200, help="how many of its frames")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="how often the video is run")
    parser.add_argument("--gigabytes", type=float, default=10.0, help="size of the bag")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    parts = args.part or PARTS
    found: dict[str, Any] = {}
    if "detections" in parts:
        found["detections"] = detections(args.data, "")
        found["detections_learned"] = detections(args.data, "default")
    if "video" in parts:
        found["video"] = video(args.video, args.frames, Config().association.model, args.repeats)
    if "bits" in parts:
        found["bits"] = bits(args.video)
    if "memory" in parts:
        found["memory"] = memory(args.gigabytes)
    if args.json:
        print(json.dumps(found, indent=2))
        return
    for part, numbers in found.items():
        print(part, *(f"{name}={value}" for name, value in numbers.items()))


if __name__ == "__main__":
    main()

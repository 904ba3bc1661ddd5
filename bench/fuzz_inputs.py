"""Mutates bags, MOT text, parameter files, models and videos, and looks what becomes of each.

    dev/run python -m bench.fuzz_inputs --count 10000 --json docs/measurements/fuzz_inputs.json
    dev/run python -m bench.fuzz_inputs --kind video --seed 123            # one input again, with what is wrong

An outcome is wrong when it is a traceback (anything raised but a sentence of the package's own), the end of the
process, a hang, growth of memory, or less than an untouched reader of the same library gets where nothing is told. The
seed of an input makes its base and its mutation, so that a number is all that has to be kept.

Untouched readers: for bags rosbags' own Reader, for MOT text a count of the lines that hold seven finite numbers, for
parameter files PyYAML, for videos PyAV's `decode`. What they refuse counts nothing. Models have none: of them only the
metadata is mutated, and the boxes must be finite and of a class that has a name.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import multiprocessing
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from tqdm import tqdm

from alstm_ros import detection
from alstm_ros.config import Config
from alstm_ros.errors import AlstmError
from alstm_ros.evaluation.scoring import score_sequence
from alstm_ros.options import replace
from alstm_ros.parameter_text import load_config
from alstm_ros.recordings.interfaces import typestore
from alstm_ros.recordings.mot import read_labels
from alstm_ros.recordings.sources import open_source
from alstm_ros.recordings.track_files import SequenceTracks
from alstm_ros.recordings.video import Video
from alstm_ros.types import SECOND

HANG = 30
"""Seconds after which an input hangs."""
GROWTH = 1 << 30
"""Bytes that one input may add to the process' peak of memory."""
FRAMES = 12
"""Frames of each recording that is mutated."""
WORDS = "nan inf -1 0 1e308 99999999999999999999 -0.0 , # : &a *a { [ null ~ true 1e3 % ros__parameters /**"
TOKENS = (
    *(word.encode() for word in WORDS.split()),
    b"",
    b" ",
    b"\x00",
    b"\xff\xfe",
    b"\r\n",
    b"\t",
    b"\n\n",
    b"9" * 400,
)
"""What is put in the place of words of a text."""


class Wrong(Exception):  # noqa: N818  # an outcome, not a failure of this program
    """An outcome that is wrong."""


def mutated(content: bytes, rng: np.random.Generator, *, text: bool) -> bytes:
    """A content changed in one to eight places, a text in at most three."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 4 if text else 9))):
        place = int(rng.integers(0, len(data) + 1))
        length = int(rng.choice([1, 2, 4] if text else [1, 2, 4, 16, 200]))
        kind = int(rng.integers(0, 7))
        if text and kind in {0, 2}:
            kind = 5 if rng.random() < 0.9 else kind
        if kind == 0:
            data[place : place + length] = rng.bytes(min(length, max(len(data) - place, 0)))
        elif kind == 1:
            del data[place : place + length]
        elif kind == 2:
            data[place:place] = data[max(place - length, 0) : place]
        elif kind == 3 and rng.random() < 0.3:
            del data[place:]
        elif kind == 4 and place < len(data):
            data[place] ^= 1 << int(rng.integers(0, 8))
        elif text:
            end = place
            while end < len(data) and data[end : end + 1].isalnum():
                end += 1
            data[place:end] = TOKENS[int(rng.integers(0, len(TOKENS)))]
        else:
            number = rng.choice([0, 1, 255, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**63 - 1])
            data[place : place + length] = int(number).to_bytes(8, "little")[:length]
    return bytes(data)


@cache
def bag_content(suffix: str) -> bytes:
    """A bag of small images, as one file."""
    store = typestore()
    types = store.types
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bag"
        storage = StoragePlugin.MCAP if suffix == ".mcap" else StoragePlugin.SQLITE3
        with Writer(path, version=9, storage_plugin=storage) as writer:
            kind = "sensor_msgs/msg/Image"
            connection = writer.add_connection("/image", kind, typestore=store)
            for number in range(FRAMES):
                time_type = types["builtin_interfaces/msg/Time"]
                header = types["std_msgs/msg/Header"](stamp=time_type(sec=number + 1, nanosec=0), frame_id="camera")
                pixels = np.full(8 * 6 * 3, number, np.uint8)
                image = types[kind](header, height=6, width=8, encoding="bgr8", is_bigendian=0, step=24, data=pixels)
                writer.write(connection, (number + 1) * SECOND, store.serialize_cdr(image, kind))
        return next(path.glob(f"*{suffix}")).read_bytes()


def check_bag(path: Path, rng: np.random.Generator) -> None:
    """Images of a bag."""
    suffix = str(rng.choice([".mcap", ".db3"]))
    file = path / f"x{suffix}"
    file.write_bytes(mutated(bag_content(suffix), rng, text=False))
    source = open_source(file)
    frames = sum(1 for _ in source)
    if source.problems:
        return
    with contextlib.suppress(Exception), Reader(file) as reader:
        wanted = [one for one in reader.connections if one.topic == "/image"]
        count = sum(1 for _ in reader.messages(wanted)) if wanted else 0
        if frames < count:
            raise Wrong(f"{frames} frames, nothing is told, and rosbags reads {count}")


@cache
def mot_content() -> bytes:
    """Tracks of three objects."""
    rows = [f"{f},{k},{100 * k + f},{50 + f},40,90,0.9,-1,-1,-1" for f in range(1, 31) for k in (1, 2, 3)]
    return ("\n".join(rows) + "\n").encode()


def check_mot(path: Path, rng: np.random.Generator) -> None:
    """Tracks in text, and their scores against the text as it was."""
    truth, file = path / "gt.txt", path / "x.txt"
    truth.write_bytes(mot_content())
    content = mutated(mot_content(), rng, text=True)
    file.write_bytes(content)
    labels = read_labels(file, truth=False)
    count = 0
    for line in content.decode("utf-8", "replace").splitlines():
        cells = line.split("#")[0].split(",")
        with contextlib.suppress(ValueError):
            count += len(cells) >= 7 and all(math.isfinite(float(cell)) for cell in cells[:7])
    if len(labels) < count and not labels.problems:
        raise Wrong(f"{len(labels)} rows, nothing is told, and {count} lines hold seven numbers")
    target = SequenceTracks("x", read_labels(truth, truth=False, length=max(labels.length, 30)))
    result = SequenceTracks("x", labels.stretched(max(labels.length, 30)))
    if labels.length > 1000:  # TrackEval takes a second for some thousand frames
        return
    numbers = score_sequence(target, result, "none").score.numbers
    if not all(math.isfinite(value) for value in numbers.values()):
        raise Wrong(f"scores that are no numbers: {numbers}")


@cache
def yaml_content() -> bytes:
    """Parameters of two nodes."""
    return b"""# of a robot
/**:
  ros__parameters:
    use_sim_time: true
    qos_overrides: {/image: {subscription: {reliability: best_effort}}}
robot1:
  alstm:
    ros__parameters:
      tracks: {birth_score: 0.6, confirm_hits: 3}
      tracks.lost_seconds: 2.0
      cameras: [front, rear]
      detector.class_names: ["person", 'car']
  usb_cam:
    ros__parameters:
      framerate: 30.0
"""


def check_yaml(path: Path, rng: np.random.Generator) -> None:
    """A parameter file."""
    file = path / "x.yaml"
    content = mutated(yaml_content(), rng, text=True)
    file.write_bytes(content)
    config = load_config(file)
    with contextlib.suppress(Exception):
        tree = yaml.safe_load(content)
        given = tree["robot1"]["alstm"]["ros__parameters"]["tracks"]["birth_score"]
        later = any(key in content for key in (b"tracks.birth", b"alstm/", b"/alstm"))
        plain = isinstance(given, float) and not later and content.count(b"birth_score") == 1
        if plain and config.tracks.birth_score != given:
            raise Wrong(f"birth_score is {config.tracks.birth_score}; PyYAML reads {given}")


@cache
def onnx_content() -> bytes:
    """A detector of one box, with the metadata that exporters write."""
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 32, 32])
    output = helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 6, 21])
    rows = np.zeros((1, 6, 21), np.float32)
    rows[0, :, 3] = [16, 16, 8, 8, 0.9, 0.1]
    constant = helper.make_tensor("rows", TensorProto.FLOAT, rows.shape, rows.tobytes(), raw=True)
    zero = helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0])
    nodes = [
        helper.make_node("ReduceMax", ["images"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "zero"], ["nothing"]),
        helper.make_node("Add", ["rows", "nothing"], ["output0"]),
    ]
    graph = helper.make_graph(nodes, "tiny", [image], [output], [constant, zero])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(
        model,
        {
            "names": "{0: 'person', 1: 'car'}",
            "task": "detect",
            "stride": "32",
            "imgsz": "[32, 32]",
            "author": "Ultralytics",
            "batch": "1",
            "channels": "3",
            "args": "{'batch': 1, 'half': False, 'dynamic': False, 'nms': False}",
        },
    )
    return bytes(model.SerializeToString())


def check_onnx(path: Path, rng: np.random.Generator) -> None:
    """A model whose metadata is mutated; its weights and its graph stay."""
    model = onnx.load_from_string(onnx_content())
    for entry in model.metadata_props:
        if rng.random() < 0.4:
            entry.value = mutated(entry.value.encode(), rng, text=True).decode("utf-8", "replace")
        if rng.random() < 0.05:
            entry.key = mutated(entry.key.encode(), rng, text=True).decode("utf-8", "replace")
    file = path / "x.onnx"
    file.write_bytes(model.SerializeToString())
    config = replace(Config(), {"detector.model": str(file), "engine.runtime": "onnxruntime", "engine.threads": 1})
    detector = detection.load_detector(config)
    try:
        found = detector([np.zeros((32, 32, 3), np.uint8)])[0]
        if not np.isfinite(found.boxes).all() or (len(found) and found.classes.max() >= len(detector.classes)):
            raise Wrong(f"boxes {found.boxes.tolist()} of classes {found.classes.tolist()}")
    finally:
        detector.close()


@cache
def video_content(suffix: str, codec: str) -> bytes:
    """A video with B-frames."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix}"
        with av.open(str(path), "w", options={"movflags": "faststart"} if suffix == ".mp4" else {}) as container:
            stream = container.add_stream(codec, rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            if codec != "mjpeg":
                stream.options = {"bf": "2", "g": "6"}
            else:
                stream.pix_fmt = "yuvj420p"
            for number in range(FRAMES):
                picture = np.full((48, 64, 3), 20 * number, np.uint8)
                picture[8:40, 3 * number : 3 * number + 20] = 255 - picture[8:40, 3 * number : 3 * number + 20]
                frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
                frame.pts, frame.time_base = number, Fraction(1, 10)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path.read_bytes()


def check_video(path: Path, rng: np.random.Generator) -> None:
    """Frames of a video."""
    suffix = str(rng.choice([".mp4", ".avi", ".mkv", ".ts"]))
    codec = str(rng.choice(["libx264", "mpeg4", "mjpeg"] if suffix in {".avi", ".mkv"} else ["libx264", "mpeg4"]))
    file = path / f"x{suffix}"
    file.write_bytes(mutated(video_content(suffix, codec), rng, text=False))
    source = Video(file, 10)
    stamps = [frame.stamp_ns for _, frame in source]
    if any(a >= b for a, b in pairwise(stamps)):
        raise Wrong("stamps that do not ascend")
    if source.problems:
        return
    count = 0
    with contextlib.suppress(Exception), av.open(str(file)) as container:
        for _ in container.decode(video=0):
            count += 1
    if len(stamps) < count:
        raise Wrong(f"{len(stamps)} frames, nothing is told, and PyAV decodes {count}")


KINDS: dict[str, Callable[[Path, np.random.Generator], None]] = {
    "bag": check_bag,
    "mot": check_mot,
    "yaml": check_yaml,
    "onnx": check_onnx,
    "video": check_video,
}


def outcome(kind: str, seed: int) -> tuple[str, str]:
    """What becomes of one input: `read`, `refused` or `wrong`, and what is wrong."""
    rng = np.random.default_rng([list(KINDS).index(kind), seed])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory(prefix="alstm-fuzz-") as folder:
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                KINDS[kind](Path(folder), rng)
        except AlstmError as error:
            return ("wrong", f"an empty sentence: {error!r}") if not str(error).strip() else ("refused", "")
        except Wrong as error:
            return "wrong", str(error)
        except Exception:  # noqa: BLE001  # this is what is looked for
            return "wrong", traceback.format_exc()
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    return ("wrong", f"memory grew by {grown >> 20} MiB") if grown > GROWTH else ("read", "")


def work(kind: str, first: int, last: int, answers: Any) -> None:
    """Tries these seeds in a process of its own, which a mutated file may end."""

    def hang(_number: int, _frame: object) -> None:
        raise Wrong(f"a hang of {HANG} seconds")

    signal.signal(signal.SIGALRM, hang)
    for seed in range(first, last):
        answers.put((seed, "begun", ""))
        signal.alarm(HANG)
        answer = outcome(kind, seed)
        signal.alarm(0)
        answers.put((seed, *answer))


@dataclass(slots=True)
class Tally:
    """What became of the inputs of one kind."""

    read: int = 0
    refused: int = 0
    wrong: dict[int, str] = field(default_factory=dict)

    def count(self, seed: int, what: str, why: str) -> None:
        """Takes one outcome."""
        self.read += what == "read"
        self.refused += what == "refused"
        if what == "wrong":
            self.wrong[seed] = why


def outcomes(kind: str, first: int, last: int) -> Iterator[tuple[int, str, str]]:
    """The outcome of each seed; a process that ends or stands still is replaced, and its input is wrong."""
    context = multiprocessing.get_context("spawn")
    while first < last:
        answers = context.Queue()
        process = context.Process(target=work, args=(kind, first, last, answers), daemon=True)
        process.start()
        begun, since = first, time.monotonic()
        while first < last:
            try:
                seed, what, why = answers.get(timeout=1)
            except Exception:  # noqa: BLE001  # queue.Empty, and what a process that dies leaves in the pipe
                still = time.monotonic() - since
                if process.is_alive() and still < 2 * HANG + 30:
                    continue
                how = (
                    f"a hang of {still:.0f} seconds"
                    if process.is_alive()
                    else f"the process ended with {process.exitcode}"
                )
                yield begun, "wrong", how
                first = begun + 1
                break
            begun, since = seed, time.monotonic()
            if what != "begun":
                yield seed, what, why
                first = seed + 1
        process.kill()
        process.join()


def main() -> int:
    """Runs; 0 where nothing is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=KINDS, action="append", help="of input; may be repeated (default: all)")
    parser.add_argument("--count", type=int, default=1000, help="inputs of each kind (default 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--json", type=Path, help="write what came of it")
    args = parser.parse_args()
    first, last = (args.first, args.first + args.count) if args.seed is None else (args.seed, args.seed + 1)
    tallies = {}
    for kind in args.kind or KINDS:
        tally = tallies[kind] = Tally()
        for seed, what, why in tqdm(outcomes(kind, first, last), total=last - first, desc=kind, mininterval=2):
            tally.count(seed, what, why)
            if what == "wrong":
                sys.stdout.write(f"{kind} {seed}: {why}\n")
        sys.stdout.write(f"{kind}: {tally.read} read, {tally.refused} refused, {len(tally.wrong)} wrong\n")
        sys.stdout.flush()
    if args.json:
        table = {
            kind: {"seeds": [first, last], "read": tally.read, "refused": tally.refused, "wrong": tally.wrong}
            for kind, tally in tallies.items()
        }
        args.json.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    return 1 if any(tally.wrong for tally in tallies.values()) else 0


if __name__ == "__main__":
    sys.exit(main())

"""Hashes of what the package produces: `bench/golden.py --json before.json`, later `--against before.json`.

    dev/run python -m bench.golden --json before.json
    dev/run python -m bench.golden --against before.json

A change that must not change results has the same hashes before and after. Everything is driven from outside, through
the `alstm` command and the node's process, so modules may move and change their names. Each part is one of:

models: the ONNX files that come with the package.
export: `alstm export` of third-party detectors, and the letterbox moved into the package's own.
build: what TensorRT-RTX makes of the detector, in both precisions, as its report tells: the engine's key in the cache
and its layers. The engine's own bytes differ from build to build.
mot17: `alstm track` on MOT17's detections with the network and with the rules alone, as MOT text and as JSON lines.
video: `alstm track` on vtest.avi from pixels, as text, JSON lines and MCAP; and 100 frames with camera motion.
decoders: `alstm track` on 20 of its frames with third-party detectors as they are.
bootstrap: `alstm bootstrap` of 150 of its frames, with stitching and without.
train: 50 steps of `alstm train`.
ensemble: few steps of two networks, and of one that learns what they say.
fine_tune: few steps of `alstm train --from` on what `alstm bootstrap` wrote.
detector: 6 steps of a detector's training.
live: the messages of the node for 60 frames of vtest.avi, published one by one over DDS, each after the last answer.

Everything runs on the CPU and on one thread, so hashes repeat on one machine. Between processors, and between versions
of ONNX Runtime, torch, NumPy and OpenCV, floating point differs: only `models` must be the same everywhere; `export` is
wherever the same version of onnx writes. For each ONNX file there is a hash of its bytes and one of its weights (its
initialisers by name), so that a change of metadata can be told from one of numbers.

What is missing on a machine leaves its part out, with a reason. The exit code is 0; 1 where a hash differs from
`--against`, or a part is left out on one side only; 2 where a part failed.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
FIXED = {
    "CUDA_VISIBLE_DEVICES": "",
    "FASTDDS_BUILTIN_TRANSPORTS": "DEFAULT?sockets_size=16MB",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
}
"""Environment of every process: one thread, no GPU, and a transport that carries whole images."""
ON_ONE_THREAD = ("--set", "engine.threads=1", "--set", "engine.runtime=onnxruntime")
"""Options of every command that runs a detector."""
LIVE_FRAMES = 60
"""Number of frames that the live node is given."""
PERIOD = 100_000_000
"""Nanoseconds between two frames of vtest.avi."""
LIBRARIES = ("numpy", "onnx", "onnxruntime", "opencv-python-headless", "scipy", "torch", "tensorrt-rtx")
"""Distributions whose versions may change hashes."""

Hashes = dict[str, str]


class LeftOutError(Exception):
    """A part cannot run on this machine; the text says why."""


class FailedError(Exception):
    """A command failed; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a part finds and leaves its files.

    Attributes:
        shared: folder of data, images and models that are not part of the project.
        video: vtest.avi.
        work: an empty folder; commands run in it, with relative names, so that no path of a machine is hashed.
    """

    shared: Path
    video: Path
    work: Path

    def link(self, path: Path) -> str:
        """Makes a file or folder known in the work folder; returns its name there.

        Raises:
            LeftOutError: it is not there.
        """
        if not path.exists():
            raise LeftOutError(f"there is no {path.name} in {path.parent.name}/")
        if not (self.work / path.name).exists():
            (self.work / path.name).symlink_to(path.resolve())
        return path.name

    def alstm(self, *arguments: str) -> str:
        """Runs the command in the work folder; returns what it printed.

        Raises:
            FailedError: it did not end with 0.
        """
        command = [sys.executable, "-m", "alstm_ros.cli", *arguments]
        environment = os.environ | FIXED | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(self.work / "cache")}
        done = subprocess.run(command, cwd=self.work, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise FailedError(f"alstm {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout

    def hashes(self, pattern: str) -> Hashes:
        """Hashes of the files in the work folder that fit a pattern, by name.

        Raises:
            FailedError: there is none.
        """
        found = hashes_of(sorted(self.work.glob(pattern)), self.work)
        if not found:
            raise FailedError(f"nothing wrote {pattern}")
        return found


def sha(*chunks: bytes) -> str:
    """SHA-256 of bytes, as hexadecimal text."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def hashes_of(paths: Sequence[Path], base: Path) -> Hashes:
    """Hashes of files, by their names relative to a folder; of ONNX files their weights' as well."""
    found: Hashes = {}
    for path in paths:
        name = path.relative_to(base).as_posix()
        found[name] = sha(path.read_bytes())
        if path.suffix == ".onnx":
            found[f"{name} weights"] = weights(path)
    return found


def weights(path: Path) -> str:
    """Hash of an ONNX file's initialisers: names, types, shapes and values, in the order of their names."""
    import onnx  # noqa: PLC0415  # parts that read no ONNX file do without
    from onnx import numpy_helper  # noqa: PLC0415

    tensors = sorted(onnx.load(path).graph.initializer, key=lambda tensor: tensor.name)
    return sha(
        *(
            f"{tensor.name} {tensor.data_type} {list(tensor.dims)}".encode() + numpy_helper.to_array(tensor).tobytes()
            for tensor in tensors
        )
    )


def needs(*modules: str) -> None:
    """Leaves a part out where a Python package is missing.

    Raises:
        LeftOutError: one is.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise LeftOutError(f"the Python package {module} is not installed")


def models(_: Place) -> Hashes:
    """The files that come with the package, by name: the folder may move."""
    return {
        name: value
        for path in sorted((ROOT / "alstm_ros").rglob("*.onnx"))
        for name, value in hashes_of([path], path.parent).items()
    }


def export(place: Place) -> Hashes:
    """Each third-party file with each place of the letterbox, and once with each other option."""
    needs("onnx")
    options = {"letterbox": ("--preprocess", "letterbox"), "inside": ("--preprocess", "inside")}
    others = {"cells": ("--features", "cells"), "none": ("--features", "none", "--top-k", "100")}
    own = next((ROOT / "alstm_ros").rglob("detector.onnx"))
    place.alstm("export", place.link(own), "--output", "own_inside.onnx", *options["inside"])
    (place.work / own.name).unlink()
    for path in third_party(place):
        name = place.link(path)
        sized = {"sized": ("--size", "320x416", "--licence", "Apache-2.0")} if "dyn" in name else {}
        for label, given in {**options, **others, **sized}.items():
            place.alstm("export", name, "--output", f"{path.stem}_{label}.onnx", *given)
        (place.work / name).unlink()
    return place.hashes("*.onnx")


def third_party(place: Place) -> list[Path]:
    """The third-party detectors.

    Raises:
        LeftOutError: there is none.
    """
    found = sorted((place.shared / "models").glob("*.onnx"))
    if not found:
        raise LeftOutError("there are no third-party detectors in shared/models/")
    return found


def build(place: Place) -> Hashes:
    """The engine's key in the cache and its layers, for a GPU that need not be there."""
    needs("onnx", "tensorrt_rtx")
    found: Hashes = {}
    for precision in ("fp16", "fp32"):
        options = ("--set", f"engine.precision={precision}", "--set", f"engine.cache_dir={precision}")
        report = json.loads(place.alstm("build", "default", "--capability", "8.6", "--json", *options))["engines"][0]
        [engine] = sorted((place.work / precision).rglob("*.engine"))
        found[f"{precision} key"] = sha(engine.stem.encode())
        found[f"{precision} layers"] = sha(json.dumps([report["shapes"], report["layers"]], sort_keys=True).encode())
    return found


def mot17(place: Place) -> Hashes:
    """Detections in, tracks out."""
    folder = place.shared / "data" / "mot17"
    if not folder.is_dir():
        raise LeftOutError("there is no mot17 in shared/data/")
    sources = [place.link(path) for path in sorted(folder.iterdir())]
    for label, model in (("network", "default"), ("rules", "")):
        outputs = ("--output", f"{label}_{{name}}.txt", "--output", f"{label}_{{name}}.jsonl")
        place.alstm("track", *sources, *outputs, *ON_ONE_THREAD, "--set", f"association.model={model}")
    return place.hashes("*_MOT17*.*")


def video(place: Place) -> Hashes:
    """Pixels in, tracks out."""
    source = place.link(place.video)
    outputs = [word for suffix in ("txt", "jsonl", "mcap") for word in ("--output", f"whole.{suffix}")]
    place.alstm("track", source, *outputs, *ON_ONE_THREAD)
    moving = ("--frames", "1-100", "--set", "motion.camera=image")
    place.alstm("track", source, "--output", "camera_motion.txt", *moving, *ON_ONE_THREAD)
    return place.hashes("whole.*") | place.hashes("camera_motion.*")


def decoders(place: Place) -> Hashes:
    """Third-party detectors as they are."""
    source = place.link(place.video)
    for path in third_party(place):
        model = ("--set", f"detector.model={place.link(path)}")
        place.alstm("track", source, "--output", f"{path.stem}.jsonl", "--frames", "1-20", *model, *ON_ONE_THREAD)
    return place.hashes("*.jsonl")


def bootstrap(place: Place) -> Hashes:
    """Training pairs of a recording that nobody labelled."""
    for label, options in (("plain", ()), ("stitched", ("--stitch",))):
        bootstrapped(place, label, *options)
    return place.hashes("plain/*.npz") | place.hashes("stitched/*.npz")


def bootstrapped(place: Place, output: str, *options: str) -> None:
    """Bootstraps the first 150 frames of the video."""
    frames = place.work / "frames"
    if not frames.exists():
        write_frames(place.video, frames, 150)
    given = ("--fps", "10", "--cache", "detections", *options, *ON_ONE_THREAD)
    place.alstm("bootstrap", "frames", "--output", output, *given)


def write_frames(source: Path, folder: Path, count: int) -> None:
    """Writes the first frames of a video as PNG, which loses nothing."""
    import cv2  # noqa: PLC0415  # parts without pixels do without

    folder.mkdir()
    for number, image in enumerate(read_frames(source, count), 1):
        cv2.imwrite(str(folder / f"{number:06d}.png"), image)


def read_frames(source: Path, count: int) -> Iterator[Any]:
    """The first frames of a video, `(H, W, 3)` uint8 BGR.

    Raises:
        LeftOutError: there is no video.
    """
    import cv2  # noqa: PLC0415

    if not source.is_file():
        raise LeftOutError(f"there is no {source.name} in {source.parent.name}/; `make video` fetches it")
    capture = cv2.VideoCapture(str(source))
    for _ in range(count):
        good, image = capture.read()
        if not good:
            raise FailedError(f"{source.name} ends before frame {count}")
        yield image


SHORT = ("batch=4", "recorders=1", "data.clips=4", "data.frames=60")
"""Changes that make a training's run one of seconds."""


def train(place: Place) -> Hashes:
    """The first steps of the association's training, one network."""
    values = association_run()
    for name in ("ensemble", "members", "merge"):
        values.pop(name, None)
    (place.work / "run.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    place.alstm("train", "run.yaml", "steps=[50]", *SHORT, "batch=8", "--output", "run")
    return place.hashes("run/association.onnx")


def ensemble(place: Place) -> Hashes:
    """Two networks of two phases, and the one that is made of them."""
    values = association_run()
    count = "ensemble" if "ensemble" in values else "members"
    values |= {count: 2, "steps": [6, 6], "merge": [4, 4]}
    (place.work / "run.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    place.alstm("train", "run.yaml", *SHORT, "--output", "run")
    return place.hashes("run/association.onnx")


def association_run() -> dict[str, Any]:
    """The run that made the package's own network; what a key is called in it may change.

    Raises:
        LeftOutError: torch is missing.
    """
    needs("torch")
    values: dict[str, Any] = yaml.safe_load((ROOT / "config" / "train.yaml").read_text(encoding="utf-8"))
    return values


def fine_tune(place: Place) -> Hashes:
    """The package's own network, trained further; `phase0` is what was trained, whether it was kept or not."""
    needs("torch")
    bootstrapped(place, "own")
    place.alstm("train", "--from", "own", "steps=[10]", *SHORT, "data.simulated=0.5", "--output", "run")
    return place.hashes("run/*.onnx")


def detector(place: Place) -> Hashes:
    """The first steps of a detector's training, from nothing, on small images."""
    needs("torch")
    listed = place.shared / "images" / "annotations.jsonl"
    if not listed.is_file():
        raise LeftOutError("there is no annotations.jsonl in shared/images/")
    rows = [json.loads(line) for line in listed.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if row["file"].startswith("coco256/")]
    chosen = [row for row in rows if row["split"] == "train"][:12] + [row for row in rows if row["split"] == "test"][:4]
    (place.work / "images" / "coco256").mkdir(parents=True)
    for row in chosen:
        shutil.copyfile(listed.parent / row["file"], place.work / "images" / row["file"])
    lines = "\n".join(json.dumps(row) for row in chosen)
    (place.work / "images" / "annotations.jsonl").write_text(lines, encoding="utf-8")
    shutil.copyfile(ROOT / "config" / "detector.yaml", place.work / "detector.yaml")
    small = ("batch=2", "steps=6", "warmup=0", "data.height=96", "data.width=128", "height=192", "width=192")
    place.alstm("train", "detector.yaml", "data.images=images", "precision=fp32", *small, "--output", "run")
    return place.hashes("run/*.onnx")


def live(place: Place) -> Hashes:
    """The node over real DDS: each frame is published when the answer to the one before is there."""
    needs("rclpy", "rosbags", "vision_msgs")
    images = list(read_frames(place.video, LIVE_FRAMES))
    sys.path.insert(0, str(ROOT / "test"))
    # The tests' own participant, which knows how to wait for both sides to have found each other.
    from ros_harness import Camera, Ros  # noqa: PLC0415
    from ros_messages import image_message  # noqa: PLC0415
    from ros_process import PATIENCE, NodeProcess, domain  # noqa: PLC0415
    from std_srvs.srv import Trigger  # noqa: PLC0415

    os.environ.update(FIXED)
    parameters: dict[str, object] = {"engine.threads": 1, "engine.runtime": "onnxruntime"}
    with domain() as number:
        node = NodeProcess(number, command=("-m", "alstm_ros.ros"), parameters=parameters, environment=FIXED)
        ros = Ros(number)
        try:
            messages = {name: ros.collect(kind, f"/alstm/{name}") for name, kind in topics().items()}
            with Camera(ros) as camera:
                camera.settle(image_message(images[0] * 0, 0))
                ros.until(lambda: messages["tracks"] and messages["detections"], "the first results")
                ros.until(lambda: messages["tracks"][-1].header == messages["detections"][-1].header, "the last")
                if not ros.call(Trigger, "/alstm/reset").success:
                    raise FailedError(f"the node did not reset: {node.log[-2000:]}")
                for heard in messages.values():
                    heard.clear()
                for index, image in enumerate(images, 1):
                    camera.ask(image_message(image, index * PERIOD), patience=PATIENCE)
                    ros.until(partial(has, messages["tracks"], index), "the frame's tracks")
                ros.spin(1.0)  # events of the last frame, of which there may be none
        finally:
            node.stop()
            ros.close()
    counts = {name: len(heard) for name, heard in messages.items()}
    if not counts["detections"] == counts["tracks"] == LIVE_FRAMES:
        raise FailedError(f"of {LIVE_FRAMES} frames came {counts}: {node.log[-2000:]}")
    return {name: sha(*(canonical(message) for message in heard)) for name, heard in messages.items()}


def has(heard: Sequence[Any], count: int) -> bool:
    """Whether so many messages were heard."""
    return len(heard) >= count


def topics() -> Mapping[str, type]:
    """What the node says of a frame: the topic below its name, and its type."""
    from alstm_ros.msg import TrackArray, TrackEvent  # noqa: PLC0415
    from vision_msgs.msg import Detection2DArray  # noqa: PLC0415

    return {"detections": Detection2DArray, "tracks": TrackArray, "events": TrackEvent}


def canonical(message: Any) -> bytes:
    """A message as CDR with all padding zero, which the standard leaves open and Fast CDR does not clear."""
    from rclpy.serialization import serialize_message  # noqa: PLC0415
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore  # noqa: PLC0415

    store = get_typestore(Stores.ROS2_JAZZY)
    for package, folder in (("alstm_ros", ROOT / "msg"), ("vision_msgs", ROOT / "dev" / "vision_msgs" / "msg")):
        for path in sorted(folder.glob("*.msg")):
            store.register(get_types_from_msg(path.read_text(encoding="utf-8"), f"{package}/msg/{path.stem}"))
    package = type(message).__module__.partition(".")[0]
    kind = f"{package}/msg/{type(message).__name__}"
    return bytes(store.serialize_cdr(store.deserialize_cdr(serialize_message(message), kind), kind))


PARTS: Mapping[str, Callable[[Place], Hashes]] = {
    "models": models,
    "export": export,
    "build": build,
    "mot17": mot17,
    "video": video,
    "decoders": decoders,
    "bootstrap": bootstrap,
    "train": train,
    "ensemble": ensemble,
    "fine_tune": fine_tune,
    "detector": detector,
    "live": live,
}
"""The parts by name, in the order in which they run."""


def machine() -> dict[str, str]:
    """What may change hashes although the package did not change."""
    installed = {item.metadata["Name"]: item.version for item in importlib.metadata.distributions()}
    versions = {name: installed[name] for name in LIBRARIES if name in installed}
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if sys.platform == "linux" else []
    cpu = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    return {"cpu": cpu, "python": platform.python_version()} | versions


def differences(before: Mapping[str, Any], after: Mapping[str, Any], parts: Sequence[str]) -> list[str]:
    """What is not the same in two runs, one sentence each; only the named parts are looked at."""
    found: list[str] = []
    for part in parts:
        old, new = before["parts"].get(part), after["parts"].get(part)
        if old is None and new is None:
            continue
        if old is None or new is None:
            side = "before" if old is None else "now"
            reason = (before if old is None else after)["left_out"].get(part, "it did not run")
            found.append(f"{part}: not there {side} ({reason})")
            continue
        for name in sorted(old.keys() | new.keys()):
            if name not in new:
                found.append(f"{part}: {name} is gone")
            elif name not in old:
                found.append(f"{part}: {name} is new")
            elif old[name] != new[name]:
                found.append(f"{part}: {name} differs, {old[name][:12]} before, {new[name][:12]} now")
    return found


def main() -> int:
    """Runs the parts that are asked for; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=PARTS, help="may be repeated; default: all")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="folder with data, images, models")
    parser.add_argument("--video", type=Path, default=ROOT / ".cache" / "vtest.avi", help="vtest.avi")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the hashes")
    parser.add_argument("--against", type=Path, metavar="FILE", help="name what differs from an earlier --json")
    args = parser.parse_args()
    parts = [part for part in PARTS if part in (args.part or PARTS)]
    before = json.loads(args.against.read_text(encoding="utf-8")) if args.against else None
    result: dict[str, Any] = {"machine": machine(), "parts": {}, "left_out": {}}
    failed = False
    for part in parts:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as work:
            try:
                result["parts"][part] = PARTS[part](Place(args.shared.resolve(), args.video.resolve(), Path(work)))
            except LeftOutError as reason:
                result["left_out"][part] = str(reason)
            except FailedError as reason:
                result["left_out"][part], failed = f"it failed: {reason}", True
        if part in result["left_out"]:
            print(f"{part} is left out: {result['left_out'][part]}", flush=True)
        for name, value in sorted(result["parts"].get(part, {}).items()):
            print(f"{value}  {part}: {name}")
        print(f"{part} took {time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    found = differences(before, result, parts) if before is not None else []
    for sentence in found:
        print(sentence)
    if before is not None and before["machine"] != result["machine"]:
        print(f"The machines differ: {before['machine']} before, {result['machine']} now.")
    if before is not None and not found:
        print(
            f"The same as in {args.against}: {', '.join(part for part in parts if part in result['parts']) or 'none'}"
        )
    return 2 if failed else int(bool(found))


if __name__ == "__main__":
    sys.exit(main())

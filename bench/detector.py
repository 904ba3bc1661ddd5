"""Average precision and time of the detector on a video, at several sizes of the network's input.

    python bench/detector.py --video .cache/vtest.avi --ground-truth ../shared/data/pets09-s2l1/gt.txt --json

Every tenth frame is scored, people alone, and timed: fitting the image into the network's input, the network with its
decoding, and the choice of what stays (thresholds, suppression, source pixels). Without ground truth only time is
measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from alstm_ros import detection
from alstm_ros.config import Config
from alstm_ros.detection import OnnxDetector
from alstm_ros.evaluation.average_precision import average_precision
from alstm_ros.options import replace
from alstm_ros.types import Float32, Image

SCORED_FROM = 0.01  # low enough that the curve's tail adds nothing
STAGES = ("fit", "network", "select")


def read_frames(path: Path, every: int) -> tuple[list[int], list[Image]]:
    """Numbers, from 1, and images of every n-th frame."""
    video = cv2.VideoCapture(str(path))
    numbers: list[int] = []
    images: list[Image] = []
    count = 0
    while video.grab():
        if count % every == 0:
            numbers.append(count + 1)
            images.append(video.retrieve()[1])
        count += 1
    if not images:
        raise SystemExit(f"The video {path} cannot be read.")
    return numbers, images


def read_truth(path: Path, numbers: list[int]) -> list[Float32]:
    """The boxes of some frames from a MOTChallenge gt.txt, of rows whose flag is not 0."""
    table = np.loadtxt(path, delimiter=",", ndmin=2)
    table = table[table[:, 6] != 0]
    boxes = [table[table[:, 0] == number][:, 2:6] for number in numbers]
    return [np.concatenate([b[:, :2], b[:, :2] + b[:, 2:]], axis=1).astype(np.float32) for b in boxes]


def person_precision(detector: OnnxDetector, images: list[Image], truths: list[Float32]) -> dict[str, float]:
    """AP50 of the class person, the best F1 and at which score; of a detector that drops no score above SCORED_FROM."""
    person = detector.classes.index("person")
    found = [one[one.classes == person] for one in (detector([image])[0] for image in images)]
    curve = average_precision([f.boxes for f in found], [f.scores for f in found], truths)
    f1, score = curve.best_f1()
    return {"ap50": round(curve.average_precision, 4), "f1": round(f1, 4), "f1_score": round(score, 3)}


def stage_times(detector: OnnxDetector, images: list[Image], rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of all and of each stage, of one image at a time, after one round to warm up."""
    taken: list[list[int]] = []
    for turn in range(rounds + 1):
        for image in images:
            marks = [time.perf_counter_ns()]
            [batch] = detector.batches([image])
            marks.append(time.perf_counter_ns())
            outputs = detector.run(batch)
            marks.append(time.perf_counter_ns())
            detector.select(detector.decode(outputs, batch)[0], batch.fits[0])
            marks.append(time.perf_counter_ns())
            if turn:
                taken.append(marks)
    split = np.diff(np.array(taken), axis=1) / 1e6
    return {
        name: _summary(times)
        for name, times in zip(("milliseconds", *STAGES), (split.sum(axis=1), *split.T), strict=True)
    }


def _summary(milliseconds: NDArray[np.float64]) -> dict[str, float]:
    """Median, 99th percentile and the least."""
    numbers = {f"p{q}": float(np.percentile(milliseconds, q)) for q in (50, 99)} | {"least": float(milliseconds.min())}
    return {name: round(number, 2) for name, number in numbers.items()}


def measure(config: Config, images: list[Image], truths: list[Float32] | None, rounds: int) -> dict[str, Any]:
    """One size's line."""
    detector = detection.load_detector(config)
    line: dict[str, Any] = {"height": detector.canvas.height, "width": detector.canvas.width}
    if truths is not None:
        detector.configure(replace(config, {"detector.score_threshold": SCORED_FROM}))
        line |= person_precision(detector, images, truths)
        detector.configure(config)
    return line | stage_times(detector, images, rounds)


def least(work: Callable[[], object], runs: int = 30) -> float:
    """The least time of a call, in milliseconds."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return round(min(times) * 1e3, 3)


def resize_in_graph(config: Config, height: int, width: int) -> dict[str, Any]:
    """Scaling a 1080p image: OpenCV before the graph against ONNX's Resize as its first node, to float planes both."""
    shape = [1080, 1920, 3]
    nodes = [
        helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Resize", ["floats", "", "", "size"], ["out"], mode="linear"),
    ]
    size = numpy_helper.from_array(np.array([1, 3, height, width], np.int64), "size")
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, [1, *shape])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 3, height, width])
    graph = helper.make_graph(nodes, "resize", [image], [out], [size])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = config.engine.threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    return {
        "from": "1080x1920",
        "to": f"{height}x{width}",
        "opencv_ms": least(lambda: cv2.resize(pixels, (width, height))[None].transpose(0, 3, 1, 2).astype(np.float32)),
        "graph_ms": least(lambda: session.run(None, {"image": pixels[None]})),
    }


def machine(config: Config) -> dict[str, Any]:
    """What the numbers were measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
    return {
        "processor": ", ".join(sorted(names)) or platform.processor(),
        "cores": os.cpu_count(),
        "threads": config.engine.threads,
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "opencv": cv2.__version__,
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, default=Path(".cache/vtest.avi"))
    parser.add_argument("--ground-truth", type=Path, help="MOTChallenge gt.txt of the video")
    parser.add_argument("--every", type=int, default=10, help="take every n-th frame")
    parser.add_argument("--rounds", type=int, default=3, help="how often each frame is timed")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sizes", nargs="*", default=["384x512", "576x768"], help="HEIGHTxWIDTH beside the default")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    engine = {"engine.threads": args.threads, "engine.runtime": "onnxruntime"}
    base = replace(Config(), engine)
    numbers, images = read_frames(args.video, args.every)
    truths = read_truth(args.ground_truth, numbers) if args.ground_truth else None
    result: dict[str, Any] = {"machine": machine(base), "frames": len(images), "rounds": args.rounds, "sizes": []}
    for size in ["0x0", *args.sizes]:
        height, width = map(int, size.split("x"))
        config = replace(base, {"detector.height": height, "detector.width": width})
        result["sizes"].append(measure(config, images, truths, args.rounds))
    result["resize"] = resize_in_graph(base, result["sizes"][0]["height"], result["sizes"][0]["width"])
    if args.json:
        print(json.dumps(result))
        return
    print(", ".join(f"{key} {value}" for key, value in result["machine"].items()))
    for line in result["sizes"]:
        print(", ".join(f"{key} {value}" for key, value in line.items()))
    print(result["resize"])


if __name__ == "__main__":
    main()

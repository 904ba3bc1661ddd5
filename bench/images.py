"""Time to turn one image message's data into a BGR picture, for every encoding: the least of several runs."""

from __future__ import annotations

import argparse
import json
import sys
import time
from array import array
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from alstm_ros.images import ENCODINGS, decode, decode_compressed

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test"))
from imaging import encode, picture


def least_ms(work: Callable[[], object], runs: int) -> float:
    """The least time of a call, in milliseconds."""
    best = float("inf")
    for _ in range(runs):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return round(best * 1000, 3)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=1920)
    parser.add_argument("--height", type=int, default=1080)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--threads", type=int, default=cv2.getNumThreads(), help="OpenCV's threads")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    cv2.setNumThreads(args.threads)
    noise = np.random.default_rng(0).normal(0, 4, (args.height, args.width, 3))  # a sensor's, so that JPEG has work
    image = np.clip(picture(args.height, args.width) + noise, 0, 255).astype(np.uint8)
    found: dict[str, float] = {}
    for encoding in ENCODINGS:
        data, step = encode(image, encoding)
        message = array("B", data)  # as rclpy holds it
        found[encoding] = least_ms(
            lambda e=encoding, m=message, s=step: decode(m, e, args.height, args.width, s),  # type: ignore[misc]
            args.runs,
        )
    for codec in ("jpeg", "png"):
        message = array("B", cv2.imencode(f".{codec}", image)[1].tobytes())
        found[codec] = least_ms(lambda c=codec, m=message: decode_compressed(m, c), args.runs)  # type: ignore[misc]
    result = {
        "width": args.width,
        "height": args.height,
        "runs": args.runs,
        "threads": cv2.getNumThreads(),
        "opencv": cv2.__version__,
        "milliseconds": found,
    }
    if args.json:
        print(json.dumps(result))
        return
    print(f"{args.width}x{args.height}, OpenCV {cv2.__version__}, {cv2.getNumThreads()} threads, least of {args.runs}")
    for encoding, milliseconds in found.items():
        print(f"{encoding:>14} {milliseconds:8.3f} ms")


if __name__ == "__main__":
    main()

"""Whether an exported file answers as the file that it was made of; a graph that is rewritten may come out wrong."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx.onnx_ml_pb2 import ModelProto

from alstm_ros import engines
from alstm_ros.boxes import iou
from alstm_ros.config import Config, DetectorConfig, EngineConfig
from alstm_ros.detection.detector import OnnxDetector
from alstm_ros.errors import ModelError
from alstm_ros.options import replace, values
from alstm_ros.types import Detections, Image

FRAMES = 8
"""Pictures on which both files must answer alike."""
COMPARED = 10
"""The best detections of a picture that are compared."""
_FLOOR = 1e-3
"""Detections below this score are noise in both files."""
_IOU = 0.8
"""The same box overlaps itself at least this much, after rounding."""
_SCORE = 0.02
"""The same detection's scores differ by at most this, after rounding."""
_SHARE = 0.9
"""Share of the compared detections that must be there: rounding may exchange some at the end."""


def verify(path: Path, made: ModelProto, config: DetectorConfig, sizes: list[tuple[int, int]], *, batch: bool) -> int:
    """Lets both files look at the same pictures.

    Args:
        path: the file that was exported.
        made: what came of it.
        config: as it was exported: decoder, class names, preprocessing.
        sizes: heights and widths of the input at which both can run.
        batch: whether the new file takes several images at once.

    Returns:
        How many detections were compared.

    Raises:
        ModelError: the files answer differently.
    """
    compared = missing = 0
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / "made.onnx"
        fresh.write_bytes(made.SerializeToString())
        for height, width in sizes:
            old = _opened(path, config, height, width)
            new = _opened(fresh, DetectorConfig(), height, width)
            try:
                pictures = list(_pictures(FRAMES, height, width))
                expected = [old([picture])[0] for picture in pictures]
                found = new(pictures) if batch else [new([picture])[0] for picture in pictures]
            finally:
                old.close()
                new.close()
            for one, other in zip(expected, found, strict=True):
                best = _best(one)
                compared += len(best)
                missing += len(best) - _agreeing(best, other)
    if missing > (1 - _SHARE) * compared:
        raise ModelError(
            f"The file made of {path.name} answers otherwise than {path.name} itself: of its {compared} best "
            f"detections in {FRAMES * len(sizes)} pictures, {missing} are elsewhere, of another class or of another "
            "score. So nothing is written; the model runs as it is with detector.model."
        )
    return compared


def _opened(path: Path, config: DetectorConfig, height: int, width: int) -> OnnxDetector:
    """Without suppression, so that only the network and its decoding are compared."""
    changes: dict[str, object] = {f"detector.{name}": value for name, value in values(config).items()}
    changes |= {"detector.height": height, "detector.width": width, "detector.classes": ()}
    changes |= {"detector.score_threshold": _FLOOR, "detector.nms_threshold": 1.0}
    whole = replace(Config(engine=EngineConfig(runtime="onnxruntime", threads=1)), changes)
    engine = engines.open_engine(path, whole.engine, {"height": height, "width": width, "h": height, "w": width})
    return OnnxDetector(engine, whole, path.name)


def _pictures(count: int, height: int, width: int) -> Iterator[Image]:
    """Patches of all sizes over noise, each picture another."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        picture = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
        for _ in range(12):
            top, left = rng.integers(0, height), rng.integers(0, width)
            down, right = rng.integers(8, max(height // 2, 9)), rng.integers(8, max(width // 2, 9))
            picture[top : top + down, left : left + right] = rng.integers(0, 256, 3)
        yield picture


def _best(found: Detections) -> Detections:
    return found[np.argsort(-found.scores, kind="stable")[:COMPARED]]


def _agreeing(wanted: Detections, found: Detections) -> int:
    """How many of some detections are among others."""
    if not len(wanted) or not len(found):
        return 0
    same: NDArray[np.bool_] = iou(wanted.boxes, found.boxes) >= _IOU
    same &= wanted.classes[:, None] == found.classes
    same &= np.abs(wanted.scores[:, None] - found.scores) <= _SCORE
    return int(same.any(axis=1).sum())

"""Tracks as JSON Lines: one object a frame, for scripts in any language."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alstm_ros.recordings.frames import AnyFrame
from alstm_ros.recordings.sinks import PartFile, RunInfo
from alstm_ros.types import Detections, EventKind, Float32, FrameResult, Tracks, TrackState


class JsonLines:
    """Every living track, every detection and every event of each frame."""

    def __init__(self, path: Path, info: RunInfo) -> None:
        """Opens the file.

        Args:
            path: where it shall stand.
            info: about the run.
        """
        self._part = PartFile(path)
        self._file = self._part.part.open("w", encoding="utf-8")
        self._info = info

    def write(self, number: int, frame: AnyFrame, result: FrameResult) -> None:
        """Writes one line."""
        self._part.empty = False
        names, prefix = self._info.classes, self._info.id_prefix
        line = {
            "frame": number,
            "stamp_ns": result.stamp_ns,
            "camera": frame.camera,
            "tracks": _tracks(result.tracks, names, prefix),
            "detections": _detections(result.detections, names),
            "events": [
                {
                    "kind": EventKind(event.kind).name.lower(),
                    "id": f"{prefix}{event.id}",
                    "class": names[event.class_index],
                    "box": _rounded(event.box, 3),
                    "age_ns": event.age_ns,
                }
                for event in result.events
            ],
        }
        self._file.write(json.dumps(line, separators=(",", ":")) + "\n")

    def close(self, *, failed: bool = False) -> None:
        """Puts the file in place, unless the run failed."""
        self._file.close()
        self._part.finish(failed=failed)


def _rounded(values: Float32, digits: int) -> Any:
    """A thousandth of a pixel, a ten-thousandth of a score: finer digits of float32 are noise."""
    return np.round(values.astype(np.float64), digits).tolist()


def _tracks(tracks: Tracks, names: Sequence[str], prefix: str) -> list[dict[str, Any]]:
    columns = zip(
        tracks.ids.tolist(),
        tracks.classes.tolist(),
        _rounded(tracks.scores, 4),
        _rounded(tracks.boxes, 3),
        tracks.states.tolist(),
        _rounded(tracks.velocities, 3),
        tracks.ages_ns.tolist(),
        tracks.unseen_ns.tolist(),
        tracks.detection.tolist(),
        _rounded(tracks.confidences, 4),
        tracks.published.tolist(),
        strict=True,
    )
    return [
        {
            "id": f"{prefix}{key}",
            "class": names[index],
            "score": score,
            "box": box,
            "state": TrackState(state).name.lower(),
            "velocity": velocity,
            "age_ns": age,
            "unseen_ns": unseen,
            "detection": detection if detection >= 0 else None,
            "confidence": confidence if confidence == confidence else None,  # noqa: PLR0124  # NaN, which JSON lacks
            "published": published,
        }
        for key, index, score, box, state, velocity, age, unseen, detection, confidence, published in columns
    ]


def _detections(found: Detections, names: Sequence[str]) -> list[dict[str, Any]]:
    columns = zip(found.classes.tolist(), _rounded(found.scores, 4), _rounded(found.boxes, 3), strict=True)
    return [{"class": names[index], "score": score, "box": box} for index, score, box in columns]

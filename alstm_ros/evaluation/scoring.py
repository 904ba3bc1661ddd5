"""All numbers of one sequence, and of several together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alstm_ros.evaluation import trackeval_adapter as te
from alstm_ros.evaluation.average_precision import average_precision
from alstm_ros.evaluation.switches import Timeline, timeline
from alstm_ros.recordings.labels import Labels
from alstm_ros.recordings.track_files import SequenceTracks
from alstm_ros.types import Float64, Int64

PEOPLE = ("person", "pedestrian")
IOUS = np.arange(0.5, 0.96, 0.05)  # COCO's ten thresholds


@dataclass(frozen=True, slots=True)
class Metric:
    """What a number means.

    Attributes:
        text: in words, with its unit.
        better: 1 where more is better, -1 where less is, 0 where neither.
        digits: decimals worth showing.
    """

    text: str
    better: int
    digits: int = 2


METRICS = {
    "HOTA": Metric("higher order tracking accuracy, %", 1),
    "DetA": Metric("detection accuracy, %", 1),
    "AssA": Metric("association accuracy, %", 1),
    "MOTA": Metric("multiple object tracking accuracy, %", 1),
    "IDF1": Metric("identity F1, %", 1),
    "IDP": Metric("identity precision, %", 1),
    "IDR": Metric("identity recall, %", 1),
    "MOTP": Metric("mean IoU of matched boxes, %", 1),
    "IDSW": Metric("id switches", -1, 0),
    "Frag": Metric("fragmentations: times an object was lost and found again", -1, 0),
    "MT": Metric("objects tracked for more than 80 % of their life", 1, 0),
    "PT": Metric("objects tracked for 20 to 80 % of their life", 0, 0),
    "ML": Metric("objects tracked for less than 20 % of their life", -1, 0),
    "FP": Metric("published boxes without an object", -1, 0),
    "FN": Metric("objects without a published box", -1, 0),
    "AP50": Metric("average precision of the published boxes at IoU 0.5, %", 1),
    "AP50:95": Metric("the same, mean over IoU 0.5 to 0.95", 1),
    "AP50_raw": Metric("AP50 of the same detections with the detector's own boxes and scores, %", 1),
    "AP50:95_raw": Metric("AP50:95 of the same", 1),
    "length": Metric("mean number of frames in which an id is published", 1, 1),
    "flicker": Metric("mean second difference of box corners between neighbouring frames, % of box height", -1, 3),
    "flicker_raw": Metric("the same of the detector's own boxes", -1, 3),
    "latency_p50": Metric("median time from a frame's stamp to its result, ms", -1, 1),
    "latency_p99": Metric("99th percentile of the same", -1, 1),
}


@dataclass(frozen=True, slots=True)
class Score:
    """Numbers of a sequence, or of several together.

    Attributes:
        name: of the sequence.
        numbers: by the names in METRICS; those that cannot be known are left out.
        curve: `(19,)` float64, HOTA in percent at the localisation thresholds 0.05 .. 0.95.
        results: TrackEval's results of each class, to be combined.
        frames: the number of frames.
    """

    name: str
    numbers: dict[str, float]
    curve: Float64
    results: tuple[te.Results, ...]
    frames: int


@dataclass(frozen=True, slots=True)
class Judged:
    """One sequence with all that a report shows.

    Attributes:
        score: its numbers.
        timelines: by class name.
        prepared: what the metrics saw, by class name.
        raw: the detector's own boxes in the same way; empty where unknown.
        recording: the result, aligned.
        frames: `(length,)` int64, the judged frames' numbers in the recording, where only a part of it is judged.
    """

    score: Score
    timelines: dict[str, Timeline]
    prepared: dict[str, te.Prepared]
    raw: dict[str, te.Prepared]
    recording: SequenceTracks
    frames: Int64


def score_sequence(truth: SequenceTracks, result: SequenceTracks, benchmark: str) -> Judged:
    """Scores one sequence, class by class.

    Args:
        truth: the ground truth.
        result: what was published, in the ground truth's frame numbers.
        benchmark: one of trackeval_adapter.BENCHMARKS.

    Raises:
        DataError: the two do not fit.
    """
    prepared: dict[str, te.Prepared] = {}
    raw: dict[str, te.Prepared] = {}
    for name, target, found, own in split_classes(truth.labels, result.labels, result.raw):
        prepared[name] = te.prepare_sequence(target, found, benchmark)
        if own is not None:
            raw[name] = te.prepare_sequence(target, own, benchmark)
    results = tuple(te.evaluate(part) for part in prepared.values())
    together = te.combine(list(results))
    numbers = te.summary(together) | _quality(prepared, raw) | _latency(result.latencies_ms)
    curve = 100 * np.asarray(together["HOTA"]["HOTA"], np.float64)
    score = Score(truth.name, numbers, curve, results, truth.labels.length)
    lines = {name: timeline(part) for name, part in prepared.items()}
    return Judged(score, lines, prepared, raw, result, np.arange(1, truth.labels.length + 1))


def total(judged: Sequence[Judged]) -> Score:
    """The numbers of all sequences together, counted over their sum and not as a mean of means."""
    parts = [item.score for item in judged]
    results = [result for part in parts for result in part.results]
    together = te.combine(results)
    prepared: dict[str, list[te.Prepared]] = {}
    raw: dict[str, list[te.Prepared]] = {}
    for item in judged:
        for name, one in item.prepared.items():
            prepared.setdefault(name, []).append(one)
        for name, one in item.raw.items():
            raw.setdefault(name, []).append(one)
    latencies = np.concatenate([np.zeros(0), *(item.recording.latencies_ms for item in judged)])
    numbers = te.summary(together) | _quality(prepared, raw) | _latency(latencies)
    curve = 100 * np.asarray(together["HOTA"]["HOTA"], np.float64)
    return Score("all", numbers, curve, tuple(results), sum(part.frames for part in parts))


def split_classes(truth: Labels, found: Labels, raw: Labels | None) -> list[tuple[str, Labels, Labels, Labels | None]]:
    """Ground truth and results of each class; MOTChallenge's text has but one, the pedestrians."""
    if truth.names:
        parts = []
        for index, name in enumerate(truth.names):
            chosen = _of_class(found, (name,))
            parts.append((name, truth.select(truth.classes == index), found.select(chosen), raw and raw.select(chosen)))
        return parts
    if any(name in PEOPLE for name in found.names):
        chosen = _of_class(found, PEOPLE)
        return [("pedestrian", truth, found.select(chosen), raw and raw.select(chosen))]
    return [("pedestrian", truth, found, raw)]


def _of_class(labels: Labels, names: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Rows of these classes; text without classes fits any."""
    if not labels.names:
        return np.ones(len(labels), bool)
    wanted = [index for index, name in enumerate(labels.names) if name in names]
    return np.asarray(np.isin(labels.classes, wanted))


Parts = dict[str, te.Prepared] | dict[str, list[te.Prepared]]


def _listed(parts: Parts) -> dict[str, list[te.Prepared]]:
    return {name: part if isinstance(part, list) else [part] for name, part in parts.items()}


def _quality(prepared: Parts, raw: Parts) -> dict[str, float]:
    numbers = _precision(_listed(prepared), "") | _lives(_listed(prepared))
    if raw:
        numbers |= _precision(_listed(raw), "_raw")
        numbers["flicker_raw"] = _lives(_listed(raw))["flicker"]
    return {name: value for name, value in numbers.items() if np.isfinite(value)}


def _precision(prepared: dict[str, list[te.Prepared]], suffix: str) -> dict[str, float]:
    """AP, mean over classes."""
    table = []
    for parts in prepared.values():
        boxes = [box.astype(np.float32) for part in parts for box in part.boxes]
        scores = [score.astype(np.float32) for part in parts for score in part.scores]
        truths = [box.astype(np.float32) for part in parts for box in part.gt_boxes]
        table.append([average_precision(boxes, scores, truths, iou).average_precision for iou in IOUS])
    means = (
        100 * np.nanmean(np.array(table), axis=0) if table and np.isfinite(table).any() else np.full(len(IOUS), np.nan)
    )
    return {f"AP50{suffix}": float(means[0]), f"AP50:95{suffix}": float(means.mean())}


def _lives(prepared: dict[str, list[te.Prepared]]) -> dict[str, float]:
    """Length of tracks and flicker of their boxes."""
    frames: list[int] = []
    jumps: list[Float64] = []
    for parts in prepared.values():
        for part in parts:
            counts = [len(ids) for ids in part.ids]
            frame = np.repeat(np.arange(len(counts)), counts)
            ids = np.concatenate([np.zeros(0, np.int64), *part.ids])
            boxes = np.concatenate([np.zeros((0, 4)), *part.boxes])
            order = np.lexsort((frame, ids))
            ids, frame, boxes = ids[order], frame[order], boxes[order]
            frames += np.unique(ids, return_counts=True)[1].tolist()
            same = (ids[2:] == ids[:-2]) & (frame[2:] == frame[:-2] + 2)
            second = np.abs(boxes[2:] - 2 * boxes[1:-1] + boxes[:-2]).mean(axis=1)
            height = np.maximum(boxes[1:-1, 3] - boxes[1:-1, 1], 1.0)
            jumps.append((second / height)[same])
    merged = np.concatenate([np.zeros(0), *jumps])
    return {
        "length": float(np.mean(frames)) if frames else float("nan"),
        "flicker": float(100 * merged.mean()) if len(merged) else float("nan"),
    }


def _latency(latencies_ms: Float64) -> dict[str, float]:
    if not len(latencies_ms):
        return {}
    p50, p99 = np.percentile(latencies_ms, [50, 99])
    return {"latency_p50": float(p50), "latency_p99": float(p99)}

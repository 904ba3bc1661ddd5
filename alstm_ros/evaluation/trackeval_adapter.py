"""Scores through TrackEval, from arrays instead of its folders of files; preprocessing and metrics are its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from trackeval.datasets import MotChallenge2DBox
from trackeval.metrics import CLEAR, HOTA, Identity
from trackeval.utils import TrackEvalException

from alstm_ros.errors import DataError
from alstm_ros.recordings.labels import Labels
from alstm_ros.types import Float64, Int64

BENCHMARKS = ("MOT15", "MOT16", "MOT17", "MOT20", "none")
"""Whose preprocessing is applied: MOT16, MOT17 and MOT20 drop what hits a distractor, MOT15 and none drop nothing."""

METRICS = {"HOTA": HOTA(), "CLEAR": CLEAR({"PRINT_CONFIG": False}), "Identity": Identity({"PRINT_CONFIG": False})}

Results = dict[str, dict[str, Any]]
"""TrackEval's own result fields, by metric family."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """One sequence as the metrics see it, after the benchmark's preprocessing; lists have one entry a frame.

    Attributes:
        data: TrackEval's own structure.
        gt_ids: `(G,)` int64 each, as in the ground truth file.
        gt_boxes: `(G, 4)` float64 xyxy each.
        ids: `(T,)` int64 each, the tracker's.
        boxes: `(T, 4)` float64 xyxy each.
        scores: `(T,)` float64 each.
        overlaps: `(G, T)` float64 each, IoU.
    """

    data: dict[str, Any]
    gt_ids: list[Int64]
    gt_boxes: list[Float64]
    ids: list[Int64]
    boxes: list[Float64]
    scores: list[Float64]
    overlaps: list[Float64]


class _Arrays(MotChallenge2DBox):  # type: ignore[misc]  # the library has no types
    """TrackEval's MOTChallenge data set with the files' contents given as Labels.

    Boxes carry their id as a fifth column through the preprocessing, which numbers ids anew.
    """

    def __init__(self, benchmark: str, truth: Labels, result: Labels) -> None:
        super().__init__(
            {
                "PRINT_CONFIG": False,
                "BENCHMARK": "MOT15" if benchmark == "none" else benchmark,
                "SEQ_INFO": {"sequence": truth.length},
                "GT_LOC_FORMAT": __file__,  # it is only looked whether the file exists; _load_raw_file reads nothing
                "TRACKERS_TO_EVAL": [],
            }
        )
        self._labels = {True: truth, False: result}

    def _load_raw_file(self, _tracker: str, seq: str, is_gt: bool) -> dict[str, Any]:  # noqa: FBT001  # TrackEval's seam
        labels = self._labels[is_gt]
        rows = labels.rows()
        frames = [slice(rows[i], rows[i + 1]) for i in range(labels.length)]
        size = labels.boxes[:, 2:] - labels.boxes[:, :2]
        dets = np.concatenate([labels.boxes[:, :2], size, labels.ids[:, None].astype(np.float64)], axis=1)
        prefix = "gt" if is_gt else "tracker"
        # TrackEval judges its class 1 alone; results carry no class, and who calls has chosen what to judge.
        classes = labels.classes if is_gt else np.ones(len(labels), np.int64)
        raw: dict[str, Any] = {
            f"{prefix}_ids": [labels.ids[part] for part in frames],
            f"{prefix}_dets": [dets[part] for part in frames],
            f"{prefix}_classes": [classes[part] for part in frames],
            "num_timesteps": labels.length,
            "seq": seq,
        }
        if is_gt:
            raw["gt_extras"] = [{"zero_marked": labels.counted[part].astype(int)} for part in frames]
            raw["gt_crowd_ignore_regions"] = [np.empty((0, 4))] * labels.length
        else:
            raw["tracker_confidences"] = [labels.scores[part] for part in frames]
        return raw

    def _calculate_similarities(self, gt: Float64, found: Float64) -> Float64:
        return np.asarray(self._calculate_box_ious(gt[:, :4], found[:, :4], box_format="xywh"))


def prepare_sequence(truth: Labels, result: Labels, benchmark: str) -> Prepared:
    """Applies a benchmark's preprocessing to one sequence.

    Args:
        truth: the ground truth; its length is the sequence's.
        result: the tracker's output.
        benchmark: one of BENCHMARKS.

    Returns:
        What the metrics take.

    Raises:
        DataError: TrackEval refuses the data.
    """
    if result.length > truth.length and len(result) and result.frames[-1] > truth.length:
        raise DataError(
            f"The result has a box in frame {result.frames[-1]}; the ground truth ends at frame {truth.length}."
        )
    result = result.window(1, truth.length).stretched(truth.length)
    # TrackEval makes tables as long as the highest id.
    gt_ids, ids = np.unique(truth.ids), np.unique(result.ids)
    truth = dataclasses.replace(truth, ids=np.searchsorted(gt_ids, truth.ids))
    result = dataclasses.replace(result, ids=np.searchsorted(ids, result.ids))
    try:
        dataset = _Arrays(benchmark, truth, result)
        data = dataset.get_preprocessed_seq_data(dataset.get_raw_seq_data("", "sequence"), "pedestrian")
    except TrackEvalException as error:
        raise DataError(f"TrackEval refuses the sequence: {error}") from error
    gt, found = data["gt_dets"], data["tracker_dets"]
    return Prepared(
        data,
        [gt_ids[part[:, 4].astype(np.int64)] for part in gt],
        [_xyxy(part) for part in gt],
        [ids[part[:, 4].astype(np.int64)] for part in found],
        [_xyxy(part) for part in found],
        data["tracker_confidences"],
        data["similarity_scores"],
    )


def _xyxy(dets: Float64) -> Float64:
    return np.concatenate([dets[:, :2], dets[:, :2] + dets[:, 2:4]], axis=1)


def evaluate(sequence: Prepared) -> Results:
    """TrackEval's results of one sequence."""
    return {name: metric.eval_sequence(sequence.data) for name, metric in METRICS.items()}


def combine(sequences: Mapping[str, Results] | Sequence[Results]) -> Results:
    """TrackEval's results over several sequences; a sequence may stand in a list more than once."""
    named = sequences if isinstance(sequences, Mapping) else {str(i): item for i, item in enumerate(sequences)}
    return {
        name: metric.combine_sequences({key: item[name] for key, item in named.items()})
        for name, metric in METRICS.items()
    }


def summary(results: Results) -> dict[str, float]:
    """The numbers people quote: HOTA, DetA, AssA, MOTA, IDF1, IDP, IDR, MOTP in percent, the rest counted."""
    hota, clear, identity = results["HOTA"], results["CLEAR"], results["Identity"]
    percent = {
        "HOTA": np.mean(hota["HOTA"]),
        "DetA": np.mean(hota["DetA"]),
        "AssA": np.mean(hota["AssA"]),
        "MOTA": clear["MOTA"],
        "IDF1": identity["IDF1"],
        "IDP": identity["IDP"],
        "IDR": identity["IDR"],
        "MOTP": clear["MOTP"],
    }
    counts = {
        "IDSW": clear["IDSW"],
        "Frag": clear["Frag"],
        "MT": clear["MT"],
        "PT": clear["PT"],
        "ML": clear["ML"],
        "FP": clear["CLR_FP"],
        "FN": clear["CLR_FN"],
    }
    return {name: 100 * float(value) for name, value in percent.items()} | {
        name: float(value) for name, value in counts.items()
    }

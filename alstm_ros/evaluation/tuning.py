"""The search for better parameters: Optuna proposes, the tracker runs over cached detections, TrackEval judges."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import optuna

from alstm_ros.config import Config
from alstm_ros.evaluation import trackeval_adapter as te
from alstm_ros.evaluation.scoring import split_classes
from alstm_ros.options import Option, Value, options, replace, values
from alstm_ros.recordings.detection_cache import CachedSource, select
from alstm_ros.recordings.frames import DetectionFrame
from alstm_ros.recordings.labels import Labels, make_labels
from alstm_ros.recordings.progress import progress_bar
from alstm_ros.recordings.replay import detection_step
from alstm_ros.recordings.track_files import SequenceTracks, align

LEFT_OUT = ("detector.max_detections", "motion.camera", "input.timeout", "output.overlay_scale")
"""Live parameters that are not searched: a bound on the load, what needs images, two that leave tracks as they are."""


@dataclass(frozen=True, slots=True)
class TuningTask:
    """A sequence to tune on.

    Attributes:
        source: its detections.
        truth: its ground truth.
        benchmark: whose preprocessing applies.
        first: first frame to be scored.
        last: last frame to be scored.
    """

    source: CachedSource
    truth: SequenceTracks
    benchmark: str
    first: int
    last: int


def searched(config: Config, *, images: bool = True) -> dict[str, Option]:
    """The parameters that are searched, by name: all that may change while the node runs and have a range.

    Args:
        config: where the search starts; how far to trust a learned association is searched where there is one.
        images: whether a detector works on the recordings; else its parameters do nothing.
    """
    idle = {*LEFT_OUT, *(() if config.association.model else ("association.trust",))}
    return {
        name: option
        for name, option in options(config).items()
        if option.live
        and option.kind in {"float", "int", "bool"}
        and name not in idle
        and (images or not name.startswith("detector."))
    }


def bounds(option: Option) -> tuple[float, float]:
    """Where to search: a range of at most 1 whole, a wider one from a quarter to four times the default."""
    default = float(option.default)  # type: ignore[arg-type]  # numbers only, see `searched`
    low = option.low if option.low is not None else default / 4
    high = option.high if option.high is not None else default * 4
    if high - low <= 1:
        return low, high
    if default <= 0:
        return low, low + (high - low) / 4
    return max(low, default / 4), min(high, default * 4)


def propose(trial: optuna.Trial, known: Mapping[str, Option]) -> dict[str, Value]:
    """One set of parameters."""
    found: dict[str, Value] = {}
    for name, option in known.items():
        if option.kind == "bool":
            found[name] = trial.suggest_categorical(name, [False, True])
        elif option.kind == "int":
            low, high = bounds(option)
            found[name] = trial.suggest_int(name, int(np.ceil(low)), int(high))
        else:
            low, high = bounds(option)
            found[name] = _short(trial.suggest_float(name, low, high))
    return found


def tracks_of(source: CachedSource, config: Config) -> Labels:
    """What the tracker publishes on cached detections."""
    step = detection_step(config)
    rows: list[tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
    stamps = np.zeros(source.length, np.int64)
    for number, frame in source.frames:
        found = select(frame.detections, config) if source.whole else frame.detections
        result = step(DetectionFrame(found, frame.stamp_ns, frame.camera_motion, frame.camera))
        tracks, shown = result.tracks, result.tracks.published
        rows.append((number, tracks.ids[shown], tracks.boxes[shown], tracks.scores[shown], tracks.classes[shown]))
        stamps[number - 1] = frame.stamp_ns
    return make_labels(
        np.concatenate([np.zeros(0, np.int64), *(np.full(len(ids), number) for number, ids, *_ in rows)]),
        np.concatenate([np.zeros(0, np.int64), *(ids for _, ids, *_ in rows)]),
        np.concatenate([np.zeros((0, 4), np.float32), *(boxes for *_, boxes, _, _ in rows)]),
        np.concatenate([np.zeros(0, np.float32), *(scores for *_, scores, _ in rows)]),
        np.concatenate([np.zeros(0, np.int64), *(classes for *_, classes in rows)]),
        names=source.classes,
        length=source.length,
        stamps_ns=stamps,
    )


def results(task: TuningTask, config: Config) -> list[te.Results]:
    """TrackEval's results of one sequence, one for each class."""
    found = align(task.truth, SequenceTracks(task.source.name, tracks_of(task.source, config)))
    truth = task.truth.labels.window(task.first, task.last)
    labels = found.labels.window(task.first, task.last)
    parts = split_classes(truth, labels, None)
    return [te.evaluate(te.prepare_sequence(target, part, task.benchmark)) for _, target, part, _ in parts]


def score(tasks: Sequence[TuningTask], config: Config, metric: str) -> float:
    """One number over several sequences."""
    every = [result for task in tasks for result in results(task, config)]
    return te.summary(te.combine(every))[metric]


@dataclass(frozen=True, slots=True)
class Found:
    """What a search came to.

    Attributes:
        changes: the best parameters, by name.
        default: the metric with the config as it was, on the sequences searched on.
        best: the metric with the changes, there.
        default_held_out: the metric with the config as it was, on the sequences held out.
        best_held_out: the metric with the changes, there.
        trials: how many sets were tried to the end.
        pruned: how many were given up early.
    """

    changes: dict[str, Value]
    default: float
    best: float
    default_held_out: float
    best_held_out: float
    trials: int
    pruned: int

    @property
    def refusal(self) -> str | None:
        """Why nothing is recommended; None where the changes are."""
        if self.best <= self.default:
            return f"nothing better than the parameters at hand was found in {self.trials} trials."
        if self.best_held_out <= self.default_held_out:
            return (
                f"the best set wins on what it was searched on ({self.best:.2f} against {self.default:.2f}) and "
                f"not on what was held out ({self.best_held_out:.2f} against {self.default_held_out:.2f})."
            )
        return None


@dataclass(frozen=True, slots=True)
class Search:
    """How to search.

    Attributes:
        metric: what to raise; one of trackeval_adapter.summary's percentages.
        trials: how many sets to try; None for as many as the time allows.
        seconds: how long; None for as long as the trials take.
        seed: of the proposals.
        storage: Optuna's, such as `sqlite:///study.db`; None keeps the study in memory.
        study: its name there.
    """

    metric: str = "HOTA"
    trials: int | None = 50
    seconds: float | None = None
    seed: int = 0
    storage: str | None = None
    study: str = "alstm"


def search(tasks: Sequence[TuningTask], held_out: Sequence[TuningTask], config: Config, how: Search) -> Found:
    """Looks for parameters that raise a metric.

    The first trial is the config as it is. A trial is given up when, over the sequences it has seen, it lies below the
    median of the others there. One machine with one seed gives the same answer every time, as long as no clock ends it.

    Args:
        tasks: what to search on.
        held_out: what nobody sees until the end.
        config: where to start.
        how: metric, length, seed, storage.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=how.study,
        storage=how.storage,
        load_if_exists=True,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=how.seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5),
    )
    known = searched(config, images=any(task.source.whole for task in [*tasks, *held_out]))
    start = {name: value for name, value in values(config).items() if name in known}
    if not study.trials:
        study.enqueue_trial(start)

    def objective(trial: optuna.Trial) -> float:
        tried = replace(config, propose(trial, known))
        every: list[te.Results] = []
        so_far = 0.0
        for index, task in enumerate(tasks):
            every += results(task, tried)
            so_far = te.summary(te.combine(every))[how.metric]
            trial.report(so_far, index)
            if index < len(tasks) - 1 and trial.should_prune():
                raise optuna.TrialPruned
        return so_far

    with progress_bar("searching", how.trials, "trial") as bar:

        def told(study: optuna.Study, _trial: optuna.trial.FrozenTrial) -> None:
            complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
            bar.set_postfix({f"best {how.metric}": f"{study.best_value:.2f}"} if complete else {}, refresh=False)
            bar.update()

        study.optimize(objective, n_trials=how.trials, timeout=how.seconds, callbacks=[told])
    states = [trial.state for trial in study.trials]
    changes = _changed(study.best_params, start)
    best = replace(config, changes)
    default = score(tasks, config, how.metric)
    return Found(
        changes,
        default,
        score(tasks, best, how.metric),
        score(held_out, config, how.metric),
        score(held_out, best, how.metric),
        states.count(optuna.trial.TrialState.COMPLETE),
        states.count(optuna.trial.TrialState.PRUNED),
    )


def _changed(best: Mapping[str, Value], start: Mapping[str, Value]) -> dict[str, Value]:
    rounded = {name: _short(value) for name, value in best.items()}
    return {name: value for name, value in rounded.items() if value != start[name]}


def _short(value: Value) -> Value:
    """Three decimals: what a person would write in a file, and what is tried is what is written."""
    return round(value, 3) if isinstance(value, float) else value


def hold_out(tasks: Sequence[TuningTask], share: float, seed: int) -> tuple[list[TuningTask], list[TuningTask]]:
    """Sets a share aside: whole sequences, chosen by the seed; of a single one its last part.

    Returns:
        What to search on, what to hold out; neither is empty.
    """
    if len(tasks) == 1:
        [task] = tasks
        last = task.first + round((task.last - task.first + 1) * (1 - share)) - 1
        last = min(max(last, task.first), task.last - 1)
        return [dataclasses.replace(task, last=last)], [dataclasses.replace(task, first=last + 1)]
    count = min(max(round(len(tasks) * share), 1), len(tasks) - 1)
    aside = set(np.random.default_rng(seed).permutation(len(tasks))[:count].tolist())
    return (
        [task for index, task in enumerate(tasks) if index not in aside],
        [task for index, task in enumerate(tasks) if index in aside],
    )

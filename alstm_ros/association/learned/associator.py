"""The Association LSTM in the tracker: a state for each track, one step a frame, corrected costs of candidate pairs.

After Lu, Lu and Tang, "Online Video Object Detection using Association LSTM" (ICCV 2017), with a recurrence that
follows identity: each track owns its (h, c), and its state stays as it is while the track is unseen.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alstm_ros.association.associator import Candidates, Decision, Refinement
from alstm_ros.association.learned.features import PAIR, STEP, pair_features, step_features
from alstm_ros.association.learned.history import History
from alstm_ros.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from alstm_ros.config import Config, EngineConfig
from alstm_ros.engines import Engine, open_engine
from alstm_ros.errors import ModelError
from alstm_ros.types import Float32, Int64

KIND = "association"
"""What the model file's metadata says that it is."""
VERSION = "3"
"""The layout of inputs and outputs that this code speaks."""
MODELS = {"default": Path(__file__).resolve().parents[2] / "models" / "association.onnx"}
"""Names of the files that come with the package."""
STATES = ("h1", "c1", "h2", "c2")

Run = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]
"""Runs the model file: arrays by input name to arrays by output name."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The sizes and the scale of a model file.

    Attributes:
        hidden: length of the first layer's state vectors.
        second: length of the second layer's.
        embedding: length of the association feature.
        bound: largest correction of a cost.
    """

    hidden: int
    second: int
    embedding: int
    bound: float

    def width(self, state: str) -> int:
        """Length of one of STATES."""
        return self.hidden if state.endswith("1") else self.second

    @classmethod
    def read(cls, metadata: Mapping[str, str]) -> Layout:
        """Reads a model file's metadata.

        Raises:
            ModelError: it describes no association model of this layout.
        """
        if metadata.get("kind") != KIND or metadata.get("layout") != VERSION:
            raise ModelError(
                f"The model file says kind {metadata.get('kind')!r} and layout {metadata.get('layout')!r} of itself; "
                f"an association model of this version says {KIND!r} and {VERSION!r}."
            )
        try:
            sizes = json.loads(metadata["sizes"])
            hidden, embedding = int(sizes["hidden"]), int(sizes["embedding"])
            layout = cls(hidden, int(sizes.get("second", hidden)), embedding, float(sizes["bound"]))
            fits = (int(sizes["step"]), int(sizes["pair"])) == (STEP, PAIR)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"The association model's sizes {metadata.get('sizes')!r} cannot be read.") from error
        if not fits:
            raise ModelError(
                f"The association model was made for other features than these ({STEP} a step, {PAIR} a pair)."
            )
        return layout


@dataclass(frozen=True, slots=True)
class OpenAssociation:
    """An opened model file; each call gives an associator without state, one for each tracker.

    Attributes:
        engine: runs the file, for all of them.
        layout: its sizes.
    """

    engine: Engine
    layout: Layout

    def __call__(self) -> LearnedAssociator:
        """An associator without state."""
        return LearnedAssociator(self.engine, self.layout)

    def close(self) -> None:
        """Frees the model; no associator can go on afterwards."""
        self.engine.close()


class RulesAlone:
    """What is opened where no association was learned."""

    def __call__(self) -> None:
        """No associator."""

    def close(self) -> None:
        """Nothing is to be freed."""


def open_associator(model: str, runtime: str = "cpu", config: EngineConfig | None = None) -> OpenAssociation:
    """Opens a model file once, for all trackers.

    Args:
        model: a name in MODELS or the path of an ONNX file.
        runtime: as `association.runtime`; all but `cpu` switch at a moment that no replay could repeat.
        config: the group `engine.*`, for the GPU.

    Raises:
        ModelError: there is no such file, or it is no association model of this layout.
    """
    # one thread: the work is a few small products, and waking others takes longer than doing them
    path = MODELS.get(model, Path(model))
    engine = open_engine(path, EngineConfig(threads=1, runtime="onnxruntime"))
    try:
        layout = Layout.read(engine.metadata)
    except ModelError as error:
        raise ModelError(f"{model}: {error}") from error
    if runtime != "cpu":
        from alstm_ros.engines.step import load_step  # noqa: PLC0415  # the processor alone needs nothing of it

        engine = load_step(path, engine, config or EngineConfig(), runtime)
    return OpenAssociation(engine, layout)


def configured(config: Config, *, live: bool = False) -> OpenAssociation | RulesAlone:
    """Opens what `association.model` names, once for all trackers; each call gives one of them its own.

    Args:
        config: all parameters.
        live: whether `association.runtime` counts; replays use the processor, so that they repeat.

    Raises:
        ModelError: `association.model` is no association model.
    """
    model = config.association.model
    runtime = config.association.runtime if live else "cpu"
    return open_associator(model, runtime, config.engine) if model else RulesAlone()


class LearnedAssociator:
    """Corrects costs and refines boxes and scores with the network; see associator.Associator.

    Attributes:
        pairs: `(P, PAIR)` the features of the last `correct`, for those who record.
        x: `(K, STEP)` the features of the last `advance`.
    """

    def __init__(self, run: Run, layout: Layout) -> None:
        """Starts without state.

        Args:
            run: runs the model file.
            layout: its sizes.
        """
        self._run, self._layout = run, layout
        self.pairs, self.x = np.zeros((0, PAIR), np.float32), np.zeros((0, STEP), np.float32)
        self._history = History()
        self._states = {name: np.zeros((0, layout.width(name)), np.float32) for name in STATES}
        self._keys = np.zeros((0, layout.embedding + 2), np.float32)
        self._latest: tuple[Int64, dict[str, NDArray[Any]]] = (np.zeros(0, np.int64), {})
        self._nothing: dict[str, NDArray[Any]] = {"x": self.x, **self._states, "pairs": self.pairs, "keys": self._keys}

    @property
    def width(self) -> int:
        """Length of an embedding."""
        return self._layout.embedding

    def correct(self, candidates: Candidates) -> Float32:
        """What to add to the pairs' costs: `(P,)` float32, within the layout's bound."""
        self._grow(candidates.tracks.slots)
        self.pairs = pair_features(self._history.frame(candidates))
        if not len(self.pairs):
            return np.zeros(0, np.float32)
        keys = self._keys.take(candidates.tracks.slots[candidates.rows], 0)
        return np.asarray(self._call({"pairs": self.pairs, "keys": keys})["correction"], np.float32)

    def advance(self, decision: Decision) -> Refinement:
        """One step for matched and newborn tracks; see associator.Associator."""
        self.x = x = step_features(self._history.frame(decision.candidates), decision)
        self._history.learn(decision)
        which, plain = decision.which, decision.plain
        if not len(which):
            return plain
        self._grow(which)
        if len(decision.slots):
            self.forget(decision.slots)
        out = self._call({"x": x, **self._states_of(which)})
        self._latest = which, {name: out[f"{name}_next"] for name in self._states}
        for name, state in self._states.items():
            state[which] = out[f"{name}_next"]
        self._keys[which] = out["key"]
        confidences = np.array(out["same"], np.float32)
        confidences[len(decision.rows) :] = np.nan
        return Refinement(
            refine(plain.boxes, decision.candidates.detections.boxes.take(decision.found, 0), out["box"]),
            lifted(plain.scores, out["lift"]),
            confidences,
            self._keys[which, : self.width],
        )

    def forget(self, slots: NDArray[Any]) -> None:
        """Clears the state of these slots."""
        self._latest = (np.zeros(0, np.int64), {})
        known = slots[slots < len(self._keys)]
        for state in (*self._states.values(), self._keys):
            state[known] = 0

    def _states_of(self, which: Int64) -> Mapping[str, NDArray[Any]]:
        """The states of these slots.

        Where the last step had the same tracks they are the very arrays that it gave: a GPU that holds them still is
        sent nothing.
        """
        slots, states = self._latest
        if np.array_equal(slots, which):
            return states
        return {name: state.take(which, 0) for name, state in self._states.items()}

    def _grow(self, slots: Int64) -> None:
        """Makes room for these slots."""
        need = int(slots.max(initial=-1)) + 1
        if need > len(self._keys):
            more = max(need, 2 * len(self._keys)) - len(self._keys)
            self._keys = np.pad(self._keys, ((0, more), (0, 0)))
            self._states = {name: np.pad(state, ((0, more), (0, 0))) for name, state in self._states.items()}

    def _call(self, asked: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Runs the file; the half that is not asked for gets no rows."""
        return self._run(self._nothing | dict(asked))


def refine(plain: Float32, detected: Float32, change: NDArray[Any]) -> Float32:
    """Refined boxes: what the rules would publish, taken a share of the way to the detection, and shifted.

    Args:
        plain: `(K, 4)` xyxy, by the rules.
        detected: `(K, 4)` xyxy.
        change: `(K, 8)` the share per axis (cx, cy, w, h), then the shift: in heights, log ratios for the size.

    Returns:
        `(K, 4)` float32 xyxy; where nothing is to change, exactly what the rules say.
    """
    out, goal = xyxy_to_cxcywh(np.concatenate([plain, detected])).reshape(2, -1, 4)
    height = np.maximum(out[:, 3:], 1)
    off = (goal[:, :2] - out[:, :2]).clip(-height, height)
    ratio = np.log(np.maximum(goal[:, 2:], 1) / np.maximum(out[:, 2:], 1)).clip(-1, 1)
    out[:, :2] += change[:, :2] * off + change[:, 4:6] * height
    out[:, 2:] *= np.exp(change[:, 2:4] * ratio + change[:, 6:])
    moved = np.any(change != 0, axis=1, keepdims=True)
    return np.where(moved, cxcywh_to_xyxy(out), plain).astype(np.float32)


def lifted(plain: Float32, lift: NDArray[Any]) -> Float32:
    """Refined scores: `(K,)` by the rules, moved by `(K,)` logits."""
    score = plain.clip(1e-3, 1 - 1e-3)
    moved = 1 / (1 + np.exp(-lift) * (1 - score) / score)
    return np.where(lift == 0, plain, moved).astype(np.float32)

"""Training data: clips of scenes with a detector drawn for each, recorded by the running tracker, cut into windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alstm_ros.association.learned.associator import LearnedAssociator
from alstm_ros.association.learned.features import APPEARANCE, PAIR, STEP
from alstm_ros.config import Config
from alstm_ros.errors import DataError
from alstm_ros.learning.network import losses
from alstm_ros.learning.pseudo_labels.augment import draw_own_clip
from alstm_ros.learning.pseudo_labels.recordings import Footage
from alstm_ros.learning.rollout import Tape, record
from alstm_ros.learning.simulation import scenes
from alstm_ros.learning.simulation.detector_noise import Detector, draw_noise
from alstm_ros.learning.simulation.scenes import Scene
from alstm_ros.learning.simulation.world import simulate
from alstm_ros.learning.truth import bootstrap_tape


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Where clips come from.

    Attributes:
        sequences: folder of sequences in MOTChallenge's layout; empty for simulated scenes alone.
        hold_every: every so many-th sequence, in the order of names, is set aside and never trained on; 0 keeps all.
        halves: folder of more sequences, of which the first halves are trained on; empty for none.
        floor: detections of a lower score are left out.
        simulated: share of clips that are simulated scenes.
        bootstrapped: folder of a user's own recordings, as `alstm bootstrap` writes them; empty for none.
        held: share of each of those recordings, its end, that is not trained on, see held_out.
        own: share of clips that are cut from those; the others are simulated or from the sequences.
        clips: clips recorded in each phase.
        frames: frames of a clip, at most.
        window: frames of a training window.
        lead: first frames of a window whose pairs are not judged, for tracks come without their past.
        mistakes: wrong matches forced on the tracker, a second, in half of the clips.
        false: how many false detections the simulated detectors make, beside what was measured of real ones.
        reverse: whether half of the clips run backwards.
        truth: whether clips that are not a user's own tell the truth; without, they only serve to
            remember, see the module remember.
    """

    sequences: str = ""
    hold_every: int = 5
    halves: str = ""
    floor: float = 0.0
    simulated: float = 0.5
    bootstrapped: str = ""
    held: float = 0.0
    own: float = 0.6
    clips: int = 150
    frames: int = 240
    window: int = 48
    lead: int = 6
    mistakes: float = 0.1
    false: float = 1.0
    reverse: bool = True
    truth: bool = True


@dataclass(frozen=True, slots=True)
class Batch:
    """Some windows: tracks as rows of padded sequences, pairs of all frames in one list.

    Attributes:
        x: `(R, L, STEP)` float32.
        lengths: `(R,)` int64.
        score: `(R, L)`, see Tape; -1 in the padding.
        plain: `(R, L)`, the score that the rules publish.
        same: `(R, L)` likewise.
        goal: `(R, L, 4)`, zeros where there is no truth.
        pull: `(R, L, 4)`.
        real: `(R, L)` float32, above 0 where there is a true box, more so for detectors that err little: relative
            to what a detector errs, all count the same.
        triple: `(R, L)` float32, 1 where this step and the two before are one object in evenly spaced frames.
        g: `(P, PAIR)` float32.
        at: `(P,)` int64, row * L + step whose key the pair's track had.
        pairs: the rest; `correction` is zeros.
    """

    x: Tensor
    lengths: Tensor
    score: Tensor
    plain: Tensor
    same: Tensor
    goal: Tensor
    pull: Tensor
    real: Tensor
    triple: Tensor
    g: Tensor
    at: Tensor
    pairs: losses.Pairs

    @property
    def valid(self) -> Tensor:
        """`(R * L,)` bool, which steps are no padding."""
        return (torch.arange(self.x.shape[1], device=self.x.device)[None] < self.lengths[:, None]).reshape(-1)

    def packed(self, values: Tensor) -> Tensor:
        """`(R, L, ...)` to `(S, ...)`, without the padding."""
        return values.reshape(-1, *values.shape[2:])[self.valid]

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""

        def moved(part: Batch | losses.Pairs) -> dict[str, Any]:
            values = {f.name: getattr(part, f.name) for f in fields(part)}
            return {name: value.to(device) for name, value in values.items() if isinstance(value, Tensor)}

        return Batch(**moved(self), pairs=losses.Pairs(**moved(self.pairs), limit=self.pairs.limit))


def split(folder: Path, hold_every: int) -> tuple[list[Path], list[Path]]:
    """The sequences to train on and those set aside: every `hold_every`-th by name.

    Raises:
        DataError: the folder holds no sequence.
    """
    every = sorted(path.parent for path in folder.glob("*/gt.txt"))
    if not every:
        raise DataError(f"{folder} holds no sequence; it must hold folders with gt.txt and seqinfo.ini.")
    held = every[hold_every - 1 :: hold_every] if hold_every else []
    return [path for path in every if path not in held], held


def draw_clip(rng: np.random.Generator, sources: Sequence[Scene], config: DataConfig) -> Scene:
    """A clip: simulated or cut from a sequence, then changed in the ways that keep it true."""
    if not sources or rng.random() < config.simulated:
        clip = simulate(rng, config.frames)
    else:
        source = sources[int(rng.integers(len(sources)))]
        step = int(rng.choice([1, 1, 1, 1, 2, 3, 4, 5]))
        length = min(len(source), config.frames * min(step, 2))
        clip = scenes.cut(source, int(rng.integers(len(source) - length + 1)), length)
        clip = scenes.keep_frames(clip, np.arange(0, len(clip), step))
        clip = scenes.resize(clip, float(np.exp(rng.uniform(np.log(0.25), 0))))
    if rng.random() < 0.8:  # how wide people are is not told alike everywhere: nothing is to be learnt of it
        clip = scenes.resize(clip, 1.0, float(np.exp(rng.uniform(np.log(0.6), np.log(1.6)))))
    if rng.random() < 0.4:  # people come and go at the window's edges
        wide, high = (max(64, int(side * rng.uniform(0.3, 0.8))) for side in clip.size)
        left, top = (int(rng.integers(max(1, a - b))) for a, b in zip(clip.size, (wide, high), strict=True))
        clip = scenes.crop(clip, left, top, (wide, high), cut_boxes=bool(rng.random() < 0.5))
    if rng.random() < 0.5:  # and through doors
        known = np.unique(clip.ids)
        chosen = known[rng.random(len(known)) < rng.uniform(0.2, 0.9)]
        ends = np.sort(rng.integers(0, len(clip), (len(chosen), 2)), axis=1)
        clip = scenes.live_in(clip, dict(zip(chosen.tolist(), map(tuple, ends.tolist()), strict=True)))
    if rng.random() < 0.25:  # a camera that loses frames at random
        keep = np.flatnonzero(rng.random(len(clip)) > rng.uniform(0.05, 0.6))
        clip = scenes.keep_frames(clip, keep) if len(keep) > 1 else clip
    if rng.random() < 0.5:
        clip = scenes.mirror(clip)
    if config.reverse and rng.random() < 0.5:
        clip = scenes.reverse(clip)
    if rng.random() < 0.3:
        amount = rng.uniform(0.0, 0.02) * clip.size[1]
        path = np.cumsum(rng.normal(0, amount, (len(clip), 2)), axis=0) * np.array([1.0, 0.4])
        clip = scenes.shake(clip, path, np.ones(len(clip)), known=bool(rng.random() < 0.7))
    return replace(clip, affines=None) if rng.random() < 0.25 else clip


def make_tape(
    seed: Sequence[int],
    sources: Sequence[Scene],
    config: DataConfig,
    tracker: Config,
    inner: LearnedAssociator | None,
    recordings: Sequence[Footage] = (),
) -> Tape:
    """Records one clip; the same seed and model give the same tape."""
    rng = np.random.default_rng(list(seed))
    if recordings and rng.random() < config.own:
        return bootstrap_tape(draw_own_clip(rng, recordings, config.frames), rng, tracker, inner, config.mistakes)
    clip = draw_clip(rng, sources, config)
    while len(clip.ids) == 0:
        clip = draw_clip(rng, sources, config)
    noise = draw_noise(rng, APPEARANCE)
    false = {name: config.false * getattr(noise, name) for name in ("clutter", "shadow", "part", "double", "ghost")}
    noise = replace(noise, floor=max(noise.floor, config.floor), **false)
    mistakes = config.mistakes if rng.random() < 0.5 else 0.0
    tape = record(clip, Detector(clip, noise, rng), rng, tracker, inner, mistakes)
    return tape if config.truth else tape.untold()


def make_batch(windows: Sequence[tuple[Tape, int]], config: DataConfig, limit: float) -> Batch:
    """Puts windows together.

    Args:
        windows: tapes and the first frame in each.
        config: the window's length and lead.
        limit: cost of matching nothing, the tracker's `association.max_cost`.

    Returns:
        The batch.
    """
    rows: list[tuple[Tape, np.ndarray]] = []
    parts: dict[str, list[np.ndarray]] = {}
    total_row = total_column = 0
    for tape, first in windows:
        a, b = np.searchsorted(tape.step_frame, [first, first + config.window])
        order = a + np.lexsort((tape.step_index[a:b], tape.step_track[a:b]))
        known, starts = np.unique(tape.step_track[order], return_index=True)
        base = len(rows)
        rows += [(tape, steps) for steps in np.split(order, starts[1:]) if len(steps)]
        c, d = np.searchsorted(tape.pair_frame, [first + config.lead, first + config.window])
        if c == d or not len(known):
            continue
        place = np.minimum(np.searchsorted(known, tape.pair_track[c:d]), len(known) - 1)
        since = tape.step_index[order][starts]  # the first step of each track in this window
        step = tape.pair_index[c:d] - since[place]
        inside = (known[place] == tape.pair_track[c:d]) & (step >= 0)
        frame = tape.pair_frame[c:d] - first
        wide = int(max(tape.pair_row[c:d].max(), tape.pair_column[c:d].max())) + 1
        new = {
            "row": base + place, "step": step, "g": tape.pair_g[c:d], "cost": tape.pair_cost[c:d],
            "label": tape.pair_label[c:d], "row_use": tape.pair_row_use[c:d], "column_use": tape.pair_column_use[c:d],
            "group_row": total_row + frame * wide + tape.pair_row[c:d],
            "group_column": total_column + frame * wide + tape.pair_column[c:d],
        }  # fmt: skip
        for name, values in new.items():
            parts.setdefault(name, []).append(values[inside])
        total_row += config.window * wide
        total_column += config.window * wide
    length = max((len(steps) for _, steps in rows), default=1)
    batch = _sequences(rows, length)
    joined = {name: np.concatenate(values) for name, values in parts.items()} if parts else _no_pairs()
    label = torch.from_numpy(joined["label"])
    cost = torch.from_numpy(joined["cost"].astype(np.float32))
    pairs = losses.Pairs(
        cost=cost,
        correction=torch.zeros_like(cost),
        row=torch.from_numpy(np.unique(joined["group_row"], return_inverse=True)[1]),
        column=torch.from_numpy(np.unique(joined["group_column"], return_inverse=True)[1]),
        positive=label == 1,
        use=label >= 0,
        row_use=torch.from_numpy(joined["row_use"]),
        column_use=torch.from_numpy(joined["column_use"]),
        limit=limit,
    )
    at = torch.from_numpy(joined["row"] * length + joined["step"]).long()
    return Batch(**batch, g=torch.from_numpy(joined["g"].astype(np.float32)), at=at, pairs=pairs)


def _sequences(rows: Sequence[tuple[Tape, np.ndarray]], length: int) -> dict[str, Tensor]:
    """Pads the tracks' steps."""
    x = np.zeros((len(rows), length, STEP), np.float32)
    score, same = np.full((2, len(rows), length), -1, np.float32)
    goal, pull = np.zeros((2, len(rows), length, 4), np.float32)
    triple, plain = np.zeros((2, len(rows), length), np.float32)
    for k, (tape, steps) in enumerate(rows):
        n = len(steps)
        x[k, :n] = tape.step_x[steps]
        score[k, :n], same[k, :n] = tape.step_score[steps], tape.step_same[steps]
        plain[k, :n] = tape.step_plain[steps]
        goal[k, :n], pull[k, :n] = tape.step_goal[steps], tape.step_pull[steps]
        frame, who = tape.step_frame[steps], tape.step_object[steps]
        one = (who[2:] == who[1:-1]) & (who[1:-1] == who[:-2]) & (who[2:] >= 0)
        triple[k, 2:n] = one & (frame[2:] - frame[1:-1] == 1) & (frame[1:-1] - frame[:-2] == 1)
    exactness = {id(tape): _exactness(tape) for tape in {id(tape): tape for tape, _ in rows}.values()}
    weight = np.array([exactness[id(tape)] for tape, _ in rows], np.float32)
    real = np.isfinite(goal).all(axis=2)
    real &= (np.arange(length) < np.array([len(steps) for _, steps in rows])[:, None]) & (score > 0)
    found = {
        "x": x, "score": score, "plain": plain, "same": same, "goal": np.where(real[..., None], goal, 0), "pull": pull,
        "real": real * weight[:, None], "triple": triple,
    }  # fmt: skip
    tensors = {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in found.items()}
    tensors["lengths"] = torch.tensor([len(steps) for _, steps in rows])
    return tensors


def _exactness(tape: Tape) -> float:
    """One over what the tape's detector errs on average, one for an error of a fiftieth of a height."""
    errors = np.abs(tape.step_goal[np.isfinite(tape.step_goal).all(axis=1)])
    return float(0.02 / (0.004 + (errors.mean() if len(errors) else 0.016)))


def _no_pairs() -> dict[str, np.ndarray]:
    whole = {name: np.zeros(0, np.int64) for name in ("row", "step", "label", "group_row", "group_column")}
    flags = {name: np.zeros(0, bool) for name in ("row_use", "column_use")}
    return whole | flags | {"cost": np.zeros(0, np.float32), "g": np.zeros((0, PAIR), np.float32)}

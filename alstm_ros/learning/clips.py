"""Training clips: scenes with a detector drawn for each, or a user's own recordings, run through the tracker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from alstm_ros.association.learned.features import APPEARANCE
from alstm_ros.errors import DataError
from alstm_ros.learning.pseudo_labels.augment import draw_augmented_clip
from alstm_ros.learning.pseudo_labels.recordings import LabelSource
from alstm_ros.learning.rollout import Rollout, record_clip, record_scene
from alstm_ros.learning.simulation import scenes
from alstm_ros.learning.simulation.detector_noise import SimulatedDetector, draw_noise
from alstm_ros.learning.simulation.scenes import Scene
from alstm_ros.learning.simulation.world import simulate
from alstm_ros.learning.tape import Tape


@dataclass(frozen=True, slots=True)
class TrainingDataConfig:
    """Where clips come from.

    Attributes:
        sequences: folder of sequences in MOTChallenge's layout; empty for simulated scenes alone.
        hold_every: every so many-th sequence, in the order of names, is set aside and never trained on; 0 keeps all.
        halves: folder of more sequences, of which the first halves are trained on; empty for none.
        floor: detections of a lower score are left out.
        simulated: share of clips that are simulated scenes.
        bootstrapped: folder of a user's own recordings, as `alstm bootstrap` writes them; empty for none.
        held: share of each of those recordings, its end, that is not trained on, see validation.
        own: share of clips that are cut from those; the others are simulated or from the sequences.
        clips: clips recorded in each phase.
        frames: frames of a clip, at most.
        window: frames of a training window.
        lead: first frames of a window whose pairs are not judged, for tracks come without their past.
        mistakes: wrong matches forced on the tracker, a second, in half of the clips.
        false: how many false detections the simulated detectors make, beside what was measured of real ones.
        reverse: whether half of the clips run backwards.
        truth: whether clips that are not a user's own tell the truth; without, they serve distillation alone.
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


def split_sequences(folder: Path, hold_every: int) -> tuple[list[Path], list[Path]]:
    """The sequences to train on and those set aside: every `hold_every`-th by name.

    Raises:
        DataError: the folder holds no sequence.
    """
    every = sorted(path.parent for path in folder.glob("*/gt.txt"))
    if not every:
        raise DataError(f"{folder} holds no sequence; it must hold folders with gt.txt and seqinfo.ini.")
    held = every[hold_every - 1 :: hold_every] if hold_every else []
    return [path for path in every if path not in held], held


def draw_scene(rng: np.random.Generator, sources: Sequence[Scene], config: TrainingDataConfig) -> Scene:
    """A clip: simulated or cut from a sequence, then changed in the ways that keep it true."""
    if not sources or rng.random() < config.simulated:
        clip = simulate(rng, config.frames)
    else:
        source = sources[int(rng.integers(len(sources)))]
        step = int(rng.choice([1, 1, 1, 1, 2, 3, 4, 5]))
        length = min(len(source), config.frames * min(step, 2))
        clip = scenes.cut(source, int(rng.integers(len(source) - length + 1)), length)
        clip = scenes.thinned(clip, np.arange(0, len(clip), step))
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
        clip = scenes.thinned(clip, keep) if len(keep) > 1 else clip
    if rng.random() < 0.5:
        clip = scenes.mirror(clip)
    if config.reverse and rng.random() < 0.5:
        clip = scenes.reverse(clip)
    if rng.random() < 0.3:
        amount = rng.uniform(0.0, 0.02) * clip.size[1]
        path = np.cumsum(rng.normal(0, amount, (len(clip), 2)), axis=0) * np.array([1.0, 0.4])
        clip = scenes.shake(clip, path, np.ones(len(clip)), known=bool(rng.random() < 0.7))
    return replace(clip, affines=None) if rng.random() < 0.25 else clip


@dataclass(frozen=True, slots=True)
class ClipSources:
    """What clips are cut from.

    Attributes:
        scenes: annotated sequences.
        recordings: a user's own.
    """

    scenes: Sequence[Scene] = ()
    recordings: Sequence[LabelSource] = ()


def make_tape(seed: Sequence[int], sources: ClipSources, config: TrainingDataConfig, how: Rollout) -> Tape:
    """Draws one clip and records it; the same seed and model give the same tape.

    Args:
        seed: of everything that is drawn.
        sources: what clips are cut from; simulated scenes where there is nothing.
        config: which clips are drawn how often.
        how: how the tracker is run; mistakes are as many as `config` says.
    """
    rng = np.random.default_rng(list(seed))
    if sources.recordings and rng.random() < config.own:
        clip = draw_augmented_clip(rng, sources.recordings, config.frames)
        return record_clip(clip, rng, replace(how, mistakes=config.mistakes))
    scene = draw_scene(rng, sources.scenes, config)
    while len(scene.ids) == 0:
        scene = draw_scene(rng, sources.scenes, config)
    noise = draw_noise(rng, APPEARANCE)
    false = {name: config.false * getattr(noise, name) for name in ("clutter", "shadow", "part", "double", "ghost")}
    noise = replace(noise, floor=max(noise.floor, config.floor), **false)
    mistakes = config.mistakes if rng.random() < 0.5 else 0.0
    detector = SimulatedDetector(scene, noise, rng)
    tape = record_scene(scene, detector, rng, replace(how, mistakes=mistakes))
    return tape if config.truth else tape.without_truth()

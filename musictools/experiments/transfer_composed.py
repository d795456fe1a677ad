"""The tasks of notebook 11 on composed clips, with targets that are true by construction (`choi2018` 6).

They are those of chapter 6 as far as the composed corpus has an analogue:

    6.3 ballroom dances      tempo, in four classes of equal size
    6.4 genres of GTZAN      genre
    6.6 speech or music      with or without drums
    6.7 arousal, valence     onsets per second; share of the time in minor and diminished chords (regressions)
    6.8 vocals or not        vocals or not
    6.9 acoustic events      kind of instrument in four seconds of a single stem, repeated to full length

The clips are composed and rendered for the purpose, with a seed that the tagger's corpus does not have, so that it has
seen none of their artists. ``plans`` are `composed.ClipPlan` by clip id.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from musictools.datasets import composed
from musictools.experiments.transfer import Target
from musictools.transfer.tasks import Task

if TYPE_CHECKING:
    from musictools.datasets.composed import ClipPlan

__all__ = ["ANALOGUES", "Mix", "StemExcerpt", "composed_plans", "composed_target", "composed_tasks", "stem_task"]

EXCERPT_SECONDS = 4.0  # UrbanSound8K's longest clips
ANALOGUES = {  # task -> (published table of its original, what is predicted here)
    "tempo": ("choi2018_figure_6_3_ballroom", "tempo in four classes"),
    "genre": ("choi2018_figure_6_4_gtzan_genre", "genre"),
    "drums": ("choi2018_figure_6_6_speech_music", "with or without drums"),
    "density": ("choi2018_figure_6_7_arousal", "onsets per second"),
    "minor": ("choi2018_figure_6_7_valence", "share of minor chords"),
    "vocals": ("choi2018_figure_6_8_vocals", "vocals or not"),
    "instrument": ("choi2018_figure_6_9_urbansound", "instrument of a short sound"),
}
_KINDS = {  # kind of instrument -> General MIDI programs
    "keyboard": range(24), "guitar": range(24, 32), "bass": range(32, 40), "strings": range(40, 52),
    "voice": range(52, 55), "wind": range(56, 80), "synthesizer": range(80, 104),
}  # fmt: skip
_LEVEL = 0.1  # root mean square of an excerpt


@dataclass(frozen=True, eq=False)
class Mix:
    """Render a clip of the composed corpus.

    Parameters
    ----------
    plans : dict of int to ClipPlan
    """

    plans: dict[int, ClipPlan]

    def __call__(self, clip: int) -> tuple[np.ndarray, int]:
        """Render a clip.

        Parameters
        ----------
        clip : int

        Returns
        -------
        y : np.ndarray [shape=(n,), float32]
        sr : int
        """
        return composed.mix(self.plans[clip]), composed.SR


def composed_target(n_clips: int, *, seed: int) -> Target:
    """Compose clips and their seven tasks.

    Parameters
    ----------
    n_clips : int > 0
    seed : int >= 0
        Of the corpus; it must not be that of the clips that a network was trained on.

    Returns
    -------
    target : Target
    """
    plans = composed_plans(n_clips, seed=seed)
    tasks = composed_tasks(plans) | {"instrument": stem_task(plans)}
    mix, stem = Mix(plans), StemExcerpt(plans)
    loads = {name: stem if name == "instrument" else mix for name in tasks}
    return Target(f"composed, seed {seed}", tasks, loads, ANALOGUES)


def composed_plans(n_clips: int, *, seed: int) -> dict[int, ClipPlan]:
    """Plan clips of the composed corpus.

    Parameters
    ----------
    n_clips : int > 0
    seed : int >= 0

    Returns
    -------
    plans : dict of int to ClipPlan
        By clip id.
    """
    return {plan.clip_id: plan for plan in composed.plan(n_clips, seed=seed)}


def composed_tasks(plans: dict[int, ClipPlan]) -> dict[str, Task]:
    """Tasks on whole clips of the composed corpus.

    Parameters
    ----------
    plans : dict of int to ClipPlan

    Returns
    -------
    tasks : dict of str to Task
        tempo, genre, drums, density, minor, vocals. Groups are artists.
    """
    index = pd.Index(list(plans))
    truths = [composed.truth(plan) for plan in plans.values()]
    tempo = pd.Series([one["tempo"] for one in truths], index)
    targets = {
        "tempo": pd.qcut(tempo, 4, labels=["slow", "moderate", "brisk", "fast"]).astype(str),
        "genre": pd.Series([one["genre"] for one in truths], index),
        "drums": pd.Series(["drums" if "drums" in one["concepts"] else "none" for one in truths], index),
        "density": pd.Series([_density(composed.compose(plan)) for plan in plans.values()], index),
        "minor": pd.Series([_minor_share(one["chords"]) for one in truths], index),
        "vocals": pd.Series(["vocals" if "vocals" in one["concepts"] else "none" for one in truths], index),
    }
    groups = pd.Series([plan.artist for plan in plans.values()], index)
    return {name: Task(name, target, groups=groups) for name, target in targets.items()}


def _density(score):
    """Different onsets per second; onsets within a sixteenth count once."""
    starts = np.concatenate([stem.notes[:, 0] for stem in score.stems.values()])
    return len(np.unique(np.round(starts[starts >= 0] * score.tempo / 15))) / composed.N_SAMPLES * composed.SR


def _minor_share(chords):
    """Share of the time in chords with a minor third."""
    lengths = np.array([end - start for start, end, _ in chords])
    minor = np.array([label.split(":")[-1].startswith(("min", "dim")) for _, _, label in chords])
    return float(lengths @ minor / lengths.sum())


@dataclass(frozen=True, eq=False)
class StemExcerpt:
    """Load four seconds of one instrument of a clip, normalised to the same root mean square.

    Parameters
    ----------
    plans : dict of int to ClipPlan
    """

    plans: dict[int, ClipPlan]

    def __call__(self, clip: tuple[int, str]) -> tuple[np.ndarray, int]:
        """Render an excerpt.

        Parameters
        ----------
        clip : tuple of int and str
            Clip id and name of the stem.

        Returns
        -------
        y : np.ndarray [shape=(n,), float32]
            The loudest of the stem's excerpts, which do not overlap.
        sr : int
        """
        number, name = clip
        y = composed.stems(self.plans[number])[name]
        n = round(EXCERPT_SECONDS * composed.SR)
        parts = y[: len(y) // n * n].reshape(-1, n)
        y = parts[int(np.argmax(np.mean(parts**2, axis=1)))]
        return (_LEVEL * y / max(float(np.sqrt(np.mean(y**2))), 1e-6)).astype(np.float32), composed.SR


def stem_task(plans: dict[int, ClipPlan], *, seed: int = 0) -> Task:
    """Draw single stems of clips and ask which kind of instrument plays.

    Parameters
    ----------
    plans : dict of int to ClipPlan
        One stem of each clip is drawn, so that kinds of instruments are as even as the clips allow.
    seed : int >= 0
        Seed of the order in which clips are visited.

    Returns
    -------
    task : Task
        Its clips are pairs of clip id and name of the stem, as `StemExcerpt` takes them. Groups are artists.
    """
    rows, counts = {}, {}
    for clip in np.random.default_rng(seed).permutation(list(plans)).tolist():
        stems = composed.compose(plans[clip]).stems
        kinds = {name: _kind(stem) for name, stem in stems.items() if len(stem.notes) and _kind(stem)}
        if kinds:
            name = min(sorted(kinds), key=lambda one: (counts.get(kinds[one], 0), one))
            counts[kinds[name]] = counts.get(kinds[name], 0) + 1
            rows[clip, name] = kinds[name]
    index = pd.Index(list(rows), tupleize_cols=False)
    groups = pd.Series([plans[clip].artist for clip, _ in rows], index)
    return Task("instrument", pd.Series(list(rows.values()), index), groups=groups)


def _kind(stem):
    if stem.is_drum:
        return "drums"
    return next((kind for kind, programs in _KINDS.items() if stem.program in programs), None)

"""Experiments of notebook 11: features of a tagger on tasks that it was not trained for (`choi2018` 6).

The tasks are those of chapter 6 as far as the composed corpus has an analogue, with targets that are true by
construction:

    6.3 ballroom dances      tempo, in four classes of equal size
    6.4 genres of GTZAN      genre
    6.6 speech or music      with or without drums
    6.7 arousal, valence     onsets per second; share of the time in minor and diminished chords (regressions)
    6.8 vocals or not        vocals or not
    6.9 acoustic events      kind of instrument in four seconds of a single stem, repeated to full length

The clips are composed and rendered for the purpose, with a seed that the tagger's corpus does not have, so that it has
seen none of their artists. `Network` bundles a tagger with the averages of its layers. ``load(clip)`` returns a
waveform and its sampling rate, ``plans`` are `composed.ClipPlan` by clip id.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from musictools import audio, runs
from musictools.datasets import composed
from musictools.inference import AudioModel
from musictools.transfer import features, selection
from musictools.transfer.features import FeatureSet, LayerAverages, layer_subsets
from musictools.transfer.selection import Outcome
from musictools.transfer.tasks import Task

if TYPE_CHECKING:
    from musictools.datasets.composed import ClipPlan
    from musictools.inference import Tagger
    from musictools.spectrograms import FrontEnd

__all__ = [
    "ANALOGUES",
    "MFCC_SR",
    "Mix",
    "Network",
    "StemExcerpt",
    "Target",
    "by_class",
    "clip_features",
    "composed_plans",
    "composed_target",
    "composed_tasks",
    "differences",
    "feature_subsets",
    "figures",
    "layer_gains",
    "layer_worth",
    "random_network",
    "stem_task",
    "table_6_a",
    "target_features",
]

MFCC_SR = 12000  # Hz, as in the author's features
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
class Network:
    """A tagger and the averages of its layers.

    Parameters
    ----------
    tagger : Tagger
        Front end and inputs.
    averages : LayerAverages
        Of its network, or of one with the same inputs.
    """

    tagger: Tagger
    averages: LayerAverages

    @classmethod
    def of(cls, tagger: Tagger) -> Network:
        """A tagger with its own network.

        Parameters
        ----------
        tagger : Tagger

        Returns
        -------
        network : Network
        """
        return cls(tagger, LayerAverages(tagger.model))


def random_network(tagger: Tagger, *, seed: int = 0) -> Network:
    """Bundle a tagger's inputs with a network of the same structure and random weights.

    Parameters
    ----------
    tagger : Tagger
    seed : int >= 0

    Returns
    -------
    network : Network
    """
    layers = LayerAverages(tagger.model).layers
    return Network(tagger, LayerAverages(features.reinitialised(tagger.model, seed=seed), layers=layers))


@dataclass(frozen=True, eq=False)
class Target:
    """Tasks on one data set.

    Parameters
    ----------
    name : str
        The data set.
    tasks : dict of str to Task
    loads : dict of str to callable
        Task -> what loads one of its clips.
    about : dict of str to (str, str)
        Task -> name of the published table, and what is predicted.
    """

    name: str
    tasks: dict[str, Task]
    loads: dict[str, Callable[[Any], tuple[np.ndarray, int]]]
    about: dict[str, tuple[str, str]]


def target_features(
    networks: dict[str, Network], target: Target, *, workers: int = 1, scheduler: str = ""
) -> dict[str, dict[str, FeatureSet]]:
    """Features of the clips of all tasks, each clip loaded once.

    Parameters
    ----------
    networks : dict of str to Network
    target : Target
    workers, scheduler
        As in `clip_features`.

    Returns
    -------
    features : dict of str to dict of str to FeatureSet
        Network -> task -> features.
    """
    together = {}
    for name, load in target.loads.items():
        together.setdefault(load, []).append(name)
    features = {name: {} for name in networks}
    for load, tasks in together.items():
        ids = list(dict.fromkeys(clip for task in tasks for clip in target.tasks[task].ids))
        for name, own in clip_features(networks, load, ids, workers=workers, scheduler=scheduler).items():
            features[name] |= {task: own.take(target.tasks[task].ids) for task in tasks}
    return {name: {task: own[task] for task in target.tasks} for name, own in features.items()}


def clip_features(
    networks: dict[str, Network],
    load: Callable[[Any], tuple[np.ndarray, int]],
    ids: Sequence[Hashable],
    *,
    seconds: float = 29.0,
    workers: int = 1,
    scheduler: str = "",
) -> dict[str, FeatureSet]:
    """Layer averages and MFCC statistics of clips, each clip loaded once.

    Parameters
    ----------
    networks : dict of str to Network
    load : callable
    ids : sequence
        What `load` takes.
    seconds : float > 0
        Shorter clips are repeated to this length, as in the source: silence would enter the averages.
    workers : int > 0
        Processes that load clips and compute spectrograms.
    scheduler : str
        Address of a Dask scheduler, or empty.

    Returns
    -------
    features : dict of str to FeatureSet
        By the name of the network; each also has the block ``"mfcc"``. A clip of several inputs has their mean.
    """
    taggers = {id(network.tagger): network.tagger for network in networks.values()}.values()
    # Networks that cut waveforms in their own way get the waveform, the others the spectrogram.
    own = {tagger.front_end.sr for tagger in taggers if _cuts_waveforms(tagger)}
    front_ends = dict.fromkeys(tagger.front_end for tagger in taggers if not _cuts_waveforms(tagger))
    job = _Sounds(load, tuple(front_ends), tuple(own), seconds)
    rows = {name: [] for name in networks}
    mfcc = []
    stream = runs.map(job, ids, workers=workers, scheduler=scheduler, description="features", stream=True)
    for sounds in stream:
        mfcc.append(sounds["mfcc"])
        inputs = {}
        for name, network in networks.items():
            tagger = network.tagger
            if id(tagger) not in inputs:
                whole = _cuts_waveforms(tagger)
                inputs[id(tagger)] = (
                    tagger.inputs(sounds[tagger.front_end.sr])
                    if whole
                    else tagger.inputs(None, S=sounds[tagger.front_end])
                )
            averages = network.averages(inputs[id(tagger)], batch_size=min(16, len(inputs[id(tagger)])))
            rows[name].append({layer: values.mean(axis=0) for layer, values in averages.items()})
    index = pd.Index(ids, tupleize_cols=False)
    return {
        name: FeatureSet(index, {layer: np.stack([row[layer] for row in own]) for layer in own[0]}
                         | {"mfcc": np.stack(mfcc)})
        for name, own in rows.items()
    }  # fmt: skip


def _cuts_waveforms(tagger):
    return type(tagger).inputs is not AudioModel.inputs


@dataclass(frozen=True)
class _Sounds:
    """What networks and MFCCs need of a clip; runs in processes that have no network."""

    load: Callable
    front_ends: tuple[FrontEnd, ...]
    rates: tuple[int, ...]
    seconds: float

    def __call__(self, clip):
        y, sr = self.load(clip)
        y = np.resize(y, max(len(y), round(self.seconds * sr)))  # repeats a short clip
        rates = {MFCC_SR, *self.rates, *(front_end.sr for front_end in self.front_ends)}
        waves = {rate: y if rate == sr else audio.resample(y, orig_sr=sr, sr=rate) for rate in rates}
        sounds = {front_end: front_end.compute(waves[front_end.sr]) for front_end in self.front_ends}
        return (
            sounds
            | {rate: waves[rate] for rate in self.rates}
            | {"mfcc": features.mfcc_statistics(waves[MFCC_SR], sr=MFCC_SR)}
        )


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


def feature_subsets(layers: Sequence[str], *, kind: str = "all") -> list[tuple[str, ...]]:
    """Subsets of layers, then MFCCs, then all layers with MFCCs.

    Parameters
    ----------
    layers : sequence of str
    kind : {"all", "single"}
        All subsets of the layers, or each layer alone and all of them together.

    Returns
    -------
    subsets : list of tuple of str

    Raises
    ------
    ValueError
        If `kind` is neither.

    Examples
    --------
    >>> feature_subsets("12", kind="single")
    [('1',), ('2',), ('1', '2'), ('mfcc',), ('1', '2', 'mfcc')]
    """
    if kind not in ("all", "single"):
        raise ValueError(f"kind must be 'all' or 'single'. Got {kind!r}.")
    subsets = [one for one in layer_subsets(layers) if kind == "all" or len(one) in (1, len(layers))]
    return [*subsets, ("mfcc",), (*layers, "mfcc")]


def table_6_a(target: Target) -> pd.DataFrame:
    """Tasks in the form of table 6-A.

    Parameters
    ----------
    target : Target

    Returns
    -------
    table : pd.DataFrame
        task, data_set, clips, metric, classes.
    """
    rows = [{"task": target.about[name][1], "data_set": target.name, "clips": len(task),
             "metric": "Coefficient of determination (r^2)" if task.is_regression else "Accuracy",
             "classes": np.nan if task.is_regression else task.target.nunique()}
            for name, task in target.tasks.items()]  # fmt: skip
    return pd.DataFrame(rows)


def figures(target: Target) -> dict[str, list[str]]:
    """Tasks by the figure that shows them.

    Parameters
    ----------
    target : Target

    Returns
    -------
    figures : dict of str to list of str
        Name of the figure -> tasks; arousal and valence share figure 6.7.

    Examples
    --------
    >>> target = Target("x", {"a": None, "b": None}, {}, {"a": ("choi2018_figure_6_7_arousal", ""),
    ...                                                   "b": ("choi2018_figure_6_7_valence", "")})
    >>> figures(target)
    {'choi2018_figure_6_7': ['a', 'b']}
    """
    shown = {}
    for name in target.tasks:
        table = target.about[name][0]
        shown.setdefault("_".join(table.split("_")[:4]), []).append(name)
    return shown


def layer_worth(tables: dict[str, pd.DataFrame], *, layers: Sequence[str]) -> pd.DataFrame:
    """Worth of every layer for every task.

    Parameters
    ----------
    tables : dict of str to pd.DataFrame
        Task -> features, score.
    layers : sequence of str

    Returns
    -------
    worth : pd.DataFrame [tasks x layers]
        `layer_gains` where all subsets of the layers are there; else the score of each layer alone less their mean.
    """
    rows = {}
    for name, table in tables.items():
        score = table.set_index("features")["score"]
        alone = score.reindex(layers)
        whole = table["features"].str.isdigit().sum() == 2 ** len(layers) - 1
        rows[name] = layer_gains(table, layers=layers) if whole else alone - alone.mean()
    return pd.DataFrame(rows).T.rename_axis("task")


def differences(
    outcomes: dict[str, dict[str, Outcome]], pairs: Sequence[tuple[str, str]], *, repeats: int = 500, seed: int = 0
) -> pd.DataFrame:
    """Differences between kinds of features for every task, with intervals.

    Parameters
    ----------
    outcomes : dict of str to dict of str to Outcome
        Task -> features -> outcome.
    pairs : sequence of (str, str)
        Features whose scores are subtracted, first less second.
    repeats : int > 0
    seed : int >= 0

    Returns
    -------
    table : pd.DataFrame
        task, first, second, difference, low, high.
    """
    rows = []
    for task, own in outcomes.items():
        for first, second in pairs:
            change, (low, high) = selection.difference(own[first], own[second], repeats=repeats, seed=seed)
            rows.append({"task": task, "first": first, "second": second, "difference": change,
                         "low": low, "high": high})  # fmt: skip
    return pd.DataFrame(rows)


def layer_gains(table: pd.DataFrame, *, layers: Sequence[str]) -> pd.Series:
    """By how much a layer raises the score on average when it is added to a subset of the others.

    Parameters
    ----------
    table : pd.DataFrame
        features, score; of all subsets of the layers.
    layers : sequence of str

    Returns
    -------
    gains : pd.Series [layer -> mean difference]
        Over all non-empty subsets of the other layers.

    Examples
    --------
    >>> table = pd.DataFrame({"features": ["1", "2", "12"], "score": [0.5, 0.7, 0.8]})
    >>> layer_gains(table, layers="12").round(2).to_dict()
    {'1': 0.1, '2': 0.3}
    """
    score = table.set_index("features")["score"]
    gains = {}
    for layer in layers:
        others = layer_subsets([other for other in layers if other != layer])
        changes = [score["".join(sorted({*subset, layer}))] - score["".join(subset)] for subset in others]
        gains[layer] = np.mean(changes)
    return pd.Series(gains, name="gain")


def by_class(outcome: Outcome) -> pd.Series:
    """Share of each class that is predicted rightly.

    Parameters
    ----------
    outcome : Outcome
        Of a classification.

    Returns
    -------
    recall : pd.Series [class -> share]
    """
    y = outcome.task.target.to_numpy()[outcome.rows]
    return pd.Series(y == outcome.predicted).groupby(y).mean()

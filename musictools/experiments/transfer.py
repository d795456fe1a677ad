"""Experiments of notebook 11: features of a tagger on tasks that it was not trained for (`choi2018` 6).

`Target` names the tasks on a data set: `transfer_composed` makes them of composed clips, `transfer_sets` of the six
data sets of the source. `Network` bundles a tagger with the averages of its layers. ``load(clip)`` returns a waveform
and its sampling rate.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from musictools import audio, runs
from musictools.inference import AudioModel
from musictools.transfer import features, selection
from musictools.transfer.features import FeatureSet, LayerAverages, layer_subsets
from musictools.transfer.selection import Outcome
from musictools.transfer.tasks import Task

if TYPE_CHECKING:
    from musictools.inference import Tagger
    from musictools.spectrograms import FrontEnd

__all__ = [
    "MFCC_SR",
    "Network",
    "Target",
    "by_class",
    "clip_features",
    "differences",
    "feature_subsets",
    "figures",
    "layer_gains",
    "layer_worth",
    "random_network",
    "table_6_a",
    "target_features",
]

MFCC_SR = 12000  # Hz, as in the author's features


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

"""Experiments of notebook 06: inputs of several networks, maps of songs, run times of support vector machines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from musictools import spectrograms
from musictools.datasets import splits
from musictools.probing import clips, maps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from musictools.datasets.base import Dataset
    from musictools.inference import AudioModel
    from musictools.spectrograms import Segments

__all__ = ["compare_kernels", "draw_dissection", "maps_of_clip", "marked_maps", "middle_inputs", "of_clips"]


def middle_inputs(
    data: Dataset, audio_models: dict[str, AudioModel], ids: Sequence, **options: Any
) -> dict[str, Segments]:
    """One input per clip, the middle one, for each network.

    Parameters
    ----------
    data : Dataset
    audio_models : dict of str to AudioModel
    ids : sequence of clip id
        Clips without spectrograms and clips that are too short are left out.
    **options
        Options of `spectrograms.open_store`.

    Returns
    -------
    inputs : dict of str to Segments
        By network.
    """
    inputs, ids = {}, pd.Index(ids)
    for name, model in audio_models.items():
        store = spectrograms.open_store(data, model.front_end, **options)
        known = ids[ids.isin(store.ids)]
        inputs[name] = clips.middle(spectrograms.Segments(store, known, length=model.length, step=model.step))
    return inputs


def of_clips(inputs: Segments, ids: Sequence) -> Segments:
    """Inputs of some clips in the order of their ids.

    Parameters
    ----------
    inputs : Segments
        One input per clip, as from `middle_inputs`.
    ids : sequence of clip id

    Returns
    -------
    inputs : Segments
    """
    rows = {inputs.ids[clip]: row for row, clip in enumerate(inputs.clip)}
    return inputs.take(np.array([rows[clip_id] for clip_id in ids]))


def maps_of_clip(audio_model: AudioModel, inputs: Segments, clip_id: Any) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Feature maps of one clip, and the spectrogram that they were computed from.

    Parameters
    ----------
    audio_model : AudioModel
    inputs : Segments
        One input per clip.
    clip_id : clip id

    Returns
    -------
    maps : dict of str to np.ndarray [shape=(n_maps, height, width)]
        By layer.
    S : np.ndarray [shape=(n_bins, n_frames)]
        In dB.
    """
    own = maps.maps_of(audio_model.model, np.asarray(of_clips(inputs, [clip_id])[0:1])[0])
    front_end = audio_model.front_end
    return own, front_end.floor + own[maps.INPUT][0] * (front_end.ceiling - front_end.floor)


def marked_maps(best: pd.DataFrame, songs: pd.DataFrame, true: pd.DataFrame) -> pd.DataFrame:
    """Maps to mark in the pictures of songs: the best map of each descriptor that a song has.

    Parameters
    ----------
    best : pd.DataFrame
        Rows of `scores.best` of one network and one layer.
    songs : pd.DataFrame
        Rows of `clip_selection.choose_songs`.
    true : pd.DataFrame [clips x descriptors, bool]

    Returns
    -------
    marked : pd.DataFrame
        One row per song and map: clip, feature_map, tags (comma-separated).

    Examples
    --------
    >>> best = pd.DataFrame({"tag": ["guitar", "drums", "harp"], "feature_map": [2, 2, 0]})
    >>> songs = pd.DataFrame({"clip": [7], "tags": [("guitar", "drums", "harp")]})
    >>> true = pd.DataFrame({"guitar": [True], "drums": [True], "harp": [False]}, index=[7])
    >>> marked_maps(best, songs, true).to_dict("records")
    [{'clip': 7, 'feature_map': 2, 'tags': 'guitar, drums'}]
    """
    places = best.set_index("tag")["feature_map"]
    rows = [
        {"clip": song.clip, "feature_map": int(places[tag]), "tags": tag}
        for song in songs.itertuples()
        for tag in song.tags
        if true.at[song.clip, tag] and tag in places
    ]
    table = pd.DataFrame(rows, columns=["clip", "feature_map", "tags"])
    return table.groupby(["clip", "feature_map"], sort=False)["tags"].agg(", ".join).reset_index()


def compare_kernels(
    probe: Callable, labels: pd.DataFrame, names: Sequence, *, n_clips: int = 0, n_folds: int = 3, seed: int = 0
) -> tuple[pd.DataFrame, pd.Series]:
    """Cross-validate support vector machines with three kernels on the same maps, and measure their run time.

    Parameters
    ----------
    probe : callable
        `probes.probe` with its first argument, the maps, and options such as workers.
    labels : pd.DataFrame [clips x tags, bool]
        Training clips.
    names : sequence of (str, int)
        Layer and index of the maps.
    n_clips : int >= 0
        Maximum number of clips; 0: all.
    n_folds : int > 1
    seed : int >= 0

    Returns
    -------
    counts : pd.DataFrame
        As from `probes.probe`, for ``svm_linear``, ``svm_nystroem`` and ``svm_rbf``.
    seconds : pd.Series [kind -> s]
        Mean computing time of one machine.
    """
    some = labels.iloc[: n_clips or len(labels)]
    folds = splits.folds(len(some), n_folds=n_folds, seed=seed)
    counts, seconds = [], {}
    for kind in ("linear", "nystroem", "rbf"):
        own, spent = probe(some, folds, methods={"svm": {"kinds": [kind], "seed": seed}}, only=names)
        counts.append(own)
        seconds[kind] = spent["seconds"].mean() / (n_folds * labels.shape[1])
    return pd.concat(counts, ignore_index=True), pd.Series(seconds)


def draw_dissection(dissected: pd.DataFrame) -> Figure:
    """Draw the AUC over cells of the best map of every descriptor and network, beside that of the energy.

    Parameters
    ----------
    dissected : pd.DataFrame
        Tables from `probing.dissection.summary` with the column network.

    Returns
    -------
    fig : Figure
    """
    from musictools import plots

    networks = list(dict.fromkeys(dissected["network"]))
    best = dissected[dissected["layer"] == "all"]
    wide = best.pivot(index="tag", columns="network", values="auc")[networks]
    wide["energy"] = dissected[dissected["network"] == networks[0]].groupby("tag")["energy_auc"].first()
    fig, ax = plots.figure(height=1.4 + 0.36 * len(wide))
    title = "AUC over cells of the best map of all blocks, chosen on other clips"
    plots.table_heatmap(
        wide - 0.5, ax=ax, text=wide.map("{:.2f}".format), diverging=True, label="AUC - 0.5", title=title
    )
    ax.set(xlabel="", ylabel="")
    return fig

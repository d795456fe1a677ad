"""What class activation maps show (notebook 14): beside other methods, and against the stems of composed clips.

Maps are those of an input's own genre. ``maps`` are dicts of method -> array (n, n_bins, n_frames).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from musictools.explain.attribution.explainer import prepared
from musictools.explain.metrics import badge, localisation, sanity

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

    from musictools.datasets.composed.dataset import Composed
    from musictools.explain.metrics.badge import Badge
    from musictools.spectrograms import FrontEnd, ModelInput

__all__ = [
    "agreement",
    "badges",
    "compared",
    "defining_stems",
    "draw_maps",
    "explained",
    "genre_instruments",
    "localised",
]


def explained(
    model: keras.Model, x: np.ndarray, genre: np.ndarray, *, methods: Sequence[str], seed: int = 0
) -> dict[str, np.ndarray]:
    """Compute maps by several methods.

    Parameters
    ----------
    model : keras.Model
    x : np.ndarray [shape=(n, n_bins, n_frames, 1)]
    genre : np.ndarray [shape=(n,), int]
        Explained output of every input.
    methods : sequence of str
        Some of `explain.METHODS`, and "cam".
    seed : int >= 0

    Returns
    -------
    maps : dict of str to np.ndarray [shape=(n, n_bins, n_frames)]
        Without "cam" for a network that has none.
    """
    maps = {}
    for method in methods:
        try:
            explainer = prepared(model, method=method, seed=seed, conservation=False)
        except ValueError:
            if method != "cam":
                raise
            continue
        maps[method] = explainer(x, np.asarray(genre)).relevance[..., 0]
    return maps


def agreement(maps: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Mean rank correlation between the maps of every two methods.

    Parameters
    ----------
    maps : dict of str to np.ndarray [shape=(n, n_bins, n_frames)]

    Returns
    -------
    table : pd.DataFrame [methods x methods]
        Means over the inputs for which both maps vary.

    Examples
    --------
    >>> ramp = np.arange(6.0).reshape(1, 2, 3)
    >>> float(agreement({"a": ramp, "b": -ramp}).at["a", "b"])
    -1.0
    """
    ranks = {name: [sanity.ranks(one) for one in own] for name, own in maps.items()}
    table = pd.DataFrame(1.0, index=list(maps), columns=list(maps))
    for number, first in enumerate(maps):
        for second in list(maps)[:number]:
            values = [sanity.correlation(a, b) for a, b in zip(ranks[first], ranks[second], strict=True)]
            known = [value for value in values if np.isfinite(value)]
            table.at[first, second] = table.at[second, first] = np.mean(known) if known else np.nan
    return table


def badges(
    model: keras.Model, x: np.ndarray, genre: np.ndarray, *, methods: Sequence[str], seed: int = 0
) -> dict[str, Badge]:
    """Test whether the maps of every method depend on the network and on the genre, and show more than the input.

    Parameters
    ----------
    model, x, genre, methods, seed
        As for `explained`.

    Returns
    -------
    badges : dict of str to Badge
    """
    return {method: badge.badge(model, x, np.asarray(genre), method=method, seed=seed) for method in methods}


def genre_instruments(data: Composed, genres: pd.Series) -> pd.DataFrame:
    """How much more often an instrument plays in a genre than in the others.

    Parameters
    ----------
    data : Composed
    genres : pd.Series [clip id -> genre]
        The clips that are counted.

    Returns
    -------
    table : pd.DataFrame [genres x instruments]
        Share of the genre's clips with this stem minus the share of all other clips.
    """
    rows = {clip: dict.fromkeys(data.truth(clip)["instruments"], 1.0) for clip in genres.index}
    present = pd.DataFrame.from_dict(rows, orient="index").fillna(0.0).loc[genres.index]
    return pd.DataFrame(
        {genre: present[genres == genre].mean() - present[genres != genre].mean() for genre in genres.unique()}
    ).T.rename_axis(index="genre", columns="instrument")


def defining_stems(data: Composed, genres: pd.Series, table: pd.DataFrame, *, least: float = 0.1) -> dict:
    """The stem of each clip that is most typical of its genre.

    Parameters
    ----------
    data : Composed
    genres : pd.Series [clip id -> genre]
    table : pd.DataFrame
        From `genre_instruments`, of other clips.
    least : float
        Clips whose most typical stem has a smaller difference in the table are left out.

    Returns
    -------
    stems : dict of clip id to str
        Without clips that have one stem only, as any map would be right there.
    """
    chosen = {}
    for clip, genre in genres.items():
        names = data.truth(clip)["instruments"]
        values = table.loc[genre].reindex(names).dropna()
        if len(names) > 1 and len(values) and values.max() >= least:
            chosen[clip] = str(values.idxmax())
    return chosen


def localised(
    models: Mapping[str, tuple[keras.Model, Sequence[str]]],
    data: Composed,
    stems: Mapping,
    genres: Sequence[str],
    truth: pd.Series,
    *,
    model_input: ModelInput,
    per_clip: int = 2,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare maps with the cells in which a clip's defining stem is louder than all others.

    Parameters
    ----------
    models : dict of str to (keras.Model, methods)
        Name of the network -> network, and the methods that explain it.
    data : Composed
    stems : dict of clip id to str
        From `defining_stems`.
    genres : sequence of str
        In the order of the networks' outputs.
    truth : pd.Series [clip id -> genre]
    model_input : ModelInput
        Front end, length and step of the pieces.
    per_clip : int > 0
        Pieces of a clip, evenly spread.
    seed : int >= 0

    Returns
    -------
    rows : pd.DataFrame
        Rows of `localisation.localise` with network, clip, genre, instrument and method.
    """
    from musictools.spectrograms import segments

    rows = []
    for clip, stem in stems.items():
        waves, _ = data.stems(clip, sr=model_input.front_end.sr)
        shares = localisation.stem_shares(waves, model_input.front_end)
        S = model_input.front_end.scale(model_input.front_end.compute(sum(waves.values())))
        x = segments(S, length=model_input.length, step=model_input.step)[..., None]
        some = np.unique(np.linspace(0, len(x) - 1, per_clip).astype(int))
        mask = localisation.cut(localisation.target_mask(shares, [stem]), model_input)[some]
        x, genre = np.ascontiguousarray(x[some], dtype=np.float32), genres.index(truth[clip])
        for name, (model, methods) in models.items():
            labels = {"network": name, "clip": clip, "genre": truth[clip], "instrument": stem}
            for method, maps in explained(model, x, np.full(len(x), genre), methods=methods, seed=seed).items():
                rows.append(localisation.localise(maps, mask, energy=x[..., 0], method=method, **labels))
    if not rows:
        raise ValueError("No clip has a stem that is typical of its genre, and another one.")
    return pd.concat(rows, ignore_index=True)


def compared(
    maps: Mapping[str, Mapping[str, np.ndarray]],
    own_badges: Mapping[str, Mapping[str, Badge]],
    places: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """One row for every network and method: agreement, localisation, badge.

    Parameters
    ----------
    maps : dict of str to dict of str to np.ndarray
        Network -> method -> maps, from `explained`.
    own_badges : dict of str to dict of str to Badge
        Network -> method -> badge, from `badges`.
    places : pd.DataFrame or None
        Table of `localisation.table` by network and method; None where there are no stems.

    Returns
    -------
    table : pd.DataFrame
        network, method; agreement (mean rank correlation with the network's other methods), concentration (share of the
        cells that hold half of the positive relevance), rank_accuracy and over_energy with its interval (of the mask of
        the defining stem; NaN without stems), the badge's scores, passed and failed (tests of the badge).
    """
    rows = []
    for network, by_method in maps.items():
        together = agreement(by_method)
        for method, own in by_method.items():
            others = together.loc[method].drop(method)
            row = {"network": network, "method": method, "agreement": others.mean() if len(others) else np.nan}
            row["concentration"] = pd.Series([_half(one) for one in own]).mean()
            row |= dict.fromkeys(("rank_accuracy", "over_energy", "over_energy_low", "over_energy_high"), np.nan)
            if places is not None:
                here = places[(places["network"] == network) & (places["method"] == method)]
                [line] = here[here["measure"] == "rank_accuracy"].to_dict("records")
                row |= {name: line[name] for name in ("over_energy", "over_energy_low", "over_energy_high")}
                row["rank_accuracy"] = line["value"]
            one = own_badges[network][method]
            scores = {name.replace(" ", "_"): value for name, value in one.scores.items()}
            failed = list(one.failed)
            rows.append(row | scores | {"passed": one.passed, "failed": ", ".join(failed)})
    return pd.DataFrame(rows)


def _half(relevance):
    """Share of the cells that together hold half of the positive relevance; NaN where there is none."""
    values = np.sort(np.maximum(relevance, 0), axis=None)[::-1].cumsum()
    return (np.searchsorted(values, values[-1] / 2) + 1) / values.size if values[-1] > 0 else np.nan


def draw_maps(
    maps: Mapping[str, np.ndarray], x: np.ndarray, *, front_end: FrontEnd | None = None, columns: int = 4
) -> Figure:
    """Draw maps over their inputs, each with its title.

    Parameters
    ----------
    maps : dict of str to np.ndarray [shape=(n_bins, n_frames)]
        By title.
    x : np.ndarray [shape=(n, n_bins, n_frames)]
        The input below each map, scaled.
    front_end : FrontEnd or None
        None: the axes count bands and frames.
    columns : int > 0

    Returns
    -------
    fig : Figure
    """
    from musictools import plots

    columns = min(columns, len(maps))
    n_rows = -(-len(maps) // columns)
    fig, axes = plots.figure(rows=n_rows, columns=columns, height=0.6 + 2.1 * n_rows, squeeze=False)
    for ax in axes.flat[len(maps) :]:
        ax.set_axis_off()
    for place, (ax, (title, one), own) in enumerate(zip(axes.flat, maps.items(), x, strict=False)):  # axes to spare
        S = own if front_end is None else front_end.floor + own * (front_end.ceiling - front_end.floor)
        plots.heatmap(one, S=S, front_end=front_end, ax=ax, title=title, label="", colorbar=False)
        ax.tick_params(labelleft=place % columns == 0)
        ax.set(
            ylabel=ax.get_ylabel() if place % columns == 0 else "",
            xlabel=ax.get_xlabel() if place + columns >= len(maps) else "",
        )
    return fig

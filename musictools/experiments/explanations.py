"""Experiments of notebook 05: many clips and many methods, one table per question.

``tagger`` is an `inference.Tagger`, or an object with the same attributes. ``data`` is any data set with audio. What is
true of a clip are its complete descriptors if the data set knows them, else its annotated ones. `stem_tags` and
`localisation_rows` need the stems of every tag, ``tag_stems``, as the composed corpus has them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from musictools import evaluation
from musictools.datasets import splits
from musictools.explain.application import evidence
from musictools.explain.application.system import merge
from musictools.explain.attribution.explainer import Explainer
from musictools.explain.metrics import faithfulness, localisation
from musictools.spectrograms import ModelInput

if TYPE_CHECKING:
    import keras
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from musictools.datasets.base import Dataset
    from musictools.datasets.composed.dataset import Composed
    from musictools.explain.application.system import SongExplanation
    from musictools.explain.attribution.explanation import Explanation
    from musictools.inference import GenreClassifier, Tagger
    from musictools.spectrograms import FrontEnd

__all__ = [
    "accepted_inputs",
    "best_methods",
    "choose_clips",
    "unseen_clips",
    "conservation_table",
    "concentration",
    "consistency_table",
    "draw_instruments",
    "draw_methods",
    "explainers",
    "faithfulness_tables",
    "feedback_table",
    "localisation_rows",
    "most_alike",
    "stem_tags",
    "true_descriptors",
    "workflow",
]

_NEVER_BLANK = 1e-6  # a reference below any score


def explainers(model: keras.Model, methods: dict[str, dict], **options: Any) -> dict[str, Callable[..., Explanation]]:
    """Prepare several methods for one model.

    Parameters
    ----------
    model : keras.Model
    methods : dict of str to dict
        Label -> options of `Explainer`, including method (default: the label) and contrast.
    **options
        Options of all methods.

    Returns
    -------
    prepared : dict of str to callable
        Label -> function of ``(x, neuron, reference=None)`` that returns an `Explanation`. A method with a contrast
        ignores the reference.
    """
    prepared = {}
    for label, own in methods.items():
        own = {"method": label, **options, **own}
        contrast = own.pop("contrast", None)
        prepared[label] = _Prepared(Explainer(model, **own), contrast)
    return prepared


class _Prepared:
    def __init__(self, explainer, contrast):
        self.explainer, self.contrast = explainer, contrast

    def __call__(self, x, neuron, reference=None):
        if self.contrast is not None:
            return self.explainer(x, neuron, contrast=self.contrast)
        return self.explainer(x, neuron, reference=reference)


def true_descriptors(data: Dataset) -> pd.DataFrame:
    """Descriptors that are true of every clip: complete if the data set knows them, else as annotated.

    Parameters
    ----------
    data : Dataset

    Returns
    -------
    true : pd.DataFrame [clips x descriptors, bool]
    """
    return data.complete_descriptors if hasattr(data, "complete_descriptors") else data.descriptors


def unseen_clips(tagger: Tagger, data: Dataset, held_out: Sequence, *, seed: int = 0) -> np.ndarray:
    """Clips that the tagger was not trained on, in random order.

    Parameters
    ----------
    tagger : Tagger
    data : Dataset
    held_out : sequence of clip id
        Clips of the tagger's data set that were held out.
    seed : int >= 0
        Seed of the order.

    Returns
    -------
    ids : np.ndarray
        The clips held out; all clips if the tagger was trained on a data set of another name.

    Raises
    ------
    ValueError
        If the tagger was trained on another version of this data set, or on a clip that was held out.
    """
    ids = data.tracks.index
    if tagger.card.data == data.name:
        if tagger.card.data_checksum != data.tables_checksum:
            raise ValueError(f"The tagger was trained on another version of {data.name}: its tables differ.")
        splits.check_held_out(tagger.card, held_out)
        ids = ids[ids.isin(held_out)]
    return np.random.default_rng(seed).permutation(ids)


def workflow(
    explanation: SongExplanation,
    tag: str,
    *,
    song: str,
    genre_model: GenreClassifier,
    tagger: Tagger,
    ax: Axes | None = None,
) -> Axes:
    """Draw the workflow of the explanation system with the numbers of one song (`rotheneder2023` figure 5.4).

    Parameters
    ----------
    explanation : SongExplanation
        Explanation of the song with `tag`.
    tag : str
        The descriptor that is visualised.
    song : str
        Title of the song.
    genre_model : GenreClassifier
    tagger : Tagger
    ax : Axes or None

    Returns
    -------
    ax : Axes
    """
    from musictools.plots import diagrams

    votes = explanation.votes["genre"].value_counts()
    predicted = explanation.descriptors.loc[explanation.descriptors["predicted"], "tag"]
    section = int(explanation.sections[tag].argmax())
    cut = slice(section * tagger.step, section * tagger.step + tagger.length)
    heatmap = explanation.heatmaps[tag]
    heatmap = np.minimum(heatmap, np.percentile(heatmap, 99.5) or heatmap.max())  # a few hot cells darken the rest
    listed = textwrap.fill(", ".join(predicted[:8]), 20)
    return diagrams.workflow(
        song=f"song\n{textwrap.fill(song, 18)}",
        genre_steps=[
            *_input_texts(genre_model, len(explanation.votes)),
            "genre of\neach section\n" + "\n".join(f"{n} × {name}" for name, n in votes.head(2).items()),
            f"most frequent:\n{explanation.genre}",
        ],
        descriptor_steps=[
            *_input_texts(tagger, len(explanation.sections)),
            f"{len(predicted)} descriptors\n{listed}",
            f"{tag}:\nheatmap of\neach section",
        ],
        merged="heatmap of\nthe song",
        pictures={
            "spectrogram": explanation.S,
            "sections": explanation.S[:, cut],
            "heatmap": heatmap[:, cut],
            "merged": heatmap,
        },
        ax=ax,
        title=f"How the song gets its genre and the heatmap of {tag}",
    )


def _input_texts(model, n_sections):
    """Texts of the first two boxes of a model: its spectrogram and its sections."""
    f = model.front_end
    return [
        f"{f.sr / 1000:g} kHz\nwindow {f.n_fft}\nhop {f.hop_length}\n{f.n_bins} bands",
        f"{n_sections} sections\n{f.n_bins} × {model.length}",
    ]


def stem_tags(tagger: Tagger, data: Composed, ids: Sequence) -> pd.DataFrame:
    """Tags of each clip that some of its stems carry and others do not, such as its instruments.

    Parameters
    ----------
    tagger : Tagger
    data : Composed
    ids : sequence of clip id

    Returns
    -------
    table : pd.DataFrame [clips x tags, bool]
        Tags that no clip has are left out.
    """
    table = pd.DataFrame(False, index=list(ids), columns=tagger.tags)
    for clip_id in ids:
        table.loc[clip_id, list(_carriers(tagger, data, clip_id))] = True
    return table.loc[:, table.any()]


def choose_clips(table: pd.DataFrame, n: int) -> list:
    """Choose few clips that contain every tag several times.

    Parameters
    ----------
    table : pd.DataFrame [clips x tags, bool]
    n : int > 0
        Number of clips for each tag; all clips of a tag that has fewer.

    Returns
    -------
    ids : list of clip id
        In the order in which they were chosen: rare tags first.

    Examples
    --------
    >>> table = pd.DataFrame({"rare": [0, 0, 1], "frequent": [1, 1, 1]}, index=["a", "b", "c"]).astype(bool)
    >>> choose_clips(table, 2)
    ['c', 'a']
    """
    chosen = []
    for tag in table.sum().sort_values(kind="stable").index:
        there = table.index[table[tag]]
        have = sum(clip in chosen for clip in there)
        chosen += [clip for clip in there if clip not in chosen][: max(0, n - have)]
    return chosen


def localisation_rows(
    tagger: Tagger, data: Composed, ids: Sequence, *, methods: dict[str, Callable], per_clip: int = 2
) -> pd.DataFrame:
    """Compare where relevance lies with the stems that carry each tag.

    Parameters
    ----------
    tagger : Tagger
    data : Composed
    ids : sequence of clip id
    methods : dict of str to callable
        Methods from `explainers`.
    per_clip : int > 0
        Number of inputs of a clip, evenly spread.

    Returns
    -------
    rows : pd.DataFrame
        Rows of `localisation.localise` with clip, tag and method. Clips with one instrument, and tags that all stems
        carry, have no rows.

    Raises
    ------
    ValueError
        If no clip has a tag that some of its stems carry and others do not.
    """
    model_input = ModelInput(tagger.front_end, tagger.length, tagger.step)
    rows = []
    for clip_id in ids:
        carriers = _carriers(tagger, data, clip_id)
        if not carriers:
            continue
        stems, _ = data.stems(clip_id, sr=tagger.front_end.sr)
        shares = localisation.stem_shares(stems, tagger.front_end)
        x = tagger.inputs(sum(stems.values()))
        chosen = np.linspace(0, len(x) - 1, min(per_clip, len(x))).astype(int)
        x, neurons = x[chosen], [tagger.tags.index(tag) for tag in carriers]
        for label, method in methods.items():
            blank = label.startswith("deep_taylor")  # for a negative logit; its maps differ by a factor only
            maps = _matrix(method(x, neurons, reference=_NEVER_BLANK if blank else None).relevance)
            for k, (tag, names) in enumerate(carriers.items()):
                mask = localisation.cut(localisation.target_mask(shares, names), model_input)[chosen]
                rows.append(
                    localisation.localise(maps[:, k], mask, energy=_matrix(x), clip=clip_id, tag=tag, method=label)
                )
    if not rows:
        raise ValueError("No clip has a tag that some of its stems carry and others do not.")
    return pd.concat(rows, ignore_index=True)


def _carriers(tagger, data, clip_id):
    """Tags of a clip that some stems carry and others do not, with those stems."""
    true, n_stems = data.complete_descriptors.loc[clip_id], len(data.truth(clip_id)["instruments"])
    stems = {tag: data.tag_stems(clip_id, tag) for tag in tagger.tags if true.get(tag, False)}
    return {tag: names for tag, names in stems.items() if 0 < len(names) < n_stems}


def _matrix(maps):
    """Maps without the channel of a spectrogram; waveforms as they are, (..., n_samples, 1)."""
    return maps[..., 0] if maps.shape[-2] > 1 and maps.ndim > 3 else maps


def accepted_inputs(
    tagger: Tagger, data: Dataset, ids: Sequence, *, rule: str = "f1", limit: int = 4
) -> tuple[np.ndarray, pd.DataFrame]:
    """Inputs with a tag that is true and that the model predicts, one input per clip and tag.

    If the data set knows none of the model's tags, every predicted tag counts.

    Parameters
    ----------
    tagger : Tagger
    data : Dataset
    ids : sequence of clip id
    rule : str
        Rule of the thresholds.
    limit : int > 0
        Number of tags of a clip, those whose scores exceed their thresholds most.

    Returns
    -------
    x : np.ndarray [shape=(n, ...)]
    table : pd.DataFrame
        One row per input: clip, tag, neuron, threshold.

    Raises
    ------
    ValueError
        If the model predicts no true tag of these clips.
    """
    inputs, rows = [], []
    thresholds, true = _thresholds(tagger, rule), true_descriptors(data)
    known = [tag for tag in tagger.tags if tag in true]
    for clip_id in ids:
        y, sr = data.audio(clip_id, sr=tagger.front_end.sr)
        x = tagger.inputs(y)
        scores = pd.DataFrame(evaluation.predict(tagger.model, x, batch_size=16), columns=tagger.tags)
        own = [tag for tag in known if true.at[clip_id, tag]] if known else tagger.tags
        margin = (scores.max() - thresholds)[own]
        for tag in margin[margin > 0].nlargest(limit).index:
            inputs.append(x[int(scores[tag].argmax())])
            rows.append({"clip": clip_id, "tag": tag, "neuron": tagger.tags.index(tag), "threshold": thresholds[tag]})
    if not rows:
        raise ValueError("The model predicts no true tag of these clips, so that there is nothing to explain.")
    return np.stack(inputs), pd.DataFrame(rows)


def _thresholds(tagger, rule):
    decided = tagger.decide(pd.Series(0.0, tagger.tags, name="score"), rule=rule)
    return decided.set_index("tag")["threshold"][tagger.tags]


def faithfulness_tables(
    tagger: Tagger,
    x: np.ndarray,
    table: pd.DataFrame,
    *,
    methods: dict[str, Callable],
    baselines: Sequence[str] = faithfulness.BASELINES,
    steps: int = 10,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Curves of deletion and insertion, and scores of the evidence alone and of the rest alone.

    Parameters
    ----------
    tagger : Tagger
    x : np.ndarray [shape=(n, ...)]
        Inputs from `accepted_inputs`.
    table : pd.DataFrame
        Their table.
    methods : dict of str to callable
        Methods from `explainers`.
    baselines : sequence of str
        Some of `faithfulness.BASELINES`.
    steps : int > 0
        Number of steps of a curve.
    seed : int >= 0
        Seed of the random order and of the resampling.

    Returns
    -------
    curves : pd.DataFrame
        method, fill (the baseline), kind, share, probability, control: means over the inputs.
    scores : pd.DataFrame
        method, fill, deletion, insertion (areas relative to a random order; positive is better), their intervals
        ``…_low`` and ``…_high`` over clips, and `faithfulness.measures` of the evidence.
    """
    from musictools.explain.attribution.explainer import logits

    network, neuron = logits(tagger.model), table["neuron"].to_numpy()
    lines, scores = [], []
    for label, method in methods.items():
        relevance = method(x, neuron, reference=table["threshold"].to_numpy().clip(1e-6, 1 - 1e-6)).relevance
        for fill in baselines:
            row = {"method": label, "fill": fill}
            for kind in ("deletion", "insertion"):
                curve = faithfulness.curves(
                    network, x, neuron, relevance, baseline=fill, kind=kind, steps=steps, seed=seed
                )
                lines.append(
                    pd.DataFrame(
                        {
                            "method": label,
                            "fill": fill,
                            "kind": kind,
                            "share": curve.share,
                            "probability": curve.probability.mean(axis=0),
                            "control": curve.control_probability.mean(axis=0),
                        }
                    )
                )
                advantage = pd.Series(curve.advantage()).groupby(table["clip"].to_numpy()).mean().to_numpy()
                low, high = evaluation.bootstrap(
                    lambda some, a=advantage: a[some].mean(), np.arange(len(advantage)), repeats=300, seed=seed
                )
                row |= {kind: advantage.mean(), f"{kind}_low": low, f"{kind}_high": high}
            inside = faithfulness.masked(network, x, neuron, relevance, baseline=fill, seed=seed)
            scores.append(row | dict(faithfulness.measures(inside, threshold=table["threshold"].to_numpy())))
    return pd.concat(lines, ignore_index=True), pd.DataFrame(scores)


def feedback_table(
    tagger: Tagger,
    data: Dataset,
    ids: Sequence,
    *,
    method: Callable,
    mask: dict | None = None,
    rule: str = "f1",
    control: bool = True,
) -> pd.DataFrame:
    """Feed the evidence of whole clips back to the model, for predicted tags that some stems carry.

    If the data set does not know which stems carry a tag, all predicted tags are explained.

    Parameters
    ----------
    tagger : Tagger
    data : Dataset
    ids : sequence of clip id
    method : callable
        A method from `explainers`.
    mask : dict or None
        Options of `evidence.mask_from`.
    rule : str
        Rule of the thresholds.
    control : bool
        Whether to feed back a control: the same mask, shifted by half a clip.

    Returns
    -------
    table : pd.DataFrame
        Rows of `evidence.feed_back` with clip and place ("evidence" or "moved").

    Raises
    ------
    ValueError
        If the model predicts no tag of these clips, or none that a stem carries.
    """
    thresholds, tables = _thresholds(tagger, rule), []
    front_end = tagger.front_end

    def scores(y):
        return pd.Series(evaluation.predict(tagger.model, tagger.inputs(y), batch_size=16).mean(axis=0), tagger.tags)

    for clip_id in ids:
        y, _ = data.audio(clip_id, sr=front_end.sr)
        said = scores(y)
        tags = [tag for tag in tagger.tags if said[tag] > thresholds[tag]]
        if hasattr(data, "tag_stems"):
            tags = [tag for tag in tags if data.tag_stems(clip_id, tag)]
        if not tags:
            continue
        x, n_frames = tagger.inputs(y), front_end.n_frames(len(y))
        neurons = [tagger.tags.index(tag) for tag in tags]
        reference = thresholds[tags].to_numpy().clip(1e-6, 1 - 1e-6)
        maps = _matrix(method(x, neurons, reference=reference).relevance)
        starts = np.arange(len(x)) * tagger.step
        merged = {tag: merge(maps[:, k], starts=starts, n_frames=n_frames) for k, tag in enumerate(tags)}
        places = {"evidence": 0, "moved": n_frames // 2} if control else {"evidence": 0}
        for place, shift in places.items():
            shifted = {tag: np.roll(R, shift, axis=1) for tag, R in merged.items()}
            sounds = evidence.evidences(y, shifted, front_end=front_end, **(mask or {}))
            tables.append(
                evidence.feed_back(scores, said, sounds, thresholds=thresholds).assign(clip=clip_id, place=place)
            )
    if not tables:
        raise ValueError("The model predicts no tag of these clips that a stem carries.")
    return pd.concat(tables, ignore_index=True)


def concentration(relevance: np.ndarray, share: float = 0.5) -> float:
    """Share of the cells that together hold a share of the positive relevance, the most relevant cells first.

    Parameters
    ----------
    relevance : np.ndarray
    share : float in (0, 1]

    Returns
    -------
    cells : float in [0, 1]
        NaN if no cell has positive relevance.

    Examples
    --------
    >>> concentration(np.array([[8.0, 1.0], [1.0, 0.0]]))
    0.25
    """
    values = np.sort(np.maximum(relevance, 0), axis=None)[::-1].cumsum()
    if not values[-1] > 0:
        return np.nan
    return (int(np.searchsorted(values, share * values[-1])) + 1) / values.size


def most_alike(maps: dict[str, np.ndarray]) -> pd.DataFrame:
    """Rank correlation of the maps of every two methods.

    Parameters
    ----------
    maps : dict of str to np.ndarray
        Method -> map; all of one shape.

    Returns
    -------
    pairs : pd.DataFrame
        first, second, correlation; the most similar pair first. A constant map has no pairs.

    Examples
    --------
    >>> maps = {"a": np.array([1, 2, 3]), "b": np.array([2, 4, 9]), "c": np.array([3, 1, 2])}
    >>> most_alike(maps).head(1).to_dict("records")
    [{'first': 'a', 'second': 'b', 'correlation': 1.0}]
    """
    matrix = pd.DataFrame({name: np.ravel(R) for name, R in maps.items()}).corr("spearman")
    rows = [(a, b, matrix.at[a, b]) for k, a in enumerate(matrix) for b in matrix.columns[k + 1 :]]
    pairs = pd.DataFrame(rows, columns=["first", "second", "correlation"]).dropna()
    return pairs.sort_values("correlation", ascending=False, ignore_index=True)


def draw_methods(maps: dict[str, np.ndarray], x: np.ndarray, *, front_end: FrontEnd) -> Figure:
    """Draw the maps of several methods for one input.

    Parameters
    ----------
    maps : dict of str to np.ndarray [shape=(n_bins, n_frames)]
        Relevance by method.
    x : np.ndarray [shape=(n_bins, n_frames)]
        The input, scaled.
    front_end : musictools.spectrograms.FrontEnd

    Returns
    -------
    fig : Figure
    """
    from musictools import plots

    S = front_end.floor + x * (front_end.ceiling - front_end.floor)
    n_rows = -(-len(maps) // 3)
    fig, axes = plots.figure(rows=n_rows, columns=3, height=0.6 + 1.9 * n_rows, squeeze=False)
    for place, ax in enumerate(axes.ravel()):
        if place >= len(maps):
            ax.set_axis_off()
            continue
        name = list(maps)[place]
        plots.heatmap(maps[name], S=S, front_end=front_end, ax=ax, title=textwrap.fill(name, 22), label="")
        below = place + 3 < len(maps)
        ax.set(xlabel="" if below else "time (s)", ylabel=ax.get_ylabel() if place % 3 == 0 else "")
        ax.tick_params(labelbottom=not below, labelleft=place % 3 == 0)
    return fig


def draw_instruments(by_tag: pd.DataFrame, *, min_clips: int = 4) -> Figure:
    """Draw the rank accuracy over energy of every instrument and method as a coloured table.

    Parameters
    ----------
    by_tag : pd.DataFrame
        Rows of `localisation.table` by tag and method.
    min_clips : int > 0
        Instruments in fewer clips are left out, unless all are.

    Returns
    -------
    fig : Figure
    """
    from musictools import plots

    enough = by_tag[(by_tag["clips"] >= min_clips) & ~by_tag["method"].isin(("edge", "random"))]
    enough = enough if len(enough) else by_tag
    wide = enough.pivot(index="tag", columns="method", values="over_energy")
    order = wide.max(axis=1).dropna().sort_values(ascending=False).index
    pairs = zip(enough["over_energy"], enough["clear"], strict=True)
    stars = enough.assign(text=[f"{value:.2f}{'*' if clear else ''}" for value, clear in pairs])
    fig, ax = plots.figure(height=1.6 + 0.3 * len(order))
    plots.table_heatmap(
        wide.loc[order],
        ax=ax,
        text=stars.pivot(index="tag", columns="method", values="text").loc[order],
        diverging=True,
        label="rank accuracy over energy",
        title="Rank accuracy minus that of energy (*: clearly better than energy and than chance)",
    )
    ax.set(xlabel="", ylabel="")
    ax.tick_params(axis="x", rotation=20)
    return fig


def conservation_table(
    models: dict[str, keras.Model],
    inputs: dict[str, np.ndarray],
    *,
    methods: Sequence[str],
    neurons: dict[str, np.ndarray],
) -> pd.DataFrame:
    """Check for several models whether relevance is conserved and how much of it reaches the input.

    Parameters
    ----------
    models : dict of str to keras.Model
    inputs : dict of str to np.ndarray
        Inputs by model.
    methods : sequence of str
        Methods of relevance propagation.
    neurons : dict of str to np.ndarray [shape=(n,)]
        Explained output of every input, by model.

    Returns
    -------
    table : pd.DataFrame
        model, method, error (largest unexplained amount), reached (median share), verdict. For a model that the method
        cannot explain, the verdict is the reason.
    """
    rows = []
    for name, model in models.items():
        for method in methods:
            row = {"model": name, "method": method, "error": np.nan, "reached": np.nan}
            try:
                report = Explainer(model, method=method)(inputs[name], neurons[name]).conservation
            except ValueError as refusal:
                rows.append(row | {"verdict": str(refusal)})
                continue
            reached = report.reached()
            row |= {"error": float(report.error().max()), "verdict": report.verdict()}
            rows.append(row | {"reached": float(np.median(reached[np.isfinite(reached)]))})
    return pd.DataFrame(rows)


def consistency_table(
    tagger: Tagger, data: Dataset, x: np.ndarray, table: pd.DataFrame, *, methods: Sequence[str], clips: int = 2
) -> pd.DataFrame:
    """Check properties that a method must have whatever the model predicts.

    Parameters
    ----------
    tagger : Tagger
    data : Dataset
    x : np.ndarray [shape=(n, ...)]
        Inputs from `accepted_inputs`.
    table : pd.DataFrame
        Their table.
    methods : sequence of str
        Some of `explain.METHODS`.
    clips : int > 0
        Number of clips that are shifted by two semitones and played a tenth faster.

    Returns
    -------
    table : pd.DataFrame
        method; batch: difference between maps computed one by one and together; swap: difference between a tag's map
        and that of the tag whose weights it was given; pitch_shift, time_stretch: rank correlation of the deformed
        clip's map with the moved map, and with the map as it was (``…_control``).
    """
    from musictools.explain.metrics import equivariance, sanity

    model_input = ModelInput(tagger.front_end, tagger.length, tagger.step)
    neurons, rows = table["neuron"].to_numpy(), []
    neuron, other = int(neurons[0]), int((neurons[0] + 1) % len(tagger.tags))
    first = table.drop_duplicates("clip").head(clips)
    sounds = [data.audio(clip, sr=tagger.front_end.sr)[0] for clip in first["clip"]]
    for method in methods:
        prepared = Explainer(tagger.model, method=method, conservation=False)
        row = {
            "method": method,
            "batch": sanity.batch_consistency(prepared, x, neurons)["error"].max() if len(x) > 1 else np.nan,
            "swap": sanity.label_swap_error(tagger.model, x[:2], neuron, other=other, method=method)["error"].max(),
        }
        for kind, amount in (("pitch_shift", 2.0), ("time_stretch", 1.1)):
            moved = equivariance.equivariance(
                prepared, sounds, first["neuron"].to_numpy(), model_input=model_input, kind=kind, amount=amount
            )
            row |= {
                kind: np.mean(moved["correlation"].to_numpy()),
                f"{kind}_control": np.mean(moved["control"].to_numpy()),
            }
        rows.append(row)
    return pd.DataFrame(rows)


def best_methods(places: pd.DataFrame | None, faith: pd.DataFrame, badges: pd.DataFrame) -> pd.DataFrame:
    """Find the method that answers each question best.

    Parameters
    ----------
    places : pd.DataFrame or None
        Table of `localisation.table` by method; None: the questions about instruments are left out.
    faith : pd.DataFrame
        Scores of `faithfulness_tables`.
    badges : pd.DataFrame
        method, share (of the badge's tests that it passes).

    Returns
    -------
    table : pd.DataFrame
        question, method, value, measured: the best method for each question.
    """
    questions = {}
    if places is not None:
        measured = places.pivot(index="method", columns="measure", values="over_energy")
        questions |= {
            "Where is the instrument?": (measured["rank_accuracy"], "rank accuracy over energy"),
            "Which cells does it sound in, loud or soft?": (measured["auc"], "AUC over energy"),
        }
    by_method = faith.groupby("method")[["deletion", "insertion"]].mean()
    passed = badges.set_index("method")["share"]
    questions |= {
        "Without what would the model not say it?": (by_method["deletion"], "deletion area over random order"),
        "What is enough for the model to say it?": (by_method["insertion"], "insertion area over random order"),
        "Does the map depend on model and tag?": (passed, "share of sanity checks passed"),
    }
    return pd.DataFrame(
        [
            {"question": question, "method": values.idxmax(), "value": values.max(), "measured": what}
            for question, (values, what) in questions.items()
        ]
    )

"""Experiments of notebook 05: many clips, many methods, one table each.

A listener is what `explain.system` says. ``data`` is a data set that knows stems: ``stems(clip_id)``,
``tag_stems(clip_id, tag)``, ``complete_descriptors``, ``audio(clip_id)``, such as the composed corpus.
"""

import numpy as np
import pandas as pd

from musictools import evaluation
from musictools.explain.application import evidence
from musictools.explain.application.system import merge
from musictools.explain.attribution.explainer import Explainer
from musictools.explain.metrics import faithfulness, localisation
from musictools.spectrograms import ModelInput

__all__ = [
    "accepted",
    "carried",
    "consistent",
    "explainers",
    "faithful",
    "conservation_reports",
    "localised",
    "loops",
    "some_of_each",
    "trust",
]

_NEVER_BLANK = 1e-6  # a reference below any score


def explainers(model, methods, **options):
    """Prepare methods.

    Parameters
    ----------
    model : keras.Model
    methods : dict of str to dict
        Label -> options of `Explainer`, method (the label itself if left out) and contrast among them.
    **options
        Of all.

    Returns
    -------
    prepared : dict of str to callable
        Label -> function of ``(x, neuron, reference=None)`` that returns an `Explanation`; where a method has a
        contrast the reference is left out.
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


def carried(listener, data, ids):
    """Which tags of which clips single stems carry, and not all stems.

    Parameters
    ----------
    listener : listener
    data : Dataset
    ids : sequence of clip id

    Returns
    -------
    table : pd.DataFrame [clips x tags, bool]
        Tags that no clip has are left out.
    """
    table = pd.DataFrame(False, index=list(ids), columns=listener.tags)
    for clip_id in ids:
        table.loc[clip_id, list(_carriers(listener, data, clip_id))] = True
    return table.loc[:, table.any()]


def some_of_each(table, n):
    """Few clips that have every tag several times.

    Parameters
    ----------
    table : pd.DataFrame [clips x tags, bool]
    n : int > 0
        Clips wanted of each tag; all of those that have fewer.

    Returns
    -------
    ids : list of clip id
        In the order in which they were chosen: rare tags first.
    """
    chosen = []
    for tag in table.sum().sort_values(kind="stable").index:
        there = table.index[table[tag]]
        have = sum(clip in chosen for clip in there)
        chosen += [clip for clip in there if clip not in chosen][: max(0, n - have)]
    return chosen


def localised(listener, data, ids, *, methods, per_clip=2):
    """Where relevance lies, against the stems that carry each tag.

    Parameters
    ----------
    listener : listener
    data : Dataset
    ids : sequence of clip id
    methods : dict of str to callable
        Of `explainers`.
    per_clip : int > 0
        Inputs of a clip, evenly spread.

    Returns
    -------
    rows : pd.DataFrame
        As of `localisation.localise`, with clip, tag and method; clips of one instrument and tags of all give none.
    """
    model_input = ModelInput(listener.front_end, listener.length, listener.step)
    rows = []
    for clip_id in ids:
        carriers = _carriers(listener, data, clip_id)
        if not carriers:
            continue
        stems, _ = data.stems(clip_id, sr=listener.front_end.sr)
        shares = localisation.stem_shares(stems, listener.front_end)
        x = listener.inputs(sum(stems.values()))
        chosen = np.linspace(0, len(x) - 1, min(per_clip, len(x))).astype(int)
        x, neurons = x[chosen], [listener.tags.index(tag) for tag in carriers]
        for label, method in methods.items():
            blank = label.startswith("deep_taylor")  # where the logit is negative; the reference is but a factor
            maps = _matrix(method(x, neurons, reference=_NEVER_BLANK if blank else None).relevance)
            for k, (tag, names) in enumerate(carriers.items()):
                mask = localisation.cut(localisation.target_mask(shares, names), model_input)[chosen]
                rows.append(
                    localisation.localise(maps[:, k], mask, energy=_matrix(x), clip=clip_id, tag=tag, method=label)
                )
    if not rows:
        raise ValueError("No clip has a tag that some of its stems carry and others do not.")
    return pd.concat(rows, ignore_index=True)


def _carriers(listener, data, clip_id):
    """Tags of a clip that some stems carry and others do not, with those stems."""
    true, n_stems = data.complete_descriptors.loc[clip_id], len(data.truth(clip_id)["instruments"])
    found = {tag: data.tag_stems(clip_id, tag) for tag in listener.tags if true.get(tag, False)}
    return {tag: names for tag, names in found.items() if 0 < len(names) < n_stems}


def _matrix(maps):
    """Maps without the channel of a spectrogram; waveforms as they are, (..., n_samples, 1)."""
    return maps[..., 0] if maps.shape[-2] > 1 and maps.ndim > 3 else maps


def accepted(listener, data, ids, *, rule="f1", limit=4):
    """Inputs with a tag that is true and that the model accepts, one input a clip and tag.

    Parameters
    ----------
    listener : listener
    data : Dataset
    ids : sequence of clip id
    rule : str
        Of the thresholds.
    limit : int > 0
        Tags of a clip, those with the widest margin.

    Returns
    -------
    x : np.ndarray [shape=(n, ...)]
    table : pd.DataFrame
        A row an input: clip, tag, neuron, threshold.
    """
    inputs, rows = [], []
    thresholds = _thresholds(listener, rule)
    for clip_id in ids:
        y, sr = data.audio(clip_id, sr=listener.front_end.sr)
        x = listener.inputs(y)
        scores = pd.DataFrame(evaluation.predict(listener.model, x, batch_size=16), columns=listener.tags)
        true = data.complete_descriptors.loc[clip_id]
        margin = (scores.max() - thresholds)[[tag for tag in listener.tags if true.get(tag, False)]]
        for tag in margin[margin > 0].nlargest(limit).index:
            inputs.append(x[int(scores[tag].argmax())])
            rows.append({"clip": clip_id, "tag": tag, "neuron": listener.tags.index(tag), "threshold": thresholds[tag]})
    if not rows:
        raise ValueError("The model accepts no true tag of these clips: there is nothing to explain.")
    return np.stack(inputs), pd.DataFrame(rows)


def _thresholds(listener, rule):
    decided = listener.decide(pd.Series(0.0, listener.tags, name="score"), rule=rule)
    return decided.set_index("tag")["threshold"][listener.tags]


def faithful(listener, x, table, *, methods, fills=faithfulness.BASELINES, steps=10, seed=0):
    """Curves of deletion and insertion, and what the evidence alone and the rest alone say.

    Parameters
    ----------
    listener : listener
    x, table
        Of `accepted`.
    methods : dict of str to callable
        Of `explainers`.
    fills : sequence of str
        Some of `faithfulness.BASELINES`.
    steps : int > 0
    seed : int >= 0

    Returns
    -------
    curves : pd.DataFrame
        method, fill, kind, share, probability, control: means over the inputs.
    scores : pd.DataFrame
        method, fill, deletion, insertion (areas less those of a random order; positive is better), their intervals
        ``…_low`` and ``…_high`` over clips, and `faithfulness.measures` of the evidence.
    """
    from musictools.explain.attribution.explainer import logits

    network, neuron = logits(listener.model), table["neuron"].to_numpy()
    lines, scores = [], []
    for label, method in methods.items():
        relevance = method(x, neuron, reference=table["threshold"].to_numpy().clip(1e-6, 1 - 1e-6)).relevance
        for fill in fills:
            row = {"method": label, "fill": fill}
            for kind in ("deletion", "insertion"):
                found = faithfulness.curves(
                    network, x, neuron, relevance, baseline=fill, kind=kind, steps=steps, seed=seed
                )
                lines.append(
                    pd.DataFrame(
                        {
                            "method": label,
                            "fill": fill,
                            "kind": kind,
                            "share": found.share,
                            "probability": found.probability.mean(axis=0),
                            "control": found.control_probability.mean(axis=0),
                        }
                    )
                )
                advantage = pd.Series(found.advantage()).groupby(table["clip"].to_numpy()).mean().to_numpy()
                ends = evaluation.bootstrap(
                    lambda some, a=advantage: {"mean": a[some].mean()},
                    np.arange(len(advantage)),
                    repeats=300,
                    seed=seed,
                )["mean"]
                row |= {kind: advantage.mean(), f"{kind}_low": ends[0], f"{kind}_high": ends[1]}
            inside = faithfulness.masked(network, x, neuron, relevance, baseline=fill, seed=seed)
            scores.append(row | dict(faithfulness.measures(inside, threshold=table["threshold"].to_numpy())))
    return pd.concat(lines, ignore_index=True), pd.DataFrame(scores)


def loops(listener, data, ids, *, method, mask=None, rule="f1", control=True):
    """Feed the evidence of whole clips back, for tags that single stems carry and the model accepts.

    Parameters
    ----------
    listener : listener
    data : Dataset
    ids : sequence of clip id
    method : callable
        One of `explainers`.
    mask : dict or None
        Options of `evidence.mask_from`.
    rule : str
        Of the thresholds.
    control : bool
        Also the same mask moved by half the clip's length: as large and as shaped, but elsewhere.

    Returns
    -------
    table : pd.DataFrame
        As of `evidence.feed_back`, with clip and place ("evidence" or "moved").
    """
    thresholds, tables = _thresholds(listener, rule), []
    front_end = listener.front_end

    def scores(y):
        return pd.Series(
            evaluation.predict(listener.model, listener.inputs(y), batch_size=16).mean(axis=0), listener.tags
        )

    for clip_id in ids:
        y, _ = data.audio(clip_id, sr=front_end.sr)
        said = scores(y)
        tags = [tag for tag in listener.tags if said[tag] > thresholds[tag] and data.tag_stems(clip_id, tag)]
        if not tags:
            continue
        x, n_frames = listener.inputs(y), front_end.n_frames(len(y))
        neurons = [listener.tags.index(tag) for tag in tags]
        reference = thresholds[tags].to_numpy().clip(1e-6, 1 - 1e-6)
        maps = _matrix(method(x, neurons, reference=reference).relevance)
        starts = np.arange(len(x)) * listener.step
        merged = {tag: merge(maps[:, k], starts=starts, n_frames=n_frames) for k, tag in enumerate(tags)}
        places = {"evidence": 0, "moved": n_frames // 2} if control else {"evidence": 0}
        for place, shift in places.items():
            heard = {
                tag: evidence.evidence(y, np.roll(R, shift, axis=1), front_end=front_end, **(mask or {}))
                for tag, R in merged.items()
            }
            tables.append(evidence.feed_back(scores, said, heard, thresholds=thresholds).assign(clip=clip_id, place=place))
    if not tables:
        raise ValueError("The model accepts no tag of these clips that a stem carries.")
    return pd.concat(tables, ignore_index=True)


def conservation_reports(models, x_of, *, methods, neuron_of):
    """Is relevance conserved, and how much of it reaches the input?

    Parameters
    ----------
    models : dict of str to keras.Model
    x_of : dict of str to np.ndarray
        Inputs by model.
    methods : sequence of str
        Of relevance propagation.
    neuron_of : dict of str to np.ndarray [shape=(n,)]
        What is explained of every input.

    Returns
    -------
    table : pd.DataFrame
        model, method, error (largest open amount), reached (median share), verdict; models that relevance cannot pass
        have the reason as their verdict.
    """
    rows = []
    for name, model in models.items():
        for method in methods:
            row = {"model": name, "method": method, "error": np.nan, "reached": np.nan}
            try:
                found = Explainer(model, method=method)(x_of[name], neuron_of[name]).conservation
            except ValueError as refusal:
                rows.append(row | {"verdict": str(refusal)})
                continue
            reached = found.reached()
            row |= {"error": float(found.error().max()), "verdict": found.verdict()}
            rows.append(row | {"reached": float(np.median(reached[np.isfinite(reached)]))})
    return pd.DataFrame(rows)


def consistent(listener, data, x, table, *, methods, clips=2):
    """What must hold of a method whatever the model says.

    Parameters
    ----------
    listener : listener
    data : Dataset
    x, table
        Of `accepted`.
    methods : sequence of str
    clips : int > 0
        Whose sound is shifted by two semitones and played a tenth faster.

    Returns
    -------
    table : pd.DataFrame
        method; batch: difference between maps made one by one and together; swap: between a tag's map and that of the
        tag whose weights it was given; pitch_shift, time_stretch: rank correlation of the deformed clip's map with the
        moved map, ``…_control`` with the map as it was.
    """
    from musictools.explain.metrics import sanity

    model_input = ModelInput(listener.front_end, listener.length, listener.step)
    neuron, rows = table["neuron"].to_numpy(), []
    swapped = [int(neuron[0]), int((neuron[0] + 1) % len(listener.tags))]
    for method in methods:
        prepared = Explainer(listener.model, method=method, conservation=False)
        row = {
            "method": method,
            "batch": sanity.batch_consistency(prepared, x, neuron) if len(x) > 1 else np.nan,
            "swap": sanity.label_swap_error(listener.model, x[:2], *swapped, method=method),
        }
        for kind, amount in (("pitch_shift", 2.0), ("time_stretch", 1.1)):
            found = []
            for line in table.drop_duplicates("clip").head(clips).itertuples():
                y, sr = data.audio(line.clip, sr=listener.front_end.sr)
                listen = sanity.listener(prepared, model_input, line.neuron)
                found.append(
                    sanity.equivariance(listen, y, sr=sr, front_end=listener.front_end, kind=kind, amount=amount)
                )
            row |= {
                kind: np.mean([f["correlation"] for f in found]),
                f"{kind}_control": np.mean([f["control"] for f in found]),
            }
        rows.append(row)
    return pd.DataFrame(rows)


def trust(places, faith, badges):
    """Which method answers which question best.

    Parameters
    ----------
    places : pd.DataFrame
        Of `localisation.table` by method.
    faith : pd.DataFrame
        Scores of `faithful`.
    badges : pd.DataFrame
        method, share (of the badge's tests that it passes).

    Returns
    -------
    table : pd.DataFrame
        question, method, value, measured: the winner of each.
    """
    rank = places[places["measure"] == "rank_accuracy"].set_index("method")["over_energy"]
    area = places[places["measure"] == "auc"].set_index("method")["over_energy"]
    by_method = faith.groupby("method")[["deletion", "insertion"]].mean()
    passed = badges.set_index("method")["share"]
    questions = {
        "Where is the instrument?": (rank, "rank accuracy over energy"),
        "Which cells does it sound in, loud or soft?": (area, "AUC over energy"),
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

"""Checks of methods: conservation, consistency, and the best method for each question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from musictools.explain.attribution.explainer import Explainer
from musictools.spectrograms import ModelInput

if TYPE_CHECKING:
    import keras

    from musictools.datasets.base import Dataset
    from musictools.inference import Tagger

__all__ = ["best_methods", "conservation_table", "consistency_table"]


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
            "Where is the instrument?": (measured["rank_accuracy"], "rank accuracy minus that of energy"),
            "Which cells belong to the instrument, loud or soft?": (measured["auc"], "AUC minus that of energy"),
        }
    by_method = faith.groupby("method")[["deletion", "insertion"]].mean()
    passed = badges.set_index("method")["share"]
    questions |= {
        "Which cells does the prediction need?": (by_method["deletion"], "deletion area relative to random order"),
        "Which cells suffice for the prediction?": (by_method["insertion"], "insertion area relative to random order"),
        "Does the heatmap depend on model and tag?": (passed, "share of sanity checks passed"),
    }
    return pd.DataFrame(
        [
            {"question": question, "method": values.idxmax(), "value": values.max(), "measured": what}
            for question, (values, what) in questions.items()
        ]
    )

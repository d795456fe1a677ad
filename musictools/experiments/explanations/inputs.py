"""What notebook 05 explains, and with which methods: clips, inputs, thresholds, prepared explainers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from musictools import evaluation
from musictools.datasets import splits
from musictools.explain.attribution.explainer import Explainer

if TYPE_CHECKING:
    import keras

    from musictools.datasets.base import Dataset
    from musictools.explain.attribution.explanation import Explanation
    from musictools.inference import Tagger

__all__ = ["accepted_inputs", "explainers", "thresholds_of", "true_descriptors", "unseen_clips", "without_channel"]


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
        prepared[label] = _Prepared(model, own, contrast)
    return prepared


class _Prepared:
    """A method of one model. It travels to other processes as the model and its settings."""

    def __init__(self, model, settings, contrast):
        self.model, self.settings, self.contrast = model, settings, contrast
        self.explainer = Explainer(model, **settings)

    def __reduce__(self):
        return _Prepared, (self.model, self.settings, self.contrast)

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
    thresholds, true = thresholds_of(tagger, rule), true_descriptors(data)
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


def thresholds_of(tagger: Tagger, rule: str) -> pd.Series:
    """Thresholds of a tagger.

    Parameters
    ----------
    tagger : Tagger
    rule : str
        Rule of the thresholds.

    Returns
    -------
    thresholds : pd.Series [tag -> float]
    """
    decided = tagger.decide(pd.Series(0.0, tagger.tags, name="score"), rule=rule)
    return decided.set_index("tag")["threshold"][tagger.tags]


def without_channel(maps: np.ndarray) -> np.ndarray:
    """Drop the channel of maps or inputs.

    Parameters
    ----------
    maps : np.ndarray [shape=(..., n_bins, n_frames, 1) or (..., n_samples, 1)]

    Returns
    -------
    maps : np.ndarray
        Spectrograms without the last axis, waveforms as they are.

    Examples
    --------
    >>> without_channel(np.zeros((2, 128, 63, 1))).shape
    (2, 128, 63)
    """
    return maps[..., 0] if maps.shape[-2] > 1 and maps.ndim > 3 else maps

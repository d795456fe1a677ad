"""Does a deconvolved image show the feature, or only the input?

Deconvolution recovers much of the input whatever the weights: the switches alone say where something loud was (Nie et
al. 2018). So images are compared with the input, with those of other features, and with those of the same network with
its weights shuffled within every layer (`explain.metrics.randomisation`).
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import pandas as pd

from musictools.auralisation.deconvolution import Deconvolution
from musictools.explain.metrics import randomisation

__all__ = ["likeness"]


def likeness(
    model: keras.Model,
    x: np.ndarray,
    *,
    layers: Sequence[str],
    features: dict[str, Sequence[int]] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Correlate images with what they should differ from.

    Parameters
    ----------
    model : keras.Model
        Takes spectrograms.
    x : np.ndarray [shape=(n, n_bins, n_frames, 1)]
        Inputs of the model.
    layers : sequence of str
        Names of layers with feature maps.
    features : dict of str to sequence of int or None
        Features by layer; None: all. Features that are never active do not count.
    seed : int >= 0
        Seed of the shuffling.

    Returns
    -------
    table : pd.DataFrame
        One row per layer: layer, features (number of active ones), and mean correlations: input (image and input),
        others (images of two features for the same input), shuffled (image and that of the same feature of the shuffled
        network), inputs_of_shuffled (image of the shuffled network and input). Images are rectified. NaN where there is
        nothing to compare.
    """
    names = [group[0] for group in randomisation.layer_groups(model)]
    shuffled = randomisation.scrambled(model, names, seed=seed, x=x)
    rows = []
    for layer in layers:
        deconvolutions = Deconvolution(model, layer), Deconvolution(shuffled, layer)
        chosen = np.arange(deconvolutions[0].n_features) if features is None else np.asarray(features[layer])
        own, other = (np.maximum(d.images(x, chosen), 0).reshape(len(x), len(chosen), -1) for d in deconvolutions)
        own, other, inputs = map(_standardised, (own, other, x.reshape(len(x), 1, -1)))
        among = np.einsum("nax,nbx->nab", own, own) / own.shape[-1]
        among = among[:, ~np.eye(len(chosen), dtype=bool)]
        rows.append(
            {
                "layer": layer,
                "features": int(np.isfinite(own).all(axis=2).any(axis=0).sum()),
                "input": _mean(own * inputs),
                "others": _finite(among),
                "shuffled": _mean(own * other),
                "inputs_of_shuffled": _mean(other * inputs),
            }
        )
    return pd.DataFrame(rows)


def _standardised(values):
    values = values - values.mean(axis=-1, keepdims=True)
    size = values.std(axis=-1, keepdims=True)
    return np.where(size > 0, values / np.where(size > 0, size, 1), np.nan)


def _mean(products):
    return _finite(products.mean(axis=-1))


def _finite(values):
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else np.nan

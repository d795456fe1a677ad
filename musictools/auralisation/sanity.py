"""Does a deconvolved image show the feature, or only the input?

Deconvolution recovers much of the input by itself: the switches alone say where something loud was (Nie et al. 2018).
So the images are held against the input, against those of other features, and against those of a network that knows
nothing, its weights shuffled within every layer (`explain.randomised`).
"""

import numpy as np
import pandas as pd

from musictools.auralisation.deconvolution import Deconvolution
from musictools.explain.metrics import randomisation as randomised

__all__ = ["likeness"]


def likeness(model, x, *, layers, features=None, seed=0):
    """How alike images are to what they should differ from.

    Parameters
    ----------
    model : keras.Model
    x : np.ndarray [shape=(n, n_bins, n_frames, 1)]
    layers : sequence of str
    features : dict of str to sequence of int or None
        By layer; None: all. Features that are never active do not count.
    seed : int >= 0
        Of the shuffled network.

    Returns
    -------
    table : pd.DataFrame
        A row a layer: layer, features (how many are active), input (mean correlation of an image and the input), others
        (of two features' images of one input), shuffled (of an image and that of the same feature of the shuffled
        network), inputs_of_shuffled (of the shuffled network's images and the input). Images are rectified; NaN where
        there is nothing to compare.
    """
    names = [group[0] for group in randomised.layer_groups(model)]
    shuffled = randomised.scrambled(model, names, seed=seed, x=x)
    rows = []
    for layer in layers:
        ways = Deconvolution(model, layer), Deconvolution(shuffled, layer)
        chosen = np.arange(ways[0].n_features) if features is None else np.asarray(features[layer])
        own, other = (np.maximum(way.images(x, chosen), 0).reshape(len(x), len(chosen), -1) for way in ways)
        inputs = x.reshape(len(x), 1, -1)
        own, other, inputs = _standardised(own), _standardised(other), _standardised(inputs)
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

"""Feature vectors of clips: averages of a network's layers, and statistics of MFCCs.

Conventions
-----------
A *block* of features belongs to one layer, or to the MFCCs; its rows are clips. Layers are called ``"1"``, ``"2"`` and
so on, in the order of computation, and a subset of them by its digits: ``"135"`` are the layers 1, 3 and 5, as in
`choi2018`. Features are averages over bands and frames, and over the inputs where a clip gives several.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from musictools import evaluation

if TYPE_CHECKING:
    import keras

__all__ = ["FeatureSet", "LayerAverages", "layer_subsets", "mfcc_statistics", "reinitialised", "subset_name"]


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """Features of clips, block by block.

    Parameters
    ----------
    ids : pd.Index
        The clips.
    blocks : dict of str to np.ndarray [shape=(n_clips, n_features)]
        Features by layer or kind.

    Raises
    ------
    ValueError
        If a block does not fit the clips or holds NaN or Inf.

    Examples
    --------
    >>> features = FeatureSet(pd.Index(["a", "b"]), {"1": np.zeros((2, 32)), "mfcc": np.ones((2, 120))})
    >>> features.matrix(["1", "mfcc"]).shape
    (2, 152)
    """

    ids: pd.Index
    blocks: dict[str, np.ndarray]

    def __post_init__(self):
        object.__setattr__(self, "ids", pd.Index(self.ids))
        if not self.ids.is_unique:
            raise ValueError(f"ids must be unique. Got {self.ids[self.ids.duplicated()][0]!r} twice.")
        for name, values in self.blocks.items():
            if np.ndim(values) != 2 or len(values) != len(self.ids):
                raise ValueError(f"Block {name!r} must have one row for each of {len(self.ids)} clips. "
                                 f"Got shape {np.shape(values)}.")  # fmt: skip
            if not np.isfinite(values).all():
                raise ValueError(f"Block {name!r} holds NaN or Inf.")

    def __len__(self):
        return len(self.ids)

    def matrix(self, names: Sequence[str]) -> np.ndarray:
        """Features of some blocks, side by side.

        Parameters
        ----------
        names : sequence of str
            Blocks.

        Returns
        -------
        X : np.ndarray [shape=(n_clips, n_features)]

        Raises
        ------
        ValueError
            If no block is named, or one is unknown.
        """
        unknown = [name for name in names if name not in self.blocks]
        if unknown or not len(names):
            raise ValueError(f"names must be some of {', '.join(self.blocks)}. Got {list(names)!r}.")
        return np.concatenate([self.blocks[name] for name in names], axis=1)

    def take(self, ids: Sequence) -> FeatureSet:
        """Features of some of the clips.

        Parameters
        ----------
        ids : sequence of clip id

        Returns
        -------
        features : FeatureSet
            In the order of `ids`.

        Raises
        ------
        ValueError
            If a clip is unknown.
        """
        rows = self.ids.get_indexer(ids)
        if (rows < 0).any():
            raise ValueError(f"There are no features of clip {ids[int((rows < 0).argmax())]!r}.")
        return FeatureSet(self.ids[rows], {name: values[rows] for name, values in self.blocks.items()})

    def joined(self, other: FeatureSet) -> FeatureSet:
        """Blocks of two sets of features of the same clips.

        Parameters
        ----------
        other : FeatureSet
            With other blocks.

        Returns
        -------
        features : FeatureSet

        Raises
        ------
        ValueError
            If the clips differ or a block is in both.
        """
        if not self.ids.equals(other.ids):
            raise ValueError("Both sets of features must be of the same clips in the same order.")
        if both := self.blocks.keys() & other.blocks.keys():
            raise ValueError(f"Block {min(both)!r} is in both sets of features.")
        return FeatureSet(self.ids, self.blocks | other.blocks)


def layer_subsets(layers: Sequence[str]) -> list[tuple[str, ...]]:
    """All subsets of layers but the empty one, small ones first.

    Parameters
    ----------
    layers : sequence of str

    Returns
    -------
    subsets : list of tuple of str
        2^n - 1 subsets of n layers: 31 of five.

    See Also
    --------
    subset_name : Their names.

    Examples
    --------
    >>> [subset_name(subset) for subset in layer_subsets("123")]
    ['1', '2', '3', '12', '13', '23', '123']
    """
    return [subset for size in range(1, len(layers) + 1) for subset in combinations(layers, size)]


def subset_name(names: Sequence[str]) -> str:
    """Name of a subset of blocks.

    Parameters
    ----------
    names : sequence of str

    Returns
    -------
    name : str
        The digits of the layers, then the other blocks after a plus sign.

    Examples
    --------
    >>> subset_name(["1", "3", "mfcc"]), subset_name(["mfcc"])
    ('13+mfcc', 'mfcc')
    """
    digits = "".join(name for name in names if len(name) == 1)
    return "+".join([digits] * bool(digits) + [name for name in names if len(name) > 1])


class LayerAverages:
    """Averages of the feature maps of every layer, from one pass through a network.

    Parameters
    ----------
    model : keras.Model
        Functional; channels last. Layers of models inside it cannot be named.
    layers : sequence of str or None
        Names of layers; None: where each block of convolutions ends, see `musictools.probing.maps.blocks`.

    Attributes
    ----------
    layers : tuple of str
        Names of the layers.
    sizes : tuple of int
        Number of maps of each layer.

    Raises
    ------
    ValueError
        If a layer is unknown, or the model has no convolution.

    Examples
    --------
    >>> from musictools import models
    >>> averages = LayerAverages(models.build("compact_convnet", n_outputs=2, width=0.25))
    >>> averages.layers, averages.sizes
    (('pool1', 'pool2', 'pool3', 'pool4', 'pool5'), (8, 8, 8, 8, 8))
    >>> averages(np.zeros((1, 96, 1360, 1)))["5"].shape
    (1, 8)
    """

    def __init__(self, model: keras.Model, *, layers: Sequence[str] | None = None):
        import keras

        from musictools.probing import maps

        self.layers = tuple(maps.blocks(model) if layers is None else layers)
        outputs = [model.get_layer(name).output for name in self.layers]
        means = [keras.ops.mean(y, axis=tuple(range(1, len(y.shape) - 1))) if len(y.shape) > 2 else y for y in outputs]
        self.sizes = tuple(int(y.shape[-1]) for y in means)
        # A single output, so that one pass gives all layers.
        self._model = keras.Model(model.inputs, keras.ops.concatenate(means, axis=-1) if len(means) > 1 else means[0])

    def __call__(self, x: np.ndarray, *, batch_size: int = 16) -> dict[str, np.ndarray]:
        """Averages of model inputs.

        Parameters
        ----------
        x : np.ndarray [shape=(n, ...)]
            Inputs of the model.
        batch_size : int > 0

        Returns
        -------
        averages : dict of str to np.ndarray [shape=(n, n_maps)]
            By the number of the layer, from ``"1"`` on.
        """
        values = evaluation.predict(self._model, x, batch_size=batch_size)
        parts = np.split(values, np.cumsum(self.sizes)[:-1], axis=1)
        return {str(number): part for number, part in enumerate(parts, start=1)}


def reinitialised(model: keras.Model, *, seed: int = 0) -> keras.Model:
    """Copy a network's structure with random weights.

    Kernels are drawn from He's normal distribution (`choi2018` 6.3.3; He et al. 2015), biases are 0, and batch
    normalisation neither shifts nor scales.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential.
    seed : int >= 0

    Returns
    -------
    copy : keras.Model

    See Also
    --------
    musictools.probing.maps.untrained : A network as it was before its training, with its own initialisers.

    Examples
    --------
    >>> from musictools import models
    >>> model = models.build("compact_convnet", n_outputs=2, seed=0)
    >>> kernel = np.asarray(reinitialised(model, seed=1).get_layer("conv2").kernel)
    >>> round(float(kernel.std() / np.sqrt(2 / (3 * 3 * 32))), 1)
    1.0
    """
    import keras

    copy, rng = keras.models.clone_model(model), np.random.default_rng(seed)
    for weight in copy.trainable_weights:
        values = np.asarray(weight)
        if values.ndim > 1:
            weight.assign(rng.normal(0, np.sqrt(2 / np.prod(values.shape[:-1])), values.shape))
        else:
            weight.assign(np.full(values.shape, weight.name == "gamma", values.dtype))
    return copy


def mfcc_statistics(y: np.ndarray, *, sr: int, n_mfcc: int = 20) -> np.ndarray:
    """Means and standard deviations over time of MFCCs and of their first and second differences.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)]
        Waveform; it must give three frames of 512 samples.
    sr : int > 0
        Sampling rate in Hz.
    n_mfcc : int > 0
        Number of coefficients.

    Returns
    -------
    statistics : np.ndarray [shape=(6 * n_mfcc,), float32]
        Means of the coefficients and their deviations, then those of the first and of the second differences.

    Raises
    ------
    ValueError
        If the waveform is too short.

    Examples
    --------
    >>> mfcc_statistics(np.zeros(12000, np.float32), sr=12000).shape
    (120,)
    """
    import librosa

    if len(y) < 1024:
        raise ValueError(f"y must have at least 1024 samples, for differences between frames. Got {len(y)}.")
    coefficients = librosa.feature.mfcc(y=np.asarray(y, np.float32), sr=sr, n_mfcc=n_mfcc)
    rows = [np.diff(coefficients, n=order, axis=1) for order in range(3)]
    return np.concatenate([f(row, axis=1) for row in rows for f in (np.mean, np.std)]).astype(np.float32)

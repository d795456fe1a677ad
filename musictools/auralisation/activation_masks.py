"""The poster's ways from features to images (`ren_poster`): activations as a mask, and up-sampling without switches.

The poster multiplies the input by "a mask from the filter activation" of the first layer, and deconvolves the second
one "by upsampling and performing a convolution with flipped filters that were transposed". It then estimates a phase;
here `sound.auralise` uses the clip's own, so that these ways and `Deconvolution` differ in the image alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from musictools.auralisation.deconvolution import Deconvolution, convolutions

__all__ = ["ActivationMask", "masked_by_activation", "upsampled_deconvolution"]


class ActivationMask(Deconvolution):
    """The input times the feature map, which is resized to the input.

    Parameters
    ----------
    model : keras.Model
        As for `Deconvolution`.
    layer : str
        Name of the layer whose output holds the feature maps.

    See Also
    --------
    Deconvolution : Has the same attributes and methods.
    """

    def __init__(self, model: keras.Model, layer: str):
        super().__init__(model, layer)

    def images(self, x: np.ndarray, features: int | Sequence[int], *, batch_size: int = 8) -> np.ndarray:
        """Multiply inputs by their rectified feature maps.

        Parameters
        ----------
        x : np.ndarray [shape=(n, n_bins, n_frames, 1)]
            Inputs of the model.
        features : int or sequence of int
            Indices of feature maps, from 0.
        batch_size : int > 0
            Ignored; inputs are processed one by one.

        Returns
        -------
        images : np.ndarray [shape=(n, k, n_bins, n_frames), float32]
        """
        from scipy.ndimage import zoom

        x, features = self._check_inputs(x), self._check_features(features)
        images = np.empty((len(x), len(features), *x.shape[1:3]), dtype=np.float32)
        for i, one in enumerate(x):
            maps = np.maximum(self.maps(one[None])[0][..., features], 0)
            if maps.shape[:2] != one.shape[:2]:
                maps = zoom(maps, (one.shape[0] / maps.shape[0], one.shape[1] / maps.shape[1], 1), order=1)
            images[i] = np.moveaxis(maps, -1, 0) * one[..., 0]
        return images


def masked_by_activation(model: keras.Model, *, layer: str | None = None) -> ActivationMask:
    """Use a layer's activations as masks on the input.

    Parameters
    ----------
    model : keras.Model
        As for `Deconvolution`.
    layer : str or None
        Name of the layer; None: the first convolution, as on the poster.

    Returns
    -------
    mask : ActivationMask

    Raises
    ------
    ValueError
        If the model has no convolution over bins and frames.

    Examples
    --------
    >>> from musictools import models
    >>> masked_by_activation(models.build("ckn19", n_outputs=8, width=0.1)).layer
    'conv1'
    """
    return ActivationMask(model, _convolution(model, 0) if layer is None else layer)


def upsampled_deconvolution(model: keras.Model, *, layer: str | None = None) -> Deconvolution:
    """Deconvolve without switches: values are repeated over their pooling windows.

    Parameters
    ----------
    model : keras.Model
        As for `Deconvolution`.
    layer : str or None
        Name of the layer; None: the second convolution, as on the poster.

    Returns
    -------
    deconvolution : Deconvolution

    Raises
    ------
    ValueError
        If the model has fewer than two convolutions over bins and frames.
    """
    return Deconvolution(model, _convolution(model, 1) if layer is None else layer, unpool="upsample")


def _convolution(model, number):
    names = convolutions(model)
    if len(names) <= number:
        raise ValueError(
            f"{model.name} must have at least {number + 1} convolutions over bins and frames. Got {len(names)}."
        )
    return names[number]

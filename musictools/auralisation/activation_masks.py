"""The poster's way to hear features (`ren_poster`): the first layer as a mask, deeper ones by plain up-sampling.

Both offer what a `Deconvolution` offers (`images`, `maps`, `layer`, `n_features`), so that `sound.auralise` turns them
to sound, too. The poster multiplies the input by "a mask from the filter activation" and goes down from the second
convolution "by upsampling and performing a convolution with flipped filters that were transposed". It then estimates a
phase ("a librosa built-in"); here the clip keeps its own, so that the two ways differ in nothing but the image.
"""

import numpy as np

from musictools.auralisation.deconvolution import Deconvolution, convolutions

__all__ = ["ActivationMask", "masked_by_activation", "upsampled_deconvolution"]


class ActivationMask(Deconvolution):
    """The input times a feature's map, which is stretched to the input where a layer is smaller."""

    def images(self, x, features, *, batch_size=8):
        """As `Deconvolution.images`: the map, less what is negative, times the input."""
        from scipy.ndimage import zoom

        x, features = self._checked(x), self._known(features)
        found = np.empty((len(x), len(features), *x.shape[1:3]), dtype=np.float32)
        for i, one in enumerate(x):
            maps = np.maximum(self.maps(one[None])[0][..., features], 0)
            if maps.shape[:2] != one.shape[:2]:
                maps = zoom(maps, (one.shape[0] / maps.shape[0], one.shape[1] / maps.shape[1], 1), order=1)
            found[i] = np.moveaxis(maps, -1, 0) * one[..., 0]
        return found


def masked_by_activation(model, *, layer=None):
    """A layer's activations as masks on the input.

    Parameters
    ----------
    model : keras.Model
        As for `Deconvolution`.
    layer : str or None
        None: the first convolution, as on the poster.

    Returns
    -------
    mask : ActivationMask
    """
    return ActivationMask(model, _convolution(model, 0) if layer is None else layer)


def upsampled_deconvolution(model, *, layer=None):
    """Deconvolution that knows no switches: every value is repeated over the cells that were pooled.

    Parameters
    ----------
    model : keras.Model
        As for `Deconvolution`.
    layer : str or None
        None: the second convolution, as on the poster.

    Returns
    -------
    deconvolution : Deconvolution
    """
    return Deconvolution(model, _convolution(model, 1) if layer is None else layer, unpool="upsample")


def _convolution(model, number):
    names = convolutions(model)
    if len(names) <= number:
        raise ValueError(
            f"{model.name} must have at least {number + 1} convolutions over bins and frames. Got {len(names)}."
        )
    return names[number]

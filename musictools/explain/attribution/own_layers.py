"""Rules of the package's own layers, registered as those of anybody else."""

from __future__ import annotations

from keras import ops

from musictools.explain.attribution.registry import Shares, register_rule
from musictools.models.graph.autodiff import pull
from musictools.models.layers import FAINTEST, LOWEST_DECIBELS, ClassToken, EllipticalMask, HarmonicFilters

__all__ = []


@register_rule(ClassToken)
def class_token(layer, inputs, output, relevance):
    """The steps keep their relevance; the learned token is a constant that absorbs its own."""
    return Shares([relevance[:, 1:]], absorbed=relevance[:, :1])


@register_rule(EllipticalMask)
def elliptical_mask(layer, inputs, output, relevance):
    """Each cell is multiplied by a number of its own, so its relevance passes unchanged."""
    return relevance


@register_rule(HarmonicFilters, lowest=LOWEST_DECIBELS)
def harmonic_filters(layer, inputs, output, relevance):
    """Divide by the share of every sample in a band's power.

    Decibels are a function of one band's power, so relevance passes the logarithm unchanged. A band's power P is
    quadratic in the waveform x, so P is the sum over all samples of x dP/dx / 2 (Euler's theorem), which are the
    contributions. A sample that lowers P has a negative share, by Deep Taylor too. Power below the floor is replaced by
    a constant, which absorbs that band's relevance.
    """
    x, power = ops.cast(inputs[0], "float64"), lambda x: layer.power(x, dtype="float64")
    P = power(x)
    heard = ops.cast(P > FAINTEST, "float64")
    R = ops.cast(relevance, "float64")
    passed = x * pull(power, x, heard * R / ops.maximum(P, FAINTEST)) / 2
    return Shares([ops.cast(passed, "float32")], absorbed=relevance * ops.cast(1 - heard, "float32"))

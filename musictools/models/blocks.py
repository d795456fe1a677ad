"""What the families of models share: seeds, checks of arguments, the head with separable logits."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

__all__ = ["Seeds", "Tagger", "check_build", "sigmoid_head"]


class Seeds:
    """A stream of seeds for initialisers and dropout; all None when the first is.

    Parameters
    ----------
    seed : int or None
    """

    def __init__(self, seed):
        self._next = seed

    def next(self):
        """Next seed, int or None."""
        if self._next is None:
            return None
        self._next += 1
        return self._next

    def glorot(self):
        """Keras's usual initialiser with the next seed."""
        return keras.initializers.GlorotUniform(seed=self.next())


def check_build(name, *, n_outputs, outputs_name, smallest, width, norm_momentum):
    """Refuse arguments of a builder that are out of range.

    Parameters
    ----------
    name : str
        Of the model, for messages.
    n_outputs : int
        Must be at least `smallest`; called `outputs_name` in the message.
    outputs_name : str
    smallest : int
    width : float
        Must be positive and finite.
    norm_momentum : float
        Must lie in [0, 1).

    Raises
    ------
    ValueError
        Naming the argument, the rule and what was received.
    """
    if isinstance(n_outputs, bool) or not isinstance(n_outputs, int | np.integer) or n_outputs < smallest:
        raise ValueError(f"{outputs_name} of {name} must be an int of at least {smallest}. Got {n_outputs!r}.")
    if not isinstance(width, int | float) or not 0 < width < math.inf:
        raise ValueError(f"width must be positive. Got {width!r}.")
    if not 0 <= norm_momentum < 1:
        raise ValueError(f"norm_momentum must lie in [0, 1). Got {norm_momentum!r}.")


def sigmoid_head(x, n_tags, seeds):
    """Logits and their sigmoid as two layers, so that explanations can leave the sigmoid away.

    Parameters
    ----------
    x : keras.KerasTensor [shape=(batch, n)]
    n_tags : int > 0
    seeds : Seeds

    Returns
    -------
    scores : keras.KerasTensor [shape=(batch, n_tags)]
        Output of the layer ``sigmoid``; its input is that of the layer ``logits``.
    """
    x = layers.Dense(int(n_tags), name="logits", kernel_initializer=seeds.glorot())(x)
    return layers.Activation("sigmoid", name="sigmoid")(x)


@dataclass(frozen=True)
class Tagger:
    """How one tagger is built.

    Attributes
    ----------
    input_shape : tuple of int
        The source's, without the batch.
    smallest : tuple of int
        Smallest input that the poolings allow.
    body : callable
        ``body(inputs, wide=, seeds=, momentum=)`` -> tensor (batch, n) below the head: `wide` scales a number of
        filters or units, `seeds` is a `Seeds`, `momentum` that of batch normalisation.
    """

    input_shape: tuple
    smallest: tuple
    body: Callable

"""Arguments that all metrics share, checked in one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["choice", "explainer", "finite", "logits", "neurons", "positive", "samples"]


def choice(name: str, value: str, known: Sequence[str]) -> None:
    """Refuse a value that is not among the known ones.

    Parameters
    ----------
    name : str
        Stands in the message.
    value : str
    known : sequence of str

    Raises
    ------
    ValueError
        If the value is unknown.
    """
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}. Got {value!r}.")


def positive(name: str, value: int) -> None:
    """Refuse what is not a positive int.

    Parameters
    ----------
    name : str
        Stands in the message.
    value : int

    Raises
    ------
    ValueError
        If the value is not a positive int.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be a positive int. Got {value!r}.")


def finite(name: str, values: np.ndarray, *, axes: tuple) -> None:
    """Refuse maps with NaN or Inf.

    Parameters
    ----------
    name : str
        Stands in the message.
    values : np.ndarray
        Maps.
    axes : tuple of int
        Axes of one map.

    Raises
    ------
    ValueError
        If a value is not finite.
    """
    bad = ~np.isfinite(values).all(axis=axes)
    if bad.any():
        raise ValueError(f"{name} must be finite. Got NaN or Inf in {bad.sum()} of {bad.size} maps.")


def samples(name: str, values: np.ndarray) -> np.ndarray:
    """Model inputs, or maps of their shape, as float32.

    Parameters
    ----------
    name : str
        Stands in the message.
    values : np.ndarray [shape=(n, n_bins, n_frames, 1) or (n, n_samples, 1)]

    Returns
    -------
    values : np.ndarray [same shape, float32]

    Raises
    ------
    ValueError
        If the shape is another one, or a value is not finite.
    """
    values = np.asarray(values, dtype=np.float32)
    if values.ndim not in (3, 4) or not values.size:
        raise ValueError(
            f"{name} must have shape (n, n_bins, n_frames, 1) or (n, n_samples, 1), n > 0. Got {values.shape}."
        )
    finite(name, values, axes=tuple(range(1, values.ndim)))
    return values


def neurons(neuron: int | np.ndarray, n: int) -> np.ndarray:
    """One output a sample.

    Parameters
    ----------
    neuron : int or np.ndarray [shape=(n,)]
        A list is refused: `explain.relevance` takes it for several neurons of every sample.
    n : int > 0
        Number of samples.

    Returns
    -------
    neurons : np.ndarray [shape=(n,), int]

    Raises
    ------
    ValueError
        If `neuron` is neither.
    """
    array = np.asarray(neuron)
    if (
        isinstance(neuron, list | tuple)
        or array.dtype.kind not in "iu"
        or array.shape not in ((), (n,))
        or (array.min() < 0)
    ):
        raise ValueError(
            f"neuron must be an int of at least 0 or an array of one int for each of the {n} samples. Got {neuron!r}."
        )
    return np.broadcast_to(array, (n,))


def explainer(model: Any, method: str, seed: int, options: dict) -> Any:
    """Prepare a method for a model.

    Parameters
    ----------
    model : keras.Model or Explainer
    method : str
        One of `explain.METHODS`. An Explainer keeps its own.
    seed : int >= 0
        Seed of methods that draw. An Explainer keeps its own.
    options : dict
        Options of the method.

    Returns
    -------
    explainer : Explainer

    Raises
    ------
    ValueError
        If options are given beside an Explainer.
    """
    from musictools import explain

    if not isinstance(model, explain.Explainer):
        return explain.Explainer(model, method=method, seed=seed, conservation=False, **options)
    if options:
        raise ValueError(f"An Explainer has its options already. Got {', '.join(options)}.")
    return model


def logits(model: Any) -> Callable:
    """Find the function x -> logits of a model.

    Parameters
    ----------
    model : keras.Model, Explainer, or callable
        A callable is returned as it is.

    Returns
    -------
    logits : callable
        np.ndarray [shape=(n, *input_shape)] -> np.ndarray [shape=(n, n_outputs)].
    """
    if hasattr(model, "layers"):  # a Keras model; asking so does not load Keras
        from musictools import explain

        return explain.logits(model)
    return getattr(model, "logits", model)

"""What replaces parts of an input."""

from __future__ import annotations

import numpy as np

__all__ = ["baseline_values"]


def baseline_values(x: np.ndarray, baseline: float | str | np.ndarray, *, batch: bool = False) -> np.ndarray:
    """Compute the values that replace those of an input.

    Parameters
    ----------
    x : np.ndarray [shape=(n_bins, n_frames, 1) or (n_samples, 1)]
        An input, or several with a leading axis.
    baseline : float, "floor", "mean" or np.ndarray
        A value; 0, which is silence; the mean of each bin over time; or an array that broadcasts to `x`.
    batch : bool
        Whether `x` has a leading axis.

    Returns
    -------
    values : np.ndarray [shape=x.shape, float32]

    Raises
    ------
    ValueError
        If the baseline is unknown, not finite or of another shape.

    Examples
    --------
    >>> x = np.array([1.0, 2.0, 6.0]).reshape(3, 1)
    >>> baseline_values(x, "mean").ravel()
    array([3., 3., 3.], dtype=float32)
    """
    if isinstance(baseline, str):
        if baseline not in ("floor", "mean"):
            raise ValueError(f"baseline must be a number, 'floor', 'mean' or an array. Got {baseline!r}.")
        if baseline == "mean" and x.ndim - batch < 2:
            raise ValueError(f"baseline 'mean' needs inputs with a time axis. Got inputs of shape {x.shape[batch:]}.")
        baseline = x.mean(axis=-2, keepdims=True) if baseline == "mean" else 0.0
    values = np.asarray(baseline, dtype=np.float32)
    if not np.isfinite(values).all():
        raise ValueError("baseline must be finite. It holds NaN or Inf.")
    try:
        return np.broadcast_to(values, x.shape)
    except ValueError:
        raise ValueError(f"baseline must fit inputs of shape {x.shape}. Got shape {values.shape}.") from None

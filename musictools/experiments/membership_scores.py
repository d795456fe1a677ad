"""Accuracy, calibration and affiliation of membership degrees (notebook 04)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from musictools import evaluation

__all__ = ["affiliation", "calibration", "scores"]

_BINS = 10


def scores(membership: pd.DataFrame, genres: pd.Series) -> dict[str, float]:
    """Accuracy, log loss, Brier score and calibration error of membership degrees.

    Parameters
    ----------
    membership : pd.DataFrame [clips x genres]
    genres : pd.Series [clip id -> genre]
        A genre that `membership` lacks has degree 0.

    Returns
    -------
    scores : dict
        accuracy; log_loss in nats, where degrees below 1e-6 count as 1e-6; brier, the sum of the squared errors over
        the genres, from 0 to 2; calibration_error (Guo et al. 2017): the highest degree of every clip in ten bins, the
        mean distance between the degrees of a bin and the share of them that are right, bins weighted by size.

    See Also
    --------
    calibration : The bins of the calibration error.

    Examples
    --------
    >>> membership = pd.DataFrame({"pop": [0.8, 0.4], "rock": [0.2, 0.6]})
    >>> measures = scores(membership, pd.Series(["pop", "pop"]))
    >>> round(measures["accuracy"], 2), round(measures["brier"], 2)
    (0.5, 0.4)
    """
    degrees = membership.to_numpy(dtype=float)
    true = membership.columns.to_numpy()[None, :] == genres.loc[membership.index].to_numpy()[:, None]
    own = (degrees * true).sum(axis=1)
    missing = ~true.any(axis=1)
    bins = calibration(membership, genres, highest=True)
    return {
        "accuracy": float(true[np.arange(len(true)), degrees.argmax(axis=1)].mean()),
        "log_loss": float(-np.log(np.maximum(own, 1e-6)).mean()),
        "brier": float((((degrees - true) ** 2).sum(axis=1) + missing).mean()),
        "calibration_error": float((bins["gap"].abs() * bins["degrees"]).sum() / bins["degrees"].sum()),
    }


def calibration(
    membership: pd.DataFrame,
    genres: pd.Series,
    *,
    highest: bool = False,
    groups: pd.Series | None = None,
    repeats: int = 0,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare degrees with the share of them that are true, in ten bins of equal width and for all genres together.

    Parameters
    ----------
    membership : pd.DataFrame [clips x genres]
    genres : pd.Series [clip id -> genre]
    highest : bool
        Use only the highest degree of every clip; otherwise all degrees, most of which are near 0.
    groups : pd.Series [clip id -> group] or None
        Intervals resample these groups, such as artists. None: clips.
    repeats : int >= 0
        Number of resamples; 0: no intervals.
    seed : int >= 0
        Seed of the resampling.

    Returns
    -------
    table : pd.DataFrame
        One row per bin that is not empty: bin (its lower edge), degrees (their number), degree (their mean), share (the
        share of them that are true), gap (share - degree), and share_low, share_high.

    Examples
    --------
    >>> membership = pd.DataFrame({"pop": [0.95, 0.95], "rock": [0.05, 0.05]})
    >>> calibration(membership, pd.Series(["pop", "rock"]))[["bin", "degrees", "share"]]
       bin  degrees  share
    0  0.0        2    0.5
    1  0.9        2    0.5
    """
    degrees = membership.to_numpy(dtype=float)
    true = membership.columns.to_numpy()[None, :] == genres.loc[membership.index].to_numpy()[:, None]
    bins = np.minimum((degrees * _BINS).astype(int), _BINS - 1)
    used = np.arange(degrees.shape[1])[None, :] == degrees.argmax(axis=1)[:, None] if highest else np.ones_like(true)
    # sums by clip and bin, so that a resample of clips costs one addition
    count, total, right = (
        np.stack([(values * used * (bins == b)).sum(axis=1) for b in range(_BINS)], axis=1)
        for values in (np.ones_like(degrees), degrees, true)
    )
    size = count.sum(axis=0)
    full = np.flatnonzero(size)
    degree, share = total.sum(axis=0)[full] / size[full], right.sum(axis=0)[full] / size[full]
    table = pd.DataFrame({"bin": full / _BINS, "degrees": size[full].astype(int), "degree": degree, "share": share})
    table["gap"] = table["share"] - table["degree"]
    if repeats:
        intervals = evaluation.bootstrap(
            lambda rows: dict(enumerate((right[rows].sum(axis=0) / np.maximum(count[rows].sum(axis=0), 1e-9))[full])),
            np.arange(len(degrees)) if groups is None else groups.loc[membership.index].to_numpy(),
            repeats=repeats,
            seed=seed,
        )
        table[["share_low", "share_high"]] = [intervals[k] for k in range(len(full))]
    return table


def affiliation(membership: pd.DataFrame, genres: pd.Series, *, repeats: int = 500, seed: int = 0) -> dict[str, float]:
    """Mean membership degree in the true genre (`rotheneder2023` table 5.19).

    Parameters
    ----------
    membership : pd.DataFrame [clips x genres]
    genres : pd.Series [clip id -> genre]
        A genre that `membership` lacks has degree 0.
    repeats : int > 0
        Number of resamples of the clips.
    seed : int >= 0
        Seed of the resampling.

    Returns
    -------
    row : dict
        affiliation, affiliation_low, affiliation_high, and right: the share of the clips whose highest degree is that
        of the true genre.

    Raises
    ------
    ValueError
        If there are no clips.

    Examples
    --------
    >>> membership = pd.DataFrame({"pop": [0.75, 0.25], "rock": [0.25, 0.75]})
    >>> row = affiliation(membership, pd.Series(["pop", "pop"]))
    >>> row["affiliation"], row["right"]
    (0.5, 0.5)
    """
    if membership.empty:
        raise ValueError("There are no clips to take a mean over.")
    labels = genres.loc[membership.index]
    true = membership.columns.to_numpy()[None, :] == labels.to_numpy()[:, None]
    own = (membership.to_numpy() * true).sum(axis=1)
    low, high = evaluation.bootstrap(lambda rows: own[rows].mean(), np.arange(len(own)), repeats=repeats, seed=seed)
    right = (membership.idxmax(axis=1) == labels).mean()
    return {"affiliation": float(own.mean()), "affiliation_low": low, "affiliation_high": high, "right": float(right)}

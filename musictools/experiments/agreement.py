"""Do two taggers agree about songs whose tags nobody knows? Rank correlations over the tags that both have.

Scores are tables, pieces x tags. Taggers name tags differently (*string* and *strings*, *synthesizer* and *synth*);
`merged` unites them by the vocabulary of `rotheneder2023`, and a merged tag has the highest score of its members.

Two taggers may agree about a piece only because the same tags are frequent in what both learnt from: *guitar* is likely
of any piece. Scores of different pieces then agree as well, which is the control.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from musictools import evaluation, tags

__all__ = ["agreement", "by_tag", "compared", "merged"]


def merged(scores: pd.DataFrame) -> pd.DataFrame:
    """Unite tags that mean the same.

    Parameters
    ----------
    scores : pd.DataFrame [pieces x tags]

    Returns
    -------
    scores : pd.DataFrame [pieces x merged tags]
        The highest score of each merged tag's members. Genres are left out.

    Examples
    --------
    >>> scores = pd.DataFrame({"vocal": [0.25], "techno": [0.5], "voice": [0.75], "strings": [0.5]})
    >>> merged(scores).to_dict("records")
    [{'vocals': 0.75, 'string': 0.5}]
    """
    target = {raw: tag for tag, members in tags.vocabulary().synonyms.items() for raw in members}
    kept = scores[[tag for tag in scores if tags.genre_of(tag) is None]]
    names = [target.get(tag, tag) for tag in kept]
    return kept.T.groupby(np.array(names, dtype=object), sort=False).max().T


def agreement(
    first: pd.DataFrame, second: pd.DataFrame, *, groups: pd.Series, repeats: int = 500, seed: int = 0
) -> dict[str, float]:
    """Measure how far two taggers agree, with 95 % intervals over groups of pieces.

    Parameters
    ----------
    first, second : pd.DataFrame [pieces x tags]
        From `merged`, of the same pieces.
    groups : pd.Series [piece -> group]
        Pieces that are cut from the same recording belong to one group.
    repeats : int > 0
        Resamples of groups.
    seed : int >= 0

    Returns
    -------
    row : dict
        - pieces, tags: how many are compared.
        - per_piece: rank correlation over the tags, mean over pieces.
        - shuffled: the same of scores of different pieces, mean over all pairs of different groups.
        - beyond: per_piece minus shuffled.
        - per_tag: rank correlation over the pieces, mean over tags. Frequencies of tags play no part in it.

        The last four with ``…_low`` and ``…_high``.

    Raises
    ------
    ValueError
        If the pieces differ, or fewer than three tags or pieces are shared.
    """
    return _with_intervals(_Pair(first, second, groups), None, repeats, seed)


def compared(
    before: pd.DataFrame,
    after: pd.DataFrame,
    other: pd.DataFrame,
    *,
    groups: pd.Series,
    repeats: int = 500,
    seed: int = 0,
) -> dict[str, float]:
    """Change of the agreement with another tagger, on the same resamples.

    Parameters
    ----------
    before, after : pd.DataFrame [pieces x tags]
        Two taggers with the same tags.
    other : pd.DataFrame [pieces x tags]
        Whom they agree with.
    groups : pd.Series [piece -> group]
    repeats : int > 0
    seed : int >= 0

    Returns
    -------
    row : dict
        As `agreement`; values of `after` minus those of `before`.

    Raises
    ------
    ValueError
        As in `agreement`.
    """
    return _with_intervals(_Pair(after, other, groups), _Pair(before, other, groups), repeats, seed)


def by_tag(first: pd.DataFrame, second: pd.DataFrame) -> pd.Series:
    """Rank correlation over the pieces, tag by tag.

    Parameters
    ----------
    first, second : pd.DataFrame [pieces x tags]

    Returns
    -------
    correlation : pd.Series [tag -> correlation]
        Highest first.
    """
    pair = _Pair(first, second, pd.Series(np.arange(len(first)), first.index))
    return pd.Series(pair.per_tag(np.arange(len(first))), pair.tags).sort_values(ascending=False)


def _with_intervals(pair, subtracted, repeats, seed):
    def measures(chosen):
        own = pair.measures(chosen)
        return own if subtracted is None else {k: v - subtracted.measures(chosen)[k] for k, v in own.items()}

    row = {"pieces": len(pair.groups), "tags": len(pair.tags)}
    intervals = evaluation.bootstrap(measures, pair.groups, repeats=repeats, seed=seed)
    for name, value in measures(np.arange(len(pair.groups))).items():
        row |= {name: value, f"{name}_low": intervals[name].low, f"{name}_high": intervals[name].high}
    return row


class _Pair:
    def __init__(self, first, second, groups):
        self.tags: Sequence[str] = [tag for tag in first if tag in second]
        if list(first.index) != list(second.index):
            raise ValueError("Both taggers must have scored the same pieces, in the same order.")
        if len(self.tags) < 3 or len(first) < 3:
            raise ValueError(
                f"{len(self.tags)} tags and {len(first)} pieces are shared; at least 3 of each are needed."
            )
        self.first, self.second = (table[self.tags].to_numpy(float) for table in (first, second))
        self.groups = groups.loc[first.index].to_numpy()
        self._foreign = self.groups[:, None] != self.groups[None, :]
        own, other = (_standardised(_ranks(values, axis=1), axis=1) for values in (self.first, self.second))
        self._pieces = own @ other.T  # [i, j]: first tagger's piece i, second tagger's piece j

    def measures(self, chosen):
        per_piece = float(np.nanmean(np.diag(self._pieces)[chosen]))
        pairs = np.ix_(chosen, chosen)
        shuffled = float(np.nanmean(self._pieces[pairs][self._foreign[pairs]]))
        per_tag = float(np.nanmean(self.per_tag(chosen)))
        return {"per_piece": per_piece, "shuffled": shuffled, "beyond": per_piece - shuffled, "per_tag": per_tag}

    def per_tag(self, chosen):
        own, other = (_standardised(_ranks(values[chosen], axis=0), axis=0) for values in (self.first, self.second))
        return (own * other).sum(axis=0)


def _ranks(values, axis):
    from scipy.stats import rankdata

    return rankdata(values, axis=axis)


def _standardised(values, axis):
    """Centred, of length 1; NaN where constant."""
    centred = values - values.mean(axis=axis, keepdims=True)
    with np.errstate(invalid="ignore"):
        return centred / np.linalg.norm(centred, axis=axis, keepdims=True)

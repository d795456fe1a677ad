"""Experiments of notebook 08: how far labels can be trusted (`choi2018` 3).

A *label* is what annotators wrote; the *truth* is known for the composed corpus only. A label is positive where the
annotators gave the tag and negative where they did not. *Tagability* is the probability that a clip gets a tag that is
true of it, which is the recall of the labels.

`reannotate` repeats the study of `choi2018`, in which somebody listens to as many positive as negative labels of a tag.
The recall of such a balanced sample is not that of the data set, because negative labels are far more frequent there;
the table gives both. `neighbours` estimates tagability without listening, from two clips of one track. The scores of
taggers on labels and on the truth are in `label_noise_scores`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from musictools import published

__all__ = [
    "PAPER_TAGS",
    "as_published",
    "corrected_count",
    "count_on_sample",
    "coverage",
    "from_answers",
    "labels_and_truth",
    "neighbours",
    "persistence",
    "published_recall",
    "reannotate",
]

PAPER_TAGS = {  # tags of table 3-A -> descriptors of the corpus
    "instrumental": "no vocals",
    "female vocalists": "female vocals",
    "male vocalists": "male vocals",
    "guitar": "guitar",
}
_DRAWS = 4000  # of the error rates, for the intervals


def labels_and_truth(data: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Descriptors as annotators gave them, and those that are true.

    Parameters
    ----------
    data : Dataset

    Returns
    -------
    labels, truth : pd.DataFrame [clips x descriptors, bool]

    Raises
    ------
    ValueError
        If nobody knows what is true of the data set's clips.
    """
    if not hasattr(data, "complete_descriptors"):
        raise ValueError(
            f"Nobody knows the true tags of {data.name}, so errors of its labels cannot be counted. Co-occurrence and "
            "tagability from neighbouring clips need no truth; `real_data` of notebook 08 names data sets for them. "
            "`annotation` and `from_answers` are for studies by ear."
        )
    return data.descriptors, data.complete_descriptors


def corrected_count(count: Any, total: Any, positive_error: Any, negative_error: Any) -> Any:
    """Number of clips that a tag is true of, from the labels' error rates (Eq. 3.2).

    Parameters
    ----------
    count : number or np.ndarray
        Clips with the label.
    total : number or np.ndarray
        All clips.
    positive_error, negative_error : float or np.ndarray
        Share of the positive labels that are wrong, and of the negative ones.

    Returns
    -------
    corrected : float or np.ndarray

    Examples
    --------
    >>> round(corrected_count(3311, 242842, 0.02, 0.7))  # guitar in table 3-A
    170916
    """
    return count * (1 - positive_error) + (total - count) * negative_error


def reannotate(
    labels: pd.DataFrame, truth: pd.DataFrame, *, per_label: int = 50, min_count: int = 20, seed: int = 0
) -> pd.DataFrame:
    """Check a sample of the labels of every tag against the truth (table 3-A).

    Error rates have 95 % intervals of Jeffreys (Brown, Cai and DasGupta 2001), which do not vanish where no error was
    seen. The intervals of all that follows from the rates come from draws of the same distributions.

    Parameters
    ----------
    labels, truth : pd.DataFrame [clips x tags, bool]
        The same clips and tags.
    per_label : int > 0
        Number of positive labels of a tag that are checked, and of negative ones; fewer where there are fewer.
    min_count : int > 0
        Tags with fewer positive labels are left out.
    seed : int >= 0

    Returns
    -------
    table : pd.DataFrame
        tag, positives and negatives (checked), positive_error, negative_error, precision, recall (of the balanced
        sample), labels (clips with the label), estimate (Eq. 3.2), tagability (recall of the whole data set), and of
        the last five but ``labels`` the ends of their intervals ``…_low`` and ``…_high``; true_count, true_tagability.

    Raises
    ------
    ValueError
        If the tables differ in clips or tags, or `per_label` is not positive.
    """
    if per_label < 1:
        raise ValueError(f"per_label must be a positive int. Got {per_label}.")
    if not (labels.index.equals(truth.index) and labels.columns.equals(truth.columns)):
        raise ValueError("labels and truth must have the same clips and tags, in one order.")
    rng, rows, total = np.random.default_rng(seed), [], len(labels)
    for tag in labels:
        y, true = labels[tag].to_numpy(), truth[tag].to_numpy()
        if not min_count <= y.sum() < total:
            continue
        errors, checked = [], []
        for value in (True, False):
            own = rng.permutation(np.flatnonzero(y == value))[:per_label]
            errors.append(int((true[own] != value).sum()))
            checked.append(len(own))
        rows.append({"tag": tag, **_row(errors, checked, int(y.sum()), total, rng), "true_count": int(true.sum()),
                     "true_tagability": (y & true).sum() / true.sum() if true.any() else np.nan})  # fmt: skip
    return pd.DataFrame(rows)


def from_answers(answers: pd.DataFrame, labels: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """The same study from the answers of somebody who listened.

    Parameters
    ----------
    answers : pd.DataFrame
        clip, tag, answer; as `annotation.Session.table` gives them. Clips with the answer "unsure" are left out.
    labels : pd.DataFrame [clips x tags, bool]
    seed : int >= 0

    Returns
    -------
    table : pd.DataFrame
        As `reannotate` gives it, without the true values. Tags of which only one kind of label was checked are left
        out.
    """
    rng, rows = np.random.default_rng(seed), []
    for tag, own in answers[answers["answer"] != "unsure"].groupby("tag", sort=False):
        y, said = labels.loc[own["clip"], tag].to_numpy(), own["answer"].eq("yes").to_numpy()
        checked = [int(y.sum()), int((~y).sum())]
        if all(checked):
            errors = [int((y & ~said).sum()), int((~y & said).sum())]
            rows.append({"tag": tag, **_row(errors, checked, int(labels[tag].sum()), len(labels), rng)})
    return pd.DataFrame(rows)


def _row(errors, checked, count, total, rng):
    """What follows from the errors of a sample."""
    drawn = [rng.beta(k + 0.5, n - k + 0.5, _DRAWS) for k, n in zip(errors, checked, strict=True)]
    own = [k / n for k, n in zip(errors, checked, strict=True)]
    row = {"positives": checked[0], "negatives": checked[1], "positive_error": own[0], "negative_error": own[1]}
    values, spread = _measures(*own, count, total), _measures(*drawn, count, total)
    for name, value in values.items():
        low, high = np.quantile(spread[name], (0.025, 0.975))
        row |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return row | {"labels": count}


def _measures(positive_error, negative_error, count, total):
    right = 1 - positive_error
    with np.errstate(invalid="ignore", divide="ignore"):
        estimate = corrected_count(count, total, positive_error, negative_error)
        return {
            "precision": right,
            "recall": right / (right + negative_error),
            "estimate": estimate,
            "tagability": count * right / estimate,
        }


def count_on_sample(truth: pd.DataFrame, *, n: int = 400, seed: int = 0) -> pd.DataFrame:
    """Count a tag on clips that are drawn at random (Subset400).

    Parameters
    ----------
    truth : pd.DataFrame [clips x tags, bool]
    n : int > 0
        Number of clips; all if there are fewer.
    seed : int >= 0

    Returns
    -------
    table : pd.DataFrame [indexed by tag]
        sampled (clips), counted, share, low and high (95 %, Jeffreys).
    """
    from scipy.stats import beta

    drawn = truth.iloc[np.random.default_rng(seed).permutation(len(truth))[:n]]
    counted = drawn.sum()
    table = pd.DataFrame({"sampled": len(drawn), "counted": counted, "share": counted / len(drawn)})
    for name, level in (("low", 0.025), ("high", 0.975)):
        table[name] = beta.ppf(level, counted + 0.5, len(drawn) - counted + 0.5)
    return table.rename_axis("tag")


def as_published(study: pd.DataFrame, sample: pd.DataFrame, *, total: int, names: dict[str, str]) -> pd.DataFrame:
    """The study in the form of table 3-A.

    Parameters
    ----------
    study : pd.DataFrame
        From `reannotate`.
    sample : pd.DataFrame
        From `count_on_sample`.
    total : int
        Number of clips.
    names : dict of str to str
        Tags of the thesis -> tags here; those that are not here are left out.

    Returns
    -------
    table : pd.DataFrame
        The columns of the published table.
    """
    rows, by_tag = [], study.set_index("tag")
    for name, tag in names.items():
        if tag not in by_tag.index:
            continue
        row, counted = by_tag.loc[tag], sample.loc[tag]
        rates = {key: row[key] for key in ("positive_error", "negative_error", "precision", "recall")}
        rows.append({
            "tag": name, **rates, "labels": int(row["labels"]), "labels_share": row["labels"] / total,
            "estimate": row["estimate"], "estimate_share": row["estimate"] / total,
            "subset400": int(counted["counted"]), "subset400_share": counted["share"],
        })  # fmt: skip
    return pd.DataFrame(rows, columns=published.table("choi2018_table_3_a_noise").columns)


def coverage(
    labels: pd.DataFrame,
    truth: pd.DataFrame,
    *,
    studies: int = 20,
    per_label: int = 50,
    min_count: int = 20,
    seed: int = 0,
) -> pd.DataFrame:
    """How often the true count lies in the interval of Eq. 3.2, and in that of the uncorrected count.

    The interval of the uncorrected count is that of a binomial share of all clips.

    Parameters
    ----------
    labels, truth : pd.DataFrame [clips x tags, bool]
    studies : int > 0
        Number of repetitions of the study with other samples.
    per_label, min_count : int > 0
        As in `reannotate`.
    seed : int >= 0

    Returns
    -------
    table : pd.DataFrame [indexed by tag]
        corrected (share of the studies whose interval holds the true count), uncorrected (0 or 1), labels, true_count,
        error and uncorrected_error (mean absolute, in shares of the true count).

    Raises
    ------
    ValueError
        If no tag has enough labels.
    """
    from scipy.stats import beta

    options = {"per_label": per_label, "min_count": min_count}
    joined = pd.concat([reannotate(labels, truth, **options, seed=seed + study) for study in range(studies)])
    if joined.empty:
        raise ValueError(f"No tag has {min_count} positive labels and a negative one.")
    total = len(labels)
    inside = joined["true_count"].between(joined["estimate_low"], joined["estimate_high"])
    relative = (joined["estimate"] / joined["true_count"].replace(0, np.nan) - 1).abs()
    grouped = joined.assign(corrected=inside, error=relative).groupby("tag", sort=False)
    table = grouped.agg({"corrected": "mean", "labels": "first", "true_count": "first", "error": "mean"})
    low, high = (total * beta.ppf(q, table["labels"] + 0.5, total - table["labels"] + 0.5) for q in (0.025, 0.975))
    table.insert(1, "uncorrected", table["true_count"].between(low, high).astype(float))
    return table.assign(uncorrected_error=(table["labels"] / table["true_count"].replace(0, np.nan) - 1).abs())


def neighbours(
    labels: pd.DataFrame, tracks: pd.DataFrame, *, min_pairs: int = 30, repeats: int = 500, seed: int = 0
) -> pd.DataFrame:
    """Tagability from neighbouring clips of one track, without listening.

    If a tag is true of two clips and annotators give it to each with the probability r, independently, then r is the
    share of the pairs with the tag on both among the pairs with the tag on the first. The estimate uses each clip of a
    pair as the first one, so that r = 2 n₂ / (2 n₂ + n₁), where n₂ pairs have the tag twice and n₁ once. It is too low
    where the music changes between the clips (see `persistence`), and too high where one clip's labels influence the
    other's.

    Parameters
    ----------
    labels : pd.DataFrame [clips x tags, bool]
    tracks : pd.DataFrame [indexed by clip]
        track and segment_start, as MagnaTagATune's layout has them, and artist.
    min_pairs : int > 0
        Tags with fewer pairs that have the tag at least once are left out.
    repeats : int > 0
        Number of resamples. Artists are resampled.
    seed : int >= 0

    Returns
    -------
    table : pd.DataFrame
        tag, clips, pairs (with the tag at least once), tagability, low, high (95 %); highest first. Where no pair has
        the tag twice, high is what the binomial bound s of the share of such pairs means for r: s = r / (2 - r).

    Examples
    --------
    >>> tracks = pd.DataFrame({"track": "a", "segment_start": [0, 29, 58], "artist": "x"})
    >>> neighbours(pd.DataFrame({"rock": [True, True, False]}), tracks, min_pairs=1)["tagability"].round(3).tolist()
    [0.667]
    """
    first, second = _neighbouring(tracks.loc[labels.index])
    a, b = (labels.iloc[side].to_numpy() for side in (first, second))
    groups = pd.factorize(tracks.loc[labels.index, "artist"].iloc[first])[0]
    twice, once = (_by_group(counts, groups) for counts in (a & b, a ^ b))
    drawn = np.random.default_rng(seed).multinomial(len(twice), np.full(len(twice), 1 / len(twice)), size=repeats)
    with np.errstate(invalid="ignore"):
        shares = 2 * (drawn @ twice) / (2 * (drawn @ twice) + drawn @ once)
        own = 2 * twice.sum(axis=0) / (2 * twice.sum(axis=0) + once.sum(axis=0))
    pairs = (a | b).sum(axis=0)
    kept = np.flatnonzero(pairs >= min_pairs)
    low, high = np.nanquantile(shares[:, kept], (0.025, 0.975), axis=0) if len(kept) else ([], [])
    never = twice.sum(axis=0)[kept] == 0  # no resample differs from 0
    bound = 1 - 0.025 ** (1 / np.maximum(pairs[kept], 1))
    high = np.where(never, 2 * bound / (1 + bound), high)
    table = pd.DataFrame({
        "tag": labels.columns[kept], "clips": labels.sum().to_numpy()[kept], "pairs": pairs[kept],
        "tagability": own[kept], "low": low, "high": high,
    })  # fmt: skip
    return table.sort_values("tagability", ascending=False, ignore_index=True)


def persistence(truth: pd.DataFrame, tracks: pd.DataFrame) -> pd.Series:
    """How often a tag that is true of a clip is true of its neighbour in the track.

    Parameters
    ----------
    truth : pd.DataFrame [clips x tags, bool]
    tracks : pd.DataFrame
        As in `neighbours`.

    Returns
    -------
    persistence : pd.Series [tag -> share]
        NaN for tags that no clip with a neighbour has.
    """
    first, second = _neighbouring(tracks.loc[truth.index])
    a, b = (truth.iloc[side].to_numpy() for side in (first, second))
    with np.errstate(invalid="ignore"):
        share = 2 * (a & b).sum(axis=0) / (a.sum(axis=0) + b.sum(axis=0))
    return pd.Series(share, truth.columns, name="persistence")


def published_recall() -> pd.DataFrame:
    """Recall of single tags that `rotheneder2023` publishes, for MagnaTagATune (tables 5.7, 5.13 and 5.17).

    Returns
    -------
    recall : pd.DataFrame [indexed by tag]
        recall (mean over the taggers that list the tag among their ten best). Tags that none lists are not there.
    """
    tables = [published.table(name) for name in published.names() if name.endswith("_top_10_tags")]
    return pd.concat(tables).groupby("tag")[["recall"]].mean()


def _neighbouring(tracks):
    """Positions of the clips of all pairs that follow each other in a track, of those that the table holds."""
    order = np.lexsort([tracks["segment_start"].astype(float), pd.factorize(tracks["track"])[0]])
    track = tracks["track"].to_numpy()[order]
    same = np.flatnonzero(track[1:] == track[:-1])
    return order[same], order[same + 1]


def _by_group(counts, groups):
    table = np.zeros((groups.max() + 1 if len(groups) else 1, counts.shape[1]))
    np.add.at(table, groups, counts)
    return table

"""A mapping for a network of other people: from the descriptors among its tags to genres, learnt from annotations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from musictools.models.card import ModelCard

if TYPE_CHECKING:
    from musictools.mapping.membership import Mapping

__all__ = ["learn"]


def learn(
    data: Any, descriptors: Sequence[str], *, folds: int = 5, epochs: int = 8, batch_size: int = 50, seed: int = 0
) -> Mapping:
    """Train the mapping network of notebook 04 on those descriptors that a tagger knows.

    Parameters
    ----------
    data : Dataset
        Its raw tags are used, since the tagger's outputs are raw tags, and its clips with exactly one genre. The audio
        is not needed.
    descriptors : sequence of str
        The tagger's, see `musictools.inference.Tagger.descriptors`.
    folds : int > 1
        Parts of the cross-validation, which states the accuracy for unknown artists.
    epochs, batch_size : int > 0
    seed : int >= 0

    Returns
    -------
    mapping : Mapping
        Trained on all clips. The card's provenance holds the accuracy in cross-validation, the share of the commonest
        genre, and the number of clips.

    Raises
    ------
    ValueError
        If the data set lacks descriptors, or has too few clips.

    Examples
    --------
    >>> from musictools import datasets
    >>> learn(datasets.load("magnatagatune"), ["guitar", "violin"]).card.provenance["accuracy"]  # doctest: +SKIP
    0.53
    """
    from sklearn.model_selection import GroupKFold

    from musictools.mapping.membership import Mapping
    from musictools.mapping.network import DescriptorNetwork

    if missing := [word for word in descriptors if word not in data.tags]:
        raise ValueError(f"{data.name} has no tag {missing[0]!r}: the network learnt other tags.")
    table = data.tags[list(descriptors)]
    table = table[(data.genres.sum(axis=1) == 1) & table.any(axis=1)]
    genres, artists = data.genres.loc[table.index].idxmax(axis=1), data.tracks.loc[table.index, "artist"]
    if artists.nunique() < folds or genres.nunique() < 2:
        raise ValueError(f"At least {folds} artists and two genres are needed. Got {artists.nunique()} artists.")
    X, y = table.to_numpy(), genres.to_numpy()

    def trained(rows):
        return DescriptorNetwork(epochs=epochs, batch_size=batch_size, seed=seed).fit(X[rows], y[rows])

    right = np.zeros(len(X), dtype=bool)
    for train, test in GroupKFold(folds).split(X, y, artists):
        right[test] = trained(train).predict(X[test]) == y[test]
    network = trained(np.arange(len(X)))
    card = ModelCard(
        task="mapping",
        model="mapping",
        inputs=list(descriptors),
        outputs=network.classes_,
        data=data.name,
        data_checksum=data.tables_checksum,
        licence=getattr(data, "licence", ""),
        seed=seed,
        provenance={
            "accuracy": round(float(right.mean()), 4),
            "commonest": round(float(genres.value_counts(normalize=True).iloc[0]), 4),
            "clips": len(X),
            "folds": folds,
        },
    )
    return Mapping(network.model_, card)

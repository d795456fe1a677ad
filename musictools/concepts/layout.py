"""Concepts of all classes side by side: clusters of their CAVs, and positions in a plane (`sharma2022` 4.2.2).

Positions come from t-SNE of the mean CAVs together with the clusters' centres. Distances between far groups mean little
there; which concepts are alike is told by the cluster and by the cosine of the CAVs.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from musictools.concepts.discovery import Concepts

__all__ = ["alike", "arrange"]


def arrange(concepts: Concepts, *, n_clusters: int = 10, perplexity: float = 30.0, seed: int = 0) -> pd.DataFrame:
    """Cluster the mean CAVs of all concepts and place them in a plane.

    Parameters
    ----------
    concepts : Concepts
    n_clusters : int > 0
        At most the number of concepts with a CAV.
    perplexity : float > 0
        Of t-SNE; at most a third of the number of points.
    seed : int >= 0

    Returns
    -------
    table : pd.DataFrame [indexed by concept]
        cluster, x, y, and centre_x, centre_y of the cluster's centre. Concepts without a CAV are left out.

    Raises
    ------
    ValueError
        If fewer than 4 concepts have a CAV.
    """
    from sklearn.cluster import KMeans
    from sklearn.manifold import TSNE

    known = np.isfinite(concepts.vectors).all(axis=1)
    vectors = concepts.vectors[known]
    if len(vectors) < 4:
        raise ValueError(f"At least 4 concepts must have a CAV to be arranged. Got {len(vectors)}.")
    fitted = KMeans(min(n_clusters, len(vectors)), n_init=4, random_state=seed).fit(vectors)
    points = np.concatenate([fitted.cluster_centers_, vectors])
    near = min(perplexity, (len(points) - 1) / 3)
    plane = TSNE(2, perplexity=near, init="pca", random_state=seed).fit_transform(points)
    centres, members = plane[: -len(vectors)], plane[-len(vectors) :]
    table = pd.DataFrame({"cluster": fitted.labels_, "x": members[:, 0], "y": members[:, 1]})
    table[["centre_x", "centre_y"]] = centres[fitted.labels_]
    return table.set_index(concepts.table.index[known])


def alike(concepts: Concepts, name: str, *, n: int = 10) -> pd.Series:
    """Concepts whose mean CAVs point in the most similar directions.

    Parameters
    ----------
    concepts : Concepts
    name : str
        A concept with a CAV.
    n : int > 0

    Returns
    -------
    cosines : pd.Series [indexed by concept]
        Of the n nearest, without the concept itself, in descending order.
    """
    cosines = concepts.vectors @ concepts.vectors[concepts.table.index.get_loc(name)]
    return pd.Series(cosines, concepts.table.index).drop(name).dropna().sort_values(ascending=False)[:n]

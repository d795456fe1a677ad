"""The conservation report of relevance maps: what arrived at each layer, what it passed on and what it absorbed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

__all__ = ["ConservationReport"]

COLUMNS = ("arrived", "passed", "bias", "stabiliser", "lost")


@dataclass(frozen=True, repr=False)
class ConservationReport:
    """Where relevance went, layer by layer, for one or several maps.

    In each layer: arrived = passed on + absorbed by the bias + absorbed by the stabiliser + lost (nothing contributed).

    Attributes
    ----------
    layers : list of str
        From the output to the input. The last row, "input", compares what should arrive there with what does.
    rules : list of str
        Propagation rule of each layer.
    entries : np.ndarray [shape=(n_maps, n_layers, 5)]
        Arrived, passed, bias, stabiliser, lost.

    See Also
    --------
    musictools.explain.relevance : Makes the report.

    Examples
    --------
    >>> entries = np.array([[[2.0, 1.5, 0.3, 0.2, 0.0], [1.5, 1.5, 0.0, 0.0, 0.0]]])
    >>> report = ConservationReport(["logits", "input"], ["Epsilon", ""], entries)
    >>> report
    ConservationReport(1 map, 2 layers, error 0, 75.0% reaches the input)
    >>> report.error(), report.reached()
    (array([0.]), array([0.75]))
    >>> report.to_frame()["bias"].tolist()
    [0.3, 0.0]
    """

    layers: list[str]
    rules: list[str]
    entries: np.ndarray

    def to_frame(self, index: int | None = None) -> pd.DataFrame:
        """Return the report as a table with one row per layer.

        Parameters
        ----------
        index : int or None
            Index of a map. None: the mean of all maps.

        Returns
        -------
        table : pd.DataFrame
            Columns layer, rule, arrived, passed, bias, stabiliser, lost, and open: what is missing in the layer.
        """
        entries = self.entries.mean(axis=0) if index is None else self.entries[index]
        table = pd.DataFrame(entries, columns=COLUMNS)
        table.insert(0, "layer", self.layers)
        table.insert(1, "rule", self.rules)
        table["open"] = table["arrived"] - table[list(COLUMNS[1:])].sum(axis=1)
        return table

    def error(self) -> np.ndarray:
        """Compute the largest amount of relevance that is missing in a layer.

        The error is normalised by the map's largest absolute entry.

        Returns
        -------
        error : np.ndarray [shape=(n_maps,)]
            0 if relevance is conserved.
        """
        open_ = np.abs(self.entries[..., 0] - self.entries[..., 1:].sum(axis=-1))
        scale = np.abs(self.entries).max(axis=(1, 2))
        return open_.max(axis=1) / np.maximum(scale, np.finfo(np.float32).tiny)

    def reached(self) -> np.ndarray:
        """Compute the share of what was to be explained that reaches the input.

        Returns
        -------
        share : np.ndarray [shape=(n_maps,)]
            NaN if nothing was to be explained.
        """
        start = self.entries[:, 0, 0]
        absorbed = self.entries[..., 2:].sum(axis=(1, 2))
        return np.divide(start - absorbed, start, out=np.full(len(start), np.nan), where=start != 0)

    def verdict(self, tolerance: float = 1e-4) -> str:
        """Say in a sentence whether relevance is conserved.

        Parameters
        ----------
        tolerance : float > 0
            Largest `error` that is accepted.

        Returns
        -------
        text : str
        """
        worst = float(self.error().max())
        if not worst <= tolerance:
            return (
                f"Relevance is not conserved: up to {worst:.1e} of what was explained is missing in some layer, "
                f"{tolerance:.0e} is tolerated."
            )
        reached = self._median_reached()
        if np.isnan(reached):
            return "Nothing was to be explained: no logit lies above its reference."
        return (
            f"Relevance is conserved (to {worst:.0e}); {reached:.1%} of what was explained reaches the input "
            "(median), biases, stabilisers and layers without contributions absorb the rest."
        )

    def _median_reached(self):
        with np.errstate(invalid="ignore"):
            share = self.reached()
        share = share[np.isfinite(share)]
        return float(np.median(share)) if share.size else np.nan

    def __str__(self):
        return self.to_frame().to_string(index=False, float_format=lambda v: f"{v:.4g}") + "\n" + self.verdict()

    def __repr__(self):
        n, reached = len(self.entries), self._median_reached()
        share = "nothing to explain" if np.isnan(reached) else f"{reached:.1%} reaches the input"
        error = self.error().max(initial=0.0)
        return f"ConservationReport({n} map{'s' * (n != 1)}, {len(self.layers)} layers, error {error:.2g}, {share})"

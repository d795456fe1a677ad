"""The conservation report of relevance maps: what arrived at each layer, what it passed on and what it absorbed."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

__all__ = ["ConservationReport"]

COLUMNS = ("arrived", "passed", "bias", "stabiliser", "lost")


@dataclass(frozen=True)
class ConservationReport:
    """Where relevance went, layer by layer, for one or several maps.

    Attributes
    ----------
    layers : list of str
        From the output to the input; the last row, "input", compares what should arrive there with what is there.
    rules : list of str
    entries : np.ndarray [shape=(n_maps, n_layers, 5)]
        arrived, passed, bias (absorbed by it), stabiliser (by epsilon), lost (nothing contributed).
    """

    layers: list
    rules: list
    entries: np.ndarray

    def to_frame(self, index=None):
        """Return the report as a table with one row per layer.

        Parameters
        ----------
        index : int or None
            Of a map; None: the mean of all.

        Returns
        -------
        table : pd.DataFrame
            layer, rule, arrived, passed, bias, stabiliser, lost, open: what none of them explains.
        """
        entries = self.entries.mean(axis=0) if index is None else self.entries[index]
        table = pd.DataFrame(entries, columns=COLUMNS)
        table.insert(0, "layer", self.layers)
        table.insert(1, "rule", self.rules)
        table["open"] = table["arrived"] - table[list(COLUMNS[1:])].sum(axis=1)
        return table

    def error(self):
        """Largest open amount of a layer over what was to be explained, a float a map.

        Where absorbed amounts of both signs far exceed what was to be explained, they are the measure.
        """
        open_ = np.abs(self.entries[..., 0] - self.entries[..., 1:].sum(axis=-1))
        scale = np.abs(self.entries).max(axis=(1, 2))
        return open_.max(axis=1) / np.maximum(scale, np.finfo(np.float32).tiny)

    def reached(self):
        """Share of what was to be explained that reaches the input, a float a map; NaN where nothing was."""
        start = self.entries[:, 0, 0]
        taken = self.entries[..., 2:].sum(axis=(1, 2))
        return np.divide(start - taken, start, out=np.full(len(start), np.nan), where=start != 0)

    def verdict(self, tolerance=1e-4):
        """Say in a sentence whether relevance is conserved.

        Parameters
        ----------
        tolerance : float > 0
            On `error`.

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
        with np.errstate(invalid="ignore"):
            reached = self.reached()
        known = reached[np.isfinite(reached)]
        if not known.size:
            return "Nothing was to be explained: no logit lies above its reference."
        return (
            f"Relevance is conserved (to {worst:.0e}); {np.median(known):.1%} of what was explained reaches the input "
            "(median), biases, stabilisers and layers without contributions absorb the rest."
        )

    def __str__(self):
        return self.to_frame().to_string(index=False, float_format=lambda v: f"{v:.4g}") + "\n" + self.verdict()

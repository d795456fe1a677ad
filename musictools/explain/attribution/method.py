"""What every method of attribution provides: maps of a batch of inputs."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

__all__ = ["Method"]


class Method(ABC):
    """A method of attribution, prepared for one model."""

    @abstractmethod
    def maps(
        self, x: np.ndarray, targets: np.ndarray, offset: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Compute the maps of a batch.

        Parameters
        ----------
        x : np.ndarray [shape=(n, *input_shape), float32]
            Inputs.
        targets : np.ndarray [shape=(n, k, n_outputs), float32]
            Combinations of outputs that are explained, as weights of the outputs.
        offset : np.ndarray [shape=(n, k), float32]
            Subtracted from their logits.

        Returns
        -------
        relevance : np.ndarray [shape=(n, k, *input_shape)]
            One map for every input and target.
        balance : np.ndarray [shape=(n, k, n_layers, 5)] or None
            For every layer that relevance passes: arrived, passed, absorbed by the bias, by the stabiliser, lost. The
            last row is the input: what should arrive there by the rows above, what does, and what padding absorbed.
            None if the method does not propagate relevance, or no conservation report is wanted.
        logit : np.ndarray [shape=(n, k)] or None
            Logits of the targets, less the offset. None if the method does not compute them.
        """

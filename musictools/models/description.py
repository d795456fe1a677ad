"""The description of a model before it is built: its network, its input, the training of its source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from musictools.spectrograms import FrontEnd, ModelInput

__all__ = ["Description"]


@dataclass(frozen=True, kw_only=True)
class Description:
    """The description of one model. A module that defines models holds their descriptions in ``MODELS``, by name.

    Parameters
    ----------
    source : str
        Key of the source that the network follows.
    body : callable
        ``body(inputs, wide=, seeds=, momentum=)`` -> tensor (batch, n) below the logits: `wide` scales a number of
        filters or units, `seeds` is a `musictools.models.blocks.Seeds`, `momentum` that of batch normalisation.
    input : ModelInput
        Front end, length and step of the segments.
    smallest : tuple of int
        Smallest input, without the batch, that the poolings allow.
    kind : {"tagger", "genre", "structure"}
        Genre classifiers end in a softmax, taggers in a sigmoid. A structure is a tagger of `models.structures`.
    learning_rate : float > 0
        Initial learning rate of Adam in the source; where it names none, that of Won et al. (2020).
    batch_size : int > 0
        Likewise.
    stages : int > 0
        How many times the source trains the network, each time from the weights of the last.
    channels : tuple of int
        Numbers of channels that the input may have.
    place : int
        Models are listed in this order: those of `rotheneder2023` as there, then those of other sources.

    See Also
    --------
    musictools.models.describe : The description of a model by name.

    Examples
    --------
    >>> from musictools import models
    >>> models.describe("musicnn").learning_rate, models.describe("ckn19").kind
    (0.001, 'genre')
    """

    source: str
    body: Callable
    input: ModelInput
    smallest: tuple[int, ...]
    kind: Literal["tagger", "genre", "structure"] = "tagger"
    learning_rate: float = 1e-4
    batch_size: int = 16
    stages: int = 1
    channels: tuple[int, ...] = (1,)
    place: int = 100

    @property
    def front_end(self) -> FrontEnd:
        """Front end of the source."""
        return self.input.front_end

"""An explanation: relevance with all that is needed to read, check, save and draw it."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from musictools.explain.attribution.conservation import ConservationReport
from musictools.files import atomic, read_npz

__all__ = ["Explanation"]


@dataclass(frozen=True)
class Explanation:
    """Relevance of an input for one or several neurons.

    Attributes
    ----------
    relevance : np.ndarray, float32
        Shape of x, (n, ...); for a list of neurons (n, k, ...).
    method : str
    neuron : int, np.ndarray [shape=(n,)] or list of int
        As it was asked for.
    logit : np.ndarray [shape=(n,) or (n, k)]
        What is explained: the neuron's logit, less that of `contrast`, less `reference`.
    reference : np.ndarray or None
        Probability that was taken as the zero, [shape of `logit`].
    contrast : int, list of int, "others" or None
    conservation : ConservationReport or None
        What every layer passed on and absorbed; None for other methods than propagation.
    options : dict
        Of the method.
    """

    relevance: np.ndarray
    method: str
    neuron: object
    logit: np.ndarray
    reference: np.ndarray | None = None
    contrast: object = None
    conservation: ConservationReport | None = None
    options: dict = field(default_factory=dict)

    def save(self, path):
        """Write everything to a file.

        Parameters
        ----------
        path : str or Path
            Ends in ``.npz``.

        Returns
        -------
        path : Path
        """
        path = Path(path)
        if path.suffix != ".npz":
            raise ValueError(f"path must end in .npz. Got {path}.")
        kind = "array" if isinstance(self.neuron, np.ndarray) else "list" if isinstance(self.neuron, list) else "int"
        head = {
            "method": self.method,
            "neuron": np.asarray(self.neuron).tolist(),
            "kind": kind,
            "contrast": self.contrast,
            "options": {k: repr(v) if _is_object(v) else v for k, v in self.options.items()},
        }
        arrays = {"relevance": self.relevance, "logit": self.logit}
        if self.reference is not None:
            arrays["reference"] = self.reference
        if self.conservation is not None:
            head |= {"layers": self.conservation.layers, "rules": self.conservation.rules}
            arrays["entries"] = self.conservation.entries
        with atomic(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, head=np.array(json.dumps(head, default=int)), **arrays)
        return path

    @classmethod
    def load(cls, path):
        """Read what `save` wrote.

        Raises
        ------
        ValueError
            If the file holds no explanation.
        """
        try:
            arrays = read_npz(path)
            head = json.loads(str(arrays["head"]))
            conservation = (
                ConservationReport(head["layers"], head["rules"], arrays["entries"]) if "entries" in arrays else None
            )
            neuron = np.array(head["neuron"]) if head["kind"] == "array" else head["neuron"]
            return cls(
                arrays["relevance"],
                head["method"],
                neuron,
                arrays["logit"],
                arrays.get("reference"),
                head["contrast"],
                conservation,
                head["options"],
            )
        except (OSError, KeyError, ValueError) as error:
            raise ValueError(f"{path}: no saved explanation ({error}).") from error

    def map(self, index=0):
        """One map as a matrix or, for waveforms, a vector.

        Parameters
        ----------
        index : int or (int, int)
            Sample, or sample and neuron of the list.

        Returns
        -------
        relevance : np.ndarray [shape=(n_bins, n_frames) or (n_samples,)]
        """
        picked = self.relevance[index]
        if isinstance(self.neuron, list) and np.ndim(index) == 0:
            if len(picked) != 1:
                raise ValueError(f"index must be (sample, neuron): there are {len(picked)} neurons. Got {index!r}.")
            picked = picked[0]
        return picked[..., 0]

    def plot(self, ax=None, *, index=0, S=None, front_end=None, title=None):
        """Draw one map.

        Parameters
        ----------
        ax : Axes or None
        index : int or (int, int)
            As of `map`.
        S : np.ndarray [shape=(n_bins, n_frames)] or None
            Spectrogram to lay it over, grey.
        front_end : FrontEnd or None
            For seconds and Hz at the axes.
        title : str or None
            None: method and logit.

        Returns
        -------
        ax : Axes
        """
        from musictools import plots

        picked = self.map(index)
        if title is None:
            title = f"{self.method}, logit {np.ravel(self.logit[index])[0]:.2f}"
        if picked.ndim == 1:
            picked = picked[None]
        return plots.heatmap(picked, S=S, front_end=front_end, ax=ax, title=title)


def _is_object(value):
    return not isinstance(value, str | int | float | bool | list | type(None))

"""An explanation: relevance together with what is needed to interpret, check, save and plot it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from musictools.explain.attribution.conservation import ConservationReport
from musictools.files import atomic, read_npz

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from musictools.spectrograms import FrontEnd

__all__ = ["Explanation"]


@dataclass(frozen=True, repr=False)
class Explanation:
    """Relevance of inputs for one or several neurons.

    Attributes
    ----------
    relevance : np.ndarray [shape=x.shape, float32]
        (n, ...), or (n, k, ...) for a list of k neurons.
    method : str
        Name of the method.
    neuron : int, np.ndarray [shape=(n,)] or list of int
        The outputs that are explained.
    logit : np.ndarray [shape=(n,) or (n, k)]
        What is explained: the neuron's logit, less that of `contrast`, less the logit of `reference`.
    reference : np.ndarray [shape=logit.shape] or None
        Probability above which the neuron is explained. None: the logit itself is explained.
    contrast : int, list of int, "others" or None
        The outputs that the neuron is compared with.
    conservation : ConservationReport or None
        What every layer passed on and absorbed. None for methods other than relevance propagation.
    options : dict
        Options of the method.

    See Also
    --------
    musictools.explain.relevance : Makes explanations.

    Examples
    --------
    >>> explanation = Explanation(np.ones((1, 2, 3, 1), np.float32), "gradient", 4, np.array([0.5]))
    >>> explanation
    Explanation('gradient', neuron 4, relevance (1, 2, 3, 1), logit 0.5)
    >>> explanation.map().shape
    (2, 3)
    """

    relevance: np.ndarray
    method: str
    neuron: int | np.ndarray | list[int]
    logit: np.ndarray
    reference: np.ndarray | None = None
    contrast: int | list[int] | str | None = None
    conservation: ConservationReport | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __repr__(self):
        low, high = np.min(self.logit, initial=np.inf), np.max(self.logit, initial=-np.inf)
        parts = [
            repr(self.method),
            f"neuron {_short(self.neuron)}",
            f"relevance {self.relevance.shape}",
            f"logit {low:.3g}" + ("" if low == high else f" to {high:.3g}"),
        ]
        if self.contrast is not None:
            parts.append(f"contrast {_short(self.contrast)}")
        if self.conservation is not None:
            parts.append(repr(self.conservation))
        return f"Explanation({', '.join(parts)})"

    def save(self, path: str | Path) -> Path:
        """Write the explanation to a file.

        Parameters
        ----------
        path : str or Path
            Ends in ``.npz``.

        Returns
        -------
        path : Path
            The same path.

        Raises
        ------
        ValueError
            If the path does not end in ``.npz``.
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
    def load(cls, path: str | Path) -> Explanation:
        """Read an explanation from a file.

        Parameters
        ----------
        path : str or Path
            Written by `save`.

        Returns
        -------
        explanation : Explanation
            Equal to the saved one, except that options which are objects are replaced by their text.

        Raises
        ------
        ValueError
            If the file does not exist or holds no explanation.
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
        except (OSError, KeyError, ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"{path}: no saved explanation ({error}).") from error

    def map(self, index: int | tuple[int, int] = 0) -> np.ndarray:
        """Return one map as a matrix, or as a vector for waveforms.

        Parameters
        ----------
        index : int or (int, int)
            Index of the input, or of the input and of the neuron in the list.

        Returns
        -------
        relevance : np.ndarray [shape=(n_bins, n_frames) or (n_samples,)]

        Raises
        ------
        ValueError
            If there are several neurons and `index` names none.
        """
        picked = self.relevance[index]
        if isinstance(self.neuron, list) and np.ndim(index) == 0:
            if len(picked) != 1:
                raise ValueError(f"index must be (sample, neuron): there are {len(picked)} neurons. Got {index!r}.")
            picked = picked[0]
        return picked[..., 0]

    def plot(
        self,
        ax: Axes | None = None,
        *,
        index: int | tuple[int, int] = 0,
        S: np.ndarray | None = None,
        front_end: FrontEnd | None = None,
        title: str | None = None,
    ) -> Axes:
        """Plot one map.

        Parameters
        ----------
        ax : Axes or None
            Axes to draw on. None: new ones.
        index : int or (int, int)
            Index of the input, or of the input and of the neuron in the list.
        S : np.ndarray [shape=(n_bins, n_frames)] or None
            Spectrogram to draw below the map, in grey.
        front_end : FrontEnd or None
            Gives the axes seconds and Hz.
        title : str or None
            Title of the axes. None: method and logit.

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


def _short(value):
    text = ", ".join(map(str, np.ravel(value)[:5])) + ", …" * (np.size(value) > 5)
    return text if np.ndim(value) == 0 else f"[{text}]"


def _is_object(value):
    return not isinstance(value, str | int | float | bool | list | type(None))

"""Is this song like what a network knows? Distances in what the network takes as its input.

A reference is a set of clips: those that the network was trained on, or real music of the user's own. Every clip is
described by the mean and the deviation over time of its frequency bands, as the front end scales them for the network.
The distance of a song is Mahalanobis's, from the mean of the reference, with a covariance that is shrunk towards its
diagonal. It is stated as a percentile: the share of the reference's own clips that are nearer, when each is left out of
the estimate.

The description was chosen by measurement (a vgg_cnn of width 0.125, trained on composed clips, limit 99 %). The layer
before the logits, which Lee et al. (2018) take, finds 7 % of 75 recordings unlike the training clips, earlier layers
find 6 to 20 %, and the bands nearly all. Networks map unknown sounds to what they know, so their layers are the wrong
place to ask. What is measured is the sound of a recording, not its composition: codecs and 15 s instead of 29 s change
little, but white noise 50 dB below a composed clip makes it unlike the others.
``tests/benchmarks/bench_familiarity.py`` states the rates.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from musictools.files import atomic, read_npz

if TYPE_CHECKING:
    from musictools.inference import AudioModel
    from musictools.spectrograms import FrontEnd

__all__ = ["LEAST", "LIMIT", "Familiarity", "Reference", "embedding", "find"]

LIMIT = 99.0  # percentile from which on a song counts as unlike the reference
_FOLDS, _SHRINKAGE, _GROUPS = 10, 0.1, 64
LEAST = 2 * _FOLDS  # clips of a reference


@dataclass(frozen=True)
class Familiarity:
    """How a song lies to the reference.

    Attributes
    ----------
    percentile : float in [0, 100]
        Share of the reference's clips that are nearer to its mean.
    reference : str
        What the reference is, in words.
    """

    percentile: float
    reference: str

    @property
    def unlike(self) -> bool:
        """Whether the song is unlike the reference."""
        return self.percentile >= LIMIT

    @property
    def text(self) -> str:
        """One sentence or two."""
        if not self.unlike:
            return (
                f"The song is like what the network knows: {100 - self.percentile:.0f} % of the reference clips "
                f"({self.reference}) lie further from their mean."
            )
        them = "all of them" if self.percentile > 99.9 else f"{self.percentile:.0f} % of them"
        return (
            f"The song is unlike what the network knows: it lies further from the mean of the reference clips "
            f"({self.reference}) than {them}. What is said of it may mean little."
        )


@dataclass(frozen=True, eq=False)
class Reference:
    """Statistics of reference clips, as a network takes them.

    Attributes
    ----------
    mean : np.ndarray [shape=(d,)]
    whitening : np.ndarray [shape=(d, d)]
        Its product with a deviation has the deviation's Mahalanobis distance as its length.
    distances : np.ndarray [shape=(n,)]
        Of the reference clips, ascending; each is measured with statistics of other clips.
    what : str
        What the clips are, in words.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> reference = Reference.fit(rng.standard_normal((500, 8)), what="500 clips")
    >>> reference(np.zeros(8)).unlike, reference(np.full(8, 9.0)).unlike
    (False, True)
    """

    mean: np.ndarray
    whitening: np.ndarray
    distances: np.ndarray
    what: str

    @classmethod
    def fit(cls, embeddings: np.ndarray, *, what: str) -> Reference:
        """Compute the statistics.

        Parameters
        ----------
        embeddings : np.ndarray [shape=(n, d)]
            One row for each clip, at least 20.
        what : str

        Returns
        -------
        reference : Reference

        Raises
        ------
        ValueError
            If there are fewer clips, or the values are not finite.
        """
        embeddings = np.asarray(embeddings, dtype=np.float64)
        if embeddings.ndim != 2 or len(embeddings) < LEAST or not np.isfinite(embeddings).all():
            raise ValueError(
                f"embeddings must be a finite matrix with at least {LEAST} clips. Got shape {embeddings.shape}."
            )
        fold, distances = np.arange(len(embeddings)) % _FOLDS, np.zeros(len(embeddings))
        for number in range(_FOLDS):
            distances[fold == number] = _distance(embeddings[fold == number], *_statistics(embeddings[fold != number]))
        mean, whitening = _statistics(embeddings)
        return cls(mean.astype(np.float32), whitening.astype(np.float32), np.sort(distances).astype(np.float32), what)

    def __call__(self, embedding: np.ndarray) -> Familiarity:
        """Compare a song.

        Parameters
        ----------
        embedding : np.ndarray [shape=(d,)]

        Returns
        -------
        familiarity : Familiarity

        Raises
        ------
        ValueError
            If the embedding is that of another front end.
        """
        if np.shape(embedding) != self.mean.shape:
            raise ValueError(f"embedding must have shape {self.mean.shape}. Got {np.shape(embedding)}.")
        distance = _distance(np.asarray(embedding, dtype=np.float64)[None], self.mean, self.whitening)[0]
        return Familiarity(float(100 * np.mean(self.distances < distance)), self.what)

    def to_bytes(self) -> bytes:
        """Write the statistics as an ``.npz`` file in memory.

        Returns
        -------
        content : bytes
        """
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer, mean=self.mean, whitening=self.whitening, distances=self.distances, what=np.array(self.what)
        )
        return buffer.getvalue()

    def to_text(self) -> str:
        """Write them as text, for a card's provenance.

        Returns
        -------
        text : str
        """
        return base64.b64encode(self.to_bytes()).decode("ascii")

    def save(self, model: str | Path) -> Path:
        """Write the statistics beside a model.

        Parameters
        ----------
        model : str or Path
            A ``.keras`` file.

        Returns
        -------
        path : Path
            ``<model>.familiarity.npz``.
        """
        path = Path(model).with_suffix(".familiarity.npz")
        with atomic(path) as temporary:
            temporary.write_bytes(self.to_bytes())
        return path

    @classmethod
    def from_bytes(cls, content: bytes) -> Reference:
        """Read what `to_bytes` made.

        Parameters
        ----------
        content : bytes

        Returns
        -------
        reference : Reference

        Raises
        ------
        ValueError
            If it is damaged.
        """
        try:
            arrays = read_npz(io.BytesIO(content))
            mean, whitening, distances = (arrays[name] for name in ("mean", "whitening", "distances"))
            if any(array.dtype.kind != "f" for array in (mean, whitening, distances)):
                raise ValueError("they are no numbers")
            if mean.ndim != 1 or distances.ndim != 1 or whitening.shape != (len(mean), len(mean)):
                raise ValueError(f"their shapes are {mean.shape}, {whitening.shape} and {distances.shape}")
            return cls(mean, whitening, distances, str(arrays["what"]))
        except (KeyError, ValueError) as error:
            raise ValueError(f"No statistics of reference clips ({error}).") from None


def find(model: AudioModel, path: str | Path | None = None) -> Reference | None:
    """Look for a network's reference: beside its file, else in its card.

    Parameters
    ----------
    model : AudioModel
    path : str or Path or None
        Its ``.keras`` file.

    Returns
    -------
    reference : Reference or None
        None: nothing is known of what is like the network's music.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    file = None if path is None else Path(path).with_suffix(".familiarity.npz")
    if file is not None and file.is_file():
        try:
            return Reference.from_bytes(file.read_bytes())
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from None
    text = model.card.provenance.get("familiarity")
    return None if text is None else Reference.from_bytes(base64.b64decode(text))


def embedding(S: np.ndarray, front_end: FrontEnd) -> np.ndarray:
    """Describe a clip: mean and deviation of its bands over time.

    Parameters
    ----------
    S : np.ndarray [shape=(n_bins, n_frames)]
        From ``front_end.compute``.
    front_end : FrontEnd
        Of the network.

    Returns
    -------
    embedding : np.ndarray [shape=(2 * n_groups,)]
        Neighbouring bands are averaged, so that there are at most 64 groups. A waveform has one.

    Examples
    --------
    >>> from musictools.spectrograms import FrontEnd
    >>> embedding(np.zeros((128, 10)), FrontEnd(16000, 512, 256, 128)).shape
    (128,)
    """
    x = front_end.scale(S)
    size = -(-len(x) // _GROUPS)
    starts = np.arange(0, len(x), size)
    each = np.stack([x.mean(axis=1), x.std(axis=1)])
    return np.concatenate(np.add.reduceat(each, starts, axis=1) / np.diff([*starts, len(x)]))


def _statistics(embeddings):
    """Mean, and the inverse square root of the covariance, which is shrunk towards its diagonal."""
    mean = embeddings.mean(axis=0)
    covariance = np.cov(embeddings.T).reshape(len(mean), len(mean))
    diagonal = np.diag(covariance)
    covariance = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * np.diag(diagonal)
    covariance += max(1e-6 * diagonal.mean(), 1e-12) * np.eye(len(mean))  # bands that are always silent
    values, vectors = np.linalg.eigh(covariance)
    return mean, (vectors / np.sqrt(values)).T


def _distance(embeddings, mean, whitening):
    return np.linalg.norm((embeddings - mean) @ whitening.T, axis=1)

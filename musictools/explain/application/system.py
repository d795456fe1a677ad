"""Why does the model say that of this song: the workflow of `rotheneder2023` 5.4.

A song is cut into the genre model's sections, which vote for a genre; into the descriptor model's sections, which get
descriptors one by one and together; of every chosen descriptor the sections' heatmaps are merged into one of the whole
song, made audible and fed back.

A model comes as a listener, such as `musictools.inference.Tagger`: an object with ``model``, ``tags`` (what the outputs
stand for), ``front_end``, ``length`` and ``step`` in frames, ``inputs(y)``, and of the descriptor model
``decide(scores, rule=…)``, which returns tag, score, threshold and predicted.
"""

import time
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from musictools import audio, evaluation
from musictools.explain.application import evidence as sounds

__all__ = ["ExplanationSystem", "SongExplanation", "merge"]


@dataclass
class SongExplanation:
    """What two models say of a song, and where the second hears it.

    Attributes
    ----------
    genre : str or None
        Of most sections; None without a genre model.
    votes : pd.DataFrame
        A row a section of the genre model: start, end (s), genre, score, and a column a genre.
    descriptors : pd.DataFrame
        Together: tag, score (mean of the sections), threshold, predicted, sections (how many predict it).
    sections : pd.DataFrame
        One by one: start, end (s) and every tag's score.
    heatmaps : dict of str to np.ndarray [shape=(n_bins, n_frames)]
        By chosen tag, of the whole song: 0 in sections where it is not predicted.
    evidence : dict of str to Evidence
    loop : pd.DataFrame
        What became of the predictions when the evidence was fed back, see `evidence.feed_back`.
    membership : pd.Series or None
        Genre -> share of the descriptors that belong to it, where a mapping is given.
    y : np.ndarray [shape=(n,)]
        The song at ``front_end.sr``.
    S : np.ndarray [shape=(n_bins, n_frames)]
        Its spectrogram in dB; of a waveform model the waveform, shape (1, n).
    front_end : FrontEnd
        Of the descriptor model.
    method, rule : str
    heard : float
        s from the start up to which the descriptor model heard the song: up to its last whole section.
    seconds : dict of str to float
        What every step took.
    badges : dict of str to str
        A line by tag that says whether its heatmap can be trusted, see `explain.badge`; empty where none were wanted.
    """

    genre: str | None
    votes: pd.DataFrame
    descriptors: pd.DataFrame
    sections: pd.DataFrame
    heatmaps: dict
    evidence: dict
    loop: pd.DataFrame
    membership: pd.Series | None
    y: np.ndarray
    S: np.ndarray
    front_end: object
    method: str
    rule: str
    heard: float
    seconds: dict
    badges: dict = field(default_factory=dict)

    def plot(self, tag, *, ax=None, **options):
        """Draw a chosen tag's heatmap over the song's grey spectrogram (`rotheneder2023` figure 5.4).

        Parameters
        ----------
        tag : str
        ax : Axes or None
        **options
            Passed to `plots.heatmap`.

        Returns
        -------
        ax : Axes
        """
        from musictools import plots

        if tag not in self.heatmaps:
            raise ValueError(f"tag must be one of those explained: {', '.join(self.heatmaps) or 'none'}. Got {tag!r}.")
        options = {"title": tag, "label": "relevance (logit)", **options}
        return plots.heatmap(self.heatmaps[tag], S=self.S, front_end=self.front_end, ax=ax, **options)


class ExplanationSystem:
    """The explanation system (`rotheneder2023` 5.4).

    Parameters
    ----------
    genre_model : listener or None
        Whose decision is to be explained; None: descriptors only.
    descriptor_model : listener
        Whose descriptors explain it.
    mapping : callable or None
        Maps the descriptors' scores, pd.Series by tag, to the membership of every genre, pd.Series by genre.
    """

    def __init__(self, genre_model, descriptor_model, mapping=None):
        self.genre_model, self.descriptor_model, self.mapping = genre_model, descriptor_model, mapping
        self._tests = {}  # method and options: what tests its heatmaps; made for the first song

    def explain(self, y, *, sr, tags=None, rule="f1", method="deep_taylor", mask=None, badges=True, **options):
        """Explain a song.

        Parameters
        ----------
        y : np.ndarray [shape=(n,)]
            Of any length.
        sr : int > 0
            Hz.
        tags : sequence of str or None
            Descriptors to look for; None: those predicted of the whole song.
        rule : str
            How the thresholds were chosen, one of the descriptor model's. A tag's threshold is the reference of its
            relevance: what is explained is the score above it, so that no accepted tag has an empty heatmap.
        method : str
            One of `explain.METHODS`.
        mask : dict or None
            Options of `evidence.mask_from`.
        badges : bool
            Whether to test every heatmap, in the section with the tag's highest score.
        **options
            Passed to `explain.relevance`.

        Returns
        -------
        explanation : SongExplanation

        Raises
        ------
        ValueError
            If `y` is no finite waveform, `sr` no positive int, or a tag, rule or method unknown.
        """
        y = np.asarray(y, dtype=np.float32)
        if y.ndim != 1 or y.size == 0 or not np.isfinite(y).all():
            raise ValueError(f"y must be a finite mono waveform of shape (n,), n > 0. Got shape {y.shape}.")
        if isinstance(sr, bool) or not isinstance(sr, int | np.integer) or sr <= 0:
            raise ValueError(f"sr must be a positive int. Got {sr!r}.")
        listener, clock = self.descriptor_model, _Clock()
        unknown = sorted(set(tags or ()) - set(listener.tags))
        if unknown:
            raise ValueError(
                f"tags must be known to the descriptor model. Got {', '.join(unknown)}; known: "
                f"{', '.join(listener.tags)}."
            )
        genre, votes = self._vote(y, sr)
        clock.lap("genre")
        y = _at(y, sr, listener)
        x = listener.inputs(y)
        scores = evaluation.predict(listener.model, x, batch_size=16)
        together = listener.decide(pd.Series(scores.mean(axis=0), listener.tags, name="score"), rule=rule)
        thresholds = together.set_index("tag")["threshold"]
        predicted = pd.DataFrame(scores, columns=listener.tags) > thresholds[listener.tags]
        together["sections"] = predicted.sum()[together["tag"]].to_numpy()
        clock.lap("descriptors")
        chosen = list(together.loc[together["predicted"], "tag"] if tags is None else dict.fromkeys(tags))
        S = listener.front_end.compute(y)
        heatmaps = _heatmaps(
            listener, x, predicted[chosen], thresholds[chosen], n_frames=S.shape[1], method=method, **options
        )
        clock.lap("relevance")
        marks = {}
        if badges and chosen:
            marks = self._badges(x, scores, thresholds[chosen], method=method, **options)
        clock.lap("badges")
        heard = {
            tag: sounds.evidence(y, R, front_end=listener.front_end, **(mask or {})) for tag, R in heatmaps.items()
        }
        clock.lap("evidence")
        loop = sounds.feed_back(self._scores, y, heard, thresholds=thresholds)
        clock.lap("loop")
        membership = None if self.mapping is None else self.mapping(together.set_index("tag")["score"][listener.tags])
        sections = _times(listener, len(x)).join(pd.DataFrame(scores, columns=listener.tags))
        until = min(float(sections["end"].iloc[-1]), len(y) / listener.front_end.sr)
        return SongExplanation(
            genre,
            votes,
            together,
            sections,
            heatmaps,
            heard,
            loop,
            membership,
            y,
            S,
            listener.front_end,
            method,
            rule,
            until,
            clock.seconds,
            marks,
        )

    def _badges(self, x, scores, thresholds, *, method, **options):
        """A line by tag."""
        from musictools.explain.metrics.badge import ModelBadge

        neurons = np.array([self.descriptor_model.tags.index(tag) for tag in thresholds.index])
        loudest = x[scores[:, neurons].argmax(axis=0)]
        key = method, repr(sorted(options.items()))
        if key not in self._tests:
            self._tests[key] = ModelBadge(self.descriptor_model.model, loudest, neurons, method=method, **options)
        reference = thresholds.to_numpy().clip(1e-6, 1 - 1e-6)
        found = self._tests[key](loudest, neurons, reference=reference)
        return {tag: str(badge) for tag, badge in zip(thresholds.index, found)}

    def _vote(self, y, sr):
        """The genre of most sections, and every section's."""
        listener = self.genre_model
        if listener is None:
            return None, pd.DataFrame(columns=["start", "end", "genre", "score"])
        scores = evaluation.predict(listener.model, listener.inputs(_at(y, sr, listener)), batch_size=16)
        _, winners = evaluation.vote(scores, np.zeros(len(scores), dtype=int))
        votes = _times(listener, len(scores))
        votes["genre"] = [listener.tags[k] for k in scores.argmax(axis=1)]
        votes["score"] = scores.max(axis=1)
        return listener.tags[winners[0]], votes.join(pd.DataFrame(scores, columns=listener.tags))

    def _scores(self, y):
        listener = self.descriptor_model
        scores = evaluation.predict(listener.model, listener.inputs(y), batch_size=16)
        return pd.Series(scores.mean(axis=0), listener.tags)


def merge(heatmaps, *, starts, n_frames):
    """Merge the sections' heatmaps into one of the whole song (`rotheneder2023` 5.4).

    Parameters
    ----------
    heatmaps : np.ndarray [shape=(n_sections, n_bins, length)]
    starts : sequence of int >= 0 [n_sections]
        First frame of every section.
    n_frames : int > 0
        Frames of the song; what a lengthened section has beyond is cut off.

    Returns
    -------
    heatmap : np.ndarray [shape=(n_bins, n_frames)]
        0 where there is no section. Where two overlap the value further from 0: of relevance that is nowhere negative
        the maximum, as in the source.

    Raises
    ------
    ValueError
        If there is not one start a section, or one lies outside the song.

    Examples
    --------
    >>> merge(np.array([[[1.0, 2.0]], [[3.0, 1.0]]]), starts=[0, 1], n_frames=4)
    array([[1., 3., 1., 0.]])
    """
    heatmaps = np.asarray(heatmaps)
    if heatmaps.ndim != 3 or len(starts) != len(heatmaps):
        raise ValueError(
            f"heatmaps must have shape (n_sections, n_bins, length) with one start each. Got "
            f"{heatmaps.shape} and {len(starts)} starts."
        )
    if any(not 0 <= start < n_frames for start in starts):
        raise ValueError(f"starts must lie in the song, from 0 to {n_frames - 1}. Got {list(starts)}.")
    merged = np.zeros((heatmaps.shape[1], n_frames), dtype=heatmaps.dtype)
    for heatmap, start in zip(heatmaps, starts):
        place = merged[:, start : start + heatmap.shape[1]]
        heatmap = heatmap[:, : place.shape[1]]
        np.copyto(place, heatmap, where=np.abs(heatmap) > np.abs(place))
    return merged


def _heatmaps(listener, x, predicted, thresholds, *, n_frames, **options):
    """Merged heatmap by tag. One call for all tags, of the sections only that predict any of them."""
    from musictools import explain

    tags, rows = list(predicted.columns), np.flatnonzero(predicted.any(axis=1))
    n_bins = listener.front_end.n_bins
    if not len(rows):
        return {tag: np.zeros((n_bins, n_frames), dtype=np.float32) for tag in tags}
    neurons = [listener.tags.index(tag) for tag in tags]
    reference = thresholds.to_numpy().clip(1e-6, 1 - 1e-6)
    found = explain.relevance(listener.model, x[rows], neurons, reference=reference, **options)
    relevance = found.relevance.reshape(len(rows), len(tags), n_bins, listener.length)
    heatmaps = {}
    for k, tag in enumerate(tags):
        here = predicted[tag].to_numpy()[rows]
        heatmaps[tag] = merge(relevance[here, k], starts=rows[here] * listener.step, n_frames=n_frames)
    return heatmaps


def _at(y, sr, listener):
    return y if sr == listener.front_end.sr else audio.resample(y, orig_sr=sr, sr=listener.front_end.sr)


def _times(listener, n):
    """Start and end of `n` sections in s."""
    hop = listener.front_end.hop_length / listener.front_end.sr
    start = np.arange(n) * listener.step * hop
    return pd.DataFrame({"start": start, "end": start + listener.length * hop})


class _Clock:
    def __init__(self):
        self.seconds, self._last = {}, time.perf_counter()

    def lap(self, name):
        now = time.perf_counter()
        self.seconds[name], self._last = now - self._last, now

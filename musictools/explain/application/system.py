"""Why does the model say that of this song: the workflow of `rotheneder2023` 5.4.

A song is cut into segments of the genre model, which vote for a genre, and into segments of the descriptor model, whose
descriptors are predicted for each segment and for the whole song. The source calls these segments sections. For every
chosen descriptor, the sections' heatmaps are merged into one of the whole song, turned into a mask and a sound, and the
sound is given back to the model.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from musictools import audio, evaluation
from musictools.explain.application import evidence as sounds
from musictools.familiarity import embedding

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from musictools.explain.application.evidence import Evidence
    from musictools.familiarity import Familiarity, Reference
    from musictools.inference import AudioModel, GenreClassifier, Tagger, TaggerGenres
    from musictools.spectrograms import FrontEnd

__all__ = ["ExplanationSystem", "SongExplanation", "merge"]

_NO_GENRE = "no genre"  # of a section in which none counts


@dataclasses.dataclass
class SongExplanation:
    """What two models predict for a song, and where the second one finds it.

    Attributes
    ----------
    genre : str or None
        Genre that most sections vote for; None without a genre model, or where no section has a genre.
    votes : pd.DataFrame
        One row for each section of the genre model: start, end (s), genre, score, and one column for each genre.
    descriptors : pd.DataFrame
        Descriptors of the whole song: tag, score (mean of the sections), threshold, predicted, sections (how many
        predict it).
    sections : pd.DataFrame
        One row for each section of the descriptor model: start, end (s) and every tag's score.
    heatmaps : dict of str to np.ndarray [shape=(n_bins, n_frames)]
        Heatmaps of the whole song, by chosen tag: 0 in sections where the tag is not predicted.
    evidence : dict of str to Evidence
        By chosen tag.
    loop : pd.DataFrame
        Scores of the evidence and of the rest, see `evidence.feed_back`.
    membership : pd.Series or None
        Genre -> membership of the descriptors, where a mapping is given.
    y : np.ndarray [shape=(n,)]
        The song at ``front_end.sr``.
    S : np.ndarray [shape=(n_bins, n_frames)]
        Its spectrogram in dB; for a waveform model the waveform, shape (1, n).
    front_end : FrontEnd
        Front end of the descriptor model.
    method, rule : str
        Method of attribution, and how the thresholds were chosen.
    heard : float
        End in s of the last whole section; the descriptor model has no input beyond.
    seconds : dict of str to float
        Run time of every stage; badges are made while evidence and loop are.
    badges : dict of str to str
        One line for each chosen tag that says whether its heatmap is faithful to the network, see `explain.badge`;
        empty if badges were not asked for.
    networks : dict of str to dict
        Who speaks: "descriptors", and where there are such networks "genre" and "membership" -> network, data, licence
        and what else is known, see `inference.AudioModel.about`.
    familiarity : Familiarity or None
        Whether the song is like the reference clips of the descriptor model; None: it has none.
    """

    genre: str | None
    votes: pd.DataFrame
    descriptors: pd.DataFrame
    sections: pd.DataFrame
    heatmaps: dict[str, np.ndarray]
    evidence: dict[str, Evidence]
    loop: pd.DataFrame
    membership: pd.Series | None
    y: np.ndarray
    S: np.ndarray
    front_end: FrontEnd
    method: str
    rule: str
    heard: float
    seconds: dict[str, float]
    badges: dict[str, str] = dataclasses.field(default_factory=dict)
    networks: dict[str, dict] = dataclasses.field(default_factory=dict)
    familiarity: Familiarity | None = None

    def plot(self, tag: str, *, ax: Axes | None = None, **options) -> Axes:
        """Draw a chosen tag's heatmap over the song's grey spectrogram (`rotheneder2023` figure 5.4).

        Parameters
        ----------
        tag : str
        ax : Axes or None
        **options
            Options of `plots.heatmap`.

        Returns
        -------
        ax : Axes

        Raises
        ------
        ValueError
            If the tag was not explained.
        """
        from musictools import plots

        if tag not in self.heatmaps:
            raise ValueError(f"tag must be one of those explained: {', '.join(self.heatmaps) or 'none'}. Got {tag!r}.")
        options = {"title": tag, "label": "relevance (logit)", **options}
        return plots.heatmap(self.heatmaps[tag], S=self.S, front_end=self.front_end, ax=ax, **options)


class ExplanationSystem:
    """The explanation system (`rotheneder2023` 5.4).

    It keeps nothing of a song: the explanation does not depend on the songs explained before.

    Parameters
    ----------
    genre_model : GenreClassifier, TaggerGenres or None
        Model whose decision is to be explained; None: descriptors only.
    descriptor_model : Tagger
        Model whose descriptors explain it. Those of its tags that are genres explain nothing.
    mapping : callable or None
        Maps the descriptors' scores, pd.Series by tag, to the membership of every genre, pd.Series by genre.
    reference : familiarity.Reference or None
        Clips that are like what the descriptor model knows.

    See Also
    --------
    musictools.inference.Tagger.load : Reads a trained model.
    musictools.explain.application.page.write : Writes an explanation as a page.

    Examples
    --------
    >>> import keras
    >>> from musictools.inference import Tagger
    >>> from musictools.models.card import ModelCard
    >>> from musictools.spectrograms import FrontEnd
    >>> layers = [keras.Input((40, 30, 1)), keras.layers.Flatten(), keras.layers.Dense(2, activation="sigmoid")]
    >>> card = ModelCard(task="tags", model="tiny", outputs=["drums", "flute"], length=30, step=30,
    ...                  front_end=FrontEnd(8000, 512, 256, 40))
    >>> system = ExplanationSystem(None, Tagger(keras.Sequential(layers), card))
    >>> y = np.random.default_rng(0).standard_normal(24000)
    >>> explanation = system.explain(y, sr=8000, tags=["flute"], rule="half", method="gradient", badges=False)
    >>> explanation.S.shape == explanation.heatmaps["flute"].shape
    True
    >>> len(explanation.sections), list(explanation.loop["tag"])
    (3, ['flute'])
    """

    def __init__(
        self,
        genre_model: GenreClassifier | TaggerGenres | None,
        descriptor_model: Tagger,
        mapping: Callable[[pd.Series], pd.Series] | None = None,
        *,
        reference: Reference | None = None,
    ):
        self.genre_model, self.descriptor_model, self.mapping = genre_model, descriptor_model, mapping
        self.reference = reference

    def explain(
        self,
        y: np.ndarray,
        *,
        sr: int,
        tags: Sequence[str] | None = None,
        rule: str = "f1",
        method: str = "deep_taylor",
        mask: dict | None = None,
        badges: bool = True,
        **options,
    ) -> SongExplanation:
        """Explain a song.

        Parameters
        ----------
        y : np.ndarray [shape=(n,)]
            Waveform of any length.
        sr : int > 0
            Sampling rate in Hz.
        tags : sequence of str or None
            Descriptors to explain; None: those predicted for the whole song.
        rule : str
            How the thresholds were chosen, one of the descriptor model's. A tag's threshold is the reference of its
            relevance: what is explained is the score above it, so no accepted tag has an empty heatmap.
        method : str
            One of `explain.METHODS`.
        mask : dict or None
            Options of `evidence.mask_from`.
        badges : bool
            Whether to test every heatmap, in the section with the tag's highest score.
        **options
            Options of `explain.relevance`.

        Returns
        -------
        explanation : SongExplanation

        Raises
        ------
        ValueError
            If `y` is no finite waveform, `sr` no positive int, or a tag, rule or method unknown.
        """
        model, clock, song = self.descriptor_model, _Clock(), _Song(y, sr)
        unknown = sorted(set(tags or ()) - set(model.tags))
        if unknown:
            raise ValueError(
                f"tags must be known to the descriptor model. Got {', '.join(unknown)}; known: {', '.join(model.tags)}."
            )
        genre, votes = _vote(self.genre_model, song)
        clock.lap("genre")
        y, S = song.waveform(model.front_end.sr), song.spectrogram(model.front_end)
        x = model.inputs(y, S=S)
        scores = pd.DataFrame(model.scores(x), columns=model.tags)
        mean = pd.Series(scores.to_numpy().mean(axis=0), model.tags, name="score")
        descriptors = model.decide(mean, rule=rule)
        thresholds = descriptors.set_index("tag")["threshold"]
        descriptors = descriptors[descriptors["tag"].isin({*model.descriptors, *(tags or ())})].reset_index(drop=True)
        familiarity = None if self.reference is None else self.reference(embedding(S, model.front_end))
        predicted = scores > thresholds[model.tags]
        descriptors["sections"] = predicted.sum()[descriptors["tag"]].to_numpy()
        clock.lap("descriptors")
        chosen = list(descriptors.loc[descriptors["predicted"], "tag"] if tags is None else dict.fromkeys(tags))
        maps = _SectionMaps(model, x, scores[chosen], thresholds[chosen], tested=badges, method=method, **options)
        heatmaps = maps.merged(n_frames=S.shape[1])
        clock.lap("relevance")
        with ThreadPoolExecutor(1) as pool:  # the maps are tested while their sounds are made and scored
            tests = pool.submit(_timed, maps.badges if badges else dict)
            found = sounds.evidences(y, heatmaps, front_end=model.front_end, **(mask or {}))
            clock.lap("evidence")
            loop = sounds.feed_back(lambda sound: _mean_scores(model, sound), mean, found, thresholds=thresholds)
            clock.lap("loop")
            marks, clock.seconds["badges"] = tests.result()
        sections = _times(model, len(x)).join(scores)
        return SongExplanation(
            genre=genre,
            votes=votes,
            descriptors=descriptors,
            sections=sections,
            heatmaps=heatmaps,
            evidence=found,
            loop=loop,
            membership=None if self.mapping is None else self.mapping(mean),
            y=y,
            S=S,
            front_end=model.front_end,
            method=method,
            rule=rule,
            heard=min(float(sections["end"].iloc[-1]), len(y) / model.front_end.sr),
            seconds=clock.seconds,
            badges=marks,
            networks=self._networks(),
            familiarity=familiarity,
        )

    def heatmaps(self, explanation: SongExplanation, tags: Sequence[str], **options) -> dict[str, np.ndarray]:
        """Explain further tags of a song that is explained already; its scores are used again.

        Parameters
        ----------
        explanation : SongExplanation
            Made by this system.
        tags : sequence of str
            Of its descriptors.
        **options
            Options of `explain.relevance`.

        Returns
        -------
        heatmaps : dict of str to np.ndarray [shape=(n_bins, n_frames)]
            As `explain` would have made them, with the explanation's method.
        """
        model, tags = self.descriptor_model, list(tags)
        x = model.inputs(explanation.y, S=explanation.S)
        thresholds = explanation.descriptors.set_index("tag").loc[tags, "threshold"]
        maps = _SectionMaps(
            model, x, explanation.sections[tags], thresholds, tested=False, method=explanation.method, **options
        )
        return maps.merged(n_frames=explanation.S.shape[1])

    def _networks(self):
        """What is known of every network that has a say."""
        roles = {"descriptors": self.descriptor_model, "genre": self.genre_model, "membership": self.mapping}
        return {role: dict(network.about) for role, network in roles.items() if hasattr(network, "about")}


def merge(heatmaps: np.ndarray, *, starts: Sequence[int], n_frames: int) -> np.ndarray:
    """Merge the sections' heatmaps into one of the whole song (`rotheneder2023` 5.4).

    Parameters
    ----------
    heatmaps : np.ndarray [shape=(n_sections, n_bins, length)]
    starts : sequence of int >= 0 [n_sections]
        First frame of every section.
    n_frames : int > 0
        Frames of the song; a section that was lengthened is cut off there.

    Returns
    -------
    heatmap : np.ndarray [shape=(n_bins, n_frames)]
        0 where there is no section. Where two overlap, the value further from 0: for relevance that is nowhere negative
        the maximum, as in the source.

    Raises
    ------
    ValueError
        If there is not one start for each section, or one lies outside the song.

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
    for heatmap, start in zip(heatmaps, starts, strict=True):
        place = merged[:, start : start + heatmap.shape[1]]
        heatmap = heatmap[:, : place.shape[1]]
        np.copyto(place, heatmap, where=np.abs(heatmap) > np.abs(place))
    return merged


class _Song:
    """A song, resampled once for each rate and transformed once for each front end."""

    def __init__(self, y, sr):
        y = np.asarray(y, dtype=np.float32)
        if y.ndim != 1 or y.size == 0 or not np.isfinite(y).all():
            raise ValueError(f"y must be a finite mono waveform of shape (n,), n > 0. Got shape {y.shape}.")
        if isinstance(sr, bool) or not isinstance(sr, int | np.integer) or sr <= 0:
            raise ValueError(f"sr must be a positive int. Got {sr!r}.")
        self._sr, self._waveforms, self._spectrograms = sr, {sr: y}, {}

    def waveform(self, sr):
        if sr not in self._waveforms:
            self._waveforms[sr] = audio.resample(self._waveforms[self._sr], orig_sr=self._sr, sr=sr)
        return self._waveforms[sr]

    def spectrogram(self, front_end):
        if front_end not in self._spectrograms:
            self._spectrograms[front_end] = front_end.compute(self.waveform(front_end.sr))
        return self._spectrograms[front_end]


class _SectionMaps:
    """Maps of the chosen tags in the sections that predict them.

    With `tested`, the section with a tag's highest score is explained as well, for the tag's badge.
    """

    def __init__(self, model: Tagger, x, scores, thresholds, *, tested, method, **options):
        self.model, self.x, self.tags, self.method, self.options = model, x, list(scores.columns), method, options
        self.predicted = (scores > thresholds).to_numpy()
        self.best = scores.to_numpy().argmax(axis=0) if self.tags else np.zeros(0, dtype=int)
        self.neurons = np.array([model.tags.index(tag) for tag in self.tags], dtype=int)
        self.reference = thresholds.to_numpy().clip(1e-6, 1 - 1e-6)
        needed = self.predicted.copy()
        if tested:
            needed[self.best, np.arange(len(self.tags))] = True
        self._found = {}  # (section, position of the tag) -> explanation, position of the map in it
        self._explain(needed)

    def _explain(self, needed):
        """Explain the tags that each section needs; sections that need the same ones in one call."""
        from musictools import explain

        sets, number = np.unique(needed, axis=0, return_inverse=True)
        for i in np.argsort(-sets.sum(axis=1), kind="stable"):  # the largest set first: what it compiles serves all
            rows, tags = np.flatnonzero(number.ravel() == i), np.flatnonzero(sets[i])
            if not len(tags):
                continue
            made = explain.relevance(
                self.model.model,
                self.x[rows],
                self.neurons[tags].tolist(),
                reference=self.reference[tags],
                method=self.method,
                **self.options,
            )
            self._found |= {(row, tag): (made, (j, k)) for j, row in enumerate(rows) for k, tag in enumerate(tags)}

    def merged(self, *, n_frames):
        """Heatmaps of the whole song, by tag."""
        n_bins, heatmaps = self.model.front_end.n_bins, {}
        for k, tag in enumerate(self.tags):
            here = np.flatnonzero(self.predicted[:, k])
            if not len(here):
                heatmaps[tag] = np.zeros((n_bins, n_frames), dtype=np.float32)
                continue
            found = [self._found[row, k] for row in here]
            maps = np.stack([made.relevance[place].reshape(n_bins, self.model.length) for made, place in found])
            heatmaps[tag] = merge(maps, starts=here * self.model.step, n_frames=n_frames)
        return heatmaps

    def badges(self):
        """One line for each tag."""
        if not self.tags:
            return {}
        from musictools.explain.metrics import badge

        found = [self._found[row, k] for k, row in enumerate(self.best)]
        report = found[0][0].conservation
        if report is not None:  # its maps are numbered sample by sample, then neuron by neuron
            entries = [made.conservation.entries[j * made.relevance.shape[1] + k] for made, (j, k) in found]
            report = dataclasses.replace(report, entries=np.stack(entries))
        maps = dataclasses.replace(
            found[0][0],
            relevance=np.stack([made.relevance[place] for made, place in found]),
            neuron=self.neurons,
            logit=np.array([made.logit[place] for made, place in found]),
            reference=self.reference,
            conservation=report,
        )
        marks = badge.badges(
            self.model.model, self.x[self.best], self.neurons, method=self.method, explanation=maps, **self.options
        )
        return {name: str(one) for name, one in zip(self.tags, marks, strict=True)}


def _vote(model: GenreClassifier | TaggerGenres | None, song):
    """Genre that most sections vote for, and the vote of every section."""
    if model is None:
        return None, pd.DataFrame(columns=["start", "end", "genre", "score"])
    x = model.inputs(song.waveform(model.front_end.sr), S=song.spectrogram(model.front_end))
    scores = model.scores(x)
    sure = scores.max(axis=1) > 0
    votes = _times(model, len(scores))
    votes["genre"] = [model.tags[k] if some else _NO_GENRE for k, some in zip(scores.argmax(axis=1), sure, strict=True)]
    votes["score"] = scores.max(axis=1)
    votes = votes.join(pd.DataFrame(scores, columns=model.tags))
    if not sure.any():
        return None, votes
    _, winners = evaluation.vote(scores[sure], np.zeros(sure.sum(), dtype=int))
    return model.tags[winners[0]], votes


def _mean_scores(model: AudioModel, y):
    return pd.Series(model.scores(model.inputs(y)).mean(axis=0), model.tags)


def _times(model: AudioModel, n):
    """Start and end of `n` sections in s."""
    hop = model.front_end.frame_seconds
    start = np.arange(n) * model.step * hop
    return pd.DataFrame({"start": start, "end": start + model.length * hop})


def _timed(function):
    """The result of a function and the seconds that it took."""
    began = time.perf_counter()
    return function(), time.perf_counter() - began


class _Clock:
    def __init__(self):
        self.seconds, self._last = {}, time.perf_counter()

    def lap(self, name):
        now = time.perf_counter()
        self.seconds[name], self._last = now - self._last, now

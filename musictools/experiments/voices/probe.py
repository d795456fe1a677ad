"""Maps of all methods for one clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from musictools.experiments.voices.clips import Clip, components, voice_cells
from musictools.experiments.voices.terms import (
    BASE_RATES,
    CONTROLS,
    DEFAULT_METHODS,
    FORMS,
    INSTRUMENTAL,
    METHODS,
    ORACLE,
    TARGETS,
)
from musictools.experiments.voices.truth import Truth, forms_of, mass, sung_frames
from musictools.explain.attribution import controls, perturbation
from musictools.explain.attribution.explainer import Explainer, logits
from musictools.explain.metrics import randomisation

if TYPE_CHECKING:
    from musictools.released.choi2018 import Choi2018

__all__ = ["Probe", "Song", "mean_of_copies"]

_PERTURBS = {"occlusion": {"patch": (16, 48), "baseline": "mean"},
             "rise": {"n_masks": 48, "grid": (6, 6), "baseline": "mean"},
             "lime": {"n_samples": 48, "grid": (6, 6), "baseline": "mean"}}  # fmt: skip
_FOLLOWED = ("energy", "gradient", "deep_taylor", "lrp_composite", "components")
_PATHS = ("integrated_gradients", ORACLE)
_STEPS = 4  # points of a path, in the middles of its quarters
_DOWN = 20.0  # dB by which the voice is turned down
_NEVER_BLANK = 1e-6


class Probe:
    """Methods prepared for one tagger.

    Parameters
    ----------
    tagger : musictools.released.choi2018.Choi2018
        Or an object with ``model`` (which ends in the layers logits and sigmoid), ``tags``, ``front_end``, ``inputs``,
        ``levels`` (waveform -> power in dB) and ``scale`` (dB -> [0, 1], ``top=`` the maximum). Its tags must include
        those of `BASE_RATES` and *instrumental*.
    methods : sequence of str
        Some of `METHODS`.
    targets : sequence of str
        Some of `TARGETS`; used by methods that need a pass through the network for each target.
    examples : np.ndarray [shape=(n, *input_shape)] or None
        Inputs to which the normalisations of the shuffled network are fitted; ``/shuffled`` needs them.

    Raises
    ------
    ValueError
        If a method or target is unknown, examples are missing, or the tagger lacks a tag.
    """

    def __init__(
        self,
        tagger: Choi2018,
        methods: Sequence[str] = DEFAULT_METHODS,
        *,
        targets: Sequence[str] = TARGETS,
        examples: np.ndarray | None = None,
    ) -> None:
        for name, given, known in (("methods", methods, METHODS), ("targets", targets, TARGETS)):
            unknown = set(given) - set(known)
            if unknown:
                raise ValueError(f"{name} must be some of {', '.join(known)}. Got {sorted(unknown)[0]!r}.")
        if examples is None and any(m.endswith("/shuffled") for m in methods):
            raise ValueError("examples must be given for the shuffled network. Got None.")
        self.tagger, self.methods, self.targets = tagger, tuple(methods), tuple(targets)
        self.length = tagger.model.input_shape[2]
        self.names, self.combine = _targets(tagger.tags)
        self.logits, self._explainers, self._networks = {}, {}, {"": tagger.model}
        if examples is not None:
            groups = [group[0] for group in randomisation.layer_groups(tagger.model)]
            self._networks["shuffled"] = randomisation.scrambled(tagger.model, groups, x=examples)
        for kind, model in self._networks.items():
            self.logits[kind] = logits(model)
            self._networks[kind] = _combined(model, self.combine)

    def measure(self, clip: Clip, *, down: bool = True) -> tuple[list[dict], dict]:
        """Measure all methods on one clip.

        Parameters
        ----------
        clip : Clip
        down : bool
            Whether to explain the clip with its voice turned down, too, by some of the methods.

        Returns
        -------
        rows : list of dict
            One per map: clip, singer, method, target, form, the measures, mass (share of the positive relevance that
            lies in voice cells) and area (their share of all cells).
        levels : dict
            Logits of the clip, with the voice as it is and 20 dB lower (``… down``), and the masses likewise.
        """
        song, other, truth = self._prepare(clip)
        label = {"clip": clip.name, "singer": clip.singer}
        rows = [label | {"method": method, "target": target, "form": form} | truth.measure(R)
                for method in self.methods for target, raw in self.maps(method, song).items()
                for form, R in forms_of(raw, song.x)]  # fmt: skip
        levels = (
            label
            | {"best": self.names[self._best(song)]}
            | dict(zip(self.names, song.scores[: len(self.names)], strict=True))
        )
        levels |= {
            f"{name} down": score for name, score in zip(self.names, other.scores[: len(self.names)], strict=True)
        }
        for method in [m for m in _FOLLOWED if m in self.methods and down]:
            for end, one in (("", song), (" down", other)):
                R = self.maps(method, one, best=self._best(song))["vocals"]
                levels[f"mass {method}{end}"] = mass(R, truth.cells)
        return rows, levels

    def every_tag(
        self, clip: Clip, methods: Sequence[str] = ("deep_taylor", "lrp_composite", "components")
    ) -> list[dict]:
        """Measure the evidence of every tag against *instrumental*, to compare vocal tags with the others.

        Parameters
        ----------
        clip : Clip
        methods : sequence of str
            Some of `METHODS`.

        Returns
        -------
        rows : list of dict
            As from `measure`, in the form ``smoothed``; the target is the tag.
        """
        song, _, truth = self._prepare(clip)
        label = {"clip": clip.name, "singer": clip.singer}
        return [label | {"method": method, "target": tag, "form": FORMS[1]} | truth.measure(forms_of(R, song.x)[1][1])
                for method in methods for tag, R in self._against_instrumental(method, song)]  # fmt: skip

    def _prepare(self, clip):
        """The clip, the clip with its voice turned down, and what is true of it."""
        n_samples = self.length * self.tagger.front_end.hop_length
        voice, rest = clip.voice[:n_samples], clip.accompaniment[:n_samples]
        S, quiet = (self.tagger.levels(gain * voice + rest) for gain in (1, 10 ** (-_DOWN / 20)))
        cells, audible = voice_cells(self.tagger.levels(voice), self.tagger.levels(rest), S)
        truth = Truth(self.tagger.scale(S), cells, audible, sung_frames(clip, S.shape[1], self.tagger.front_end))
        song = Song(S, truth.x, self.tagger.scale(quiet, top=S.max()))
        other = Song(quiet, self.tagger.scale(quiet), None)
        for one in (song, other):
            one.scores = self._scores("", one.x[None])[0]
        return song, other, truth

    def maps(self, method: str, song: Song, *, best: int | None = None) -> dict[str, np.ndarray]:
        """Maps of one method by target.

        Parameters
        ----------
        method : str
            One of `METHODS`.
        song : Song
        best : int or None
            Number of the vocal tag that is explained; None: the one that stands out most.

        Returns
        -------
        maps : dict of str to np.ndarray [shape=(n_mels, n_frames)]
        """
        name, _, kind = method.partition("/")
        best = self._best(song) if best is None else best
        if name in CONTROLS:
            return {"vocals": _without_network(name, song.x)}
        if name in _PERTURBS or name == "components":
            maps = self._components(kind, song) if name == "components" else self._perturbed(name, song)
            numbers = {"vocals": best, "vocals - instrumental": best + len(BASE_RATES) + 1}
            numbers |= {tag: i for i, tag in enumerate(self.names[: len(BASE_RATES) + 1])}
            return {target: maps[i] for target, i in numbers.items()}
        numbers = dict(zip(TARGETS, (best, best + len(BASE_RATES) + 1, len(BASE_RATES)), strict=True))
        outputs = [numbers[target] for target in self.targets]
        if name in _PATHS:
            maps = self._along(method, song, outputs)
        else:
            maps = self._explained(name, kind, song.x[None], outputs)
        return dict(zip(self.targets, mean_of_copies(maps, song.x.shape[1]), strict=True))

    def _against_instrumental(self, method, song):
        """Pairs of tag and map (n_mels, n_frames)."""
        tags, combine = list(self.tagger.tags), np.eye(len(self.tagger.tags), dtype=np.float32)
        number = tags.index(INSTRUMENTAL)
        others = [i for i in range(len(tags)) if i != number]
        combine = (combine[others] - combine[number]).T
        if method == "components":
            maps = np.tensordot(combine.T, self._components("", song)[len(self.names) :], axes=1)
        else:
            self._networks.setdefault("every tag", _combined(self.tagger.model, combine))
            groups = np.array_split(np.arange(len(others)), -(-len(others) // 7))  # memory
            maps = np.concatenate([self._explained(method, "every tag", song.x[None], g.tolist()) for g in groups])
            maps = mean_of_copies(maps, song.x.shape[1])
        return zip([tags[i] for i in others], maps, strict=True)

    def _best(self, song):
        """Number of the vocal tag that stands out most."""
        rates = np.array(list(BASE_RATES.values()))
        return int(np.argmax(song.scores[: len(rates)] - np.log(rates / (1 - rates))))

    def _filled(self, x):
        return np.stack([_repeated(one, self.length) for one in x])[..., None].astype(np.float32)

    def _scores(self, kind, x):
        """Logits of the targets, then of all tags, for spectrograms of clips (m, n_mels, n_frames)."""
        raw = np.concatenate([self.logits[kind](self._filled(x[i : i + 8])) for i in range(0, len(x), 8)])
        return np.concatenate([raw @ self.combine, raw], axis=1)

    def _explained(self, name, kind, x, outputs):
        """Maps (k, n_mels, length), the mean over the inputs x."""
        if (name, kind) not in self._explainers:
            options = {"n_samples": 4} if name == "smooth_grad" else {}
            self._explainers[name, kind] = Explainer(self._networks[kind], method=name, conservation=False, **options)
        reference = _NEVER_BLANK if name.startswith("deep_taylor") else None
        relevance = self._explainers[name, kind](self._filled(x), list(outputs), reference=reference).relevance
        return relevance[..., 0].mean(axis=0)

    def _along(self, method, song, outputs):
        """Integrated gradients from the clip with its voice turned down, or from its bands' means."""
        start = song.down if method == ORACLE else np.broadcast_to(song.x.mean(axis=1, keepdims=True), song.x.shape)
        places = (np.arange(_STEPS) + 0.5) / _STEPS
        path = start + places[:, None, None] * (song.x - start)
        return self._explained("gradient", "", path, outputs) * _repeated(song.x - start, self.length)

    def _perturbed(self, name, song):
        options = {**perturbation.OPTIONS[name], **_PERTURBS[name]}
        perturber = perturbation.Perturber(lambda x: self._scores("", x[..., 0]), name, options, 0)
        targets = np.eye(len(song.scores), dtype=np.float32)[: len(self.names)]
        return perturber.maps(song.x[None, ..., None], targets[None], None)[0][0, ..., 0]

    def _components(self, kind, song):
        """Maps of all targets and tags (k, n_mels, n_frames): the loss of the logits without each component."""
        shares = components(song.S) if song.shares is None else song.shares
        song.shares = shares
        without = song.S + 10 * np.log10(1 - (1 - 10 ** (-_DOWN / 10)) * shares)
        x = np.stack([self.tagger.scale(S, top=song.S.max()) for S in without])
        whole = song.scores if not kind else self._scores(kind, song.x[None])[0]
        return np.tensordot((whole - self._scores(kind, x)).T, shares, axes=1)


@dataclass
class Song:
    """A mix of voice and accompaniment.

    Attributes
    ----------
    S : np.ndarray [shape=(n_mels, n_frames)]
        Power in dB.
    x : np.ndarray [same shape]
        The model input.
    down : np.ndarray [same shape] or None
        The input with the voice turned down, on the same scale.
    scores : np.ndarray or None
        Logits of the targets, then of all tags.
    shares : np.ndarray or None
        From `components`.
    """

    S: np.ndarray
    x: np.ndarray
    down: np.ndarray | None
    scores: np.ndarray | None = None
    shares: np.ndarray | None = None


def _targets(tags):
    """Names of the targets and their combinations of outputs (n_tags, n_targets): tags first, then contrasts."""
    wanted = [*BASE_RATES, INSTRUMENTAL]
    missing = [tag for tag in wanted if tag not in tags]
    if missing:
        raise ValueError(f"The tagger must know the tag {missing[0]!r}. It knows {', '.join(tags)}.")
    one = np.eye(len(tags), dtype=np.float32)[[list(tags).index(tag) for tag in wanted]]
    names = [*wanted, *(f"{tag} - {INSTRUMENTAL}" for tag in BASE_RATES)]
    return names, np.concatenate([one, one[:-1] - one[-1]]).T


def _combined(model, combine):
    """The network with combinations of its logits as outputs."""
    import keras

    head = model.get_layer("logits")
    kernel, bias = head.get_weights()
    combined = keras.layers.Dense(combine.shape[1], name="combined")
    network = keras.Model(model.input, combined(head.input))
    combined.set_weights([kernel @ combine, bias @ combine])
    return network


def _repeated(x, length):
    return np.tile(x, -(-length // x.shape[1]))[:, :length]


def mean_of_copies(maps: np.ndarray, n_frames: int) -> np.ndarray:
    """Mean over the copies of every cell.

    Parameters
    ----------
    maps : np.ndarray [shape=(..., length)]
        Maps of an input that was filled with copies of a clip.
    n_frames : int > 0
        Length of the clip.

    Returns
    -------
    maps : np.ndarray [shape=(..., n_frames)]
    """
    length = maps.shape[-1]
    places = np.arange(length) % n_frames
    total = np.zeros((*maps.shape[:-1], n_frames))
    np.add.at(total.swapaxes(0, -1), places, maps.swapaxes(0, -1))
    return total / np.maximum(np.bincount(places, minlength=n_frames), 1)


def _without_network(name, x):
    if name == "change":
        return x - x.mean(axis=1, keepdims=True)
    if name == "random":
        return np.random.default_rng(0).random(x.shape, dtype=np.float32)
    return controls.METHODS[name](x[None, ..., None])[0, ..., 0]

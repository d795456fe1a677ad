"""Does the evidence for a voice lie where the voice is? Maps of vocal tags against the stems of real songs.

Conventions
-----------
A *clip* holds voice and accompaniment separately, and the times at which somebody sings. Its spectrogram x (n_mels,
n_frames) in [0, 1] is repeated until it fills the network's input; a cell's relevance is the mean over its copies, and
methods that change the input change all copies at once. A *voice cell* is one in which the voice has more power than
the accompaniment and the mix lies at most 60 dB below its maximum.

Targets: ``vocals`` is the vocal tag whose logit exceeds its base rate most, chosen for each clip; ``vocals -
instrumental`` is the difference of two logits; all others are tags. Deep Taylor explains the logit above a reference
below any score. Its maps for other references differ by a factor only, and with this one no map is empty.

Forms: ``raw``; ``smoothed`` (by a Gaussian of one band and two frames, signs included); ``smoothed x energy``. The
positive part of each is ranked. ``energy`` is x itself and ``change`` is x minus the mean of its band; neither uses the
network. ``/shuffled`` is the same method on the network with its weights shuffled layer by layer. A method that is not
better than these controls shows how it treats sound, not what the network knows about voices.

``voice_down`` is an oracle: integrated gradients from the clip with its voice 20 dB lower. It uses the stems, so that
it is an upper bound and not an explanation that one could have without stems.

``components`` is audioLIME (Haunschmid et al. 2020) without stems: the eight components of a non-negative matrix
factorisation are attenuated by 20 dB one after the other, and each spreads the loss of the logit over its cells.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from musictools import evaluation
from musictools.explain.attribution import controls, perturbation
from musictools.explain.attribution.explainer import Explainer, logits
from musictools.explain.metrics import localisation, randomisation

if TYPE_CHECKING:
    from musictools.datasets.mir1k import Mir1k
    from musictools.released.choi2018 import Choi2018

__all__ = [
    "BASE_RATES",
    "CONTROLS",
    "DEFAULT_METHODS",
    "FORMS",
    "MEASURES",
    "METHODS",
    "ORACLE",
    "TARGETS",
    "Clip",
    "Probe",
    "choose_clips",
    "compare",
    "components",
    "down_table",
    "table",
    "voice_cells",
]

BASE_RATES = {"female vocalists": 0.068, "female vocalist": 0.009, "male vocalists": 0.013}  # 28,540 songs of the MSD
INSTRUMENTAL = "instrumental"
TARGETS = ("vocals", "vocals - instrumental", INSTRUMENTAL)
FORMS = ("raw", "smoothed", "smoothed x energy")
ORACLE = "voice_down"
DEFAULT_METHODS = ("energy", "change", "edge", "random", "gradient", "deep_taylor", "deep_taylor/shuffled",
                   "lrp_composite", "lrp_composite/shuffled", "components")  # fmt: skip
METHODS = (*DEFAULT_METHODS, "gradient/shuffled", "components/shuffled", "input_x_gradient", "smooth_grad",
           "integrated_gradients", "guided_backprop", "grad_cam", "occlusion", "rise", "lime", "deep_taylor_bounded",
           "lrp_epsilon", "lrp_gamma", "lrp_alpha_beta", ORACLE)  # fmt: skip
MEASURES = ("auc", "auc_equal_energy", "auc_loud", "auc_time")
GROUPS = 100  # number of groups of cells with nearly equal energy
CONTROLS = ("energy", "change", "edge", "random")
_PERTURBS = {"occlusion": {"patch": (16, 48), "baseline": "mean"},
             "rise": {"n_masks": 48, "grid": (6, 6), "baseline": "mean"},
             "lime": {"n_samples": 48, "grid": (6, 6), "baseline": "mean"}}  # fmt: skip
_FOLLOWED = ("energy", "gradient", "deep_taylor", "lrp_composite", "components")
_PATHS = ("integrated_gradients", ORACLE)
_STEPS = 4  # points of a path, in the middles of its quarters
_DOWN, _RANGE = 20.0, 60.0  # dB
_NEVER_BLANK = 1e-6


@dataclass(frozen=True)
class Clip:
    """A song with its voice and accompaniment as separate signals.

    Attributes
    ----------
    name, singer : str
    voice, accompaniment : np.ndarray [shape=(n,)]
        At the tagger's sampling rate; their sum is the mix.
    times : np.ndarray [shape=(m,)]
        Times of the labels in seconds, ascending.
    vocal : np.ndarray [shape=(m,), bool]
        Whether somebody sings.
    """

    name: str
    singer: str
    voice: np.ndarray
    accompaniment: np.ndarray
    times: np.ndarray
    vocal: np.ndarray


def choose_clips(songs: Mir1k, tagger: Choi2018, *, n: int, seed: int = 0) -> list[Clip]:
    """Choose clips of MIR-1K, each singer in turn.

    Parameters
    ----------
    songs : musictools.datasets.mir1k.Mir1k
    tagger : musictools.released.choi2018.Choi2018
        Its front end gives the sampling rate.
    n : int > 0
        Number of clips; all if there are fewer.
    seed : int >= 0
        Seed of the order.

    Returns
    -------
    clips : list of Clip
    """
    shuffled = songs.tracks.sample(frac=1, random_state=seed)
    turns = shuffled.assign(turn=shuffled.groupby("artist").cumcount()).sort_values(["turn", "artist"])
    chosen = []
    for name, singer in turns["artist"].head(n).items():
        stems, _ = songs.stems(name, sr=tagger.front_end.sr)
        chosen.append(Clip(name, singer, *stems.values(), *songs.flags(name)))
    return chosen


def voice_cells(voice: np.ndarray, accompaniment: np.ndarray, mix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells in which the voice is louder than the accompaniment.

    Parameters
    ----------
    voice, accompaniment, mix : np.ndarray [shape=(n_mels, n_frames)]
        Power in dB.

    Returns
    -------
    cells : np.ndarray [same shape, bool]
        Audible cells in which the voice is louder than the accompaniment.
    audible : np.ndarray [same shape, bool]
        Cells in which the mix lies at most 60 dB below its maximum.

    Examples
    --------
    >>> cells, audible = voice_cells(np.array([[0.0, -9.0]]), np.array([[-9.0, 0.0]]), np.array([[0.5, 0.5]]))
    >>> cells.tolist(), audible.tolist()
    ([[True, False]], [[True, True]])
    """
    audible = mix > mix.max() - _RANGE
    return (voice > accompaniment) & audible, audible


def components(S: np.ndarray, n_components: int = 8) -> np.ndarray:
    """Divide a spectrogram into components that sound together, by non-negative matrix factorisation.

    Parameters
    ----------
    S : np.ndarray [shape=(n_mels, n_frames)]
        Power in dB.
    n_components : int > 0

    Returns
    -------
    shares : np.ndarray [shape=(n_components, n_mels, n_frames)], in [0, 1]
        Share of every component in a cell's amplitude; the shares of a cell that is not silent add up to 1.

    Examples
    --------
    >>> S = np.array([[0.0, -80.0], [-80.0, 0.0]])
    >>> components(S, 2).sum(axis=0).round(3).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    amplitude = 10 ** (np.maximum(S - S.max(), -80.0) / 20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 60 iterations separate well enough
        model = NMF(n_components, init="nndsvda", max_iter=60, tol=1e-3, random_state=0)
        bands, activations = model.fit_transform(amplitude), model.components_
    pieces = bands.T[:, :, None] * activations[:, None]
    return pieces / np.maximum(pieces.sum(axis=0), 1e-9)


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
                for form, R in _forms(raw, song.x)]  # fmt: skip
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
                levels[f"mass {method}{end}"] = _mass(R, truth.cells)
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
        return [label | {"method": method, "target": tag, "form": FORMS[1]} | truth.measure(_forms(R, song.x)[1][1])
                for method in methods for tag, R in self._against_instrumental(method, song)]  # fmt: skip

    def _prepare(self, clip):
        """The clip, the clip with its voice turned down, and what is true of it."""
        n_samples = self.length * self.tagger.front_end.hop_length
        voice, rest = clip.voice[:n_samples], clip.accompaniment[:n_samples]
        S, quiet = (self.tagger.levels(gain * voice + rest) for gain in (1, 10 ** (-_DOWN / 20)))
        cells, audible = voice_cells(self.tagger.levels(voice), self.tagger.levels(rest), S)
        truth = _Truth(self.tagger.scale(S), cells, audible, _sung(clip, S.shape[1], self.tagger.front_end))
        song = _Song(S, truth.x, self.tagger.scale(quiet, top=S.max()))
        other = _Song(quiet, self.tagger.scale(quiet), None)
        for one in (song, other):
            one.scores = self._scores("", one.x[None])[0]
        return song, other, truth

    def maps(self, method: str, song: _Song, *, best: int | None = None) -> dict[str, np.ndarray]:
        """Maps of one method by target.

        Parameters
        ----------
        method : str
            One of `METHODS`.
        song : _Song
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
        return dict(zip(self.targets, _mean_of_copies(maps, song.x.shape[1]), strict=True))

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
            maps = _mean_of_copies(maps, song.x.shape[1])
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
class _Song:
    """A mix: power in dB, model input, and the input with the voice turned down on the same scale."""

    S: np.ndarray
    x: np.ndarray
    down: np.ndarray | None
    scores: np.ndarray | None = None
    shares: np.ndarray | None = None


class _Truth:
    """Voice cells, audible cells and sung frames, against which a clip's maps are measured."""

    def __init__(self, x, cells, audible, sung):
        self.x, self.cells, self.audible, self.sung = x, cells, audible, sung
        order = np.argsort(x, axis=None, kind="stable")
        self.groups = order[len(order) % GROUPS :].reshape(GROUPS, 1, -1)
        inside = cells.ravel()[self.groups].sum(axis=(1, 2))
        self.pairs = inside * (self.groups.shape[2] - inside)

    def measure(self, R):
        """The measures of a map (n_mels, n_frames), its positive part ranked."""
        R = np.maximum(R, 0)
        grouped = localisation.auc(R.ravel()[self.groups], self.cells.ravel()[self.groups])
        mixed = self.pairs > 0  # groups with voice cells and others
        equal = np.average(grouped[mixed], weights=self.pairs[mixed]) if mixed.any() else np.nan
        return {"auc": localisation.auc(R, self.cells), "auc_equal_energy": equal,
                "auc_loud": localisation.auc(R[None, self.audible], self.cells[None, self.audible]),
                "auc_time": localisation.auc(R.sum(axis=0, keepdims=True), self.sung[None]),
                "mass": _mass(R, self.cells), "area": self.cells.mean()}  # fmt: skip


def compare(
    tagger: Choi2018,
    clips: Iterable[Clip],
    methods: Sequence[str] = DEFAULT_METHODS,
    *,
    targets: Sequence[str] = TARGETS,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measure all methods on all clips.

    Parameters
    ----------
    tagger : Choi2018
        As for `Probe`.
    clips : iterable of Clip
    methods, targets : sequence of str
        As for `Probe`.

    Returns
    -------
    rows : pd.DataFrame
        Input of `table`.
    levels : pd.DataFrame
        Input of `down_table`.
    """
    clips = list(clips)
    examples = np.concatenate([tagger.inputs(c.voice + c.accompaniment)[:1] for c in clips[:9]])
    probe = Probe(tagger, methods, targets=targets, examples=examples)
    measured = [probe.measure(clip) for clip in clips]
    return pd.DataFrame([row for rows, _ in measured for row in rows]), pd.DataFrame([levels for _, levels in measured])


def table(rows: pd.DataFrame, *, repeats: int = 500, seed: int = 0) -> pd.DataFrame:
    """Means over clips, with intervals that resample singers.

    Parameters
    ----------
    rows : pd.DataFrame
        Rows from `compare`, with the method ``energy`` for all clips.
    repeats : int > 0
        Number of resamples.
    seed : int >= 0
        Seed of the resampling.

    Returns
    -------
    table : pd.DataFrame
        One row per method, target and form, best first: clips; blind (False for the oracle); for every measure its mean
        and 95 % interval (``…_low``, ``…_high``), the mean difference from energy on the same clips
        (``…_over_energy``) and from the same method on the shuffled network (``…_over_shuffled``, NaN where that was
        not measured), both with intervals; mass and area.
    """
    keys = ["method", "target", "form"]
    values = rows.set_index(["clip", *keys])[list(MEASURES)]
    energy = values.xs(("energy", "vocals", "raw"), level=keys)
    singer = rows.drop_duplicates("clip").set_index("clip")["singer"]
    measured, lines = set(values.index.droplevel("clip")), []
    for (method, target, form), group in rows.groupby(keys, sort=False):
        own = group.set_index("clip")
        differences = {"": own[list(MEASURES)], "_over_energy": own[list(MEASURES)] - energy.loc[own.index]}
        if (f"{method}/shuffled", target, form) in measured:
            shuffled = values.xs((f"{method}/shuffled", target, form), level=keys)
            both = own.index.intersection(shuffled.index)
            differences["_over_shuffled"] = own.loc[both, list(MEASURES)] - shuffled.loc[both]
        line = {"method": method, "target": target, "form": form, "blind": method != ORACLE, "clips": len(own)}
        for suffix, difference in differences.items():
            line |= _intervals(difference.add_suffix(suffix), singer, repeats, seed)
        lines.append(line | {"mass": own["mass"].mean(), "area": own["area"].mean()})
    return pd.DataFrame(lines).sort_values("auc", ascending=False, ignore_index=True)


def down_table(levels: pd.DataFrame, *, repeats: int = 500, seed: int = 0) -> pd.DataFrame:
    """Effect of turning the voice down by 20 dB, with intervals that resample singers.

    Parameters
    ----------
    levels : pd.DataFrame
        Levels from `compare`.
    repeats : int > 0
        Number of resamples.
    seed : int >= 0
        Seed of the resampling.

    Returns
    -------
    table : pd.DataFrame
        One row per logit (``logit …``) or mass of a method in voice cells (``mass …``): clips, means before and after,
        mean change with its interval, and falls, the share of the clips in which the value falls, with its interval.
    """
    levels = levels.set_index("clip")
    before = {c: c if c.startswith("mass ") else f"logit {c}" for c in levels if f"{c} down" in levels}
    both = {name: (levels[c], levels[f"{c} down"]) for c, name in before.items()}
    both["logit vocals"] = tuple(pd.Series([levels.at[i, c + end] for i, c in levels["best"].items()], levels.index)
                                 for end in ("", " down"))  # fmt: skip
    lines = []
    for name, (high, low) in both.items():
        known = high.notna() & low.notna()
        change = pd.DataFrame({"change": (low - high)[known], "falls": (low < high)[known].astype(float)})
        line = {"what": name, "clips": int(known.sum()), "before": high[known].mean(), "after": low[known].mean()}
        lines.append(line | _intervals(change, levels["singer"], repeats, seed))
    return pd.DataFrame(lines)


def _intervals(values, singer, repeats, seed):
    """Mean of every column and its interval, singers resampled."""
    values = values.dropna(how="all")
    array, means = values.to_numpy(), values.mean()
    intervals = evaluation.bootstrap(lambda i: dict(zip(values, np.nanmean(array[i], axis=0), strict=True)),
                                     singer.loc[values.index].to_numpy(), repeats=repeats, seed=seed)  # fmt: skip
    return {k: v for name, (low, high) in intervals.items()
            for k, v in ((name, means[name]), (f"{name}_low", low), (f"{name}_high", high))}  # fmt: skip


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


def _sung(clip, n_frames, front_end):
    """Vocal flags of spectrogram frames: the label nearest in time."""
    seconds = np.arange(n_frames) * front_end.hop_length / front_end.sr
    between = (clip.times[1:] + clip.times[:-1]) / 2
    return np.asarray(clip.vocal, dtype=bool)[np.searchsorted(between, seconds)]


def _repeated(x, length):
    return np.tile(x, -(-length // x.shape[1]))[:, :length]


def _mean_of_copies(maps, n_frames):
    """Mean over the copies of every cell."""
    length = maps.shape[-1]
    places = np.arange(length) % n_frames
    total = np.zeros((*maps.shape[:-1], n_frames))
    np.add.at(total.swapaxes(0, -1), places, maps.swapaxes(0, -1))
    return total / np.maximum(np.bincount(places, minlength=n_frames), 1)


def _forms(R, x):
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(R, (1, 2))
    return list(zip(FORMS, (R, smooth, np.maximum(smooth, 0) * x), strict=True))


def _without_network(name, x):
    if name == "change":
        return x - x.mean(axis=1, keepdims=True)
    if name == "random":
        return np.random.default_rng(0).random(x.shape, dtype=np.float32)
    return controls.METHODS[name](x[None, ..., None])[0, ..., 0]


def _mass(R, cells):
    R = np.maximum(R, 0)
    return float(R[cells].sum() / max(R.sum(), 1e-30))

"""Where is the voice? Maps of vocal tags against the stems of MIR-1K, for networks that take long inputs.

Clips of 4-13 s are joined, singer by singer, and the joined sound is cut into segments of the network's length. Every
second of sound is explained once: segment i begins at frame ``i * step`` and only its first `step` frames are measured.
With the FCN of Won et al. (2020) `step` is 1280 of 1813 frames, because its poolings drop what lies behind. The cuts
between clips are hard.

A *voice cell* is a cell in which the voice has more power than the accompaniment and the mix lies at most 60 dB below
the segment's maximum. A *sung frame* is one whose nearest vocal flag is set. Maps are signed: a cell that speaks
against the voice ranks below a cell that says nothing. In time, relevance is summed over frequency.

Two measures take energy out of the comparison: `auc_equal_energy` compares cells of nearly equal energy (100 groups)
and `auc_time_equal` frames of nearly equal power and mean level in dB (8 groups of 4). Energy must come out near 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from musictools import evaluation
from musictools.experiments import voices
from musictools.explain.attribution.explainer import Explainer, logits
from musictools.explain.metrics import localisation, randomisation

if TYPE_CHECKING:
    from musictools.inference import Tagger

__all__ = [
    "FORMS",
    "MEASURES",
    "NO_VOCALS",
    "TARGETS",
    "VOCAL_TAGS",
    "Network",
    "Segment",
    "choose",
    "controls",
    "down_table",
    "equalised",
    "forms",
    "halves",
    "join",
    "measure",
    "table",
]

VOCAL_TAGS = ("vocal", "vocals", "singing", "female", "male")
NO_VOCALS = "no vocals"
TARGETS = ("best", "best - no vocals", "mean - no vocals")
MEASURES = ("auc", "auc_equal_energy", "auc_time", "auc_time_equal")
FORMS = {"raw": (0, 0), "smoothed": (1, 2), "wide": (2, 16)}  # deviations of a Gaussian: bands, frames
CELL_GROUPS, FRAME_GROUPS = (100,), (8, 4)
EVERY = 4  # cells are compared in each fourth frame, which saves time
_DOWN = 20.0  # dB
_BATCH = 4
_NEVER_BLANK = 1e-6  # Deep Taylor explains what exceeds this probability
_METHODS = {"smooth_grad": {"n_samples": 4}, "integrated_gradients": {"steps": 4, "baseline": "mean"}}


@dataclass(frozen=True)
class Segment:
    """One model input and what is true of its first frames.

    Attributes
    ----------
    name, singer : str
    S, quiet : np.ndarray [shape=(n_mels, length)]
        Mix in dB, and the mix with its voice 20 dB lower.
    cells : np.ndarray [shape=(n_mels, step), bool]
        Voice cells.
    sung : np.ndarray [shape=(step,), bool]
        Sung frames.
    """

    name: str
    singer: str
    S: np.ndarray
    quiet: np.ndarray
    cells: np.ndarray
    sung: np.ndarray

    @property
    def levels(self) -> np.ndarray:
        """The mix in dB over the measured frames."""
        return self.S[:, : len(self.sung)]


def join(clips: Sequence[voices.Clip], tagger: Tagger, *, step: int) -> list[Segment]:
    """Join the clips of each singer and cut the joined sound into segments.

    Parameters
    ----------
    clips : sequence of Clip
        In the order in which they are joined.
    tagger : Tagger
        Its front end and length are used.
    step : int > 0
        Frames from one segment to the next, at most the tagger's length. Trailing frames shorter than one step are
        dropped; the last segment of a singer goes on with the first frames.

    Returns
    -------
    segments : list of Segment

    Raises
    ------
    ValueError
        If `step` is out of range.
    """
    if not 0 < step <= tagger.length:
        raise ValueError(f"step must lie in 1 to {tagger.length}, the tagger's length. Got {step!r}.")
    front_end, segments = tagger.front_end, []
    for singer in dict.fromkeys(clip.singer for clip in clips):
        own = [clip for clip in clips if clip.singer == singer]
        voice, rest = (np.concatenate([getattr(clip, stem) for clip in own]) for stem in ("voice", "accompaniment"))
        S, quiet, V, A = (front_end.compute(y) for y in (voice + rest, 10 ** (-_DOWN / 20) * voice + rest, voice, rest))
        sung = _sung(own, S.shape[1], front_end)
        for number in range(max(1, S.shape[1] // step)):
            index = (number * step + np.arange(tagger.length)) % S.shape[1]
            seen = index[:step]
            cells, _ = voices.voice_cells(V[:, seen], A[:, seen], S[:, seen])
            segments.append(Segment(f"{singer}/{number}", singer, S[:, index], quiet[:, index], cells, sung[seen]))
    return segments


def equalised(segment: Segment, *, frames: float = 8.0) -> Segment:
    """Change the gain over time so that the mix has the same loudness throughout.

    Voice and accompaniment get the same gain, so that voice cells stay voice cells.

    Parameters
    ----------
    segment : Segment
    frames : float > 0
        Standard deviation of the window over which the power is averaged.

    Returns
    -------
    segment : Segment
    """
    from scipy.ndimage import gaussian_filter1d

    power = gaussian_filter1d((10 ** (segment.S / 10)).sum(axis=0), frames)
    loudness = 10 * np.log10(np.maximum(power, 1e-10))
    gain = (loudness.mean() - loudness).astype(np.float32)
    return replace(segment, S=segment.S + gain, quiet=segment.quiet + gain)


class Network:
    """A tagger whose outputs are vocal tags and their differences from *no vocals*.

    Parameters
    ----------
    tagger : Tagger
        Its model ends in a dense layer ``logits`` and a sigmoid; its tags include `VOCAL_TAGS` and `NO_VOCALS`.
    examples : np.ndarray [shape=(n, *input_shape)] or None
        With them, the weights are shuffled layer by layer (a control), and the normalisations are fitted to them.

    Attributes
    ----------
    model : keras.Model
        Outputs: the vocal tags, the vocal tags less *no vocals*, the mean of the latter, *no vocals*.

    Raises
    ------
    ValueError
        If the tagger lacks a tag.
    """

    def __init__(self, tagger: Tagger, examples: np.ndarray | None = None):
        import keras

        missing = [tag for tag in (*VOCAL_TAGS, NO_VOCALS) if tag not in tagger.tags]
        if missing:
            raise ValueError(f"The tagger must know the tag {missing[0]!r}. It knows {', '.join(tagger.tags)}.")
        self.tagger, model = tagger, tagger.model
        if examples is not None:
            groups = [group[0] for group in randomisation.layer_groups(model)]
            model = randomisation.scrambled(model, groups, x=examples)
        one = np.eye(len(tagger.tags), dtype=np.float32)
        vocal = one[[tagger.tags.index(tag) for tag in VOCAL_TAGS]]
        none = one[tagger.tags.index(NO_VOCALS)]
        combine = np.concatenate([vocal, vocal - none, [vocal.mean(axis=0) - none], [none]]).T
        head = model.get_layer("logits")
        kernel, bias = head.get_weights()
        combined = keras.layers.Dense(combine.shape[1], name="combined")
        self.model = keras.Model(model.input, combined(head.input))
        combined.set_weights([kernel @ combine, bias @ combine])
        self._logits, self._explainers = logits(self.model), {}

    def logits(self, x: np.ndarray) -> np.ndarray:
        """Outputs of the network, for few inputs at once, since they are long.

        Parameters
        ----------
        x : np.ndarray [shape=(n, n_mels, length, 1)]

        Returns
        -------
        logits : np.ndarray [shape=(n, n_outputs)]
        """
        return np.concatenate([self._logits(x[i : i + _BATCH]) for i in range(0, len(x), _BATCH)])

    def inputs(self, segments: Sequence[Segment], *, quiet: bool = False) -> np.ndarray:
        """Model inputs of segments.

        Parameters
        ----------
        segments : sequence of Segment
        quiet : bool
            Whether the voice is 20 dB lower.

        Returns
        -------
        x : np.ndarray [shape=(n, n_mels, length, 1)]
        """
        return np.stack([self.tagger.front_end.scale(s.quiet if quiet else s.S) for s in segments])[..., None]

    def outputs(self, x: np.ndarray, target: str) -> np.ndarray:
        """Number of the output that a target means for each input.

        Parameters
        ----------
        x : np.ndarray [shape=(n, n_mels, length, 1)]
        target : str
            One of `TARGETS`; *best* is the vocal tag with the highest logit.

        Returns
        -------
        outputs : np.ndarray [shape=(n,), int]
        """
        best, n = self.logits(x)[:, : len(VOCAL_TAGS)].argmax(axis=1), len(VOCAL_TAGS)
        return {"best": best, "best - no vocals": best + n, "mean - no vocals": np.full(len(x), 2 * n)}[target]

    def maps(self, x: np.ndarray, method: str, target: str) -> np.ndarray:
        """Maps of a method.

        Parameters
        ----------
        x : np.ndarray [shape=(n, n_mels, length, 1)]
        method : str
            One of `musictools.explain.METHODS`.
        target : str
            One of `TARGETS`.

        Returns
        -------
        maps : np.ndarray [shape=(n, n_mels, length)]
        """
        if method not in self._explainers:
            options = _METHODS.get(method, {})
            self._explainers[method] = Explainer(
                self.model, method=method, conservation=False, batch_size=_BATCH, **options
            )
        reference = _NEVER_BLANK if method.startswith("deep_taylor") else None
        return self._explainers[method](x, self.outputs(x, target), reference=reference).relevance[..., 0]


def controls(segment: Segment, seed: int = 0) -> dict[str, np.ndarray]:
    """Maps that use no network, by name.

    Parameters
    ----------
    segment : Segment
    seed : int >= 0
        Seed of the random map.

    Returns
    -------
    maps : dict of str to np.ndarray [shape=(n_mels, step)]
        energy (dB), power, change (dB less the mean of its band) and random.
    """
    S = segment.levels
    random = np.random.default_rng(seed).random(S.shape, dtype=np.float32)
    return {"energy": S, "power": 10 ** (S / 10), "change": S - S.mean(axis=1, keepdims=True), "random": random}


def forms(R: np.ndarray) -> dict[str, np.ndarray]:
    """A map and its smoothed forms, by name: see `FORMS`.

    Parameters
    ----------
    R : np.ndarray [shape=(n_mels, n_frames)]

    Returns
    -------
    maps : dict of str to np.ndarray [same shape]
    """
    from scipy.ndimage import gaussian_filter

    return {name: gaussian_filter(R, sides) if any(sides) else R for name, sides in FORMS.items()}


def measure(segment: Segment, R: np.ndarray) -> dict[str, float]:
    """Measure how well a map finds the voice.

    Parameters
    ----------
    segment : Segment
    R : np.ndarray [shape=(n_mels, step or more)]
        Frames behind the measured ones are left out.

    Returns
    -------
    values : dict of str to float
        `MEASURES`; NaN where a segment has one kind of cells or frames only.
    """
    S, sung = segment.levels, segment.sung
    R = np.asarray(R, dtype=np.float64)[:, : len(sung)]
    in_time, loudness = R.sum(axis=0), [(10 ** (S / 10)).sum(axis=0), S.mean(axis=0)]
    few, cells = R[:, ::EVERY], segment.cells[:, ::EVERY]
    return {"auc": localisation.auc(few, cells),
            "auc_equal_energy": _grouped_auc(few, cells, [S[:, ::EVERY]], CELL_GROUPS),
            "auc_time": localisation.auc(in_time[None], sung[None]),
            "auc_time_equal": _grouped_auc(in_time, sung, loudness, FRAME_GROUPS)}  # fmt: skip


def halves(segments: Sequence[Segment]) -> tuple[list[str], list[str]]:
    """Divide the singers: those on whom a method is chosen, and those on whom it is reported.

    Parameters
    ----------
    segments : sequence of Segment

    Returns
    -------
    chosen_on, reported_on : list of str
        Every second singer in alphabetical order, and the others.
    """
    singers = sorted({segment.singer for segment in segments})
    return singers[1::2], singers[::2]


def table(rows: pd.DataFrame, *, repeats: int = 500, seed: int = 0) -> pd.DataFrame:
    """Means over segments, with 95 % intervals that resample singers.

    Parameters
    ----------
    rows : pd.DataFrame
        One row per map: segment, singer, method, target, form and `MEASURES`. Controls have the target "".
    repeats : int > 0
        Number of resamples.
    seed : int >= 0
        Seed of the resampling.

    Returns
    -------
    table : pd.DataFrame
        One row per method, target and form: segments; each measure with its interval (``…_low``, ``…_high``) and its
        mean difference from energy in the same form (``…_over_energy``) and, where measured, from the same method on
        the shuffled network (``…_over_shuffled``), with intervals.
    """
    keys, values = ["method", "target", "form"], list(MEASURES)
    by_segment = rows.set_index(["segment", *keys])[values].sort_index()
    singer = rows.drop_duplicates("segment").set_index("segment")["singer"]
    known, lines = set(map(tuple, rows[keys].drop_duplicates().to_numpy())), []
    for (method, target, form), own in by_segment.groupby(level=keys, sort=False):
        own = own.droplevel(keys)
        line = {"method": method, "target": target, "form": form, "segments": len(own)}
        rivals = {
            "": None,
            "_over_energy": ("energy", "", form),
            "_over_shuffled": (f"{method}/shuffled", target, form),
        }
        for suffix, rival in rivals.items():
            if rival is None or rival in known:
                other = 0 if rival is None else by_segment.xs(rival, level=keys).reindex(own.index)
                line |= _intervals((own - other).add_suffix(suffix), singer.loc[own.index], repeats, seed)
        lines.append(line)
    return pd.DataFrame(lines)


def choose(rows: pd.DataFrame, chosen_on: Sequence[str], *, repeats: int = 500, seed: int = 0) -> pd.DataFrame:
    """Choose the best map for each measure on some singers, and report it on the others.

    Parameters
    ----------
    rows : pd.DataFrame
        As for `table`. Controls (target "") and shuffled networks are not chosen.
    chosen_on : sequence of str
        Singers.
    repeats : int > 0
        Number of resamples.
    seed : int >= 0
        Seed of the resampling.

    Returns
    -------
    table : pd.DataFrame
        One row per measure: measure, method, target, form, chosen_on (mean on those singers), and of the other singers
        segments, value, over_energy and over_shuffled with intervals.
    """
    inside = rows["singer"].isin(chosen_on)
    allowed = rows[inside & (rows["target"] != "") & ~rows["method"].str.endswith("/shuffled")]
    means = allowed.groupby(["method", "target", "form"])[list(MEASURES)].mean()
    others = table(rows[~inside], repeats=repeats, seed=seed).set_index(["method", "target", "form"])
    lines = []
    for name in MEASURES:
        best = means[name].idxmax()
        line = dict(zip(("measure", *means.index.names), (name, *best), strict=True))
        line |= {"chosen_on": means.at[best, name], "segments": others.at[best, "segments"]}
        ends = [f"{suffix}{end}" for suffix in ("", "_over_energy", "_over_shuffled") for end in ("", "_low", "_high")]
        lines.append(line | {f"value{end}" if not end.startswith("_over") else end[1:]: others.loc[best].get(name + end)
                             for end in ends})  # fmt: skip
    return pd.DataFrame(lines)


def down_table(network: Network, segments: Sequence[Segment], *, repeats: int = 500, seed: int = 0) -> pd.DataFrame:
    """Effect of turning the voice down by 20 dB on the logits.

    Parameters
    ----------
    network : Network
    segments : sequence of Segment
    repeats : int > 0
        Number of resamples.
    seed : int >= 0
        Seed of the resampling of singers.

    Returns
    -------
    table : pd.DataFrame
        One row per logit: segments, before, after (means), change and falls (share of the segments in which it falls),
        both with intervals.
    """
    n, singer = len(VOCAL_TAGS), np.array([segment.singer for segment in segments])
    logits_of = [network.logits(network.inputs(segments, quiet=quiet)) for quiet in (False, True)]
    columns = {"best vocal tag": logits_of[0][:, :n].argmax(axis=1), **{t: i for i, t in enumerate(VOCAL_TAGS)},
               NO_VOCALS: 2 * n + 1}  # fmt: skip
    lines = []
    for name, column in columns.items():
        before, after = (values[np.arange(len(segments)), column] for values in logits_of)
        change = pd.DataFrame({"change": after - before, "falls": (after < before).astype(float)})
        line = {"logit": name, "segments": len(segments), "before": before.mean(), "after": after.mean()}
        lines.append(line | _intervals(change, singer, repeats, seed))
    return pd.DataFrame(lines)


def _sung(clips, n_frames, front_end):
    """Vocal flags of the frames of joined clips: the label nearest in time."""
    starts = np.cumsum([0, *(len(clip.voice) for clip in clips[:-1])]) / front_end.sr
    times = np.concatenate([clip.times + start for clip, start in zip(clips, starts, strict=True)])
    vocal = np.concatenate([np.asarray(clip.vocal, dtype=bool) for clip in clips])
    seconds = np.arange(n_frames) * front_end.hop_length / front_end.sr
    return vocal[np.searchsorted((times[1:] + times[:-1]) / 2, seconds)]


def _grouped_auc(R, mask, energies, numbers):
    """Mean AUC within groups of nearly equal energies, each weighted by its pairs of a cell inside and one outside.

    The cells are divided into ``numbers[0]`` groups by the first energy, each of these by the second, and so on.
    """
    groups = np.arange(R.size)[None]
    for energy, number in zip(energies, numbers, strict=True):
        order = np.argsort(energy.ravel()[groups], axis=1, kind="stable")
        number = min(number, groups.shape[1])
        size = groups.shape[1] // number
        groups = np.take_along_axis(groups, order, axis=1)[:, -size * number :].reshape(-1, size)
    inside = mask.ravel()[groups].sum(axis=1)
    pairs = inside * (groups.shape[1] - inside)
    mixed = groups[pairs > 0][:, None]
    if not len(mixed):
        return float("nan")
    return float(np.average(localisation.auc(R.ravel()[mixed], mask.ravel()[mixed]), weights=pairs[pairs > 0]))


def _intervals(values, singer, repeats, seed):
    """Mean of every column and its interval, singers resampled."""
    array, means = values.to_numpy(dtype=np.float64), values.mean()
    intervals = evaluation.bootstrap(lambda i: dict(zip(values, np.nanmean(array[i], axis=0), strict=True)),
                                     np.asarray(singer), repeats=repeats, seed=seed)  # fmt: skip
    return {k: v for name, (low, high) in intervals.items()
            for k, v in ((name, means[name]), (f"{name}_low", low), (f"{name}_high", high))}  # fmt: skip

"""Experiments of notebook 10: what of the steps before the first convolution matters to a tagger (`choi2018` 5).

A `Variant` names the steps, a `Network` holds their numbers and builds the model, `models.front_end.Preprocessing` does
the steps inside it. The network reads a stored mel-spectrogram or STFT, or waveforms, which it transforms itself. All
trainings see the same clips in the same order; an *initialisation* is another set of initial weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked_dataclass

from musictools import evaluation, models
from musictools.experiments.jobs import Job, Result, Task
from musictools.experiments.protocols import protocol
from musictools.models.blocks import Seeds

if TYPE_CHECKING:
    import keras

    from musictools.spectrograms import FrontEnd, Segments

__all__ = [
    "MODEL",
    "WEIGHTINGS",
    "Network",
    "Plan",
    "Training",
    "Variant",
    "average_magnitudes",
    "factor_error",
    "first_biases",
    "front_end_error",
    "grid",
    "histogram",
    "limited",
    "network",
    "prepared",
    "results_table",
    "tasks",
]

MODEL = "compact_convnet"
WEIGHTINGS = ("bypass", "per_frequency", "a_weighting")
_BATCH = 16


@dataclass(frozen=True)
class Variant:
    """Steps between the waveform and the first convolution.

    Parameters
    ----------
    kind : {"mel", "stft"}
    decibels : bool
        Decibels, or magnitudes as they are.
    weighting : {"bypass", "per_frequency", "a_weighting"}
        Nothing; mean 0 and deviation 1 of every frequency over the training clips; the curve of IEC 61672.
    factor : float > 0
        By which the standardised input is multiplied.

    Examples
    --------
    >>> Variant(decibels=False, factor=10).name
    'mel, linear, bypass, x10'
    """

    kind: Literal["mel", "stft"] = "mel"
    decibels: bool = True
    weighting: Literal["bypass", "per_frequency", "a_weighting"] = "bypass"
    factor: float = 1

    def __post_init__(self):
        if self.weighting not in WEIGHTINGS:
            raise ValueError(f"weighting must be one of {', '.join(WEIGHTINGS)}. Got {self.weighting!r}.")

    @property
    def name(self) -> str:
        """The steps in words."""
        scale = "decibels" if self.decibels else "linear"
        return f"{self.kind}, {scale}, {self.weighting.replace('_', ' ')}, x{self.factor:g}"

    @property
    def front_end(self) -> FrontEnd:
        """Front end whose spectrogram is stored, or computed inside the model."""
        return dataclasses.replace(models.describe(MODEL).front_end, kind=self.kind)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of a stored input, (n_bins, n_frames, 1)."""
        return self.front_end.n_bins, models.describe(MODEL).input.length, 1

    @property
    def waveform(self) -> FrontEnd:
        """Front end of waveforms that the network transforms itself."""
        return dataclasses.replace(self.front_end, kind="waveform", n_fft=2, hop_length=1, n_mels=1)


@dataclass(frozen=True)
class Network:
    """The tagger with the steps of a variant inside.

    Parameters
    ----------
    variant : Variant
    gain, offset : tuple of float
        Of every frequency; empty: 1 and 0.
    initialisation : int >= 0
        Seed of the initial weights. Convolutions are initialised after He, as in `choi2018` 5.2.1.

    See Also
    --------
    network : A network with the numbers of its weighting.
    """

    variant: Variant
    gain: tuple[float, ...] = ()
    offset: tuple[float, ...] = ()
    initialisation: int = 0

    def layer(self) -> keras.Layer:
        """Make the layer that does the steps.

        Returns
        -------
        layer : musictools.models.front_end.Preprocessing
        """
        from musictools.models.front_end import Preprocessing

        variant = self.variant
        layer = Preprocessing(variant.front_end, variant.decibels, factor=variant.factor, name="preprocessing")
        layer.build((None, variant.front_end.n_bins, None, 1))
        if self.gain:
            layer.weigh(self.gain, self.offset)
        return layer

    def build(
        self, *, n_outputs: int, input_shape: tuple[int, ...], width: float = 1.0, norm_momentum: float = 0.99
    ) -> keras.Model:
        """Build the untrained model.

        Parameters
        ----------
        n_outputs : int > 0
        input_shape : tuple of int
            (n_bins, n_frames, 1) of a scaled spectrogram, or (n_samples, 1) of a waveform, where ``n_frames`` is
            n_samples // hop_length.
        width, norm_momentum
            As in `models.build`.

        Returns
        -------
        model : keras.Model
        """
        import keras

        from musictools.models.front_end import ScaledSpectrogram

        front_end = self.variant.front_end
        x = inputs = keras.Input(input_shape)
        if len(input_shape) == 2:
            x = ScaledSpectrogram(front_end, name="front_end")(keras.layers.Reshape((-1,))(x))
            x = keras.layers.Reshape((*x.shape[1:], 1))(x)
            x = keras.layers.Cropping2D(((0, 0), (0, 1)))(x)  # the frame whose second half would be the padding
        options = {"n_outputs": n_outputs, "width": width, "norm_momentum": norm_momentum, "seed": self.initialisation}
        chain = models.build(MODEL, input_shape=tuple(x.shape[1:]), **options)
        seeds = Seeds(self.initialisation)
        x = self.layer()(x)
        for layer in chain.layers[2:]:  # copies, without its input and its own standardisation
            settings = layer.get_config()
            if isinstance(layer, keras.layers.Conv2D):
                settings["kernel_initializer"] = keras.initializers.HeNormal(seed=seeds.next())
            x = type(layer).from_config(settings)(x)
        return keras.Model(inputs, x, name=MODEL)


def network(variant: Variant, x: Segments | None = None, *, initialisation: int = 0) -> Network:
    """Compute the numbers of a variant's weighting.

    Parameters
    ----------
    variant : Variant
    x : Segments or np.ndarray [shape=(n, n_bins, n_frames, 1)]
        Scaled spectrograms of training clips, for the standardisation per frequency.
    initialisation : int >= 0

    Returns
    -------
    network : Network

    Raises
    ------
    ValueError
        If the weighting needs training clips and there are none.

    Examples
    --------
    >>> curve = network(Variant(weighting="a_weighting")).offset
    >>> round(curve[0]), round(max(curve))  # at 28 Hz and at 2.5 kHz
    (-42, 1)
    """
    if variant.weighting == "bypass":
        return Network(variant, initialisation=initialisation)
    front_end = variant.front_end
    if variant.weighting == "a_weighting":
        import librosa

        curve = librosa.A_weighting(front_end.frequencies(), min_db=front_end.floor)
        gain, offset = (np.ones_like(curve), curve) if variant.decibels else (10 ** (curve / 20), np.zeros_like(curve))
    else:
        if x is None or not len(x):
            raise ValueError("The standardisation per frequency needs training clips. Got none.")
        mean, deviation = _statistics(variant, x)
        gain, offset = 1 / deviation, -mean / deviation
    return Network(variant, tuple(gain.tolist()), tuple(offset.tolist()), initialisation)


def _statistics(variant, x):
    """Mean and standard deviation of every frequency before standardisation, over clips and time."""
    from keras import ops

    from musictools.models.front_end import Preprocessing

    layer = Preprocessing(variant.front_end, variant.decibels, standardise=False)
    n, total, squares = 0, 0.0, 0.0
    for start in range(0, len(x), _BATCH):
        values = ops.convert_to_numpy(layer(x[start : start + _BATCH])).astype(float)
        n += values.size // values.shape[1]
        total = total + values.sum(axis=(0, 2, 3))
        squares = squares + np.square(values).sum(axis=(0, 2, 3))
    mean = total / n
    # A frequency that is constant, such as one below the floor in all clips, keeps its values.
    deviation = np.sqrt(np.maximum(squares / n - mean**2, 0))
    return mean, np.where(deviation > 1e-6, deviation, 1.0)


@dataclass(frozen=True)
class Plan:
    """One training of the experiment.

    Parameters
    ----------
    variant : Variant
    share : float in (0, 1]
        Of the training clips.
    initialisation : int >= 0
    """

    variant: Variant
    share: float = 1.0
    initialisation: int = 0


def grid(
    *,
    initialisations: int,
    repeats: int,
    shares: Sequence[float],
    share_repeats: int,
    kinds: Sequence[str] = ("mel", "stft"),
    crossed: bool = True,
) -> list[Plan]:
    """List the trainings of figures 5.2, 5.5 and 5.3, in this order, each once.

    Parameters
    ----------
    initialisations : int > 0
        Trainings of the first variant, which differ in their initial weights.
    repeats : int > 0
        Initialisations of every variant.
    shares : sequence of float in (0, 1]
    share_repeats : int > 0
        Initialisations for each share of the training clips.
    kinds : sequence of str
        Kinds of spectrogram that are trained on the shares.
    crossed : bool
        All twelve combinations of the other steps; False: each step on its own.

    Returns
    -------
    plans : list of Plan

    Examples
    --------
    >>> len(grid(initialisations=15, repeats=5, shares=[0.5, 1.0], share_repeats=2))
    76
    """
    plans = [Plan(Variant(), initialisation=k) for k in range(initialisations)]
    plans += [
        Plan(Variant("mel", decibels, weighting, factor), initialisation=k)
        for k in range(repeats)
        for decibels in (True, False)
        for weighting in WEIGHTINGS
        for factor in (1, 10)
        if crossed or (not decibels) + (weighting != "bypass") + (factor != 1) <= 1
    ]
    plans += [
        Plan(Variant(kind), share, k) for k in range(share_repeats) for share in sorted(shares)[::-1] for kind in kinds
    ]
    return list(dict.fromkeys(plans))


@checked_dataclass(frozen=True, kw_only=True, config=ConfigDict(arbitrary_types_allowed=True))
class Training(Task):
    """A task whose model has the steps of a variant inside.

    Parameters
    ----------
    network : Network
    plan : Plan
    """

    network: Any
    plan: Any

    @property
    def key(self) -> tuple:
        """As of `Task`, with the network."""
        return (*super().key, self.network)

    def build(self, input_shape: tuple[int, ...]) -> keras.Model:  # noqa: D102 - as in Task
        return self.network.build(
            n_outputs=self.labels.shape[1], input_shape=input_shape, width=self.width, norm_momentum=self.norm_momentum
        )


def tasks(
    plans: Sequence[Plan],
    stores: dict[str, Any],
    labels: pd.DataFrame,
    split: pd.Series,
    *,
    epochs: int = 0,
    overrides: dict | None = None,
    statistics_clips: int = 200,
    seed: int = 0,
    **options: Any,
) -> list[Training]:
    """Give every plan its spectrograms or waveforms, labels and protocol.

    Parameters
    ----------
    plans : sequence of Plan
    stores : dict of str to SpectrogramStore or ArrayStore
        By kind; one of waveforms is transformed inside the model.
    labels : pd.DataFrame [clips x tags, bool]
    split : pd.Series [clip id -> "train", "validation" or "test"]
    epochs : int >= 0
        On all training clips; smaller shares get more, so that all take as many steps. 0: the protocol's, for all.
    overrides : dict or None
        Other arguments of `protocols.protocol`.
    statistics_clips : int > 0
        Training clips that the standardisation per frequency is computed from, at most.
    seed : int >= 0
        Seed of the order of the clips, and of the choice of a share.
    **options
        Other fields of `Task`.

    Returns
    -------
    tasks : list of Training
        Best weights and early stopping go by the validation loss.

    Raises
    ------
    ValueError
        If a standardisation per frequency is to be computed from waveforms.
    """
    from musictools.spectrograms import Segments

    train = split.index[split == "train"]
    rank = pd.Series(np.random.default_rng(seed).permutation(len(train)), index=train)
    shape, fitted, made = models.describe(MODEL).input, {}, []
    for plan in plans:
        variant, store = plan.variant, stores[plan.variant.kind]
        waveform = getattr(store.front_end, "kind", "") == "waveform"
        length = shape.length * (shape.front_end.hop_length if waveform else 1)
        same = dataclasses.replace(variant, factor=1)
        if waveform and variant.weighting == "per_frequency":
            raise ValueError("The standardisation per frequency needs stored spectrograms. Got waveforms.")
        if same not in fitted:
            some = Segments(store, list(train[:statistics_clips]), length=length, step=length)
            fitted[same] = network(same, some if variant.weighting == "per_frequency" else None)
        own = dataclasses.replace(fitted[same], variant=variant, initialisation=plan.initialisation)
        plain = protocol(
            "rotheneder2023", MODEL, n_tags=labels.shape[1], epochs=round(epochs / plan.share) or None,
            **(overrides or {}),
        )  # fmt: skip
        words = variant.name.replace(", ", "-").replace(" ", "_")
        job = Job(model=MODEL, n_tags=labels.shape[1], protocol="rotheneder2023", labels="annotated", seed=seed,
                  data=f"{words}-share{plan.share:g}-{plan.initialisation}")  # fmt: skip
        left = rank.index[rank >= max(1, round(plan.share * len(train)))]
        made.append(
            Training(
                job=job, store=store, labels=labels, split=split.drop(left), length=length, step=length, network=own,
                plan=plan, protocol=dataclasses.replace(plain, best_by="val_loss"), **options,
            )
        )  # fmt: skip
    return made


def results_table(plans: Sequence[Plan], results: Sequence[Result], truth: pd.DataFrame) -> pd.DataFrame:
    """ROC-AUC of every training and tag on the test clips.

    Parameters
    ----------
    plans : sequence of Plan
    results : sequence of Result
        Of the plans.
    truth : pd.DataFrame [clips x tags, bool]
        Labels, or complete tags.

    Returns
    -------
    table : pd.DataFrame [indexed by kind, decibels, weighting, factor, share, initialisation; one column per tag]
        NaN for tags that all test clips have, or none.
    """
    rows = {}
    for plan, result in zip(plans, results, strict=True):
        ids, scores = evaluation.mean_by_clip(result.scores["test"], result.clip["test"])
        areas = evaluation.roc_auc(truth.loc[ids, list(result.classes)].to_numpy(dtype=bool), scores)
        rows[(*dataclasses.astuple(plan.variant), plan.share, plan.initialisation)] = areas
    index = pd.MultiIndex.from_tuples(
        rows, names=["kind", "decibels", "weighting", "factor", "share", "initialisation"]
    )
    return pd.DataFrame(np.stack(list(rows.values())), index, list(results[0].classes))


def limited(split: pd.Series, most: dict[str, int]) -> pd.Series:
    """Leave out the clips of a split that are beyond its limits.

    Parameters
    ----------
    split : pd.Series [clip id -> str]
        In an order that does not matter.
    most : dict of str to int
        Part -> number of clips at most; 0: all.

    Returns
    -------
    split : pd.Series

    Examples
    --------
    >>> limited(pd.Series(["train", "test", "train"], index=["a", "b", "c"]), {"train": 1, "test": 0}).to_dict()
    {'a': 'train', 'b': 'test'}
    """
    place = split.groupby(split).cumcount()
    return split[place < split.map(lambda part: most.get(part) or len(split))]


def front_end_error(variant: Variant, y: np.ndarray) -> float:
    """Largest difference between the spectrogram inside the model and `FrontEnd.compute`.

    Parameters
    ----------
    variant : Variant
    y : np.ndarray [shape=(n,)]
        At the sampling rate of the front end.

    Returns
    -------
    error : float
        In dB.
    """
    from keras import ops

    from musictools.models.front_end import ScaledSpectrogram

    front_end = variant.front_end
    inside = ops.convert_to_numpy(ScaledSpectrogram(front_end)(y[None]))[0]
    outside = front_end.scale(front_end.compute(y))
    return float(np.abs(inside - outside).max() * (front_end.ceiling - front_end.floor))


def factor_error(x: np.ndarray, *, factor: float = 10, width: float = 1.0, seed: int = 0) -> float:
    """How much of a factor on the input passes the first block, whose batch normalisation divides by the deviation.

    Parameters
    ----------
    x : np.ndarray [shape=(n, n_bins, n_frames, 1)]
        Scaled mel-spectrograms.
    factor : float > 0
    width : float > 0
    seed : int >= 0
        Of the untrained weights.

    Returns
    -------
    error : float
        Largest change of the block's output in training mode, as a share of the largest output.
    """
    import keras

    maps = []
    for one in (1, factor):
        network = Network(Variant(factor=one), initialisation=seed)
        model = network.build(n_outputs=1, input_shape=x.shape[1:], width=width)
        block = keras.Model(model.input, model.get_layer("pool1").output)
        maps.append(keras.ops.convert_to_numpy(block(x, training=True)))
    return float(np.abs(maps[1] - maps[0]).max() / np.abs(maps[0]).max())


def first_biases(result: Result) -> float:
    """Mean absolute bias of the first convolution of a trained model.

    Parameters
    ----------
    result : Result
        Of a run with a folder.

    Returns
    -------
    bias : float
    """
    model = models.load(result.model_file)
    return float(np.abs(np.asarray(model.get_layer("conv1").bias)).mean())


def prepared(network: Network, x: Any) -> np.ndarray:
    """What the first convolution sees.

    Parameters
    ----------
    network : Network
    x : Segments or np.ndarray [shape=(n, n_bins, n_frames, 1)]
        Scaled spectrograms.

    Returns
    -------
    values : np.ndarray [shape=(n, n_bins, n_frames), float32]
    """
    from keras import ops

    layer, starts = network.layer(), range(0, len(x), _BATCH)
    return np.concatenate([ops.convert_to_numpy(layer(x[start : start + _BATCH]))[..., 0] for start in starts])


def average_magnitudes(networks: dict[str, Network], x: Any) -> pd.DataFrame:
    """Mean input at every frequency (figure 5.4).

    Parameters
    ----------
    networks : dict of str to Network
        Of one kind of spectrogram.
    x : Segments or np.ndarray
        Scaled spectrograms.

    Returns
    -------
    means : pd.DataFrame [indexed by frequency in Hz, one column per network]
    """
    front_end = next(iter(networks.values())).variant.front_end
    means = {name: prepared(one, x).mean(axis=(0, 2), dtype=float) for name, one in networks.items()}
    return pd.DataFrame(means, index=pd.Index(front_end.frequencies(), name="frequency"))


def histogram(values: np.ndarray, *, bins: int = 100) -> dict[str, Any]:
    """Histogram of inputs, and how far it is from a Gaussian (figure 5.6).

    Parameters
    ----------
    values : np.ndarray
    bins : int > 0

    Returns
    -------
    histogram : dict
        edges, density, fullest (share of the values in the fullest bin), skewness, excess_kurtosis.

    Examples
    --------
    >>> round(histogram(np.r_[np.zeros(9), 1.0], bins=10)["fullest"], 2)
    0.9
    """
    counts, edges = np.histogram(values, bins=bins)
    z = (values - values.mean(dtype=float)) / values.std(dtype=float)
    share = counts / counts.sum()
    return {
        "edges": edges,
        "density": share / np.diff(edges),
        "fullest": float(share.max()),
        "skewness": float((z**3).mean()),
        "excess_kurtosis": float((z**4).mean() - 3),
    }

"""The network that the author of `choi2018` publishes with chapter 6: five convolutions, 50 tags of Last.fm.

`load` reads the layers' weights from the Keras 2 file ``model_best.hdf5`` and sets them on `compact_convnet`. The
layers of Kapre 0.1, which computed the spectrogram inside the network, become a front end.

The file's settings and the kernels stored in it say what Kapre did. Periodic Hann windows of 512 samples start every
256 samples at 12 kHz, the first one 208 samples before a clip of 29 s (TensorFlow's ``padding="same"``). `FrontEnd`
starts 256 samples before it; on the author's songs, the 48 samples change a logit by up to 0.6. The power goes into
Slaney's 96 mel bands up to 6 kHz, whose weights equal those of `FrontEnd` to 4e-8. The level is ``10 log10`` of at
least 1e-10, relative to the clip's maximum and at least -80 dB. Then every clip is standardised.

The author's notes give this network a ROC-AUC of 0.825 on the Million Song Dataset (0.845 for the one of the thesis).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from musictools import models
from musictools.inference import Tagger
from musictools.models.card import ModelCard
from musictools.spectrograms import FrontEnd

__all__ = ["SECONDS", "TAGS", "Choi2018", "load"]

TAGS = (
    "rock", "pop", "alternative", "indie", "electronic", "female vocalists", "dance", "00s", "alternative rock", "jazz",
    "beautiful", "metal", "chillout", "male vocalists", "classic rock", "soul", "indie rock", "Mellow", "electronica",
    "80s", "folk", "90s", "chill", "instrumental", "punk", "oldies", "blues", "hard rock", "ambient", "acoustic",
    "experimental", "female vocalist", "guitar", "Hip-Hop", "70s", "party", "country", "easy listening", "sexy",
    "catchy", "funk", "electro", "heavy metal", "Progressive rock", "60s", "rnb", "indie pop", "sad", "House", "happy",
)  # fmt: skip
SECONDS = 29
DYNAMIC_RANGE = 80.0  # dB below the clip's maximum
_LOWEST = -100.0  # dB of power, Kapre's amin
_MELGRAM = {"padding": "same", "power_spectrogram": 2.0, "power_melgram": 2.0, "return_decibel_melgram": True,
            "return_decibel_spectrogram": False, "fmin": 0.0}  # fmt: skip


class Choi2018(Tagger):
    """The published network with Kapre's framing; otherwise a `Tagger`.

    Parameters
    ----------
    model : keras.Model
    card : ModelCard

    See Also
    --------
    load : Reads the network.
    """

    def levels(self, y: np.ndarray) -> np.ndarray:
        """Mel spectrogram with Kapre's frames, in dB that are not yet relative to the clip's maximum.

        Parameters
        ----------
        y : np.ndarray [shape=(n,)]
            Waveform at 12 kHz.

        Returns
        -------
        S : np.ndarray [shape=(n_mels, ceil(n / 256)), float32]
            dB of power, at least -100.
        """
        n_fft, hop = self.front_end.n_fft, self.front_end.hop_length
        y = np.asarray(y, dtype=np.float32)
        n_frames = -(-len(y) // hop)
        missing = max(0, (n_frames - 1) * hop + n_fft - len(y))
        padded = np.pad(y, (missing // 2, missing - missing // 2))
        absolute = FrontEnd(self.front_end.sr, n_fft, hop, self.front_end.n_mels, floor=_LOWEST)
        return absolute.compute(padded)[:, 1 : n_frames + 1]  # the first of these windows begins with the padded clip

    def scale(self, S: np.ndarray, *, top: float | None = None) -> np.ndarray:
        """Map decibels to the model's input range: 80 dB below the maximum -> 0, maximum -> 1.

        Parameters
        ----------
        S : np.ndarray [shape=(n_mels, n_frames)]
            dB of power.
        top : float or None
            The clip's maximum in dB; None: that of `S`.

        Returns
        -------
        x : np.ndarray [same shape, float32], in [0, 1]
        """
        return self.front_end.scale(S - (S.max() if top is None else np.float32(top)))

    def inputs(self, y: np.ndarray, *, S: np.ndarray | None = None) -> np.ndarray:
        """Cut a waveform into inputs of 29 s. A last part shorter than that is left out.

        Parameters
        ----------
        y : np.ndarray [shape=(n,)]
            Waveform at 12 kHz. A clip shorter than 29 s is repeated. Its author filled short clips up with silence
            instead, which dominates them, since the network standardises its input and takes maxima.
        S : np.ndarray or None
            Not used: Kapre's frames lie elsewhere, see `levels`.

        Returns
        -------
        x : np.ndarray [shape=(n_inputs, n_mels, length, 1), float32]
        """
        whole = SECONDS * self.front_end.sr
        parts = [y[i : i + whole] for i in range(0, max(1, len(y) - whole + 1), whole)]
        x = np.stack([repeated(self.scale(self.levels(part)), self.length) for part in parts])
        return np.ascontiguousarray(x[..., None], dtype=np.float32)


def repeated(x: np.ndarray, length: int) -> np.ndarray:
    """Repeat a spectrogram until it has `length` columns, np.ndarray [shape=(..., length)]."""
    return np.concatenate([x] * -(-length // x.shape[-1]), axis=-1)[..., :length]


def load(path: str | Path, *, tags: Sequence[str] = TAGS) -> Choi2018:
    """Read the published network.

    Parameters
    ----------
    path : str or Path
        ``model_best.hdf5``, or another file of that network: any number of filters, mel bands and tags. It must come
        from somebody you trust: the HDF5 library may hang in a damaged file. `musictools.released.add` therefore
        compares the checksum first.
    tags : sequence of str
        Names of the outputs, by default Last.fm's top 50 in the order of the author's data.

    Returns
    -------
    tagger : Choi2018

    Raises
    ------
    ValueError
        If there is no such file, it holds another network, or `tags` does not fit its outputs.

    Examples
    --------
    >>> tagger = load("keras2_model/model_best.hdf5")  # doctest: +SKIP
    >>> tagger.taggram(y, sr=sr).joined().nlargest(3)  # doctest: +SKIP
    """
    import h5py

    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file. The repository transfer_learning_music has it in keras2_model/.")
    try:
        with h5py.File(path) as file:
            config = json.loads(file.attrs["model_config"])["config"]
            named = [(layer["class_name"], layer["config"]) for layer in config]
            weights = {c["name"]: _weights(file["model_weights"], c["name"]) for _, c in named}
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, MemoryError) as error:
        raise ValueError(f"{path}: no model of Keras 2 with its weights ({error}).") from None
    front_end = _front_end(path, dict(named).get("Melspectrogram", {}))
    _check_layers(path, named)
    stacks = {kind: [weights[c["name"]] for k, c in named if k == kind]
              for kind in ("Conv2D", "BatchNormalization", "Dense")}  # fmt: skip
    return _tagger(stacks, front_end, list(tags))


def _tagger(stacks, front_end, tags):
    (head,) = stacks["Dense"]
    if head[0].shape[1] != len(tags):
        raise ValueError(f"tags must name the {head[0].shape[1]} outputs of the network. Got {len(tags)} names.")
    length = -(-SECONDS * front_end.sr // front_end.hop_length)
    width = head[0].shape[0] / 32
    model = models.build("compact_convnet", n_outputs=len(tags), input_shape=(front_end.n_mels, length, 1), width=width)
    for number, (conv, norm) in enumerate(zip(stacks["Conv2D"], stacks["BatchNormalization"], strict=True), start=1):
        model.get_layer(f"conv{number}").set_weights(conv)
        model.get_layer(f"norm{number}").set_weights(norm)
    model.get_layer("logits").set_weights(head)
    card = ModelCard(
        task="tags",
        model="compact_convnet",
        outputs=tags,
        front_end=front_end,
        length=length,
        step=length,
        width=width,
        provenance={"source": "choi2018"},
    )
    return Choi2018(model, card)


def _weights(group, name):
    """Arrays of a layer in Keras's order, which has not changed since."""
    layer = group[name]
    return [np.asarray(layer[n.decode() if isinstance(n, bytes) else n]) for n in layer.attrs["weight_names"]]


def _front_end(path, melgram):
    wrong = {k: melgram.get(k) for k, v in _MELGRAM.items() if melgram.get(k) != v}
    if wrong or melgram["fmax"] != melgram["sr"] / 2:
        raise ValueError(f"{path}: its spectrogram is not that of choi2018's network. Got {wrong or melgram['fmax']}.")
    return FrontEnd(melgram["sr"], melgram["n_dft"], melgram["n_hop"], melgram["n_mels"], ref="max",
                    floor=-DYNAMIC_RANGE, ceiling=0.0)  # fmt: skip


def _check_layers(path, named):
    """Refuse layers other than those of `compact_convnet`."""
    from musictools.models.taggers.compact_convnet import POOLS

    block = ["Conv2D", "BatchNormalization", "ELU", "MaxPooling2D"]
    expected = ["Melspectrogram", "Normalization2D", *block * len(POOLS), "GlobalMaxPooling2D", "Dense"]
    pools = tuple(tuple(c["pool_size"]) for kind, c in named if kind == "MaxPooling2D")
    settings = dict(named)
    if [kind for kind, _ in named] != expected or pools != POOLS:
        raise ValueError(
            f"{path}: its layers are not those of compact_convnet. Got {[kind for kind, _ in named]}, poolings {pools}."
        )
    if settings["Normalization2D"]["str_axis"] != "data_sample" or settings["Dense"]["activation"] != "sigmoid":
        raise ValueError(f"{path}: it must standardise every clip and end in a sigmoid.")

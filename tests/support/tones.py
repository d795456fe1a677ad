"""Networks that listen for tones, and a song made of two of them, so that every answer is known."""

import numpy as np

from musictools.models.card import ModelCard
from musictools.spectrograms import FrontEnd

SR = 16000
MEL = FrontEnd(SR, 512, 256, 32)
TONES = {"low <b>": 440, "high": 3000, "never": 6500}  # descriptor -> Hz; one name would break a careless page


def _levels(n_outputs, head):
    """A network that compares the mean levels of the tones' mel bands with -20 dB."""
    import keras

    layers = keras.layers
    inputs = layers.Input((MEL.n_mels, 32, 1))
    x = layers.Flatten()(layers.AveragePooling2D((1, 32))(inputs))
    model = keras.Model(inputs, layers.Dense(n_outputs, activation=head)(x))
    kernel = np.zeros((MEL.n_mels, n_outputs), np.float32)
    for k, hz in enumerate(list(TONES.values())[:n_outputs]):
        kernel[np.abs(MEL.frequencies() - hz).argmin(), k] = 60
    model.layers[-1].set_weights([kernel, np.full(n_outputs, -30, np.float32)])
    return model


def card(task):
    """Card of the tagger or of the genre model."""
    thresholds = {"f1": dict.fromkeys(TONES, 0.15)} if task == "tags" else {}
    outputs = list(TONES) if task == "tags" else ["bass & co", "birds"]
    step = 16 if task == "tags" else 32
    return ModelCard(
        task=task, model="levels", outputs=outputs, front_end=MEL, length=32, step=step, thresholds=thresholds
    )


def system(*, genre=True, mapping=None):
    """An explanation system of both."""
    from musictools.explain.application.system import ExplanationSystem
    from musictools.inference import GenreClassifier, Tagger

    genre_model = GenreClassifier(_levels(2, "softmax"), card("genre")) if genre else None
    return ExplanationSystem(genre_model, Tagger(_levels(3, "sigmoid"), card("tags")), mapping)


def write_networks(folder):
    """Write both as a profile's models: ``models/tagger.keras``, ``models/genre_model.keras`` and their cards."""
    (folder / "models").mkdir(parents=True)
    (folder / "cards").mkdir()
    both = system()
    for name, one in (("tagger", both.descriptor_model), ("genre_model", both.genre_model)):
        one.model.save(folder / "models" / f"{name}.keras")
        (folder / "cards" / f"{name}.json").write_text(one.card.model_dump_json())
    return folder


def song(*, seconds=6.0, sr=SR):
    """440 Hz at 1-3 s and 3 kHz at 2.5-5 s."""
    time = np.arange(round(sr * seconds)) / sr
    y = 1e-4 * np.random.default_rng(0).standard_normal(len(time))
    for hz, start, end in ((440, 1, 3), (3000, 2.5, 5)):
        y += 0.4 * np.sin(2 * np.pi * hz * time) * ((time >= start) & (time < end))
    return y.astype(np.float32)

"""A small network, inputs like spectrograms, and an explainer whose maps can be spoilt, to test metrics with."""

import keras
import numpy as np
from keras import layers

from musictools import explain

SHAPE = (16, 20, 1)


def network(head="sigmoid", *, norm=False, seed=0):
    """Convolutions, then logits that see time and frequency apart."""
    x = inputs = layers.Input(SHAPE)
    for number, filters in enumerate((6, 8)):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv{number}")(x)
        x = layers.BatchNormalization(name=f"norm{number}")(x) if norm else x
        x = layers.MaxPooling2D(2, name=f"pool{number}")(x)
    x = layers.Dense(6, name="logits")(layers.Flatten()(x))
    model = keras.Model(inputs, layers.Activation(head, name=head)(x) if head else x)
    rng = np.random.default_rng(seed)
    model.set_weights(
        [
            np.abs(rng.normal(1, 0.3, w.shape))
            if "variance" in v.path or "gamma" in v.path
            else rng.normal(0, 0.3, w.shape)
            for v, w in zip(model.weights, model.get_weights(), strict=True)
        ]
    )
    return model


def sounds(n=4, shape=SHAPE, seed=0):
    """Inputs with ridges, as spectrograms have them."""
    rng = np.random.default_rng(seed)
    x = rng.random((n, *shape)) * 0.3
    x[:, rng.integers(0, shape[0], 3)] += 0.6
    return x.astype(np.float32)


class Spoilt(explain.Explainer):
    """An explainer whose maps are changed on the way out."""

    def __init__(self, model, spoil, **options):
        super().__init__(model, conservation=False, **options)
        self.spoil = spoil

    def __call__(self, x, neuron, **options):
        explanation = super().__call__(x, neuron, **options)
        explanation.relevance[:] = self.spoil(explanation.relevance, x)
        return explanation

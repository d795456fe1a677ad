"""Spectrograms with a planted drum pattern, and narrow networks for them."""

import keras
import numpy as np

N_BINS, N_FRAMES = 32, 48


def drums(rng):
    """Broadband strokes every eighth frame; (n_bins, n_frames)."""
    image = np.zeros((N_BINS, N_FRAMES), np.float32)
    image[4:20, rng.integers(0, 3) :: 8] = 0.9
    return image


def tones(rng, low, high):
    """Four steady tones between two bins."""
    image = np.zeros((N_BINS, N_FRAMES), np.float32)
    for row in rng.choice(np.arange(low, high), 4, replace=False):
        start = rng.integers(0, 24)
        image[row, start : start + rng.integers(16, 24)] = rng.uniform(0.5, 0.9)
    return image


def planted(per_class=24, *, seed=0):
    """Inputs (n, 32, 48, 1) of three classes: low tones; high tones; tones anywhere with a drum pattern."""
    rng = np.random.default_rng(seed)
    ranges = ((2, 16), (14, 30), (2, 30))
    x, labels = [], np.repeat(np.arange(3), per_class)
    for label in labels:
        image = tones(rng, *ranges[label]) + 0.05 * rng.random((N_BINS, N_FRAMES))
        x.append(np.maximum(image, drums(rng)) if label == 2 else image)
    return np.stack(x)[..., None].astype(np.float32), labels


def network(*, n_outputs=3, seed=0, shape=(N_BINS, N_FRAMES, 1)):
    """Two convolutions, a dense layer, a softmax; random weights."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    inputs = keras.Input(shape)
    x = layers.MaxPooling2D(2)(layers.Conv2D(8, 3, padding="same", activation="relu")(inputs))
    x = layers.MaxPooling2D(2, name="maps")(layers.Conv2D(12, 3, padding="same", activation="relu")(x))
    x = layers.Dense(24, activation="relu", name="dense")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Softmax(name="softmax")(layers.Dense(n_outputs, name="logits")(x)))


def trained(x, labels, *, seed=0, epochs=25):
    """Return the network after training."""
    model = network(n_outputs=int(labels.max()) + 1, seed=seed, shape=x.shape[1:])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.optimizer.learning_rate = 3e-3
    model.fit(x, labels, batch_size=16, epochs=epochs, verbose=0)
    return model


def drum_share(concepts):
    """Share of each patch's cells that a stroke may reach: bins 4 to 19."""
    rows = np.zeros((N_BINS, N_FRAMES), bool)
    rows[4:20] = True
    return np.array([rows[concepts.patches.mask(k)].mean() for k in range(len(concepts.patches))])

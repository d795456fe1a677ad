"""State dicts of the networks of Won et al. 2020 with random numbers; NumPy only, for the oracle in PyTorch."""

import numpy as np

SR = 16000


def _mel():
    """96 triangular bands of height 1 between equally spaced points of HTK's mel scale, shape (257, 96)."""
    points = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 98) / 2595) - 1)
    bins = np.linspace(0, 8000, 257)
    return np.stack([np.interp(bins, points[i : i + 3], [0, 1, 0]) for i in range(96)], axis=1)


def _convolved(name, *shape):
    return {f"{name}.conv.weight": shape, f"{name}.conv.bias": shape[:1], **_norm(f"{name}.bn", shape[0])}


def _norm(name, n):
    keys = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{key}": (n,) for key in keys} | {f"{name}.num_batches_tracked": ()}


def _dense(name, *shape):
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def _blocks(filters):
    sides = zip([1, *filters], filters, strict=False)
    return {
        k: v
        for block, (below, here) in enumerate(sides, start=1)
        for k, v in _convolved(f"layer{block}", here, below, 3, 3).items()
    }


def _gru(level, below):
    ends = {"weight_ih": (96, below), "weight_hh": (96, 32), "bias_ih": (96,), "bias_hh": (96,)}
    return {f"layer5.{key}_l{level}": shape for key, shape in ends.items()}


SHAPES = {
    "fcn": _blocks([64, 128, 128, 128, 64]) | _dense("dense", 50, 64),
    "crnn": _blocks([64, 128, 128, 128]) | _gru(0, 128) | _gru(1, 32) | _dense("dense", 50, 32),
    "musicnn": {
        **_convolved("layers.0", 204, 1, 67, 7),
        **_convolved("layers.1", 204, 1, 38, 7),
        **_convolved("layers.2", 51, 1, 129),
        **_convolved("layers.3", 51, 1, 65),
        **_convolved("layers.4", 51, 1, 33),
        **_convolved("layer1", 64, 561, 7),
        **_convolved("layer2", 64, 64, 7),
        **_convolved("layer3", 64, 64, 7),
        **_dense("dense1", 200, 1506),
        **_norm("bn", 200),
        **_dense("dense2", 50, 200),
    },
}


def state(network):
    """A state dict with random weights; normalisations keep the values in their range."""
    rng = np.random.default_rng(7)
    arrays = {
        "spec.spectrogram.window": 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512),
        "spec.mel_scale.fb": _mel(),
        "spec_bn.weight": [0.3],
        "spec_bn.bias": [0.1],
        "spec_bn.running_mean": [-10.0],
        "spec_bn.running_var": [370.0],
        "spec_bn.num_batches_tracked": 5,
    }
    for name, shape in SHAPES[network].items():
        key = name.rpartition(".")[2]
        if key == "num_batches_tracked":
            arrays[name] = 5
        elif key == "running_var" or (key == "weight" and len(shape) == 1):
            arrays[name] = rng.uniform(0.5, 1.5, shape)
        else:
            arrays[name] = rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5 if len(shape) > 1 else 0.1, shape)
    return {k: np.asarray(v, np.int64 if k.endswith("tracked") else np.float32) for k, v in arrays.items()}


def sound(seconds):
    """Noise that swells, and a tone."""
    rng, t = np.random.default_rng(8), np.arange(seconds * SR) / SR
    return (rng.normal(0, 0.1, len(t)) * t / seconds + 0.3 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)

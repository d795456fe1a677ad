"""Small files in the layout in which Keras 2 stored the published network of choi2018."""

import json

import numpy as np

POOLS = [(2, 4), (3, 4), (2, 5), (2, 4), (4, 4)]
NAMES = ["one", "two", "three"]


def config(*, pools=POOLS, filters=4, n_tags=3, **melgram):
    """Layers as Keras 2 lists them, with what `load` reads of their settings."""
    settings = {
        "name": "melgram",
        "sr": 12000,
        "n_dft": 512,
        "n_hop": 256,
        "n_mels": 96,
        "fmin": 0.0,
        "fmax": 6000,
        "padding": "same",
        "power_spectrogram": 2.0,
        "power_melgram": 2.0,
        "return_decibel_melgram": True,
        "return_decibel_spectrogram": False,
    } | melgram
    found = [("Melspectrogram", settings), ("Normalization2D", {"name": "normal", "str_axis": "data_sample"})]
    for i, pool in enumerate(pools, start=1):
        found += [
            ("Conv2D", {"name": f"conv2d_{i}", "filters": filters}),
            ("BatchNormalization", {"name": f"batch_normalization_{i}", "epsilon": 0.001}),
            ("ELU", {"name": f"elu_{i}"}),
            ("MaxPooling2D", {"name": f"MP_{i}", "pool_size": list(pool)}),
        ]
    found += [
        ("GlobalMaxPooling2D", {"name": "MP"}),
        ("Dense", {"name": "dense_1", "units": n_tags, "activation": "sigmoid"}),
    ]
    return [{"class_name": kind, "config": c} for kind, c in found]


def arrays(layers, rng):
    """Random weights by layer, as many as Keras 2 stored."""
    found, before = {}, 1
    for layer in layers:
        kind, c = layer["class_name"], layer["config"]
        if kind == "Conv2D":
            n = c["filters"]
            found[c["name"]] = {"kernel": rng.normal(0, 0.5, (3, 3, before, n)), "bias": rng.normal(0, 0.2, n)}
            before = n
        elif kind == "BatchNormalization":
            found[c["name"]] = {
                "gamma": rng.normal(1, 0.3, before),
                "beta": rng.normal(0, 0.3, before),
                "moving_mean": rng.normal(0, 0.3, before),
                "moving_variance": rng.uniform(0.5, 2, before),
            }
        elif kind == "Dense":
            found[c["name"]] = {"kernel": rng.normal(0, 1, (before, c["units"])), "bias": rng.normal(0, 1, c["units"])}
        else:
            found[c["name"]] = {}
    return {layer: {k: v.astype(np.float32) for k, v in weights.items()} for layer, weights in found.items()}


def write(path, layers, weights):
    """A file as Keras 2.1 wrote it."""
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": layers})
        group = file.create_group("model_weights")
        for name, values in weights.items():
            layer = group.create_group(name)
            layer.attrs["weight_names"] = [f"{name}/{k}:0".encode() for k in values]
            for k, v in values.items():
                layer[f"{name}/{k}:0"] = v
    return path

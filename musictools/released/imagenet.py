"""Weights that PyTorch's ResNet-34 learnt on photographs (ImageNet), given to `resnet34`, as `sharma2022` starts.

The weights are not installed here and none is downloaded. The user's file is what ``torch.save`` writes of the state
dict of ``torchvision.models.resnet34(weights="IMAGENET1K_V1")``, or the file that torchvision downloads itself.

That network takes three colours, each with its own mean and scale. A grey image has equal colours, so that for one
channel the kernels of the first convolution are added up. Mean and scale become part of kernels and normalisation:
inputs stay in [0, 1]. Only the outermost pixels differ, since PyTorch pads with the mean colour and Keras with 0.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from musictools.models.resnet import BLOCKS
from musictools.released import checkpoints

if TYPE_CHECKING:
    import keras

__all__ = ["set_weights"]

_MEAN, _SCALE = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's colours, as torchvision states them


def set_weights(model: keras.Model, path: str | Path) -> keras.Model:
    """Give a `resnet34` the weights of PyTorch's ResNet-34.

    Parameters
    ----------
    model : keras.Model
        From ``models.build("resnet34", ...)`` with width 1; changed in place. Inputs have one or three channels. Its
        logits are kept, unless there are as many as in the file.
    path : str or Path
        PyTorch's checkpoint. It is read without PyTorch and never executed.

    Returns
    -------
    model : keras.Model

    Raises
    ------
    ValueError
        If the file is damaged, holds code, or weights of another network or width.

    See Also
    --------
    musictools.models.resnet.train_last_layers : Fine-tuning.

    Examples
    --------
    >>> from musictools import models
    >>> model = models.build("resnet34", n_outputs=8)  # doctest: +SKIP
    >>> set_weights(model, "resnet34-b627a593.pth").name  # doctest: +SKIP
    'resnet34'
    """
    state = checkpoints.read(path)
    try:
        values = {name: _arrays(state, theirs) for name, theirs in _names().items()}
        _prepare_input(values, channels=model.input_shape[-1])
        head = [np.transpose(state["fc.weight"]), state["fc.bias"]]
        if head[1].shape == (model.output_shape[-1],):
            values["logits"] = head
        for name, arrays in values.items():  # all are compared before any is set
            shapes = [tuple(weight.shape) for weight in model.get_layer(name).weights]
            if shapes != [array.shape for array in arrays]:
                raise ValueError(f"{name} has shapes {[array.shape for array in arrays]}, the model {shapes}")
    except KeyError as error:
        raise ValueError(f"{path}: no ResNet-34 of PyTorch: {error.args[0]} is missing.") from None
    except ValueError as error:
        raise ValueError(f"{path}: does not fit the model: {error}.") from None
    for name, arrays in values.items():
        model.get_layer(name).set_weights(arrays)
    return model


def _names():
    """Layer here -> what its arrays' names begin with in PyTorch."""
    names = {"conv1": "conv1", "conv1_norm": "bn1"}
    for number, (_, n_blocks) in enumerate(BLOCKS, start=1):
        for block in range(n_blocks):
            here, there = f"layer{number}_{block}", f"layer{number}.{block}"
            for k in (1, 2):
                names |= {f"{here}_conv{k}": f"{there}.conv{k}", f"{here}_conv{k}_norm": f"{there}.bn{k}"}
            if number > 1 and block == 0:
                names |= {f"{here}_skip": f"{there}.downsample.0", f"{here}_skip_norm": f"{there}.downsample.1"}
    return names


def _arrays(state, prefix):
    """Weights in the order of Keras: of a convolution, or of a batch normalisation."""
    if state[f"{prefix}.weight"].ndim == 4:
        return [state[f"{prefix}.weight"].transpose(2, 3, 1, 0)]
    return [state[f"{prefix}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")]


def _prepare_input(values, *, channels):
    """Let the first convolution take inputs in [0, 1] instead of colours less their mean over their scale."""
    (kernel,), (gamma, beta, mean, variance) = values["conv1"], values["conv1_norm"]
    scaled = kernel / np.float32(_SCALE)[:, None]
    constant = (scaled * np.float32(_MEAN)[:, None]).sum(axis=(0, 1, 2))
    values["conv1"] = [scaled.sum(axis=2, keepdims=True) if channels == 1 else scaled]
    values["conv1_norm"] = [gamma, beta, mean + constant, variance]

"""Sizes of convolutions in ms and Hz (`choi2018`, table 7-A), for any network and its front end.

The *effective* size is that of `choi2018`: the kernel times all strides before it, so a 3x3 kernel after one pooling of
2x2 counts six frames and six bins. The *receptive field* also counts what the poolings and convolutions before add
around it: it is everything that one cell of the map can depend on.

n frames last (n - 1) * hop_length + n_fft samples. n bins reach from the lower neighbour of the first to the upper
neighbour of the last: (n + 1) * sr / n_fft for an STFT. A mel band reaches from the centre below it to the centre above
it, so the same rule holds, but the height depends on the frequency: it is that of n bands around 1 kHz, or as near to
it as the range allows. No size exceeds the input or the front end's range.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
import pandas as pd
from keras import layers

from musictools.models.graph.reading import read

if TYPE_CHECKING:
    from musictools.spectrograms import FrontEnd

__all__ = ["effective_sizes"]

_CONVOLVING = (layers.Conv1D, layers.Conv2D, layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_SLIDING = (*_CONVOLVING, layers.MaxPooling1D, layers.MaxPooling2D, layers.AveragePooling1D, layers.AveragePooling2D)
_NO_MAPS = (
    layers.Permute,
    layers.Reshape,
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
)


def effective_sizes(model: keras.Model, *, front_end: FrontEnd, at: float = 1000.0) -> pd.DataFrame:
    """Compute the sizes of all convolutions of a network.

    Parameters
    ----------
    model : keras.Model
        Takes spectrograms (n_bins, n_frames, 1), or waveforms (n, 1), whose convolutions have no height.
    front_end : musictools.spectrograms.FrontEnd
        The model's front end.
    at : float > 0
        Frequency around which the height of mel bands is taken, in Hz.

    Returns
    -------
    table : pd.DataFrame
        One row per convolution: layer (its name), kernel ("3x3": bins x frames), frames, bins, width_ms, height_hz (the
        effective size), field_frames, field_bins, field_ms, field_hz (the receptive field).

    Raises
    ------
    ValueError
        If the model does not fit the front end, or has no convolution over its input, as a model that computes a
        spectrogram of its own.

    Examples
    --------
    >>> from musictools import models
    >>> model = models.build("ckn19", n_outputs=8, width=0.1)
    >>> sizes = effective_sizes(model, front_end=models.describe("ckn19").front_end)
    >>> sizes[["layer", "kernel", "frames", "field_frames"]]
       layer kernel  frames  field_frames
    0  conv1    3x3       3             3
    1  conv2    3x3       6             8
    2  conv3    3x3      12            18
    """
    graph = read(model)
    waveform = front_end.kind == "waveform"
    if len(graph.input_shape) != (2 if waveform else 3) or (not waveform and graph.input_shape[0] != front_end.n_bins):
        raise ValueError(
            f"model must take inputs of the front end ({front_end.kind}, {front_end.n_bins} bins). "
            f"{graph.name} takes {graph.input_shape}."
        )
    if not 0 < at < front_end.sr / 2:
        raise ValueError(f"at must lie between 0 and {front_end.sr / 2:g} Hz. Got {at}.")
    rows = [_row(*sizes, graph.input_shape, front_end, at) for sizes in _walk(graph)]
    if not rows:
        raise ValueError(f"{graph.name} has no convolution over its input.")
    return pd.DataFrame(rows)


def _walk(graph):
    """Name, kernel, strides before and receptive field of every convolution, each as (bins, frames) or (samples,)."""
    rank = len(graph.input_shape) - 1
    states, convolutions = {0: (np.ones(rank), np.ones(rank))}, []
    for call in graph.calls:
        known = [states[i] for i in call.inputs if i in states]
        if not known:
            continue  # after a layer whose output is no map
        jump, field = (np.max([state[part] for state in known], axis=0) for part in (0, 1))
        layer = call.layer
        if isinstance(layer, _SLIDING):
            size = getattr(layer, "kernel_size", None) or layer.pool_size
            size, stride = (np.broadcast_to(v, rank) for v in (size, layer.strides))
            reach = (size - 1) * np.broadcast_to(getattr(layer, "dilation_rate", 1), rank) + 1
            if isinstance(layer, _CONVOLVING):
                convolutions.append((call.name, reach, jump, field + (reach - 1) * jump))
            states[call.outputs[0]] = jump * stride, field + (reach - 1) * jump
        elif len(call.node.outputs[0].shape) == rank + 2 and not isinstance(layer, _NO_MAPS):
            states[call.outputs[0]] = jump, field
    return convolutions


def _row(name, kernel, jump, field, shape, front_end, at):
    row = {"layer": name, "kernel": "x".join(str(int(n)) for n in kernel)}
    for prefix, ms, hz, cells in (
        ("", "width_ms", "height_hz", kernel * jump),
        ("field_", "field_ms", "field_hz", field),
    ):
        frames = min(float(cells[-1]), shape[len(cells) - 1])
        bins = np.nan if len(cells) == 1 else min(float(cells[0]), shape[0])
        row |= {
            f"{prefix}frames": int(frames),
            f"{prefix}bins": bins if np.isnan(bins) else int(bins),
            ms: _milliseconds(frames, front_end),
            hz: _hertz(bins, front_end, at),
        }
    return row


def _milliseconds(frames, front_end):
    if front_end.kind in ("waveform", "image"):
        return 1000 * frames * front_end.frame_seconds
    return 1000 * ((frames - 1) * front_end.hop_length + front_end.n_fft) / front_end.sr


def _hertz(bins, front_end, at):
    """From the lower neighbour of the first bin to the upper neighbour of the last; around `at` for mel bands."""
    if np.isnan(bins):
        return np.nan
    if front_end.kind == "stft":
        return min((bins + 1) * front_end.sr / front_end.n_fft, front_end.sr / 2)
    centres = front_end.frequencies()
    ends = (0.0, front_end.sr / 2) if front_end.kind == "mel" else centres[[0, -1]]
    places = np.r_[ends[0], centres, ends[1]]
    half, last = (bins + 1) / 2, len(places) - 1
    middle = np.clip(np.interp(at, places, np.arange(len(places))), half, last - half)
    low, high = np.interp([middle - half, middle + half], np.arange(len(places)), places)
    return float(high - low)

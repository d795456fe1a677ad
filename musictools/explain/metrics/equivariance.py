"""Does the evidence move with the sound? Maps of a deformed clip against the deformed map of the clip.

Shift the pitch of a clip by a ratio, and evidence that lay at a frequency must lie at that frequency times the ratio;
play it faster, and evidence must come earlier. A model need not be right for that, only its explanation consistent.
Convolutions and poolings make a map equivariant to small shifts in part by themselves, and bands that carry energy stay
energetic: so the correlation stands beside that with the map which has not been moved.
"""

import numpy as np

from musictools import audio
from musictools.spectrograms import segments

__all__ = ["equivariance", "listener", "moved"]


def equivariance(listen, y, *, sr, front_end, kind="pitch_shift", amount=2.0, blur=1.0):
    """Correlation of the evidence in a deformed clip with the evidence of the clip, moved and not moved.

    Parameters
    ----------
    listen : callable
        Waveform (n,) -> map (n_bins, n_frames), as of `listener`.
    y : np.ndarray [shape=(n,)]
    sr : int > 0
        Hz, of `y` and of the front end.
    front_end : FrontEnd
        Of the maps.
    kind : {"pitch_shift", "time_stretch"}
    amount : float
        As of `audio.deform`: semitones, or speed.
    blur : float >= 0
        Deviation in cells of the Gaussian under which maps are compared, since no map is exact to the cell. Much more
        lets the tails of few spots rank all other cells, and raises correlation and control alike.

    Returns
    -------
    result : dict
        kind, amount, correlation: rank correlation of the deformed clip's map with the moved map, control: with the
        map as it was, over the same cells; gain: their difference. NaN for constant maps.

    Raises
    ------
    ValueError
        If the kind is no such deformation, `sr` is not the front end's, or nothing is left to compare.

    Examples
    --------
    >>> explainer = explain.Explainer(model, method="lrp_composite")  # doctest: +SKIP
    >>> equivariance(listener(explainer, model_input, 3), y, sr=16000, front_end=model_input.front_end)
    """
    from scipy.ndimage import gaussian_filter

    from musictools.explain.metrics.sanity import rank_correlation

    if sr != front_end.sr:
        raise ValueError(f"sr must be the front end's {front_end.sr} Hz. Got {sr!r}.")
    if not blur >= 0:
        raise ValueError(f"blur must be at least 0. Got {blur!r}.")
    _check(kind, front_end)
    own, deformed = (gaussian_filter(np.asarray(listen(one), dtype=np.float64), blur)
                     for one in (y, audio.deform(y, sr=sr, kind=kind, amount=amount)))
    there = moved(own, front_end=front_end, kind=kind, amount=amount, n_frames=deformed.shape[1])
    length = min(own.shape[1], deformed.shape[1])
    there, deformed, own = there[:, :length], deformed[:, :length], own[:, :length]
    cells = np.isfinite(there)
    if np.count_nonzero(cells) < 2:
        raise ValueError(f"amount must leave something of the map to compare. Got {amount!r}.")
    correlation, control = (rank_correlation(deformed[cells], one[cells]) for one in (there, own))
    return {"kind": kind, "amount": amount, "correlation": correlation, "control": control,
            "gain": correlation - control}


def moved(values, *, front_end, kind, amount, n_frames=None):
    """A map as it must be after a deformation of the sound.

    Parameters
    ----------
    values : np.ndarray [shape=(n_bins, n_frames)]
    front_end : FrontEnd
    kind : {"pitch_shift", "time_stretch"}
    amount : float
        Semitones, or speed.
    n_frames : int > 0 or None
        Frames of the result; None: as many as there were, over the speed.

    Returns
    -------
    values : np.ndarray [shape=(n_bins, n_frames)]
        Interpolated linearly; NaN where nothing is known, since it lay outside the map.
    """
    _check(kind, front_end)
    values = np.asarray(values, dtype=np.float64)
    if kind == "pitch_shift":
        frequencies = front_end.frequencies()
        if len(frequencies) != len(values):
            raise ValueError(f"values must have the front end's {len(frequencies)} bins. Got {len(values)}.")
        known = np.arange(len(values), dtype=float)
        before = np.interp(frequencies / 2 ** (amount / 12), frequencies, known, left=np.nan, right=np.nan)
        result = _at(values, before)
        return result if n_frames is None else _at(result.T, np.arange(n_frames)).T
    if n_frames is None:
        n_frames = round(values.shape[1] / amount)
    return _at(values.T, np.arange(n_frames) * amount).T


def listener(explainer, model_input, neuron):
    """A function from a waveform to the map of the whole clip.

    Parameters
    ----------
    explainer : Explainer
    model_input : ModelInput
        How the model listens.
    neuron : int
        What is explained.

    Returns
    -------
    listen : callable
        y (n,) at the front end's rate -> map (n_bins, n_frames): the mean of the inputs' maps where inputs overlap, up
        to the end of the last whole input. Shorter clips are lengthened by their last frame, and the map is cut again.
    """
    front_end, length, step = model_input.front_end, model_input.length, model_input.step

    def listen(y):
        from musictools.explain.metrics.sanity import explained

        S = front_end.compute(y)
        x = front_end.scale(segments(S, length=length, step=step, pad_to=length))
        maps = explained(explainer, x.reshape(len(x), *model_input.shape), neuron).reshape(x.shape)
        n_frames = (len(x) - 1) * step + length
        total, count = np.zeros((x.shape[1], n_frames)), np.zeros(n_frames)
        for start, one in zip(range(0, n_frames, step), maps):
            total[:, start : start + length] += one
            count[start : start + length] += 1
        return (total / np.maximum(count, 1))[:, : S.shape[1]]

    return listen


def _at(values, places):
    """Rows of a matrix at fractional places, NaN outside."""
    inside = (places >= 0) & (places <= len(values) - 1)
    safe = np.where(inside, places, 0.0)
    low = np.floor(safe).astype(int)
    part = (safe - low)[:, None]
    result = values[low] * (1 - part) + values[np.minimum(low + 1, len(values) - 1)] * part
    return np.where(inside[:, None], result, np.nan)


def _check(kind, front_end):
    if kind not in ("pitch_shift", "time_stretch"):
        raise ValueError(f"kind must be 'pitch_shift' or 'time_stretch'. Got {kind!r}.")
    if kind == "pitch_shift" and front_end.kind == "waveform":
        raise ValueError("kind must be 'time_stretch' for a waveform, whose map has no frequencies. Got 'pitch_shift'.")

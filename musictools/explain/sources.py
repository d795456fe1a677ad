"""LIME over sources and time: which instrument, when (audioLIME, Haunschmid et al. 2020), with real stems."""

import numpy as np

from musictools.explain.perturbation import ridge_weights

__all__ = ["lime_sources", "source_map"]


def lime_sources(scores, stems, *, segments=8, n_samples=256, keep=0.5, ridge=1.0, fade=160, seed=0):
    """Weights of a clip's instruments, segment by segment, in a ridge regression of what a network says.

    Parameters
    ----------
    scores : callable
        Waveform (n,) -> logits, np.ndarray [shape=(k,)].
    stems : dict of str to np.ndarray [shape=(n,)]
        Their sum is the clip.
    segments : int > 0
        Parts of equal length in time.
    n_samples : int > 1
        Mixtures that the network hears; the first is the whole clip.
    keep : float in (0, 1)
        Chance of a part to be left in.
    ridge : float >= 0
    fade : int >= 0
        Samples over which a part comes and goes.
    seed : int >= 0

    Returns
    -------
    weights : np.ndarray [shape=(k, n_stems, segments)]
        How much each part raises the logit.

    Raises
    ------
    ValueError
        If there are no stems, they differ in length, or a number is out of range.
    """
    lengths = {np.shape(y) for y in stems.values()}
    if len(lengths) != 1 or len(next(iter(lengths))) != 1:
        raise ValueError(f"stems must be one or more waveforms of one length. Got shapes {sorted(lengths)}.")
    if not (0 < keep < 1 and n_samples > 1 and segments > 0 and fade >= 0 and ridge >= 0):
        raise ValueError("keep must lie in (0, 1), n_samples exceed 1, segments be positive, fade and ridge not be "
                         f"negative. Got {keep}, {n_samples}, {segments}, {fade} and {ridge}.")
    sounds = np.stack(list(stems.values()))
    n, rng = sounds.shape[1], np.random.default_rng(seed)
    there = rng.random((n_samples, len(sounds), segments)) < keep
    there[0] = True
    place = np.arange(n) * segments // n
    said = []
    for parts in there:
        gains = parts[:, place].astype(np.float32)
        if fade and not parts.all():
            window = np.hanning(2 * fade + 3)[1:-1].astype(np.float32)
            gains = np.stack([np.convolve(np.pad(g, fade, mode="edge"), window / window.sum(), mode="valid")[:n]
                              for g in gains])
        said.append(scores((gains * sounds).sum(axis=0)))
    flat = there.reshape(n_samples, -1)
    return ridge_weights(flat, np.stack(said), ridge=ridge).reshape(-1, len(sounds), segments)


def source_map(weights, shares):
    """Weights of sources and segments laid on the spectrogram, every cell by what its stems share of it.

    Parameters
    ----------
    weights : np.ndarray [shape=(n_stems, segments)]
        Of one neuron, stems in the order of `shares`.
    shares : dict of str to np.ndarray [shape=(n_bins, n_frames)]
        Of `localisation.stem_shares`.

    Returns
    -------
    relevance : np.ndarray [shape=(n_bins, n_frames), float32]
    """
    n_frames = next(iter(shares.values())).shape[1]
    place = np.arange(n_frames) * weights.shape[1] // n_frames
    parts = [share * w[place] for w, share in zip(np.asarray(weights, np.float32), shares.values(), strict=True)]
    return np.sum(parts, axis=0)

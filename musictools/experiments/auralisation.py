"""Tables and files of notebook 07: the sounds of many features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from musictools import audio
from musictools.auralisation import measures
from musictools.auralisation.sound import READINGS, auralise
from musictools.explain.application import evidence

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from musictools.auralisation import Deconvolution
    from musictools.auralisation.sound import Auralisation
    from musictools.runs import Run
    from musictools.spectrograms import FrontEnd

    Sounds = Mapping[tuple[str, int], Auralisation]  # by clip and feature

__all__ = ["clicks_kept", "describe", "draw_sounds", "edges", "gains", "readings", "write_sounds"]


def edges(kernels: np.ndarray) -> pd.DataFrame:
    """Edges that the kernels of a first layer respond to, read from their weights.

    Parameters
    ----------
    kernels : np.ndarray [shape=(n_bins, n_frames, 1, n_features)]

    Returns
    -------
    table : pd.DataFrame
        One row per feature, all relative to the sum of the magnitudes of its weights: onset (last column minus the
        first: near 1 for a detector of onsets, near -1 for one of offsets), upwards (top row minus the lowest), level
        (sum of the weights).

    Examples
    --------
    >>> kernel = np.array([[-1.0, 1.0], [-1.0, 1.0]])
    >>> edges(kernel[:, :, None, None]).round(2).to_dict("records")
    [{'onset': 1.0, 'upwards': 0.0, 'level': 0.0}]
    """
    W = np.asarray(kernels, dtype=np.float64)[:, :, 0]
    size = np.maximum(np.abs(W).sum(axis=(0, 1)), 1e-12)
    return pd.DataFrame(
        {
            "onset": (W[:, -1] - W[:, 0]).sum(axis=0) / size,
            "upwards": (W[-1] - W[0]).sum(axis=0) / size,
            "level": W.sum(axis=(0, 1)) / size,
        },
        index=pd.RangeIndex(W.shape[-1], name="feature"),
    )


def describe(
    sounds: Sounds,
    clips: Mapping[str, np.ndarray],
    *,
    front_end: FrontEnd,
    stems: Mapping[str, Mapping[str, np.ndarray]] | None = None,
) -> pd.DataFrame:
    """Measure the sound of every feature in every clip.

    Parameters
    ----------
    sounds : dict of (str, int) to Auralisation
        By clip and feature, from `sound.auralise`.
    clips : dict of str to np.ndarray [shape=(n,)]
    front_end : musictools.spectrograms.FrontEnd
    stems : dict of str to dict of str to np.ndarray or None
        Clip -> stem -> waveform of the clip's length.

    Returns
    -------
    table : pd.DataFrame
        layer, feature, clip, activation, area (mean of the mask), gap (difference in dB between the masked spectrogram
        and that of the sound, see `explain.application.evidence.gap`), the columns of `measures.measure`; stem and
        stem_gain: the stem whose correlation with the sound exceeds that with the clip most, and the difference.
    """
    rows = []
    for (name, feature), one in sounds.items():
        row = {
            "layer": one.layer,
            "feature": feature,
            "clip": name,
            "activation": one.activation,
            "area": float(one.mask.mean()),
            "gap": evidence.gap(clips[name], one.sound / one.gain, one.mask, front_end=front_end),
        }
        row |= measures.measure(one.sound, sr=front_end.sr, clip=clips[name])
        if stems is not None:
            gains = measures.stem_correlations(one.sound, stems[name], sr=front_end.sr, clip=clips[name]).dropna()
            row |= {"stem": gains.idxmax() if len(gains) else "", "stem_gain": gains.max() if len(gains) else np.nan}
        rows.append(row)
    return pd.DataFrame(rows)


def readings(
    deconvolution: Deconvolution,
    clips: Mapping[str, np.ndarray],
    features: Sequence[int],
    *,
    front_end: FrontEnd,
    length: int,
) -> pd.DataFrame:
    """Compare the two readings of an image, as a mask and as decibels.

    Parameters
    ----------
    deconvolution, clips, features, front_end, length
        As for `sound.auralise`.

    Returns
    -------
    table : pd.DataFrame
        One row per reading with means over features and clips: level_db, onset_correlation, gap (dB), and likeness
        (correlation of the compressed spectrograms of two features in one clip; 1 if all features sound alike).
    """
    rows = []
    for reading in READINGS:
        sounds = auralise(deconvolution, clips, features, front_end=front_end, length=length, reading=reading)
        table = describe(sounds, clips, front_end=front_end)
        pairs = [
            measures.stem_correlations(sounds[name, a].sound, {"b": sounds[name, b].sound}, sr=front_end.sr)["b"]
            for name in clips
            for i, a in enumerate(features)
            for b in features[:i]
        ]
        known = [p for p in pairs if np.isfinite(p)]
        rows.append(
            {
                "layer": deconvolution.layer,
                "reading": reading,
                **table[["level_db", "onset_correlation", "gap"]].mean().to_dict(),
                "likeness": float(np.mean(known)) if known else np.nan,
            }
        )
    return pd.DataFrame(rows)


def clicks_kept(
    deconvolution: Deconvolution,
    features: Sequence[int],
    *,
    front_end: FrontEnd,
    length: int,
    reading: str = "mask",
    seconds: float = 6.0,
) -> pd.DataFrame:
    """Levels at which features let a click track and a steady tone through, when both sound together.

    Parameters
    ----------
    deconvolution : Deconvolution
    features : sequence of int
    front_end, length, reading
        As for `sound.auralise`.
    seconds : float > 0
        Length of the test signal.

    Returns
    -------
    table : pd.DataFrame
        One row per feature: layer, feature, clicks_db, tone_db (level of each signal in the sound relative to the clip,
        by projection, at least -120).
    """
    signals = dict(zip(("clicks", "tone"), measures.clicks_and_tone(sr=front_end.sr, seconds=seconds), strict=True))
    sounds = auralise(
        deconvolution, {"both": sum(signals.values())}, features, front_end=front_end, length=length, reading=reading
    )
    rows = []
    for (_, feature), one in sounds.items():
        share = {name: abs(float(one.sound @ y)) / float(y @ y) / one.gain for name, y in signals.items()}
        rows.append(
            {"layer": deconvolution.layer, "feature": feature}
            | {f"{name}_db": 20 * np.log10(max(s, 1e-6)) for name, s in share.items()}
        )
    return pd.DataFrame(rows)


def gains(sounds: Sounds, *, peak: float = 0.9, max_db: float = 40.0) -> dict[int, float]:
    """Factor by which each feature can be amplified for listening, the same for all its clips.

    Parameters
    ----------
    sounds : dict of (str, int) to Auralisation
        By clip and feature.
    peak : float in (0, 1]
        Peak of the loudest clip after amplification.
    max_db : float >= 0
        Maximum gain in dB; limits the amplification of near-silent features.

    Returns
    -------
    gains : dict of int to float
        Factor by feature, at least 1.
    """
    peaks = {}
    for (_, feature), one in sounds.items():
        peaks[feature] = max(peaks.get(feature, 0.0), float(np.abs(one.sound).max()))
    return {feature: max(1.0, min(10 ** (max_db / 20), peak / max(top, 1e-9))) for feature, top in peaks.items()}


def write_sounds(
    run: Run, sounds: Sounds, table: pd.DataFrame, *, front_end: FrontEnd, source: str, suffix: str = "mp3"
) -> list[dict]:
    """Write the sounds of one layer and list them for the page.

    Parameters
    ----------
    run : musictools.runs.Run
    sounds : dict of (str, int) to Auralisation
        By clip and feature.
    table : pd.DataFrame
        Their table from `describe`.
    front_end : musictools.spectrograms.FrontEnd
    source : str
        Start of the files' names, such as ``"choi2018"``.
    suffix : {"mp3", "ogg", "flac", "wav"}

    Returns
    -------
    entries : list of dict
        Input of `page.write`, sorted by feature; files are relative to the folder ``files``.
    """
    factors, entries = gains(sounds), []
    rows = table.set_index(["clip", "feature"])
    for (name, feature), one in sorted(sounds.items(), key=lambda entry: list(factors).index(entry[0][1])):
        file = f"{source}_{one.layer}_{feature:03d}_{name}.{suffix}"
        amplified = np.clip(one.sound * np.float32(factors[feature]), -1, 1)
        audio.write(run.path("audio", file), amplified, sr=front_end.sr)
        row = rows.loc[(name, feature)]
        numbers = {
            "level (dB over the clip)": row["level_db"],
            "amplified (dB)": 20 * np.log10(factors[feature]),
            "onsets": row["onset"],
            "percussive": row["percussive"],
            "centroid (Hz)": row["centroid_hz"],
            "kick": row["kick"],
        }
        if row.get("stem"):
            numbers["leans to"] = f"{row['stem']} ({row['stem_gain']:+.2f})"
        entries.append(
            {
                "layer": f"Layer {one.layer}",
                "feature": f"{one.layer}, feature {feature}",
                "clip": name,
                "file": f"../audio/{file}",
                "S": front_end.compute(amplified),
                "numbers": numbers,
                "top": float(front_end.compute((one.sound + one.rest) / one.gain).max()),
            }
        )
    return entries


def draw_sounds(clips: Mapping[str, np.ndarray], sounds: Sounds, *, front_end: FrontEnd, prefix: str = "") -> Figure:
    """Draw the spectrograms of clips, and below them those of their auralised features.

    Parameters
    ----------
    clips : dict of str to np.ndarray [shape=(n_bins, n_frames)]
        Spectrograms of the clips in dB.
    sounds : dict of (str, int) to Auralisation
        By clip and feature.
    front_end : musictools.spectrograms.FrontEnd
    prefix : str
        What is written before the number of a feature.

    Returns
    -------
    fig : Figure
    """
    from musictools import plots
    from musictools.plots.auralisation import gallery

    rows = {"the clip": dict(clips)}
    for feature in dict.fromkeys(feature for _, feature in sounds):
        rows[f"{prefix}{feature}"] = {name: front_end.compute(sounds[name, feature].sound) for name in clips}
    fig, axes = plots.figure(rows=len(rows), columns=len(clips), height=0.6 + 1.7 * len(rows), squeeze=False)
    gallery(rows, front_end=front_end, axes=axes)
    return fig

"""Many features at once: what notebook 07 tabulates, draws and writes of them."""

import numpy as np
import pandas as pd

from musictools import audio
from musictools.auralisation import measures
from musictools.auralisation.sound import READINGS, auralise
from musictools.explain.application import evidence

__all__ = ["clicks_kept", "describe", "edges", "raised", "readings", "write_sounds"]


def edges(kernels):
    """What the kernels of a first layer look for, read from their weights.

    Parameters
    ----------
    kernels : np.ndarray [shape=(n_bins, n_frames, 1, n_features)]

    Returns
    -------
    table : pd.DataFrame
        By feature: onset (last column less the first, over the sum of magnitudes: near 1 for an onset detector, near -1
        for one of ends), upwards (top row less the lowest, the same way), level (sum over the sum of magnitudes).
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


def describe(found, clips, *, front_end, stems=None):
    """Every auralised feature in every clip, in numbers.

    Parameters
    ----------
    found : dict of (str, int) to Auralisation
        By clip and feature, as of `sound.auralise`.
    clips : dict of str to np.ndarray [shape=(n,)]
    front_end : musictools.spectrograms.FrontEnd
    stems : dict of str to dict of str to np.ndarray or None
        Clip -> stem -> waveform of the clip's length.

    Returns
    -------
    table : pd.DataFrame
        layer, feature, clip, activation, area (mean of the mask), gap (dB between what was asked for and what sounds,
        see `explain.evidence.gap`), the columns of `measures.measure`; stem and stem_gain: the stem whose likeness to
        the sound exceeds that to the clip most, and by how much.
    """
    rows = []
    for (name, feature), one in found.items():
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


def readings(deconvolution, clips, features, *, front_end, length):
    """Both readings of an image side by side.

    Parameters
    ----------
    deconvolution, clips, features, front_end, length
        As for `sound.auralise`.

    Returns
    -------
    table : pd.DataFrame
        A row a reading, means over features and clips: level_db, onset_correlation, gap (dB), and likeness (correlation
        of the compressed spectrograms of two features in one clip: 1 means that all features sound alike).
    """
    rows = []
    for reading in READINGS:
        found = auralise(deconvolution, clips, features, front_end=front_end, length=length, reading=reading)
        table = describe(found, clips, front_end=front_end)
        pairs = [
            measures.stem_correlations(found[name, a].sound, {"b": found[name, b].sound}, sr=front_end.sr)["b"]
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


def clicks_kept(deconvolution, features, *, front_end, length, reading="mask", seconds=6.0):
    """How much of a click track and of a steady tone features let through, when both sound together.

    Parameters
    ----------
    deconvolution, front_end, length, reading
        As for `sound.auralise`.
    features : sequence of int
    seconds : float > 0

    Returns
    -------
    table : pd.DataFrame
        A row a feature: layer, feature, clicks_db, tone_db: level of each part in the sound against that in the clip,
        by projection, at least -120.
    """
    parts = dict(zip(("clicks", "tone"), measures.clicks_and_tone(sr=front_end.sr, seconds=seconds)))
    found = auralise(
        deconvolution, {"both": sum(parts.values())}, features, front_end=front_end, length=length, reading=reading
    )
    rows = []
    for (_, feature), one in found.items():
        share = {part: abs(float(one.sound @ y)) / float(y @ y) / one.gain for part, y in parts.items()}
        rows.append(
            {"layer": deconvolution.layer, "feature": feature}
            | {f"{part}_db": 20 * np.log10(max(s, 1e-6)) for part, s in share.items()}
        )
    return pd.DataFrame(rows)


def raised(found, *, peak=0.9, most=40.0):
    """How much every feature can be turned up for listening, by one factor for all its clips.

    Parameters
    ----------
    found : dict of (str, int) to Auralisation
    peak : float in (0, 1]
        Of the loudest clip afterwards.
    most : float >= 0
        dB; what is quieter stays quiet: a feature that hears nothing is not to hiss.

    Returns
    -------
    gains : dict of int to float
        Factor by feature, at least 1.
    """
    tops = {}
    for (_, feature), one in found.items():
        tops[feature] = max(tops.get(feature, 0.0), float(np.abs(one.sound).max()))
    return {feature: max(1.0, min(10 ** (most / 20), peak / max(top, 1e-9))) for feature, top in tops.items()}


def write_sounds(run, found, table, *, front_end, source, suffix="mp3"):
    """Write the sounds of one layer and say what the page needs of them.

    Parameters
    ----------
    run : musictools.runs.Run
    found : dict of (str, int) to Auralisation
    table : pd.DataFrame
        Of `describe`.
    front_end : musictools.spectrograms.FrontEnd
    source : str
        Begins the files' names, such as ``"choi2018"``.
    suffix : {"mp3", "ogg", "flac", "wav"}

    Returns
    -------
    entries : list of dict
        For `page.write`, files relative to the folder ``files``; feature after feature.
    """
    gains, entries = raised(found), []
    rows = table.set_index(["clip", "feature"])
    for (name, feature), one in sorted(found.items(), key=lambda item: list(gains).index(item[0][1])):
        file = f"{source}_{one.layer}_{feature:03d}_{name}.{suffix}"
        heard = np.clip(one.sound * np.float32(gains[feature]), -1, 1)
        audio.write(run.path("audio", file), heard, sr=front_end.sr)
        row = rows.loc[(name, feature)]
        numbers = {
            "level (dB over the clip)": row["level_db"],
            "turned up (dB)": 20 * np.log10(gains[feature]),
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
                "S": front_end.compute(heard),
                "numbers": numbers,
                "top": float(front_end.compute((one.sound + one.rest) / one.gain).max()),
            }
        )
    return entries

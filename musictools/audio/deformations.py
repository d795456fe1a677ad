"""Deformations of a waveform: those of the taggers' evaluation, and what rooms, channels and codecs do to a recording.

The result has as many samples as the waveform, except after a time stretch. It is deterministic; what is drawn at
random follows from a seed. If the result would exceed both full scale and the waveform's own peak, the whole is
divided by its peak, so that nothing clips.
"""

from __future__ import annotations

import io

import numpy as np

__all__ = ["CHANNELS", "DEFORMATIONS", "KINDS", "compress", "deform"]

DEFORMATIONS = {  # name -> kind and amount: tagger_slides names the kinds, Won et al. (2020) most of the amounts
    "pitch up": ("pitch_shift", 1), "pitch down": ("pitch_shift", -1),
    "faster": ("time_stretch", 2**0.5), "slower": ("time_stretch", 2**-0.5),
    "compressed lightly": ("compress", 2), "compressed strongly": ("compress", 8),
    **{f"noise {share:.1f}": ("noise", share) for share in (0.1, 0.2, 0.3, 0.4)},
}  # fmt: skip

CHANNELS = {  # name -> kind and amount: what happens to music between the instrument and the file
    "small room": ("room", 0.4), "hall": ("room", 2.0),
    "dull": ("low_pass", 3400), "thin": ("high_pass", 300),
    "mp3, 24 kbit/s": ("mp3", 24), "ogg, lowest quality": ("ogg", 0.0),
}  # fmt: skip

_AMOUNTS = {  # kind -> smallest and largest amount
    "pitch_shift": (-24, 24),
    "time_stretch": (0.1, 10),
    "compress": (1, 100),
    "noise": (0, 1),
    "white_noise": (-60, 120),
    "room": (0.05, 20),
    "low_pass": (20, 96000),
    "high_pass": (1, 96000),
    "mp3": (8, 320),
    "ogg": (0, 1),
}
KINDS = tuple(_AMOUNTS)


def deform(y: np.ndarray, *, sr: int, kind: str, amount: float, seed: int = 0) -> np.ndarray:
    """Change a waveform in one way (`tagger_slides`; McFee et al. 2015 and Won et al. 2020 for the first four kinds).

    Parameters
    ----------
    y : np.ndarray [shape=(n,)]
    sr : int > 0
        Hz.
    kind : str
        One of `KINDS`.
    amount : float
        - pitch_shift: semitones.
        - time_stretch: speed; 2 is twice as fast.
        - compress: ratio of the levels above -30 dB of the peak, see `compress`; 1 changes nothing.
        - noise: share of white noise of the same mean power, in [0, 1]; the music keeps the rest.
        - white_noise: signal-to-noise ratio in dB, exactly; the music is not changed.
        - room: reverberation time in s. The impulse response is the direct sound and noise of the same energy that
          decays by 60 dB in this time; the result has the power of `y`.
        - low_pass, high_pass: cut-off frequency in Hz, where the level is 6 dB lower (Butterworth filter of fourth
          order, applied forwards and backwards, so that nothing is delayed).
        - mp3: constant bit rate in kbit/s, as far as the format has it at this sampling rate.
        - ogg: quality of Vorbis, in [0, 1].
    seed : int >= 0
        Seed of the noise and of the room.

    Returns
    -------
    y : np.ndarray [shape=(m,), float32]
        In [-1, 1] if `y` is; n samples, but round(n / amount) after a time stretch. Silence stays silence.

    Raises
    ------
    ValueError
        If the kind is unknown, the amount out of range, or the codec does not know the sampling rate.

    Examples
    --------
    >>> y = np.sin(np.arange(16000) / 5)
    >>> deform(y, sr=16000, kind="noise", amount=0.1).shape
    (16000,)
    >>> DEFORMATIONS["slower"]
    ('time_stretch', 0.7071067811865476)
    """
    if kind not in _AMOUNTS:
        raise ValueError(f"kind must be one of {', '.join(_AMOUNTS)}. Got {kind!r}.")
    low, high = _AMOUNTS[kind]
    high = min(high, sr / 2) if kind.endswith("_pass") else high
    if not low <= amount <= high:
        raise ValueError(f"amount of {kind} must lie between {low} and {high:g}. Got {amount!r}.")
    y = np.asarray(y, dtype=np.float32)
    if not y.any():
        return np.zeros(round(len(y) / amount) if kind == "time_stretch" else len(y), np.float32)
    changed = _changed(y, sr, kind, amount, np.random.default_rng(seed))
    peak, before = float(np.abs(changed).max()), float(np.abs(y).max())
    if peak > max(before, 1.0):
        changed = changed / peak
    return changed.astype(np.float32)


def compress(
    y: np.ndarray,
    *,
    sr: int,
    ratio: float,
    threshold: float = -30.0,
    attack: float = 0.005,
    release: float = 0.1,
    make_up: float | None = None,
) -> np.ndarray:
    """Compress the dynamic range: levels above the threshold come closer to it (Giannoulis et al. 2012).

    The level is the highest magnitude within the attack time, and sinks exponentially afterwards.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)]
    sr : int > 0
        Hz.
    ratio : float >= 1
        So many dB above the threshold become one.
    threshold : float
        dB, relative to the peak of `y`.
    attack, release : float > 0
        Seconds.
    make_up : float or None
        Gain of the result in dB. None: the gain that restores the mean power of `y`.

    Returns
    -------
    y : np.ndarray [shape=(n,), float32]
        May exceed [-1, 1].

    Examples
    --------
    >>> y = np.sin(np.arange(16000) / 5) * np.linspace(0, 1, 16000)
    >>> float(np.abs(compress(y, sr=16000, ratio=4)).max()) < 1
    True
    """
    from scipy.ndimage import maximum_filter1d
    from scipy.signal import lfilter

    y = np.asarray(y, dtype=np.float32)
    if not y.any():
        return y.copy()
    level = maximum_filter1d(np.abs(y), max(1, round(attack * sr)))
    decay = np.exp(-1 / (release * sr))
    level = np.maximum(level, lfilter([1 - decay], [1, -decay], level))
    over = 20 * np.log10(np.maximum(level / np.abs(y).max(), 1e-6)) - threshold
    changed = y * 10 ** (-(1 - 1 / ratio) * np.maximum(over, 0) / 20)
    gain = np.sqrt(np.mean(y**2) / np.mean(changed**2)) if make_up is None else 10 ** (make_up / 20)
    return (changed * gain).astype(np.float32)


def _changed(y, sr, kind, amount, rng):
    if kind in ("pitch_shift", "time_stretch"):
        import librosa

        if kind == "pitch_shift":
            return librosa.effects.pitch_shift(y, sr=sr, n_steps=amount)
        return librosa.effects.time_stretch(y, rate=amount)
    if kind == "compress":
        return compress(y, sr=sr, ratio=amount)
    if kind == "noise":
        noise = rng.standard_normal(y.size).astype(np.float32)
        return (1 - amount) * y + amount * np.sqrt(np.mean(y**2)) * noise
    if kind == "white_noise":
        noise = rng.standard_normal(y.size)
        return y + noise * np.sqrt(np.mean(y.astype(float) ** 2) / np.mean(noise**2)) * 10 ** (-amount / 20)
    if kind == "room":
        return _room(y, sr, amount, rng)
    if kind in ("low_pass", "high_pass"):
        return _passed(y, sr, kind, amount)
    return _coded(y, sr, kind, amount)


def _room(y, sr, seconds, rng):
    """Convolution with an impulse and a tail of decaying noise."""
    from scipy.signal import fftconvolve

    time = np.arange(1, round(1.2 * seconds * sr)) / sr  # down to -72 dB
    tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / seconds)
    response = np.concatenate([[1.0], tail / np.linalg.norm(tail)])
    changed = fftconvolve(y, response)[: len(y)]
    return changed * np.sqrt(np.mean(y.astype(float) ** 2) / np.mean(changed**2))


def _passed(y, sr, kind, frequency):
    from scipy.signal import butter, sosfiltfilt

    if frequency >= sr / 2:
        return y if kind == "low_pass" else 0 * y
    sections = butter(4, frequency, btype=kind.removesuffix("_pass"), fs=sr, output="sos")
    return sosfiltfilt(sections, y, padlen=min(27, len(y) - 1))


_UNTOLD_DELAY = 576 + 529  # samples of LAME's encoder and of a decoder, in files too small for the tag that states them


def _coded(y, sr, kind, amount):
    """Encode, decode; the peak is lowered before and restored after, since coded sound may overshoot."""
    import soundfile

    if kind == "mp3":
        low, high = (32, 320) if sr >= 32000 else (8, 160) if sr >= 16000 else (8, 64)
        level = min(max((high - amount) / (high - low), 0.0), 0.999)
        options = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "CONSTANT", "compression_level": level}
    else:
        options = {"format": "OGG", "subtype": "VORBIS", "compression_level": min(1 - amount, 0.999)}
    scale, file = 2 * float(np.abs(y).max()), io.BytesIO()
    try:
        soundfile.write(file, y / scale, sr, **options)
        file.seek(0)
        changed, _ = soundfile.read(file, dtype="float32")
    except soundfile.LibsndfileError as error:
        raise ValueError(f"kind {kind} does not know the sampling rate {sr} Hz ({error.error_string}).") from None
    if len(changed) > len(y):
        changed = changed[_UNTOLD_DELAY:]
    return scale * np.pad(changed[: len(y)], (0, max(0, len(y) - len(changed))))

"""From notes to sound: every instrument on its own, then one common gain.

The synthesizer gives each pitch once, at full velocity and without release; velocity, decay, release, vibrato, tone and
reverberation are added here. Waveforms are float32 at `SR`, exactly `N_SAMPLES` long.
"""

from __future__ import annotations

import functools

import numpy as np
import scipy.fft
import scipy.ndimage

from . import soundfont
from .composing import compose
from .instruments import DRUM_DECAY, INSTRUMENTS, PADS, VOICES
from .planning import ClipPlan

__all__ = ["N_SAMPLES", "SR", "mix", "stems"]

SR = 16_000
N_SAMPLES = 465_984  # 29.124 s, as MagnaTagATune's clips
NOTE_SECONDS = 3
LOOP = (1.0, 2.8)  # seconds between which a sustained note goes to and fro when it is longer than the sample
PEAK = 0.92
RUMBLE = 35.0  # Hz; some of the bank's samples have an offset
SUNG = (40, 42, 110, 73, 75, 77, 111, 104, 68, 66, 65, *VOICES)  # programs whose long notes have vibrato


@functools.lru_cache(maxsize=1024)
def _sample(program, pitch, is_drum):
    """Return one long note at `SR`; where the synthesizer fails, a neighbouring pitch brought to the right one."""
    for shift in (0, -1, 1, -2, 2, -3, 3, -5, 5):
        y = soundfont.play(program, pitch + shift, float(NOTE_SECONDS), is_drum=is_drum)
        if np.isfinite(y).all() and 1e-3 < np.abs(y).max() < 4:
            break
    else:
        raise RuntimeError(f"The synthesizer cannot play pitch {pitch} of program {program}.")
    from scipy.signal import resample_poly  # takes a second to load, and only a build needs it

    y = resample_poly(y, 1, soundfont.RENDER_SR // SR).astype(np.float32)
    if shift and not is_drum:
        y = np.interp(np.arange(int(len(y) * 2 ** (shift / 12))) * 2 ** (-shift / 12), np.arange(len(y)), y)
    return y[: NOTE_SECONDS * SR].astype(np.float32)


@functools.lru_cache(maxsize=256)
def _level(program, is_drum):
    """Return the level of a program, to make all programs equally loud."""
    if is_drum:
        return 0.12
    return float(np.mean([np.std(_sample(program, pitch, False)[: SR // 2]) for pitch in (50, 62, 72)]))


@functools.lru_cache(maxsize=256)
def _stroke(kit, drum):
    """Return one drum stroke, dying away; drums of a kit are brought half-way to equal loudness: snares are faint."""
    seconds = DRUM_DECAY.get(drum, 0.2)
    y = _sample(kit, drum, True)[: int(5 * seconds * SR)]
    y = y * np.exp(-np.arange(len(y)) / (seconds * SR))
    level = np.sqrt(np.sum(y[: SR // 5] ** 2) / (SR // 5))
    return (y * np.clip((0.05 / max(level, 1e-4)) ** 0.6, 0.5, 4.0)).astype(np.float32)


def _note(stem, seconds, pitch, velocity):
    """Return one note as it is played, release included."""
    if stem.is_drum:
        return _stroke(stem.program, pitch) * np.float32((velocity / 100) ** 1.8)
    y = _sample(stem.program, pitch, False)
    instrument = INSTRUMENTS[stem.program]
    n = int((seconds + instrument.release) * SR)
    at = np.arange(n, dtype=np.float32)
    if stem.program in SUNG and seconds > 0.3:
        at = at + np.float32(12.0) * np.sin(np.float32(2 * np.pi * 5.5 / SR) * at) * np.minimum(at / (0.4 * SR), 1)
        y = _read(y, at)
    elif n > len(y):
        y = _read(y, at)
    else:
        y = y[:n].copy()
    if instrument.decay:
        y = y * np.exp(-np.arange(len(y), dtype=np.float32) / np.float32(instrument.decay * SR))
    fade = min(int(instrument.release * SR), len(y))
    y[len(y) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32) ** 2
    return y * np.float32((velocity / 100) ** 1.8)


def _read(y, at):
    """Read a sample at fractional positions, to and fro in its loop beyond the end."""
    low, high = LOOP[0] * SR, LOOP[1] * SR
    over = at > high
    at = np.where(over, high - np.abs((at - high) % (2 * (high - low)) - 0), at)
    at = np.where(at < low * over, 2 * low - at, at)
    k = np.clip(at.astype(np.int32), 0, len(y) - 2)
    fraction = (at - k).astype(np.float32)
    return y[k] * (1 - fraction) + y[k + 1] * fraction


def _dry(stem):
    """Return a stem without reverberation and tone."""
    y = np.zeros(N_SAMPLES, dtype=np.float32)
    for start, seconds, pitch, velocity in stem.notes.tolist():
        note = _note(stem, seconds, int(pitch), velocity)
        first = round(start * SR)
        skip = max(-first, 0)
        note = note[skip : max(N_SAMPLES - first, 0)]
        y[max(first, 0) : max(first, 0) + len(note)] += note
    return y * np.float32(10 ** (stem.gain / 20) * 0.1 / _level(stem.program, stem.is_drum))


def _acoustics(style, n):
    """Return the transfer functions of an artist's tone (four bands) and reverberation (a decaying noise)."""
    frequencies = scipy.fft.rfftfreq(n, 1 / SR)
    bands = np.log2(np.array([60.0, 250.0, 1000.0, 4000.0]))
    gain = np.interp(np.log2(np.maximum(frequencies, 20)), bands, style.tone)
    seconds, _ = style.reverb
    rng = np.random.default_rng([10, *style.seed[:2]])
    length = int(1.2 * seconds * SR)
    impulse = rng.standard_normal(length) * np.exp(-6.9 * np.arange(length) / (seconds * SR))
    impulse /= np.sqrt(np.sum(impulse**2))
    tone = (10 ** (gain / 20) * frequencies**4 / (frequencies**4 + RUMBLE**4)).astype(np.float32)
    return tone, scipy.fft.rfft(impulse.astype(np.float32), n)


def stems(plan: ClipPlan) -> dict[str, np.ndarray]:
    """Render every instrument of a clip.

    Parameters
    ----------
    plan : ClipPlan
        One of `planning.plan`.

    Returns
    -------
    stems : dict of str to np.ndarray [shape=(465984,), float32]
        Waveforms at 16 kHz by stem name; their sum is the clip before MP3 coding, with the plan's level and no peak
        above 1. A limiter common to all stems takes the peaks, so that the sum stays exact.
    """
    score = compose(plan)
    style = plan.style
    n = scipy.fft.next_fast_len(N_SAMPLES + int(2.4 * SR), real=True)
    tone, reverb = _acoustics(style, n)
    wet = {}
    for name, stem in score.stems.items():
        send = style.reverb[1] * (0.2 if stem.program in range(32, 40) else 1.5 if stem.program in PADS else 1.0)
        spectrum = scipy.fft.rfft(_dry(stem), n) * tone
        spectrum += spectrum * (np.float32(send) * reverb)
        wet[name] = scipy.fft.irfft(spectrum, n)[:N_SAMPLES].astype(np.float32)
    gain = _gain(sum(wet.values()), style.level)
    return {name: y * gain for name, y in wet.items()}


def _gain(mix, level):
    """Return the common gain over time that brings a mix to a level in dB and keeps its peaks below `PEAK`."""
    gain = 10 ** (level / 20) / max(float(np.sqrt(np.mean(mix**2))), 1e-9)
    peaks = scipy.ndimage.maximum_filter1d(np.abs(mix) * gain, SR // 50)
    over = scipy.ndimage.uniform_filter1d(PEAK / np.maximum(peaks, PEAK), SR // 100)
    return (gain * over).astype(np.float32)


def mix(plan: ClipPlan) -> np.ndarray:
    """Render a clip.

    Parameters
    ----------
    plan : ClipPlan
        One of `planning.plan`.

    Returns
    -------
    y : np.ndarray [shape=(465984,), float32]
        The sum of `stems`.
    """
    return np.sum(list(stems(plan).values()), axis=0, dtype=np.float32)

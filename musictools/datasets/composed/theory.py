"""Scales, keys and chords. Pitches are MIDI numbers, pitch classes 0-11 with C = 0, degrees count from 0."""

import dataclasses

__all__ = ["Chord", "chord"]

NOTE_NAMES = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "bhairav": (0, 1, 4, 5, 7, 8, 11),
    "todi": (0, 1, 3, 6, 7, 8, 11),
}

QUALITIES = {
    (4, 7): "maj",
    (3, 7): "min",
    (3, 6): "dim",
    (4, 8): "aug",
    (4, 6): "maj(b5)",
    (2, 6): "sus2(b5)",
    (2, 7): "sus2",
    (3, 8): "min(#5)",
    (5, 8): "sus4(#5)",
}


@dataclasses.dataclass(frozen=True)
class Chord:
    """A triad on a scale.

    Parameters
    ----------
    root : int in [0, 11]
        Pitch class of the root.
    tones : tuple of int
        Pitch classes of root, third and fifth.
    label : str
        For example ``"A:min"``.
    """

    root: int
    tones: tuple
    label: str


def chord(degree: int, *, key: int, mode: str) -> Chord:
    """Return the triad on a degree of a scale.

    Parameters
    ----------
    degree : int
        Scale degree, 0 is the tonic.
    key : int in [0, 11]
        Pitch class of the tonic.
    mode : str
        A name in `SCALES`.

    Returns
    -------
    chord : Chord

    Examples
    --------
    >>> chord(5, key=0, mode="major").label
    'A:min'
    """
    scale = SCALES[mode]
    tones = tuple((key + scale[(degree + step) % 7]) % 12 for step in (0, 2, 4))
    quality = QUALITIES[tuple((tone - tones[0]) % 12 for tone in tones[1:])]
    return Chord(tones[0], tones, f"{NOTE_NAMES[tones[0]]}:{quality}")


def nearest(pitch_class, centre):
    """Return the pitch of a pitch class that lies in [centre - 6, centre + 5]."""
    return int(centre - 6 + (pitch_class - (centre - 6)) % 12)


def voicing(tones, centre):
    """Return the pitches of a chord close around `centre`, low to high; between chords the voices move little."""
    return sorted(nearest(tone, centre) for tone in tones)


def scale_pitches(key, mode, centre, *, reach=12):
    """Return the pitches of a scale from `reach` below to `reach` above `centre`, low to high."""
    tones = {(key + step) % 12 for step in SCALES[mode]}
    return [pitch for pitch in range(int(centre) - reach, int(centre) + reach + 1) if pitch % 12 in tones]

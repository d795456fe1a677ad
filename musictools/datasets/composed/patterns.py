"""What players do in one bar: bass lines, accompaniments, melodies, drums.

Every style is a function ``(bar, centre) -> notes``; a note is (step, length, pitch, velocity) with sixteenth notes as
steps. What must come back when a phrase comes back is drawn from ``bar.material``, what may differ from ``bar.rng``.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from .instruments import DRUM_PATTERNS
from .theory import Chord, nearest, scale_pitches, voicing

LOUDNESS = {"X": 118, "x": 96, "o": 62}


@dataclasses.dataclass(frozen=True)
class Bar:
    """One bar of music.

    Parameters
    ----------
    steps : int
        Sixteenth notes in the bar.
    chords : tuple of (int, int, Chord)
        First step, length in steps and chord.
    key : int in [0, 11]
        Pitch class of the tonic.
    mode : str
        A name in `theory.SCALES`.
    index : int
        Number of the bar in its section.
    material, rng : np.random.Generator
        For what belongs to the phrase, and for what belongs to this bar alone.
    """

    steps: int
    chords: tuple
    key: int
    mode: str
    index: int
    material: np.random.Generator
    rng: np.random.Generator

    def chord_at(self, step: int) -> Chord:
        """Return the chord that sounds at a step.

        Parameters
        ----------
        step : int >= 0
            Sixteenth notes from the start of the bar.

        Returns
        -------
        chord : Chord
        """
        return next(chord for first, length, chord in reversed(self.chords) if first <= step)


def _repeat(bar, figure):
    """Collect the notes of ``figure(chord, length)`` over the chords of a bar."""
    return [
        (first + step, length, pitch, velocity)
        for first, span, chord in bar.chords
        for step, length, pitch, velocity in figure(chord, span)
        if step < span
    ]


def root(bar, centre):
    """Hold the root, now and then the fifth on the second half."""
    fifth = bar.material.random() < 0.3

    def figure(chord, span):
        if fifth and span >= 8:
            low = nearest(chord.tones[2], centre)
            return [(0, span // 2, nearest(chord.root, centre), 92), (span // 2, span - span // 2, low, 80)]
        return [(0, span, nearest(chord.root, centre), 92)]

    return _repeat(bar, figure)


def eighths(bar, centre):
    """Repeat the root in eighths, with a passing note at the end."""
    lift = bar.material.random() < 0.4

    def figure(chord, span):
        low = nearest(chord.root, centre)
        notes = [(step, 1.8, low, 96 if step % 4 == 0 else 82) for step in range(0, span, 2)]
        if lift:
            notes[-1] = (span - 2, 1.8, nearest(chord.tones[2], centre), 88)
        return notes

    return _repeat(bar, figure)


def octaves(bar, centre):
    """Alternate the root with its octave."""
    return _repeat(
        bar,
        lambda chord, span: [
            (step, 1.6, nearest(chord.root, centre) + (12 if step % 4 else 0), 90) for step in range(0, span, 2)
        ],
    )


def offbeat(bar, centre):
    """Root between the beats."""
    return _repeat(
        bar, lambda chord, span: [(step, 1.6, nearest(chord.root, centre), 95) for step in range(2, span, 4)]
    )


def alternate(bar, centre):
    """Root and fifth on the strong beats."""
    return _repeat(
        bar,
        lambda chord, span: [
            (step, 3.5, nearest(chord.tones[0 if k % 2 == 0 else 2], centre), 95 - 8 * (k % 2))
            for k, step in enumerate(range(0, span, 8 if span % 8 == 0 else 4))
        ],
    )


def walk(bar, centre):
    """Walk in quarters or eighths through chord and scale."""
    pace = 4 if bar.material.random() < 0.6 else 2
    scale = scale_pitches(bar.key, bar.mode, centre)
    notes, at = [], None
    for step in range(0, bar.steps, pace):
        chord = bar.chord_at(step)
        if at is None or step % 8 == 0:
            at = nearest(chord.tones[0 if step == 0 else 2], centre)
        else:
            near = [pitch for pitch in scale if 0 < abs(pitch - at) <= 4]
            at = int(bar.material.choice(near))
        notes.append((step, pace * 0.95, at, 90))
    return notes


def gallop_bass(bar, centre):
    """Eighth and two sixteenths on the root."""
    return [(step, 0.9, nearest(bar.chord_at(step).root, centre), 94) for step in range(bar.steps) if step % 4 != 1]


def gallop(bar, centre):
    """Palm-muted galloping power chords, opened at the change of chord."""
    notes = []
    for step in range(bar.steps):
        if step % 4 == 1:
            continue
        low = nearest(bar.chord_at(step).root, centre)
        opened = step % 8 == 0
        for pitch in (low, low + 7):
            notes.append((step, 2.0 if opened else 0.7, pitch, 104 if opened else 86))
    return notes


def power(bar, centre):
    """Root, fifth and octave, held or in eighths."""
    driven = bar.material.random() < 0.6

    def figure(chord, span):
        low = nearest(chord.root, centre)
        if not driven:
            return [(0, span, low + up, 98) for up in (0, 7, 12)]
        return [
            (step, 1.9 if step % 4 else 1.2, low + up, 102 if step % 8 == 0 else 88)
            for step in range(0, span, 2)
            for up in (0, 7)
        ]

    return _repeat(bar, figure)


def riff(bar, centre):
    """A low figure of the phrase's own rhythm on chord root and scale."""
    scale = scale_pitches(bar.key, bar.mode, centre, reach=9)
    notes, step = [], 0
    while step < bar.steps:
        length = int(bar.material.choice([1, 2, 2, 3, 4]))
        low = nearest(bar.chord_at(step).root, centre)
        steps_up = int(bar.material.choice([0, 0, 0, 1, 2, 4]))
        above = [pitch for pitch in scale if pitch >= low] or [low]
        pitch = low if steps_up == 0 else above[min(steps_up, len(above) - 1)]
        notes.append((step, length * 0.9, pitch, 100 if step % 4 == 0 else 88))
        step += length
    return notes


def block(bar, centre):
    """Chords on the strong beats."""
    pace = int(bar.material.choice([4, 8, 8]))
    return _repeat(
        bar,
        lambda chord, span: [
            (step, min(pace, span - step) * 0.95, pitch, 84 - 6 * (step > 0))
            for step in range(0, span, pace)
            for pitch in voicing(chord.tones, centre)
        ],
    )


def pad(bar, centre):
    """Chords held as long as they last."""
    return _repeat(bar, lambda chord, span: [(0, span, pitch, 76) for pitch in voicing(chord.tones, centre)])


def choral(bar, centre):
    """Held chords of four voices, the upper moving at the half."""

    def figure(chord, span):
        low, middle, high = voicing(chord.tones, centre)
        half = span // 2
        return [
            (0, span, low, 84),
            (0, span, middle, 80),
            (0, half, high, 86),
            (half, span - half, low + 12 if high < low + 9 else high, 84),
            (0, span, low - 12 if centre > 60 else low, 70),
        ]

    return _repeat(bar, figure)


def stabs(bar, centre):
    """Short chords between the beats."""
    places = (2, 6, 10, 14) if bar.material.random() < 0.5 else (0, 3, 6, 10, 12)
    return [
        (step, 1.2, pitch, 88)
        for step in places
        if step < bar.steps
        for pitch in voicing(bar.chord_at(step).tones, centre)
    ]


def strum(bar, centre):
    """Strummed chords, down and up, one string after the other."""
    hits = ((0, 1), (4, 1), (6, 0), (8, 1), (10, 0), (12, 1), (14, 0))
    if bar.material.random() < 0.4:
        hits = ((0, 1), (3, 0), (6, 0), (8, 1), (11, 0), (14, 0))
    notes = []
    for step, down in hits:
        if step >= bar.steps:
            continue
        tones = voicing(bar.chord_at(step).tones, centre)
        tones = [*tones, tones[0] + 12]
        order = tones if down else tones[:0:-1]
        notes += [(step + 0.12 * k, 2.6, pitch, (96 if down else 78) - 4 * k) for k, pitch in enumerate(order)]
    return notes


def broken(bar, centre):
    """Broken chords in eighths, up and down."""
    order = bar.material.permutation(4) if bar.material.random() < 0.4 else np.array([0, 1, 2, 3])
    turn = np.concatenate([order, order[2:0:-1]])

    def figure(chord, span):
        tones = voicing(chord.tones, centre)
        tones = [*tones, tones[0] + 12]
        return [(step, 3.5, tones[turn[step // 2 % 6]], 82 + 8 * (step == 0)) for step in range(0, span, 2)]

    return _repeat(bar, figure)


def alberti(bar, centre):
    """Low, high, middle, high; the classical left hand."""

    def figure(chord, span):
        low, middle, high = voicing(chord.tones, centre)
        return [(step, 2.2, (low, high, middle, high)[step // 2 % 4], 78) for step in range(0, span, 2)]

    return _repeat(bar, figure)


def sixteenths(bar, centre):
    """An arpeggio in sixteenths with gaps, over two octaves."""
    gaps = bar.material.random(16) < 0.2
    order = bar.material.permutation(6)

    def figure(chord, span):
        tones = voicing(chord.tones, centre)
        tones = [*tones, *(pitch + 12 for pitch in tones)]
        return [(step, 0.9, tones[order[step % 6]], 86) for step in range(span) if not gaps[step % 16]]

    return _repeat(bar, figure)


def picking(bar, centre):
    """Finger picking: a roll of thirds of a figure against the bar's beats."""
    roll = (0, 2, 3, 0, 2, 3, 1, 3) if bar.material.random() < 0.6 else (0, 3, 1, 3, 2, 3, 1, 3)
    pace = 1 if bar.material.random() < 0.4 else 2

    def figure(chord, span):
        tones = voicing(chord.tones, centre)
        tones = [*tones, tones[0] + 12]
        return [(k * pace, 2.5, tones[roll[k % 8]], 92 if k % 4 == 0 else 80) for k in range(span // pace)]

    return _repeat(bar, figure)


def figures(bar, centre):
    """Running baroque figures: the scale in sixteenths or eighths between chord tones."""
    pace = 1 if bar.material.random() < 0.5 else 2
    scale = scale_pitches(bar.key, bar.mode, centre, reach=14)
    shape = bar.material.choice([-1, 1, 1, 2, -2], size=32)
    notes, at = [], 0
    for k, step in enumerate(range(0, bar.steps, pace)):
        if step % 4 == 0:
            tone = nearest(bar.chord_at(step).tones[int(shape[k]) % 3], centre)
            at = scale.index(tone) if tone in scale else at
        else:
            at = int(np.clip(at + shape[k], 0, len(scale) - 1))
        notes.append((step, pace * 0.95, scale[at], 80 + 8 * (step % 4 == 0)))
    return notes + [(first, span, nearest(chord.root, centre - 12), 78) for first, span, chord in bar.chords]


def drone(bar, centre):
    """Tonic and fifth, plucked again in turn, as a tanpura does."""
    low = nearest(bar.key, centre)
    tones = (low + 7, low + 12, low + 12, low)
    pace = max(bar.steps // 4, 1)
    return [(k * pace, pace * 1.6, tones[k], 78) for k in range(4)]


def _line(bar, centre, *, lengths, reach, snap, rests=0.0):
    """Draw a line through the scale that meets chord tones on `snap` steps; rhythm and contour are the phrase's."""
    scale = scale_pitches(bar.key, bar.mode, centre, reach=reach)
    at = len(scale) // 2 + int(bar.material.integers(-2, 3))
    notes, step = [], 0
    while step < bar.steps:
        length = min(int(bar.material.choice(lengths)), bar.steps - step)
        at = int(np.clip(at + bar.material.choice([-2, -1, -1, 0, 1, 1, 2]), 0, len(scale) - 1))
        rest = bar.material.random() < rests
        if step % snap == 0 or length >= 4:
            tones = bar.chord_at(step).tones
            near = [k for k, pitch in enumerate(scale) if pitch % 12 in tones]
            at = min(near, key=lambda k: abs(k - at)) if near else at
        if not rest:
            notes.append((step, length * 0.95, scale[at], 100 if step % 8 == 0 else 88))
        step += length
    return notes


def melody(bar, centre):
    """A melody of quarters, eighths and some sixteenths; the fourth bar of a phrase rests on a long note."""
    lengths = (8, 4, 6) if bar.index % 4 == 3 else (2, 2, 4, 4, 3, 1, 2)
    return _line(bar, centre, lengths=lengths, reach=9, snap=8, rests=0.04)


def counter(bar, centre):
    """A slower second voice."""
    return _line(bar, centre, lengths=(4, 8, 4), reach=7, snap=4)


def song(bar, centre):
    """A sung line: syllables in eighths and quarters, breath at the end of the phrase."""
    lengths = (8, 8, 4) if bar.index % 4 == 3 else (2, 2, 4, 3, 4)
    return _line(bar, centre, lengths=lengths, reach=7, snap=8, rests=0.12)


def aria(bar, centre):
    """A sung line of long notes and runs."""
    lengths = (8, 6, 12) if bar.index % 2 == 1 else (4, 8, 2, 2, 6)
    return _line(bar, centre, lengths=lengths, reach=10, snap=4)


def raga(bar, centre):
    """A line that moves stepwise through the scale, with quick turns before long notes."""
    notes = _line(bar, centre, lengths=(2, 4, 4, 8, 1, 1, 6), reach=9, snap=8, rests=0.03)
    scale = scale_pitches(bar.key, bar.mode, centre, reach=12)
    turns = []
    for step, length, pitch, velocity in notes:
        if length > 3 and pitch in scale[1:-1] and bar.material.random() < 0.6:
            k = scale.index(pitch)
            turns += [(step, 0.5, scale[k + 1], velocity - 8), (step + 0.5, 0.5, pitch, velocity - 14)]
            step, length = step + 1, length - 1
        turns.append((step, length, pitch, velocity))
    return turns


def drums(bar: Bar, pattern: str, *, last: bool) -> list[tuple]:
    """Return the drum notes of a bar; the last bar of a section ends in a fill.

    Parameters
    ----------
    bar : Bar
        The bar; of waltzes the pattern's first three quarters are played.
    pattern : str
        Name in `instruments.DRUM_PATTERNS`.
    last : bool
        Play a fill in the last quarter.

    Returns
    -------
    notes : list of (step, length, pitch, velocity)
    """
    notes = []
    for drum, row in DRUM_PATTERNS[pattern].items():
        for step, sign in enumerate(row[: bar.steps]):
            if sign != "." and not (last and step >= bar.steps - 4 and drum > 36):
                notes.append((step, 1, drum, LOUDNESS[sign]))
    if last:
        toms = (48, 47, 45, 43) if not set(DRUM_PATTERNS[pattern]) & {60, 61, 62, 63} else (60, 61, 60, 64)
        notes += [(bar.steps - 4 + k, 1, int(toms[k]), 90 + 4 * k) for k in range(4) if bar.rng.random() < 0.85]
    if bar.index == 0 and 36 in DRUM_PATTERNS[pattern]:
        notes.append((0, 1, 49, 84))
    return notes


STYLES = {
    "root": root, "eighths": eighths, "octaves": octaves, "offbeat": offbeat, "alternate": alternate, "walk": walk,
    "gallop bass": gallop_bass, "gallop": gallop, "power": power, "riff": riff, "block": block, "pad": pad,
    "choral": choral, "stabs": stabs, "strum": strum, "broken": broken, "alberti": alberti, "sixteenths": sixteenths,
    "picking": picking, "figures": figures, "drone": drone, "melody": melody, "counter": counter, "song": song,
    "aria": aria, "raga": raga,
}  # fmt: skip

__all__ = ["STYLES", "Bar", "drums"]

"""From a plan to notes: the bars of the track that lie in the clip, section by section."""

from __future__ import annotations

import dataclasses

import numpy as np

from .instruments import HAND_DRUMS, INSTRUMENTS, VOICES
from .patterns import STYLES, Bar, drums
from .planning import CLIP_SECONDS, KIND_OF, ClipPlan
from .theory import NOTE_NAMES, chord

__all__ = ["Score", "Stem", "compose"]

# Bars of a section and which of the three progressions it takes; the form is repeated to the track's end.
FORM = (("intro", 4, 0), ("verse", 8, 0), ("chorus", 8, 1), ("verse", 8, 0), ("chorus", 8, 1), ("bridge", 8, 2))
LOUDER = {"intro": 0.85, "verse": 0.92, "chorus": 1.0, "bridge": 0.88}
PHRASE = (0, 1, 0, 2)  # a melody's four bars: a b a c
MALE_BELOW = 62  # a sung line whose centre is lower is a man's
CHORDAL = ("choral", "pad", "block", "stabs")


@dataclasses.dataclass(frozen=True)
class Stem:
    """The notes of one instrument.

    Parameters
    ----------
    program : int
        General MIDI program or drum kit.
    is_drum : bool
        Whether the percussion bank plays.
    gain : float
        Level in dB beside the other stems.
    notes : np.ndarray [shape=(n_notes, 4)]
        Start and duration in seconds from the clip's start (a note may begin before it), MIDI pitch, velocity.
    """

    program: int
    is_drum: bool
    gain: float
    notes: np.ndarray


@dataclasses.dataclass(frozen=True)
class Score:
    """The music of one clip.

    Parameters
    ----------
    tempo : float
        Beats per minute.
    key : str
        For example ``"A minor"``.
    beats : int
        Beats in a bar.
    downbeats : tuple of float
        Starts of the bars in seconds within the clip.
    chords : tuple of (float, float, str, tuple)
        Start and end in seconds, label, pitch classes.
    stems : dict of str to Stem
        By name, in the order in which they are summed.
    """

    tempo: float
    key: str
    beats: int
    downbeats: tuple
    chords: tuple
    stems: dict


def compose(plan: ClipPlan) -> Score:
    """Write the notes of a clip.

    Parameters
    ----------
    plan : ClipPlan
        One of `planning.plan`.

    Returns
    -------
    score : Score
        Notes, chords and metre; neighbouring clips of a track share sections, not bars.

    Examples
    --------
    >>> from musictools.datasets import composed
    >>> score = compose(composed.plan(400)[0])
    >>> score.key, list(score.stems)
    ('Db major', ['violin', 'harpsichord', 'cello'])
    """
    style = plan.style
    bar_seconds = style.beats * 60 / style.tempo
    first = max(int(plan.start / bar_seconds) - 1, 0)
    count = int(np.ceil((plan.start + CLIP_SECONDS) / bar_seconds)) - first
    chords, notes = [], {}
    for number in range(first, first + count):
        at = number * bar_seconds - plan.start
        section, index, last, progression = _section(number)
        bar = _bar(style, section, index, progression, number)
        seconds = bar_seconds / bar.steps
        chords += [(at + a * seconds, at + (a + n) * seconds, c.label, c.tones) for a, n, c in bar.chords]
        for k, player in enumerate(style.players):
            if _plays(style, k, section, index):
                played = _play(style, k, player, section, index, last, progression, number)
                notes.setdefault(k, []).append(_perform(played, style, k, number, at, seconds, LOUDER[section]))
    downbeats = np.arange(first, first + count) * bar_seconds - plan.start
    return Score(
        tempo=style.tempo,
        key=f"{NOTE_NAMES[style.key]} {style.mode}",
        beats=style.beats,
        downbeats=tuple(round(float(t), 6) for t in downbeats if 0 <= t < CLIP_SECONDS),
        chords=_within(chords),
        stems=_stems(style.players, notes),
    )


def _section(number):
    """Return the section of a bar: name, index in it, whether it is its last bar, progression."""
    number %= sum(length for _, length, _ in FORM)
    for name, length, progression in FORM:
        if number < length:
            return name, number, number == length - 1, progression
        number -= length
    raise AssertionError("the form is longer than its bars")


def _bar(style, section, index, progression, number, player=0):
    """Return a bar with its chords and the random streams of one player."""
    steps = 4 * style.beats
    degrees = style.progressions[progression]
    n = style.changes
    bounds = [k * steps // n // 2 * 2 for k in range(n)] + [steps]
    played = [chord(degrees[(index * n + k) % len(degrees)], key=style.key, mode=style.mode) for k in range(n)]
    code = [name for name, _, _ in FORM].index(section)
    return Bar(
        steps=steps,
        chords=tuple((a, b - a, c) for a, b, c in zip(bounds[:-1], bounds[1:], played, strict=True)),
        key=style.key,
        mode=style.mode,
        index=index,
        material=np.random.default_rng([6, *style.seed, player, code, PHRASE[index % 4] if player else 0]),
        rng=np.random.default_rng([7, *style.seed, player, number]),
    )


def _plays(style, k, section, index):
    """Tell whether a player plays: the intro and the bridge are thinner, but the first player always plays."""
    player = style.players[k]
    if k == 0 or len(style.players) <= 2:
        return True
    if section == "intro":
        return KIND_OF.get(player.style) != "melody" and not (player.style == "drums" and index < 2)
    if section == "bridge":
        return (style.seed[-1] + k) % 3 > 0
    return True


def _play(style, k, player, section, index, last, progression, number):
    """Return what a player plays in a bar as (step, length, pitch, velocity)."""
    repeats = KIND_OF.get(player.style) == "melody"
    bar = _bar(style, section, index, progression, number, player=1 + k)
    if player.style == "drums":
        return drums(bar, player.pattern, last=last)
    if not repeats:  # an accompaniment keeps its figure for the whole section
        code = [name for name, _, _ in FORM].index(section)
        bar = dataclasses.replace(bar, material=np.random.default_rng([8, *style.seed, k, code]))
    return STYLES[player.style](bar, player.centre)


def _perform(played, style, k, number, at, seconds, loudness):
    """Turn steps into seconds as people play: swing, loose timing, uneven velocities."""
    rng = np.random.default_rng([9, *style.seed, k, number])
    notes = np.array(played, dtype=float).reshape(-1, 4)
    swing = np.where(np.round(notes[:, 0]) % 4 == 2, style.swing * 2, 0.0)
    late = np.clip(rng.normal(0, style.looseness, len(notes)), -0.04, 0.04)
    velocity = notes[:, 3] * loudness * rng.normal(1, 0.06, len(notes))
    return np.column_stack(
        [
            at + (notes[:, 0] + swing) * seconds + late,
            np.maximum(notes[:, 1] * seconds, 0.05),
            notes[:, 2],
            np.clip(np.round(velocity), 20, 127),
        ]
    )


def _within(chords):
    """Cut chords to the clip and join equal neighbours."""
    joined = []
    for start, end, label, tones in chords:
        start, end = max(start, 0.0), min(end, CLIP_SECONDS)
        if end - start <= 1e-9:
            continue
        if joined and joined[-1][2] == label:
            joined[-1] = (joined[-1][0], end, label, tones)
        else:
            joined.append((start, end, label, tones))
    return tuple((round(start, 6), round(end, 6), label, tones) for start, end, label, tones in joined)


def _stem_name(player):
    """Return the name of the stem a player belongs to: the instrument; a sung line goes by register."""
    if player.style == "drums":
        return "hand drums" if player.pattern in HAND_DRUMS else "drums"
    if player.program in VOICES and player.style not in CHORDAL:
        return "male voice" if player.centre < MALE_BELOW else "female voice"
    return INSTRUMENTS[player.program].name


def _stems(players, notes):
    """Collect the notes by instrument; players of one instrument make one stem."""
    stems = {}
    for k, bars in notes.items():
        rows = np.concatenate(bars)
        rows = rows[(rows[:, 0] + rows[:, 1] > 0.02) & (rows[:, 0] < CLIP_SECONDS - 0.02)]
        if len(rows) == 0:
            continue
        name, player = _stem_name(players[k]), players[k]
        if name in stems:
            known = stems[name]
            rows = np.concatenate([known.notes, rows])
            stems[name] = dataclasses.replace(known, notes=rows)
        else:
            stems[name] = Stem(player.program, player.style == "drums", player.gain, rows)
    return {name: dataclasses.replace(s, notes=s.notes[np.lexsort(s.notes.T[::-1])]) for name, s in stems.items()}

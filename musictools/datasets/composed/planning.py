"""Who plays what: artists, albums, tracks and clips, drawn before a note is written.

A plan is cheap and complete: with it a clip can be composed and rendered again at any time, alone.
"""

from __future__ import annotations

import dataclasses
import itertools
import re

import numpy as np

from .genres import GENRES, GUESTS, RECIPES, RELATED, SHARES
from .instruments import PADS

__all__ = ["ClipPlan", "Player", "Style", "plan"]

CLIP_SECONDS = 29.124
FOLDERS = {"train": "0123456789ab", "validation": "c", "test": "def"}
TEST_SHARE, VALIDATION_SHARE, SHARED_ARTISTS = 0.22, 0.1, 0.6
CROSSOVER = 0.15  # share of tracks with players of a second genre
BOTH_GENRES = 0.5  # a track with more than this of a second genre counts for both

KINDS = {
    "melody": ("melody", "counter", "song", "aria", "raga", "riff"),
    "bass": ("root", "walk", "offbeat", "octaves", "eighths", "alternate", "gallop bass"),
    "chords": ("figures", "alberti", "broken", "block", "pad", "stabs", "sixteenths", "strum", "power", "picking",
               "choral", "drone", "gallop"),
}  # fmt: skip
KIND_OF = {style: kind for kind, styles in KINDS.items() for style in styles}

SYLLABLES = ("an", "bel", "cor", "dan", "el", "far", "gor", "hal", "is", "jo", "ka", "lin", "mor", "nev", "or", "pel",
             "ri", "sol", "tam", "ul", "ven", "wil", "yar", "zel")  # fmt: skip
BANDS = ("Ensemble", "Trio", "Collective", "Brothers", "Project", "Sisters", "Quartet", "Players", "Society", "")
WORDS = ("River", "Stone", "Lantern", "Harbour", "Winter", "Copper", "Meadow", "Signal", "Garden", "Thunder", "Orchard",
         "Mirror", "Valley", "Ember", "Tide", "Circle", "Window", "Feather", "Canyon", "Temple", "Motor",
         "Prairie")  # fmt: skip
FORMS = ("{} and {}", "The {} {}", "{} of the {}", "{} under {}", "Beyond {} {}", "No {} no {}")


@dataclasses.dataclass(frozen=True)
class Player:
    """What one player does throughout a track.

    Parameters
    ----------
    style : str
        A name in `patterns.STYLES`, or ``"drums"``.
    program : int
        General MIDI program, or drum kit.
    centre : int
        MIDI pitch around which the player plays; 0 for drums.
    gain : float
        Level in dB beside the other players.
    pattern : str
        Name in `instruments.DRUM_PATTERNS` for drums.
    """

    style: str
    program: int
    centre: int
    gain: float
    pattern: str = ""


@dataclasses.dataclass(frozen=True)
class Style:
    """What the clips of one track have in common; see `genres.Recipe` for the units.

    Parameters
    ----------
    tempo, key, mode, beats, changes
        Beats per minute, pitch class of the tonic, name of the scale, beats in a bar, chords in a bar.
    progressions : tuple of tuple of int
        Degrees of the chords in verse, chorus and bridge.
    players : tuple of Player
    looseness, swing, level, tone, reverb
        Timing in seconds, lateness of offbeats in eighths, level in dB, gains of four bands in dB, seconds and share.
    seed : tuple of int
        Of the corpus, the artist and the track.
    """

    tempo: float
    key: int
    mode: str
    beats: int
    changes: int
    progressions: tuple
    players: tuple
    looseness: float
    swing: float
    level: float
    tone: tuple
    reverb: tuple
    seed: tuple


@dataclasses.dataclass(frozen=True)
class ClipPlan:
    """One clip: where it stands in MagnaTagATune's layout, and how its track is made.

    Parameters
    ----------
    clip_id, track_number : int
        As in ``clip_info_final.csv``.
    artist, album, title : str
        As in ``clip_info_final.csv``.
    genre : str
        The main genre, one of `genres.GENRES`.
    genres : tuple of str
        All genres that are true of the clip.
    subset : str
        ``"train"``, ``"validation"`` or ``"test"``: where the official split puts its folder.
    start, end : int
        The segment of the track in seconds.
    mp3_path : str
        Relative path, its first letter is the folder.
    style : Style
        What is common to the track.
    """

    clip_id: int
    track_number: int
    artist: str
    album: str
    title: str
    genre: str
    genres: tuple
    subset: str
    start: int
    end: int
    mp3_path: str
    style: Style


def plan(n_clips: int, *, seed: int = 0) -> list[ClipPlan]:
    """Plan the composed corpus.

    Parameters
    ----------
    n_clips : int > 0
        Number of clips.
    seed : int >= 0
        Another seed gives another corpus.

    Returns
    -------
    plans : list of ClipPlan
        By clip id from 1. Folders share no track or album; about 60 % of test clips have an artist of training.

    Raises
    ------
    ValueError
        If `n_clips` is not a positive or `seed` not a non-negative int.

    Examples
    --------
    >>> plan(2)[0].mp3_path.endswith("-0-29.mp3")
    True
    """
    _check(n_clips, seed)
    clips, tracks = [], itertools.count()
    for number, (genre, subset, artist, size) in enumerate(_albums(int(n_clips), int(seed))):
        rng = np.random.default_rng([int(seed), 1, number])
        folder = FOLDERS[subset][rng.integers(len(FOLDERS[subset]))]
        album = _title(rng)
        for track_number, n in enumerate(_tracks(size, rng), start=1):
            style, genres = _style(genre, artist, int(seed), next(tracks))
            tags = {"artist": _name(artist, genre, int(seed)), "album": album, "title": _title(rng)}
            common = {**tags, "track_number": track_number}
            for start, end in [(0, 29), (30, 59), (59, 88)][:n]:
                path = _mp3_path(folder, **common, segment=(start, end))
                place = {"subset": subset, "start": start, "end": end, "mp3_path": path}
                clips.append(ClipPlan(len(clips) + 1, **common, genre=genre, genres=genres, **place, style=style))
    return clips


def _check(n_clips, seed):
    """Complain about impossible parameters."""
    for name, value, least, kind in (("n_clips", n_clips, 1, "positive"), ("seed", seed, 0, "non-negative")):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"{name} must be a {kind} int. Got {value!r}.")


def _quotas(n_clips):
    """Return how many clips a genre has, by largest remainder."""
    exact = {genre: n_clips * share / sum(SHARES.values()) for genre, share in SHARES.items()}
    quota = {genre: int(value) for genre, value in exact.items()}
    left = sorted(GENRES, key=lambda genre: quota[genre] - exact[genre])
    for genre in left[: n_clips - sum(quota.values())]:
        quota[genre] += 1
    return quota


def _albums(n_clips, seed):
    """Return (genre, subset, artist, number of clips) of every album; artists are numbered, each has one genre."""
    albums, n_artists, n_test, n_shared = [], 0, 0, 0
    for genre, quota in _quotas(n_clips).items():
        rng = np.random.default_rng([seed, 2, GENRES.index(genre)])
        n = {
            "test": max(round(TEST_SHARE * quota), int(quota >= 2)),
            "validation": max(round(VALIDATION_SHARE * quota), int(quota >= 3)),
        }
        n["train"] = quota - sum(n.values())
        known = range(n_artists, n_artists + max(1, round(n["train"] / 4)))
        n_artists = known.stop
        for k, size in enumerate(_cut(n["train"], (2, 3, 4), rng)):
            albums.append((genre, "train", known[k % len(known)], size))
        n_known = min(len(known), k + 1) if n["train"] else 0
        for subset in ("test", "validation"):
            for size in _cut(n[subset], (1, 2, 3), rng):
                shared = n_known and n_shared + size / 2 <= SHARED_ARTISTS * (n_test + size)
                artist = known[rng.integers(n_known)] if shared else n_artists
                n_artists += not shared
                n_test, n_shared = n_test + size, n_shared + size * bool(shared)
                albums.append((genre, subset, artist, size))
    return albums


def _cut(total, sizes, rng):
    """Cut `total` into pieces of the given sizes; the last may be smaller."""
    pieces = []
    while total:
        pieces.append(min(total, int(rng.choice(sizes))))
        total -= pieces[-1]
    return pieces


def _tracks(size, rng):
    """Cut an album into tracks of one to three clips."""
    return _cut(size, (1, 1, 2, 3), rng)


def _slug(text):
    """Return a text as MagnaTagATune's file names write it."""
    return re.sub(r"[^a-z0-9]", "_", text.lower())


def _mp3_path(folder, *, artist, album, title, track_number, segment):
    """Return folder/artist-album-track-title-start-end.mp3."""
    start, end = segment
    return f"{folder}/{_slug(artist)}-{_slug(album)}-{track_number:02d}-{_slug(title)}-{start}-{end}.mp3"


def _title(rng):
    """Draw a title."""
    first, second = rng.choice(WORDS, 2, replace=False)
    return str(rng.choice(FORMS)).format(first, second) + f" {rng.integers(1, 100)}"


def _name(artist, genre, seed):
    """Return the name of an artist; the number of its syllables' draw makes it unique."""
    rng = np.random.default_rng([seed, 3, artist])
    first = "".join(rng.choice(SYLLABLES, 2))
    code = "".join(SYLLABLES[artist // len(SYLLABLES) ** k % len(SYLLABLES)] for k in range(2))
    last = "" if genre in ("classical", "indian") else str(rng.choice(BANDS))
    return f"{first.capitalize()} {code.capitalize()} {last}".strip()


def _style(genre, artist, seed, track):
    """Draw the style of a track from its artist's habits and its genre's recipe; return it and all true genres."""
    habit = np.random.default_rng([seed, 4, artist])
    rng = np.random.default_rng([seed, 5, track])
    other = str(habit.choice(RELATED[genre]))
    blend = float(rng.uniform(0.2, 0.7)) if habit.random() < 0.6 and rng.random() < CROSSOVER / 0.6 else 0.0
    own, guest = RECIPES[genre], RECIPES[other]
    ensembles = habit.permutation(len(own.ensembles))[:3]
    source = guest if rng.random() < blend else own
    beats = 3 if rng.random() < own.waltz else 4
    players = _players(own, guest, ensembles, blend, habit, rng)
    players += _drums(source, habit, rng)
    shortest, longest, low_send, high_send = own.reverb
    progressions = tuple(source.progressions[k] for k in rng.integers(len(source.progressions), size=3))
    centre = habit.uniform(0.2, 0.8)
    low, high = source.tempo
    tempo = round(float(low * (high / low) ** np.clip(centre + rng.normal(0, 0.25), 0, 1)), 1)
    level = float(rng.uniform(*source.level))
    style = Style(
        tempo=tempo, key=int(rng.integers(12)), mode=str(rng.choice(source.modes)), beats=beats,
        changes=2 if rng.random() < 0.25 and tempo < 120 else 1, progressions=progressions, players=players,
        looseness=own.looseness, swing=float(rng.uniform(0.1, 0.3)) if rng.random() < 0.2 else 0.0, level=level,
        tone=tuple((own.tone + habit.uniform(-2, 2, size=4)).tolist()),
        reverb=(float(habit.uniform(shortest, longest)), float(habit.uniform(low_send, high_send))),
        seed=(seed, artist, track),
    )  # fmt: skip
    return style, (genre, other) if blend > BOTH_GENRES else (genre,)


def _players(own, guest, ensembles, blend, habit, rng):
    """Draw the pitched players of a track: one of the artist's ensembles, with players of the guest genre."""
    ensemble = own.ensembles[rng.choice(ensembles)]
    other = guest.ensembles[rng.integers(len(guest.ensembles))]
    favourite = {kind: int(habit.choice(programs)) for kind, programs in GUESTS.items()}
    players = []
    for k, (style, programs, centre, chance) in enumerate(ensemble):
        if k > 1 and rng.random() > chance:  # two players at least, where there are two
            continue
        same_kind = [row for row in other if KIND_OF[row[0]] == KIND_OF[style]]
        if same_kind and rng.random() < blend:
            style, programs, centre, _ = same_kind[rng.integers(len(same_kind))]
        program = int(programs[habit.integers(len(programs))] if rng.random() < 0.6 else rng.choice(programs))
        if style not in ("song", "aria", "choral", "drone") and rng.random() < 0.04:
            program = favourite[KIND_OF[style]]
        gain = float(habit.uniform(-2.5, 2.5) + {"bass": -1, "melody": 2, "chords": -2}[KIND_OF[style]])
        gain += 3 * (style == "song" or program in PADS)
        players.append(Player(style, program, int(centre + rng.integers(-3, 4)), gain))
    return tuple(players)


def _drums(recipe, habit, rng):
    """Draw the drums of a track, or none."""
    if rng.random() > recipe.drum_chance:
        return ()
    own = str(habit.choice(recipe.drums))
    pattern = own if rng.random() < 0.6 else str(rng.choice(recipe.drums))
    gain = float(recipe.drum_gain + habit.uniform(-3, 3))
    return (Player("drums", int(habit.choice(recipe.kits)), 0, gain, pattern),)

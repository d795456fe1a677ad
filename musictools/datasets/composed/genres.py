"""What makes a genre: recipes as data.

A recipe gives ranges to draw from and ensembles; an ensemble is a tuple of players, a player is
``(style, programs, centre, chance)``: what is played (a function in `patterns`), on one of which General MIDI programs,
around which MIDI pitch, and how often the player is there. Ranges and instruments of the genres overlap on purpose.
"""

import dataclasses

__all__ = ["GENRES", "Recipe"]

GENRES = ("classical", "electronic", "rock", "indian", "metal", "pop", "country", "new age")

# Share of the corpus, roughly balanced; the spellings annotators use, each with how often.
SHARES = dict(zip(GENRES, (1.3, 1.2, 1.1, 0.95, 0.9, 0.95, 0.8, 0.8), strict=True))
SPELLINGS = {
    "classical": {"classical": 0.85, "classic": 0.3},
    "electronic": {"electronic": 0.6, "techno": 0.5, "dance": 0.25, "electro": 0.2, "electronica": 0.15},
    "rock": {"rock": 0.9, "soft rock": 0.08, "hard rock": 0.1},
    "indian": {"indian": 0.9, "india": 0.2},
    "metal": {"metal": 0.85, "heavy metal": 0.35, "hard rock": 0.2, "rock": 0.3},
    "pop": {"pop": 0.9},
    "country": {"country": 0.9},
    "new age": {"new age": 0.9},
}

# Genres that artists cross into.
RELATED = {
    "classical": ("new age", "pop"),
    "electronic": ("pop", "new age", "indian"),
    "rock": ("metal", "pop", "country"),
    "indian": ("new age", "electronic", "pop"),
    "metal": ("rock", "electronic"),
    "pop": ("rock", "electronic", "country"),
    "country": ("rock", "pop"),
    "new age": ("classical", "electronic", "indian"),
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a genre is made.

    Parameters
    ----------
    tempo : tuple of float
        Range in beats per minute.
    level : tuple of float
        Range of the root-mean-square level in dB below full scale.
    modes : tuple of str
        Names in `theory.SCALES`.
    progressions : tuple of tuple of int
        Degrees, one a bar or half a bar.
    waltz : float in [0, 1]
        Share of tracks in three.
    looseness : float >= 0
        Standard deviation of the timing in seconds.
    drums : tuple of str
        Names in `instruments.DRUM_PATTERNS`.
    drum_chance : float in [0, 1]
        Share of tracks with drums.
    kits : tuple of int
        Drum kits of the General MIDI bank.
    drum_gain : float
        Level of the drums in dB beside the other players.
    tone : tuple of float
        Gain in dB around 60, 250, 1000 and 4000 Hz; an artist deviates from it.
    reverb : tuple of float
        Least and longest reverberation in seconds, least and largest share of it.
    ensembles : tuple
        Ensembles, see the module's docstring.
    """

    tempo: tuple
    level: tuple
    modes: tuple
    progressions: tuple
    waltz: float
    looseness: float
    drums: tuple
    drum_chance: float
    kits: tuple
    drum_gain: float
    tone: tuple
    reverb: tuple
    ensembles: tuple


POP_CHORDS = ((0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 3, 5, 4), (0, 2, 3, 4), (0, 0, 3, 4))
FOLK_CHORDS = ((0, 3, 0, 4), (0, 0, 3, 0), (0, 4, 3, 0), (3, 0, 4, 0), (0, 5, 3, 4))
ROCK_CHORDS = ((0, 6, 3, 0), (0, 3, 4, 3), (0, 5, 6, 0), (0, 4, 5, 3), (0, 2, 6, 3))
DARK_CHORDS = ((0, 0, 5, 6), (0, 1, 0, 6), (0, 5, 2, 6), (0, 0, 1, 0), (0, 6, 5, 4))
ART_CHORDS = ((0, 3, 4, 0), (0, 4, 5, 2, 3, 0, 3, 4), (0, 5, 1, 4), (0, 3, 6, 2, 5, 1, 4, 0), (0, 1, 4, 0))
STILL_CHORDS = ((0, 0, 3, 3), (0, 5, 0, 5), (0, 3, 0, 4), (0, 2, 5, 3), (0, 0, 6, 6))
DRONE_CHORDS = ((0, 0, 0, 0), (0, 0, 0, 3), (0, 0, 6, 0))

RECIPES = {
    "classical": Recipe(
        (58, 152), (-30, -18), ("major", "minor", "minor", "major", "dorian"), ART_CHORDS, 0.3, 0.012,
        ("march", "brushes"), 0.04, (48, 0), -6, (-3, 1, 1, 1), (0.4, 1.2, 0.04, 0.15),
        (
            (("figures", (6,), 60, 1), ("melody", (6,), 74, 1)),
            (("figures", (6,), 60, 1), ("melody", (73, 74, 68, 40), 76, 1), ("walk", (42,), 45, 0.8)),
            (("figures", (6, 19), 62, 1), ("pad", (48,), 62, 0.7), ("melody", (56, 40, 68), 72, 0.9),
             ("walk", (42, 70), 45, 0.8)),
            (("melody", (40,), 76, 1), ("counter", (40, 41), 69, 1), ("figures", (6,), 62, 0.5),
             ("walk", (42,), 48, 1)),
            (("alberti", (0,), 54, 1), ("melody", (0,), 74, 1)),
            (("broken", (0,), 52, 1), ("melody", (40, 42, 73), 70, 0.7)),
            (("aria", (53, 52), 72, 1), ("pad", (48,), 62, 1), ("root", (43, 42), 42, 0.9), ("block", (60,), 60, 0.4)),
            (("aria", (54, 53), 55, 1), ("broken", (0, 48), 60, 1), ("root", (42,), 43, 0.6)),
            (("broken", (46,), 60, 1), ("melody", (73, 68), 76, 0.8)),
            (("figures", (24,), 56, 1), ("melody", (24,), 67, 0.8)),
            (("pad", (48,), 62, 1), ("melody", (56, 60, 68, 71), 70, 1), ("figures", (6, 48), 62, 0.35),
             ("root", (43,), 40, 1),
             ("root", (47,), 43, 0.5)),
            (("choral", (52,), 65, 1), ("choral", (19, 52), 55, 0.6), ("root", (19,), 43, 0.4)),
            (("melody", (42, 73, 40, 24), 62, 1),),
            (("stabs", (45,), 62, 0.8), ("melody", (68, 71, 70), 67, 1), ("walk", (43, 70), 45, 0.8)),
        ),
    ),
    "electronic": Recipe(
        (98, 150), (-22, -12), ("minor", "minor", "dorian", "phrygian", "major"), STILL_CHORDS + POP_CHORDS, 0.0, 0.001,
        ("four", "techno", "break", "electro", "techno", "congas"),
        0.93, (25, 24), 5, (6, -1, -2, 5), (0.2, 1.2, 0.02, 0.2),
        (
            (("offbeat", (38, 39), 38, 1), ("sixteenths", (81, 80, 90), 67, 1), ("pad", (89, 90, 50), 62, 0.7)),
            (("octaves", (38, 39), 40, 1), ("stabs", (90, 81), 64, 0.9), ("sixteenths", (80, 81), 74, 0.7)),
            (("eighths", (38, 87), 38, 1), ("sixteenths", (81, 11, 4, 90), 72, 1), ("song", (54, 85), 70, 0.35)),
            (("eighths", (39, 38), 36, 1), ("pad", (95, 94, 89), 60, 1), ("sixteenths", (11, 4, 99, 80), 72, 0.9)),
            (("octaves", (39, 38), 40, 1), ("stabs", (0, 4, 18, 81), 64, 1), ("song", (53, 85), 67, 0.4)),
            (("offbeat", (39,), 38, 1), ("sixteenths", (80, 81, 108), 74, 0.8), ("pad", (88, 95, 91), 60, 0.8),
             ("melody", (56, 66, 81), 70, 0.6)),
            (("octaves", (39,), 38, 1), ("power", (29, 30), 50, 0.4), ("stabs", (81, 90), 62, 0.9)),
        ),
    ),
    "rock": Recipe(
        (84, 172), (-21, -12), ("major", "mixolydian", "minor", "dorian"), ROCK_CHORDS + POP_CHORDS, 0.05, 0.008,
        ("rock", "rock open", "half time", "pop"), 0.95, (0, 16), 4, (1, 2, 2, -1), (0.2, 0.8, 0.03, 0.15),
        (
            (("power", (29,), 50, 1), ("eighths", (34, 33), 38, 1), ("song", (85, 54, 53), 64, 0.7)),
            (("strum", (29, 27), 58, 1), ("eighths", (33, 34), 38, 1), ("melody", (29, 30), 69, 0.7)),
            (("strum", (29, 27), 58, 1), ("root", (33,), 38, 0.9), ("song", (53, 85), 62, 0.6),
             ("block", (18, 16), 60, 0.6)),
            (("riff", (29, 27, 28), 52, 1), ("eighths", (34,), 38, 1), ("block", (18, 29, 1), 62, 0.7)),
            (("broken", (27, 26, 25), 60, 1), ("root", (33, 34), 38, 0.9), ("melody", (29, 66, 65), 68, 0.8)),
            (("power", (29,), 50, 1), ("strum", (25, 29), 60, 0.7), ("octaves", (33,), 38, 0.9),
             ("song", (85,), 71, 0.4)),
        ),
    ),
    "indian": Recipe(
        (60, 140), (-27, -15),
         ("bhairav", "todi", "dorian", "lydian", "phrygian", "mixolydian"), DRONE_CHORDS, 0.05, 0.012,
        ("tabla", "tintal", "congas", "shaker"), 0.8, (0,), 2, (-2, 3, 2, -2), (0.3, 1.4, 0.03, 0.3),
        (
            (("drone", (104, 109), 48, 1), ("raga", (104,), 62, 1)),
            (("drone", (104,), 48, 1), ("raga", (73, 75, 77), 74, 1)),
            (("drone", (109, 104), 48, 1), ("raga", (53, 54), 64, 1), ("raga", (104,), 60, 0.6)),
            (("drone", (104,), 50, 1), ("raga", (40, 110), 69, 1), ("broken", (107, 46), 64, 0.4)),
            (("drone", (109, 104), 52, 1), ("raga", (111, 68, 71), 70, 1)),
            (("raga", (104,), 64, 1), ("drone", (104, 109), 50, 0.7), ("strum", (24, 25), 57, 0.5),
             ("root", (33, 35), 38, 0.6)),
            (("raga", (53, 75), 72, 1), ("pad", (50, 91, 48), 60, 0.8), ("drone", (104,), 48, 0.7),
             ("octaves", (38, 33), 40, 0.4)),
        ),
    ),
    "metal": Recipe(
        (104, 196), (-19, -11), ("minor", "phrygian", "minor", "dorian"), DARK_CHORDS + ROCK_CHORDS, 0.02, 0.005,
        ("double kick", "thrash", "gallop", "double kick", "half time"),
        0.97, (16, 0), 4, (3, -3, -1, 5), (0.15, 0.7, 0.01, 0.12),
        (
            (("gallop", (30,), 43, 1), ("eighths", (34,), 34, 1), ("melody", (30, 29), 72, 0.5)),
            (("power", (30,), 45, 1), ("eighths", (34, 33), 36, 1), ("song", (85, 54), 52, 0.45)),
            (("riff", (30,), 43, 1), ("power", (30,), 47, 0.8), ("gallop bass", (34,), 34, 1)),
            (("power", (30,), 45, 1), ("pad", (50, 91, 48, 52), 62, 0.7), ("eighths", (33, 34), 36, 1),
             ("song", (53, 85), 71, 0.4)),
            (("gallop", (30,), 43, 1), ("sixteenths", (81, 6, 30), 69, 0.5), ("eighths", (39, 34), 36, 1)),
            (("power", (30,), 45, 1), ("broken", (27, 25), 60, 0.7), ("root", (34,), 36, 1), ("song", (54,), 55, 0.3)),
        ),
    ),
    "pop": Recipe(
        (76, 126), (-22, -12), ("major", "major", "minor", "mixolydian"), POP_CHORDS, 0.06, 0.006,
        ("pop", "pop clap", "ballad", "pop", "congas", "shaker"),
        0.95, (8, 0, 25), 1, (1, -1, 1, 3), (0.5, 1.0, 0.08, 0.25),
        (
            (("block", (0, 1, 4), 60, 1), ("root", (33, 35), 38, 0.9), ("song", (53, 54, 85), 71, 1)),
            (("strum", (25, 27), 58, 1), ("song", (85, 53), 68, 1), ("eighths", (33,), 38, 0.9),
             ("pad", (48, 50), 64, 0.6)),
            (("stabs", (4, 0), 62, 1), ("octaves", (36, 33), 38, 1), ("song", (54, 85), 70, 1)),
            (("broken", (0, 25, 26), 62, 1), ("song", (53, 85), 60, 1), ("pad", (48, 89), 62, 0.8),
             ("root", (35,), 38, 0.8)),
            (("block", (0, 4), 60, 1), ("walk", (36, 33), 38, 1), ("stabs", (61, 27), 65, 0.6),
             ("song", (85, 53), 70, 1)),
            (("block", (0, 1), 62, 1), ("pad", (50, 48), 62, 0.7), ("eighths", (33,), 38, 0.9),
             ("song", (53, 85), 70, 0.7), ("melody", (66, 65, 80), 70, 0.6)),
        ),
    ),
    "country": Recipe(
        (80, 168), (-25, -13), ("major", "major", "mixolydian"), FOLK_CHORDS + POP_CHORDS, 0.2, 0.010,
        ("train", "two beat", "brushes", "train", "two beat"),
        0.95, (0, 40), 1, (-6, 0, 4, 3), (0.2, 0.8, 0.02, 0.1),
        (
            (("strum", (25,), 57, 1), ("alternate", (32, 33), 38, 1), ("melody", (110, 40), 74, 1),
             ("song", (85, 53), 57, 0.4)),
            (("picking", (105,), 64, 1), ("strum", (25,), 57, 1), ("alternate", (32,), 38, 1),
             ("melody", (110, 22), 74, 0.7)),
            (("picking", (25,), 60, 1), ("strum", (25,), 57, 0.7), ("alternate", (32, 33), 38, 1),
             ("song", (53, 85), 58, 0.6)),
            (("strum", (25,), 57, 1), ("alternate", (33,), 38, 1), ("melody", (27, 22, 110), 71, 1),
             ("song", (54,), 69, 0.4)),
            (("strum", (25,), 57, 1), ("walk", (32, 33), 40, 1), ("melody", (110, 27, 22), 72, 0.9),
             ("stabs", (0, 1), 60, 0.5)),
            (("picking", (25, 105), 62, 1), ("alternate", (32, 33), 38, 1), ("song", (53, 85), 70, 0.6),
             ("melody", (110, 22), 74, 0.7)),
        ),
    ),
    "new age": Recipe(
        (54, 112), (-32, -19), ("major", "lydian", "dorian", "minor"), STILL_CHORDS + POP_CHORDS, 0.15, 0.010,
        ("shaker", "congas", "tabla", "march"), 0.3, (40, 25, 0), -5, (3, 3, -2, -6), (1.5, 2.2, 0.4, 0.8),
        (
            (("pad", (88, 89, 95), 60, 1), ("melody", (73, 75, 77), 74, 0.8), ("broken", (46, 99), 64, 0.6)),
            (("broken", (0, 4), 58, 1), ("pad", (89, 50, 49), 60, 1), ("melody", (0, 68), 74, 0.6)),
            (("broken", (46,), 62, 1), ("choral", (52, 91), 64, 0.7), ("pad", (89, 88), 60, 1)),
            (("pad", (92, 94, 95), 58, 1), ("broken", (14, 11, 8), 72, 0.8), ("aria", (53, 54), 69, 0.3)),
            (("picking", (24, 25), 60, 1), ("pad", (89, 49), 60, 1), ("melody", (75, 40), 72, 0.5)),
            (("drone", (89, 95, 49), 48, 1), ("melody", (77, 75, 104), 70, 0.9), ("broken", (10, 46), 70, 0.5)),
            (("pad", (88, 92), 57, 1), ("drone", (49, 89), 52, 0.6), ("melody", (42, 71, 60), 62, 0.7),
             ("alberti", (0,), 60, 0.6)),
        ),
    ),
}  # fmt: skip

# Anybody may play the melody or the chords on these.
GUESTS = {
    "melody": (0, 27, 40, 42, 46, 56, 66, 73, 75, 71, 22, 80, 81, 110, 24),
    "chords": (0, 4, 16, 18, 25, 27, 24, 46, 48, 50, 89, 6, 105, 45),
    "bass": (32, 33, 35, 38, 43),
}

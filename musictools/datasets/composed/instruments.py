"""The instruments of the General MIDI bank that the corpus uses: names, envelopes and concepts.

An envelope is (decay, release) in seconds: the time constant of the sound's own decay (0: it sustains) and the length
of the fade after the note's end. Concepts are names in `annotating.CONCEPTS`.
"""

import dataclasses

__all__ = ["INSTRUMENTS", "Instrument"]

DRUM_STEMS = ("drums", "hand drums")
VOICES = (52, 53, 54, 85)
PADS = (88, 89, 90, 91, 92, 94, 95, 99)


@dataclasses.dataclass(frozen=True)
class Instrument:
    """One General MIDI program.

    Parameters
    ----------
    name : str
        Also the name of its stem.
    decay, release : float >= 0
        Envelope in seconds.
    concepts : tuple of str
        What is true of a clip in which it plays.
    """

    name: str
    decay: float
    release: float
    concepts: tuple


PLUCKED, STRUCK, BELL = (0.9, 0.15), (1.6, 0.2), (0.8, 0.5)
BLOWN, BOWED, HELD, WASH = (0.0, 0.08), (0.0, 0.15), (0.0, 0.1), (0.0, 0.6)

_TABLE = {
    0: ("piano", STRUCK, "piano keyboard"),
    1: ("bright piano", STRUCK, "piano keyboard"),
    4: ("electric piano", STRUCK, "piano keyboard"),
    6: ("harpsichord", PLUCKED, "harpsichord keyboard"),
    8: ("celesta", BELL, "bells"),
    9: ("glockenspiel", BELL, "bells"),
    10: ("music box", BELL, "bells chimes"),
    11: ("vibraphone", BELL, "bells"),
    14: ("tubular bells", BELL, "bells chimes"),
    16: ("drawbar organ", HELD, "organ keyboard"),
    18: ("rock organ", HELD, "organ keyboard"),
    19: ("church organ", HELD, "organ"),
    21: ("accordion", HELD, ""),
    22: ("harmonica", BLOWN, ""),
    24: ("nylon guitar", PLUCKED, "guitar classical_guitar"),
    25: ("steel guitar", PLUCKED, "guitar acoustic_guitar"),
    26: ("jazz guitar", PLUCKED, "guitar electric_guitar"),
    27: ("clean guitar", PLUCKED, "guitar electric_guitar"),
    28: ("muted guitar", (0.3, 0.05), "guitar electric_guitar"),
    29: ("overdriven guitar", HELD, "guitar electric_guitar"),
    30: ("distortion guitar", HELD, "guitar electric_guitar"),
    32: ("acoustic bass", PLUCKED, "bass"),
    33: ("finger bass", PLUCKED, "bass"),
    34: ("pick bass", PLUCKED, "bass"),
    35: ("fretless bass", PLUCKED, "bass"),
    36: ("slap bass", PLUCKED, "bass funky"),
    38: ("synth bass", (1.2, 0.05), "bass synth"),
    39: ("synth bass 2", (1.2, 0.05), "bass synth"),
    40: ("violin", BOWED, "violin strings"),
    41: ("viola", BOWED, "viola strings"),
    42: ("cello", BOWED, "cello strings"),
    43: ("contrabass", BOWED, "strings bass"),
    45: ("pizzicato strings", PLUCKED, "strings plucking"),
    46: ("harp", (1.2, 0.5), "harp plucking"),
    47: ("timpani", (0.8, 0.5), "percussion"),
    48: ("strings", (0.0, 0.25), "strings"),
    49: ("slow strings", WASH, "strings"),
    50: ("synth strings", (0.0, 0.3), "strings synth"),
    52: ("choir", (0.0, 0.2), "choir"),
    53: ("oohs", (0.0, 0.12), ""),
    54: ("synth voice", (0.0, 0.12), ""),
    56: ("trumpet", BLOWN, "trumpet"),
    57: ("trombone", BLOWN, "horn"),
    60: ("french horn", BLOWN, "horn"),
    61: ("brass section", BLOWN, "horn"),
    65: ("alto sax", BLOWN, "sax"),
    66: ("tenor sax", BLOWN, "sax"),
    68: ("oboe", BLOWN, "oboe woodwind"),
    70: ("bassoon", BLOWN, "woodwind"),
    71: ("clarinet", BLOWN, "clarinet woodwind"),
    73: ("flute", BLOWN, "flute woodwind"),
    74: ("recorder", BLOWN, "flute woodwind"),
    75: ("pan flute", BLOWN, "flute"),
    77: ("shakuhachi", BLOWN, "flute oriental"),
    80: ("square lead", HELD, "synth"),
    81: ("saw lead", HELD, "synth"),
    85: ("lead voice", (0.0, 0.12), ""),
    87: ("bass lead", HELD, "synth bass"),
    88: ("new age pad", WASH, "synth"),
    89: ("warm pad", WASH, "synth"),
    90: ("polysynth", (0.0, 0.2), "synth"),
    91: ("choir pad", WASH, "synth"),
    92: ("bowed pad", WASH, "synth"),
    94: ("halo pad", WASH, "synth"),
    95: ("sweep pad", WASH, "synth"),
    99: ("atmosphere", WASH, "synth"),
    104: ("sitar", (1.1, 0.3), "sitar"),
    105: ("banjo", (0.5, 0.1), "banjo"),
    107: ("koto", (0.8, 0.2), "plucking oriental"),
    108: ("kalimba", BELL, "percussion"),
    109: ("bagpipe", HELD, ""),
    110: ("fiddle", BOWED, "fiddle violin strings"),
    111: ("shanai", BLOWN, "oriental"),
}

INSTRUMENTS = {
    program: Instrument(name, *envelope, tuple(concepts.split()))
    for program, (name, envelope, concepts) in _TABLE.items()
}

# One string a drum: X loud, x normal, o soft, . silent; sixteenth notes. Hand drums play tabla-like figures.
DRUM_PATTERNS = {
    "rock": {36: "x.......x.x.....", 38: "....x.......x...", 42: "x.o.x.o.x.o.x.o."},
    "rock open": {36: "x..x....x.x.....", 38: "....X.......X...", 46: "x...x...x...x..."},
    "half time": {36: "x.........x.....", 38: "........X.......", 51: "x...x...x...x..."},
    "ballad": {36: "x.........x.....", 37: "....x.......x...", 42: "o.o.o.o.o.o.o.o."},
    "pop": {36: "x.....x.x.......", 38: "....x.......x...", 42: "xoxoxoxoxoxoxoxo"},
    "pop clap": {36: "x...x...x...x...", 39: "....x.......x...", 42: "..x...x...x...x."},
    "four": {36: "X...X...X...X...", 46: "..x...x...x...x.", 39: "....x.......x..."},
    "techno": {36: "X...X...X...X...", 42: "oxoxoxoxoxoxoxox", 46: "..x...x...x...x."},
    "break": {36: "x.x.......x..x..", 38: "....x..o.o..x..o", 42: "x.x.x.x.x.x.x.x."},
    "electro": {36: "x..x..x...x.....", 38: "....x.......x...", 42: "xxoxxxoxxxoxxxox"},
    "double kick": {36: "xxxxxxxxxxxxxxxx", 38: "....X.......X...", 49: "x..............."},
    "thrash": {36: "x.x.x.x.x.x.x.x.", 38: "..X...X...X...X.", 42: "x...x...x...x..."},
    "gallop": {36: "x.xxx.xxx.xxx.xx", 38: "....X.......X...", 51: "x...x...x...x..."},
    "train": {36: "x...x...x...x...", 38: "oxooXxooxoooXxoo"},
    "two beat": {36: "x.......x.......", 37: "....x.......x...", 42: "x...x...x...x..."},
    "swing": {51: "x...x..ox...x..o", 36: "x.......x.......", 44: "....x.......x..."},
    "shaker": {70: "x.o.x.o.x.o.x.o.", 36: "o.........o....."},
    "brushes": {38: "o..oo..oo..oo..o", 36: "o.......o......."},
    "tabla": {60: "x..o..x.x..o.ox.", 61: "..x...o...x...oo", 64: "x.......x....o.."},
    "tintal": {61: "x.ooxoo.xoo.xoox", 64: "x...x.......x...", 62: "..x...x.o.x...x."},
    "congas": {62: "x..x..x.x..x..x.", 63: "..x...x...x...xx", 70: "oooooooooooooooo"},
    "march": {47: "x...o...x...o...", 38: "x.ooo.oox.ooo.oo"},
}
# Time constants in seconds; the synthesizer lets cymbals hiss for ever.
DRUM_DECAY = {36: 0.18, 38: 0.12, 42: 0.05, 44: 0.05, 46: 0.22, 49: 0.6, 51: 0.35, 70: 0.06, 43: 0.3, 45: 0.3, 47: 0.3,
              48: 0.3, 62: 0.1}  # fmt: skip
HAND_DRUMS = ("tabla", "tintal", "congas")

"""What is true of a clip, and what annotators write about it.

A concept is an audible property; MagnaTagATune has one or several spellings of it. `truth` derives the concepts from
the notes and the plan, not from the genre (except for the genre's own tags). `annotate` simulates annotators, who
forget tags, choose between spellings and seldom write a wrong one.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib

import numpy as np

from .composing import compose
from .genres import GENRES, SPELLINGS
from .instruments import DRUM_STEMS, INSTRUMENTS, PADS, VOICES
from .planning import CLIP_SECONDS, ClipPlan

# concept: (spellings, how often annotators think of it), or the latter alone where the only spelling is the name.
# Annotators draw in this order, so another one would change all annotations.
_CONCEPTS = {
    "guitar": (("guitar", "guitars"), 0.9),
    "classical_guitar": 0.5, "acoustic_guitar": 0.35, "electric_guitar": 0.45, "piano": 0.88, "piano_solo": 0.45,
    "keyboard": 0.18,
    "harpsichord": (("harpsichord", "harpsicord"), 0.9),
    "organ": 0.55,
    "violin": (("violin", "violins"), 0.85),
    "viola": 0.3, "cello": 0.65, "fiddle": 0.6,
    "strings": (("strings", "string"), 0.75),
    "harp": 0.75, "sitar": 0.92, "banjo": 0.8,
    "flute": (("flute", "flutes"), 0.85),
    "oboe": 0.6, "clarinet": 0.5, "sax": 0.7, "trumpet": 0.7,
    "horn": (("horn", "horns"), 0.55),
    "woodwind": (("woodwind", "wind"), 0.2),
    "bass": 0.3,
    "synth": (("synth", "synthesizer"), 0.7),
    "bells": 0.55, "chimes": 0.35,
    "drums": (("drums", "drum"), 0.75),
    "percussion": 0.35, "bongos": 0.35, "clapping": 0.3, "plucking": 0.25,
    "choir": (("choir", "choral"), 0.85),
    "chorus": 0.4,
    "chant": (("chant", "chanting"), 0.35),
    "vocals": (("vocals", "vocal", "voice", "voices"), 0.75),
    "singing": (("singing", "singer"), 0.55),
    "female": (("female", "woman", "female vocals", "female voice", "female singer", "woman singing", "women"), 0.8),
    "female_vocal": 0.35, "girl": 0.15, "soprano": 0.25,
    "male": (("male", "man", "male vocal", "male vocals", "male voice", "male singer", "man singing", "men"), 0.8),
    "no_vocals": (("no vocals", "no vocal", "no voice", "instrumental", "no singing", "no singer", "no voices"), 0.45),
    "no_piano": 0.06, "no_guitar": 0.06,
    "no_drums": (("no drums", "no beat"), 0.1),
    "no_flute": 0.02, "no_violin": 0.02, "no_strings": 0.02, "solo": 0.75, "duet": 0.35,
    "orchestra": (("orchestra", "orchestral"), 0.65),
    "acoustic": 0.3,
    "fast": (("fast", "fast beat", "quick"), 0.7),
    "slow": 0.75, "loud": 0.6, "quiet": 0.6, "soft": 0.6, "mellow": 0.35, "calm": 0.35, "light": 0.2, "heavy": 0.6,
    "hard": 0.4,
    "beat": (("beat", "beats"), 0.65),
    "upbeat": 0.4, "happy": 0.25, "sad": 0.3, "dark": 0.3, "ambient": 0.75,
    "spacey": (("spacey", "space"), 0.4),
    "airy": 0.3, "trance": 0.55, "modern": 0.2, "funky": 0.45, "repetitive": 0.25, "baroque": 0.5, "eastern": 0.6,
    "middle_eastern": (("middle eastern", "arabic"), 0.35),
    "oriental": 0.35, "foreign": 0.2, "spanish": 0.5, "tribal": 0.35, "drone": 0.45, "echo": 0.2, "deep": 0.2,
    "low": 0.3,
}  # fmt: skip
CONCEPTS = {
    concept: row if isinstance(row, tuple) else ((concept.replace("_", " "),), row)
    for concept, row in _CONCEPTS.items()
}

# What single stems can carry; all else is of the clip as a whole. Funky may be the slap bass or the drums' pattern.
CARRIED = {concept for instrument in INSTRUMENTS.values() for concept in instrument.concepts} - {"funky"} | {
    "piano_solo", "drums", "percussion", "bongos", "clapping", "chorus", "chant", "vocals", "singing", "female",
    "female_vocal", "girl", "soprano", "male",
}  # fmt: skip

OPERA = ("opera", "female opera", "male opera", "operatic")
WRONG = 0.005  # how often a concept that is not true is written all the same
DISTORTED, ELECTRIC = (29, 30), (4, 18, 26, 27, 28, 33, 34, 35, 36)


@functools.lru_cache(maxsize=1)
def tag_names() -> tuple[str, ...]:
    """Return MagnaTagATune's tags.

    Returns
    -------
    names : tuple of str
        All 188, in the order of the original's columns.
    """
    return tuple((pathlib.Path(__file__).parent / "magnatagatune_tags.txt").read_text().split("\n")[:-1])


def truth(plan: ClipPlan) -> dict:
    """Tell what is true of a clip.

    Parameters
    ----------
    plan : ClipPlan
        One of `planning.plan`.

    Returns
    -------
    truth : dict
        ``tempo`` (beats per minute), ``key``, ``meter``, ``chords`` (list of start and end in seconds and label),
        ``genre``, ``genres``, ``instruments`` (list of stem names), ``concepts`` (set of names in `CONCEPTS`) and
        ``tags``: the set of all MagnaTagATune tags that are true, every spelling of each.
    """
    score = compose(plan)
    concepts = _concepts(plan, score)
    return {
        "tempo": score.tempo,
        "key": score.key,
        "meter": f"{score.beats}/4",
        "chords": [(start, end, label) for start, end, label, _ in score.chords],
        "genre": plan.genre,
        "genres": plan.genres,
        "instruments": list(score.stems),
        "concepts": concepts,
        "tags": {tag for concept in concepts for tag in CONCEPTS[concept][0]} | set(_genre_tags(plan, concepts)),
    }


def annotate(plan: ClipPlan) -> set[str]:
    """Return the tags that annotators give a clip.

    Parameters
    ----------
    plan : ClipPlan
        One of `planning.plan`.

    Returns
    -------
    tags : set of str
        MagnaTagATune tags: the true ones but for those forgotten, in one or two spellings, and seldom a wrong one.

    See Also
    --------
    truth : All tags that are true.

    Examples
    --------
    >>> from musictools.datasets import composed
    >>> plans = composed.plan(400)
    >>> sorted(annotate(plans[0]) - truth(plans[0])["tags"])
    []
    """
    known = truth(plan)["concepts"]
    rng = np.random.default_rng([11, *plan.style.seed, plan.start])
    attention = rng.uniform(0.6, 1.05)
    tags = {tag for tag, recall in _genre_tags(plan, known).items() if rng.random() < recall * min(attention + 0.2, 1)}
    for concept, (spellings, recall) in CONCEPTS.items():
        chance = recall * attention if concept in known else WRONG * min(1.0, 2 * recall)
        draw, weights = rng.random(), 1 / np.arange(1, len(spellings) + 1)
        n = min(len(spellings), 1 + int(rng.random() < 0.3))
        chosen = rng.choice(len(spellings), size=n, replace=False, p=weights / weights.sum())
        if draw < chance:
            tags |= {spellings[k] for k in chosen}
    return tags


def tag_stems(plan: ClipPlan, tag: str) -> list[str]:
    """Tell which stems of a clip carry a tag.

    Parameters
    ----------
    plan : ClipPlan
        One of `planning.plan`.
    tag : str
        A MagnaTagATune tag or a descriptor: every spelling of a concept has the same stems.

    Returns
    -------
    names : list of str
        The stems in each of which alone the tag is still true. Empty where the tag is not true of the clip, or belongs
        to no stem ("slow", "rock", "no vocals").

    Raises
    ------
    ValueError
        If MagnaTagATune has no such tag.
    """
    if tag not in tag_names():
        raise ValueError(f"tag must be one of MagnaTagATune's 188 tags. Got {tag!r}.")
    spelled = {concept for concept, (spellings, _) in CONCEPTS.items() if tag in spellings}
    whole, alone = _carried(plan)
    return [name for name, concepts in alone.items() if spelled & concepts] if spelled & whole else []


@functools.lru_cache(maxsize=64)
def _carried(plan):
    """Concepts of a clip that single stems can carry, and all that would be true of each stem alone."""
    score = compose(plan)
    alone = {name: dataclasses.replace(score, stems={name: stem}) for name, stem in score.stems.items()}
    return CARRIED & _concepts(plan, score), {name: _concepts(plan, stem) for name, stem in alone.items()}


def _genre_tags(plan, concepts):
    """Return the genre tags that are true of a clip and how often they are written."""
    tags = {}
    for genre in plan.genres:
        tags |= SPELLINGS[genre]
    styles = {player.style for player in plan.style.players}
    if "classical" in plan.genres and "aria" in styles and "vocals" in concepts:
        sex = "male opera" if "male" in concepts else "female opera"
        tags |= {"opera": 0.8, sex: 0.2, "operatic": 0.1}
    return tags


def _facts(plan, score):
    """Measure what the concepts ask for."""
    notes = np.concatenate([stem.notes for stem in score.stems.values()])
    pitched = [stem.notes for stem in score.stems.values() if not stem.is_drum]
    onsets = np.unique(np.round(notes[notes[:, 0] >= 0, 0] * score.tempo / 15))
    drums = [stem for name, stem in score.stems.items() if name in DRUM_STEMS]
    return {
        "density": len(onsets) / CLIP_SECONDS,
        "pitch": float(np.median(np.concatenate(pitched)[:, 2])) if pitched else np.nan,
        "drummed": {int(pitch) for stem in drums for pitch in stem.notes[:, 2]},
        "programs": {stem.program for stem in score.stems.values() if not stem.is_drum},
        "styles": {player.style for player in plan.style.players},
        "patterns": {player.pattern for player in plan.style.players},
        "minor": plan.style.mode in ("minor", "phrygian", "dorian"),
    }


def _concepts(plan, score):
    """Return the set of concepts that are true of a clip."""
    facts = _facts(plan, score)
    concepts = {concept for program in facts["programs"] for concept in INSTRUMENTS[program].concepts}
    rules = _sound_rules(plan, score, facts) | _voice_rules(score, facts, concepts)
    concepts |= {concept for concept, true in rules.items() if true}
    concepts |= {concept for concept, true in _mood_rules(plan, score, facts, concepts).items() if true}
    return {concept for concept in CONCEPTS if concept in concepts}


def _sound_rules(plan, score, facts):
    """Say which concepts of playing are true."""
    programs, drummed, styles = facts["programs"], facts["drummed"], facts["styles"]
    orchestral = len(programs & {*range(40, 50), *range(56, 62), *range(68, 74)})
    electric = programs & {*DISTORTED, *ELECTRIC, 38, 39, *range(80, 100)}
    return {
        "drums": bool(drummed),
        "percussion": "hand drums" in score.stems or 70 in drummed,
        "bongos": bool(drummed & {60, 61, 62, 63}),
        "clapping": 39 in drummed,
        "beat": bool(drummed) and facts["density"] > 4.5,
        "solo": len(score.stems) == 1,
        "duet": len(score.stems) == 2 and not drummed,
        "piano_solo": list(score.stems) == ["piano"],
        "orchestra": orchestral >= 3 or (orchestral == 2 and bool(programs & {48, 49})),
        "acoustic": not electric and "drums" not in score.stems,
        "drone": "drone" in styles,
        "baroque": 6 in programs and not drummed,
        "eastern": bool(programs & {104, 107, 111}) or ("raga" in styles and plan.style.mode in ("bhairav", "todi")),
        "middle_eastern": plan.style.mode == "bhairav",
        "foreign": plan.style.mode in ("bhairav", "todi") or 104 in programs,
        "spanish": 24 in programs and plan.style.mode == "phrygian",
        "tribal": "hand drums" in score.stems and facts["density"] > 6,
        "trance": bool(facts["patterns"] & {"four", "techno"}) and "sixteenths" in styles and score.tempo > 112,
        "funky": bool(facts["patterns"] & {"break", "electro"}),
        "repetitive": bool({"sixteenths", "drone"} & styles),
        "echo": plan.style.reverb[0] > 0.8 and plan.style.reverb[1] > 0.1,
        "no_drums": not drummed,
    }


def _voice_rules(score, facts, concepts):
    """Say which concepts of singing are true."""
    names = set(score.stems)
    female, male = "female voice" in names, "male voice" in names
    voices = bool(facts["programs"] & set(VOICES))
    return {
        "vocals": voices,
        "singing": female or male or "choir" in names,
        "female": female,
        "female_vocal": female,
        "girl": female,
        "soprano": female and "aria" in facts["styles"],
        "male": male,
        "no_vocals": not voices and "choir pad" not in names,
        "chorus": "choir" in names,
        "chant": "choir" in names and not facts["drummed"],
        "no_piano": "piano" not in concepts,
        "no_guitar": "guitar" not in concepts,
        "no_flute": "flute" not in concepts,
        "no_violin": "violin" not in concepts,
        "no_strings": "strings" not in concepts,
    }


def _mood_rules(plan, score, facts, concepts):
    """Say which concepts of tempo, loudness and mood are true."""
    level, tempo, density, drummed = plan.style.level, score.tempo, facts["density"], "drums" in concepts
    distorted = bool(facts["programs"] & set(DISTORTED))
    fast, slow = tempo >= 122 and density > 4, tempo <= 92 and density < 6.5
    loud, quiet = level > -16.5, level < -24
    pads = bool(facts["programs"] & {*PADS, 48, 49, 50})
    return {
        "fast": fast,
        "slow": slow,
        "loud": loud,
        "quiet": quiet,
        "soft": level < -21.5 and not distorted and not fast,
        "mellow": slow and not loud and not distorted,
        "calm": slow and level < -19 and not drummed,
        "light": quiet and facts["pitch"] > 64,
        "heavy": distorted and drummed and level > -18.5,
        "hard": drummed and level > -17.5 and (distorted or tempo > 130),
        "upbeat": tempo > 105 and drummed and not facts["minor"],
        "happy": tempo > 105 and plan.style.mode in ("major", "mixolydian"),
        "sad": slow and facts["minor"],
        "dark": facts["minor"] and (distorted or facts["pitch"] < 58),
        "ambient": pads and density < 5.5 and not fast,
        "spacey": bool(facts["programs"] & {88, 89, 91, 92, 94, 95, 99}),
        "airy": bool(facts["programs"] & {73, 75, 77}) and pads,
        "modern": "synth" in concepts and drummed,
        "deep": plan.style.tone[0] > 1 and "bass" in concepts,
        "low": facts["pitch"] < 56,
    }


__all__ = ["CONCEPTS", "GENRES", "annotate", "tag_names", "tag_stems", "truth"]

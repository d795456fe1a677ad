"""Saved concepts of songs that are made of tones, made without a network: every answer is known."""

import numpy as np
import pandas as pd
import soundfile

from musictools import datasets
from musictools.concepts import arrange, save
from musictools.concepts.discovery import Concepts
from musictools.concepts.patches import Patches
from support import tones

LENGTH, START = 128, 32  # frames
NAMES = ["birds", "bass & co"]
ROWS = [  # class, rank, band of the patches (of 4), passed, sensitivity, q, flagged
    ("birds", 1, 0, True, 0.2, 0.001, False),
    ("birds", 2, 1, True, -0.1, 0.01, False),
    ("birds", 3, 2, True, 0.05, 0.6, False),
    ("bass & co", 1, 0, True, 0.3, 0.0001, True),
    ("bass & co", 2, 2, True, 0.1, 0.04, False),
    ("bass & co", 3, 3, False, np.nan, np.nan, False),
]


def songs(folder):
    """A data set of two songs of each genre, 6 s and 4 s long."""
    for name in NAMES:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for k, seconds in enumerate((6.0, 4.0)):
            y = tones.song(seconds=seconds) * (1.0 - 0.1 * k)
            soundfile.write(folder / name / f"{name} song {k} <i>.wav", y, tones.SR)
    return datasets.load("folder", data_dir=str(folder))


def made(data):
    """Concepts, inputs and tables as notebook 13 has them; patches are bands of 8 bins, halves of the input long."""
    x, labels, clips = [], [], []
    for label, name in enumerate(NAMES):
        for clip in data.tracks.index[data.tracks["path"].str.contains(name, regex=False)]:
            y, _ = data.audio(clip, sr=tones.SR)
            x.append(tones.MEL.scale(tones.MEL.compute(y))[:, START : START + LENGTH, None])
            labels.append(label)
            clips.append(clip)
    x, labels = np.stack(x), np.array(labels)
    maps = np.arange(8).reshape(4, 2).repeat(8, axis=0).repeat(LENGTH // 2, axis=1)
    n = len(x)
    patches = Patches(
        np.broadcast_to(maps, (n, 1, *maps.shape)).astype(np.uint16), np.arange(n).repeat(8), np.zeros(8 * n, int),
        np.tile(np.arange(8), n),
    )  # fmt: skip
    table = pd.DataFrame(
        [
            {
                "concept": f"{name} {rank}", "class": name, "rank": rank, "patches": 4, "clips": 2,
                "frequency": "high", "kept": True, "stability": 0.75, "accuracy": 0.9 if passed else 0.6,
                "score": 0.9 if passed else np.nan, "score_sd": 0.1, "sensitivity": sensitivity, "passed": passed,
                "p": q, "q": q,
            }
            for name, rank, _, passed, sensitivity, q, _ in ROWS
        ]
    ).set_index("concept")  # fmt: skip
    row = {(NAMES.index(name), band): k for k, (name, _, band, *_) in enumerate(ROWS)}
    concept = np.array([row.get((labels[i], b // 2), -1) for i, b in zip(patches.input, patches.label, strict=True)])
    vectors = np.random.default_rng(0).standard_normal((len(ROWS), 5))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[-1] = np.nan
    distance = np.arange(len(patches), dtype=float) % 8 + patches.input
    concepts = Concepts(table, patches, concept, distance, vectors, labels, np.array(clips), NAMES, {}, {})
    return concepts, x


def write(profile, data, **changes):
    """Save them as a profile's; `changes` replace tables or, with None, leave them out."""
    concepts, x = made(data)
    flagged = [flag for *_, flag in ROWS]
    reason = ["few clips" if flag else "" for flag in flagged]
    flags = pd.DataFrame({"flagged": flagged, "reason": reason}, index=concepts.table.index)
    known = [True, False, True, True, True, False]
    holds = pd.DataFrame(
        {
            "property": [f"stem <b>{k}" if one else None for k, one in enumerate(known)], "auc": 0.8,
            "low": [0.7, np.nan, 0.4, 0.7, 0.7, np.nan], "high": 0.9,
        },
        index=concepts.table.index,
    )  # fmt: skip
    clips = pd.DataFrame({"title": data.tracks["title"].reindex(concepts.groups).to_list(), "start": START})
    about = {"data": data.name, "checksum": data.tables_checksum, "front_end": tones.MEL.to_json()}
    tables = {
        "arrangement": arrange(concepts, n_clusters=2), "flags": flags, "holds": holds, "clips": clips,
        "about": pd.DataFrame([about]), "x": x,
    } | changes  # fmt: skip
    (profile / "files").mkdir(parents=True, exist_ok=True)
    return save(
        profile / "files" / "concepts.npz", concepts, **{k: table for k, table in tables.items() if table is not None}
    )

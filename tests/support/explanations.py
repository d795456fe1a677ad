"""An explanation of a song of noise, made without any model."""

import numpy as np
import pandas as pd

from musictools.explain.application.evidence import Evidence
from musictools.explain.application.system import SongExplanation
from musictools.spectrograms import FrontEnd

SR, SECONDS = 16000, 6.0
MEL = FrontEnd(SR, 512, 256, 32)
EDGES = {"low": (1.0, 3.0), "high": (2.5, 5.0)}  # where the relevance of the first two descriptors lies, in s


def explanation(tags=("low", "high", "never"), *, genres=("bass & co", "birds"), badge="passes 3 of 4 tests"):
    """A song of noise; relevance of the first descriptor from 1 to 3 s, of the second from 2.5 to 5 s."""
    tags, y = list(tags), 0.1 * np.random.default_rng(0).standard_normal(round(SR * SECONDS)).astype(np.float32)
    S = MEL.compute(y)
    heatmaps = {tag: np.zeros(S.shape) for tag in tags}
    for tag, (start, end) in zip(tags, EDGES.values(), strict=False):
        heatmaps[tag][5:9, round(start * SR / 256) : round(end * SR / 256)] = 1
    starts = np.arange(11) * 0.5
    scores = pd.DataFrame({tag: np.linspace(0, 1, len(starts)) for tag in tags})
    descriptors = pd.DataFrame(
        {"tag": [*tags, "unasked"], "score": 0.75, "threshold": 0.5, "predicted": True, "sections": 4}
    )
    loop = pd.DataFrame(
        {
            "tag": tags,
            "threshold": 0.5,
            "accepted": [tag != tags[-1] for tag in tags],
            "clip": 0.75,
            "evidence": 0.625,
            "rest": np.nan,
            "kept": True,
            "lost": False,
            "area": 0.25,
            "gap": 1.5,
        }
    )
    votes = pd.DataFrame(
        {
            "start": starts,
            "end": starts + 0.5,
            "genre": [genres[k % 2] for k in range(len(starts))],
            "score": 0.9,
            **dict.fromkeys(genres, 0.5),
        }
    )
    return SongExplanation(
        genre=genres[0],
        votes=votes,
        descriptors=descriptors,
        heatmaps=heatmaps,
        loop=loop,
        y=y,
        S=S,
        front_end=MEL,
        sections=pd.DataFrame({"start": starts, "end": starts + 0.5}).join(scores),
        method="deep_taylor",
        rule="f1",
        evidence={tag: Evidence(heatmaps[tag], 0.25 * y, 0.75 * y, 1.5) for tag in tags},
        heard=5.5,
        membership=pd.Series({genres[1]: 0.75, genres[0]: 0.25}),
        seconds={"genre": 0.5},
        badges={tags[0]: badge},
    )

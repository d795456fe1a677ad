"""What is asked of the networks about one descriptor of an explained song: heatmap, evidence, badge.

Every function takes the networks and the explanation, whose song, scores and spectrogram are used again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from musictools.explain.application.evidence import Evidence
    from musictools.explain.application.system import ExplanationSystem, SongExplanation

__all__ = ["badge", "evidence", "extended", "heatmap", "missing", "page", "scored"]


def heatmap(system: ExplanationSystem, explanation: SongExplanation, tag: str) -> np.ndarray:
    """Find a descriptor in the song.

    Parameters
    ----------
    system : ExplanationSystem
    explanation : SongExplanation
    tag : str

    Returns
    -------
    heatmap : np.ndarray [shape=(n_bins, n_frames)]
        0 in sections where the tag is not predicted.
    """
    return system.heatmaps(explanation, [tag])[tag]


def evidence(
    system: ExplanationSystem, explanation: SongExplanation, tag: str, relevance: np.ndarray
) -> tuple[Evidence, pd.DataFrame]:
    """Turn a heatmap into sound, and ask the tagger about it.

    Parameters
    ----------
    system : ExplanationSystem
    explanation : SongExplanation
    tag : str
    relevance : np.ndarray [shape=(n_bins, n_frames)]
        Heatmap of the tag.

    Returns
    -------
    evidence : Evidence
    loop : pd.DataFrame
        One row, see `evidence.feed_back`.
    """
    from musictools.explain.application import evidence as sounds

    model, table = system.descriptor_model, explanation.descriptors.set_index("tag")

    def scores(y):
        return pd.Series(model.scores(model.inputs(y)).mean(axis=0), model.tags)

    made = sounds.evidences(explanation.y, {tag: relevance}, front_end=explanation.front_end)
    return made[tag], sounds.feed_back(scores, table["score"], made, thresholds=table["threshold"])


def badge(system: ExplanationSystem, explanation: SongExplanation, tag: str) -> str:
    """Test the heatmap of the section with a descriptor's highest score.

    Parameters
    ----------
    system : ExplanationSystem
    explanation : SongExplanation
    tag : str

    Returns
    -------
    badge : str
        One line.
    """
    from musictools.explain.metrics import badge

    model, best = system.descriptor_model, int(explanation.sections[tag].argmax())
    x = model.inputs(explanation.y, S=explanation.S)[best : best + 1]
    threshold = float(explanation.descriptors.set_index("tag").at[tag, "threshold"])
    options = {"method": explanation.method, "reference": float(np.clip(threshold, 1e-6, 1 - 1e-6))}
    return str(badge.badges(model.model, x, model.tags.index(tag), **options)[0])


def scored(system: ExplanationSystem, explanation: SongExplanation, y: np.ndarray) -> SongExplanation:
    """Ask all networks about another sound, such as the song without some evidence.

    Parameters
    ----------
    system : ExplanationSystem
    explanation : SongExplanation
        Of the song; its rule and method are used.
    y : np.ndarray [shape=(n,)]
        At the sampling rate of the explanation's front end.

    Returns
    -------
    explanation : SongExplanation
        Without heatmaps.
    """
    options = {"rule": explanation.rule, "method": explanation.method, "badges": False}
    return system.explain(y, sr=explanation.front_end.sr, tags=[], **options)


def extended(explanation: SongExplanation, *, loop: pd.DataFrame | None = None, **parts: dict) -> SongExplanation:
    """Add what is known of further descriptors to an explanation, which itself stays as it is.

    Parameters
    ----------
    explanation : SongExplanation
    loop : pd.DataFrame or None
        Further rows.
    **parts : dict
        Further ``heatmaps``, ``evidence`` or ``badges``, by descriptor.

    Returns
    -------
    explanation : SongExplanation
    """
    new = {name: getattr(explanation, name) | part for name, part in parts.items()}
    if loop is not None:
        new["loop"] = pd.concat([explanation.loop, loop], ignore_index=True) if len(explanation.loop) else loop
    return dataclasses.replace(explanation, **new)


def missing(explanation: SongExplanation, tags: Sequence[str]) -> str:
    """Say which heatmaps are not stored.

    Parameters
    ----------
    explanation : SongExplanation
    tags : sequence of str

    Returns
    -------
    text : str
        Empty if all of them are.
    """
    absent = [tag for tag in tags if tag not in explanation.heatmaps]
    if not absent:
        return ""
    return (
        f"The heatmap of {', '.join(absent)} is not stored, only those of {', '.join(explanation.heatmaps)}. With "
        "networks, every descriptor has one."
    )


def page(folder: str | Path, explanation: SongExplanation, *, title: str, more: dict[str, Any]) -> Path:
    """Write the offline page of ``musictools explain`` with the descriptors that have a heatmap and a sound.

    Parameters
    ----------
    folder : str or Path
    explanation : SongExplanation
    title : str
    more : dict
        Further entries of ``explanation.json``.

    Returns
    -------
    path : Path
        The page.
    """
    from musictools.explain.application import page

    audible = {tag: heatmap for tag, heatmap in explanation.heatmaps.items() if tag in explanation.evidence}
    return page.write(folder, dataclasses.replace(explanation, heatmaps=audible), title=title, more=more)

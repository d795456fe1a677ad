"""Several taggers on one song, side by side (the comparison of models in `tagger_slides`, figures 2 to 5).

Taggers have different vocabularies. Tags are the same if their letters and digits are, without the category that
MTG-Jamendo writes before a tag: ``genre---hiphop`` and ``Hip-Hop`` are one tag. *Shared* tags are those that at least
two of the taggers know.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from musictools import audio, html
from musictools.files import atomic

if TYPE_CHECKING:
    from musictools.inference import Tagger, Taggram

__all__ = ["Comparison", "compare", "default_rule", "write"]

_WIDTH, _ROW, _HEAD = 5.2, 0.24, 1.1  # inches of a taggram's picture


@dataclass(frozen=True)
class Comparison:
    """What several taggers say of one song.

    Attributes
    ----------
    taggrams : dict of str to Taggram
        By name of the tagger.
    decisions : dict of str to pd.DataFrame
        As `Tagger.decide` gives them, by name of the tagger; the index holds the tags' common names.
    table : pd.DataFrame [indexed by tag]
        Scores of the song, one column for each tagger, NaN for tags that it does not know. Shared tags come first,
        each part in the order of the mean score.
    shared : list of str
        Tags that at least two taggers know.
    data : dict of str to str
        What each tagger learnt from, as its card says.
    """

    taggrams: dict[str, Taggram]
    decisions: dict[str, pd.DataFrame]
    table: pd.DataFrame
    shared: list[str]
    data: dict[str, str]

    def own(self, name: str) -> list[str]:
        """Tags that only one tagger knows.

        Parameters
        ----------
        name : str
            Name of the tagger.

        Returns
        -------
        tags : list of str
            The highest score first.
        """
        alone = self.table[name].drop(self.shared).dropna()
        return list(alone.sort_values(ascending=False, kind="stable").index)

    def first(self, tags: list[str], names: list[str], top: int) -> list[str]:
        """The first of some tags, and those that one of some taggers predicts.

        Parameters
        ----------
        tags : list of str
            Such as `shared`.
        names : list of str
            Of taggers.
        top : int >= 0
            How many are there in any case.

        Returns
        -------
        tags : list of str
            In the same order.
        """
        predicted = {tag for name in names for tag in self.decisions[name].query("predicted").index}
        return [tag for k, tag in enumerate(tags) if k < top or tag in predicted]

    def scores(self, name: str, tags: list[str]) -> np.ndarray:
        """Scores of one tagger over time.

        Parameters
        ----------
        name : str
            Name of the tagger.
        tags : list of str
            By their common names.

        Returns
        -------
        scores : np.ndarray [shape=(n_inputs, n_tags)]
            NaN for tags that the tagger does not know.
        """
        taggram, decided = self.taggrams[name], self.decisions[name]
        scores = np.full((len(taggram.scores), len(tags)), np.nan)
        for k, tag in enumerate(tags):
            if tag in decided.index:
                scores[:, k] = taggram.scores[:, taggram.tags.index(decided.at[tag, "tag"])]
        return scores

    def agreement(self) -> pd.DataFrame:
        """Rank correlation of the taggers' scores over the tags that two of them share.

        Returns
        -------
        agreement : pd.DataFrame [taggers x taggers]
            NaN where two taggers share fewer than three tags.
        """
        return self.table.corr(method="spearman", min_periods=3)


def compare(
    taggers: dict[str, Tagger],
    y: np.ndarray,
    *,
    sr: int,
    rule: str | None = None,
    taggrams: dict[str, Taggram] | None = None,
) -> Comparison:
    """Apply several taggers to one song.

    Parameters
    ----------
    taggers : dict of str to Tagger
        By the name under which they are shown.
    y : np.ndarray [shape=(n,)]
        Waveform of any length.
    sr : int > 0
        Sampling rate in Hz.
    rule : str or None
        How the thresholds were chosen. None: the `default_rule` of each tagger.
    taggrams : dict of str to Taggram or None
        Those of this song that are known already, by name of the tagger.

    Returns
    -------
    comparison : Comparison

    Raises
    ------
    ValueError
        If there is no tagger, or one has no thresholds by that rule.

    See Also
    --------
    write : The comparison as a page.

    Examples
    --------
    >>> import keras
    >>> from musictools.inference import Tagger
    >>> from musictools.models.card import ModelCard
    >>> from musictools.spectrograms import FrontEnd
    >>> def tagger(*tags):
    ...     layers = [keras.Input((40, 30, 1)), keras.layers.Flatten(), keras.layers.Dense(2, activation="sigmoid")]
    ...     card = ModelCard(task="tags", model="tiny", outputs=tags, length=30, step=15,
    ...                      front_end=FrontEnd(8000, 512, 256, 40))
    ...     return Tagger(keras.Sequential(layers), card)
    >>> both = {"a": tagger("drums", "hip hop"), "b": tagger("genre---hiphop", "flute")}
    >>> comparison = compare(both, np.zeros(16000), sr=8000)
    >>> comparison.shared, comparison.own("b")
    (['hip hop'], ['flute'])
    """
    if not taggers:
        raise ValueError("taggers must hold at least one tagger. Got none.")
    names, known, taggrams, decisions = _names(taggers), taggrams or {}, {}, {}
    for name, tagger in taggers.items():
        taggrams[name] = known[name] if name in known else tagger.taggram(y, sr=sr)
        decided = tagger.decide(taggrams[name].joined(), rule=rule or default_rule(tagger))
        decided.index = [names[_key(tag)] for tag in decided["tag"]]
        decisions[name] = decided[~decided.index.duplicated()]  # of several spellings, the predicted or higher one
    table = pd.DataFrame({name: decided["score"] for name, decided in decisions.items()})
    shared = table.notna().sum(axis=1) > 1
    order = pd.DataFrame({"alone": ~shared, "score": -table.mean(axis=1)}).sort_values(["alone", "score"]).index
    data = {name: tagger.card.data or "" for name, tagger in taggers.items()}
    table = table.loc[order].rename_axis("tag")
    return Comparison(taggrams, decisions, table, [tag for tag in order if shared[tag]], data)


def default_rule(tagger: Tagger) -> str:
    """Choose among the rules for the thresholds of a tagger.

    Parameters
    ----------
    tagger : Tagger

    Returns
    -------
    rule : str
        "f1" if its card has it, else the first rule of the card; "half" if it has none.
    """
    rules = list(tagger.card.thresholds)
    return "f1" if "f1" in rules else (*rules, "half")[0]


def write(folder: str | Path, comparison: Comparison, y: np.ndarray, *, sr: int, title: str, top: int = 12) -> Path:
    """Write a comparison as a page that works offline, with its pictures, the song and a table beside it.

    Parameters
    ----------
    folder : str or Path
        Created if it is missing. Files of the same names are replaced.
    comparison : Comparison
    y : np.ndarray [shape=(n,)]
        The song.
    sr : int > 0
        Its sampling rate in Hz.
    title : str
        Heading of the page.
    top : int > 0
        Number of tags in each picture; predicted tags are always there.

    Returns
    -------
    index : Path
        ``folder/index.html``.

    Raises
    ------
    ValueError
        If the folder is a file.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: is a file, not a folder.")
    audio.write(folder / "song.flac", np.clip(y / max(1.0, float(np.abs(y).max())), -1, 1), sr=sr)
    with atomic(folder / "comparison.csv") as temporary:
        comparison.table.to_csv(temporary)
    shared = comparison.first(comparison.shared, list(comparison.taggrams), top)
    models = []
    for name, anchor in html.anchors(comparison.taggrams).items():
        own, decided = comparison.own(name), comparison.decisions[name]
        pictures = {"shared": shared, "own": comparison.first(own, [name], top)}
        files = {kind: f"taggram-{kind}-{anchor}.png" for kind, tags in pictures.items() if tags}
        for kind, file in files.items():
            _picture(folder / file, comparison, name, pictures[kind])
        models.append(
            {
                "name": name,
                "anchor": anchor,
                "data": comparison.data[name],
                "files": files,
                "predicted": list(decided.index[decided["predicted"]]),
                "own": [_cell(comparison, tag, name) | {"tag": tag} for tag in own],
                "inputs": len(comparison.taggrams[name].scores),
                "seconds": comparison.taggrams[name].seconds,
            }
        )
    rows = {tag: [_cell(comparison, tag, name) for name in comparison.taggrams] for tag in comparison.shared}
    agreement = comparison.agreement() if len(models) > 1 else None
    return html.write(
        folder / "index.html",
        "comparison.html.jinja",
        title=title,
        seconds=len(y) / sr,
        models=models,
        rows=[(tag, rows.pop(tag)) for tag in shared],
        others=list(rows.items()),
        agreement=None if agreement is None else list(zip(agreement.index, agreement.to_numpy().tolist(), strict=True)),
    )


def _key(tag):
    """What two spellings of one tag have in common."""
    return re.sub(r"[\W_]", "", tag.split("---")[-1].lower()) or tag


def _names(taggers):
    """Spelling by which each tag is shown: the most frequent one, of equally frequent ones the first."""
    spellings = {}
    for tagger in taggers.values():
        for tag in tagger.tags:
            spellings.setdefault(_key(tag), Counter())[tag.split("---")[-1]] += 1
    return {key: count.most_common(1)[0][0] for key, count in spellings.items()}


def _cell(comparison, tag, name):
    """Score, threshold and decision of one tagger about one tag; None where it does not know it."""
    decided = comparison.decisions[name]
    if tag not in decided.index:
        return {"score": None, "threshold": None, "predicted": False}
    row = decided.loc[tag]
    return {
        "score": float(row["score"]), "threshold": float(row["threshold"]), "predicted": bool(row["predicted"])
    }  # fmt: skip


def _picture(path, comparison, name, tags):
    """A taggram with one row for each tag, empty where the tagger does not know it, so that pictures align."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from musictools import plots

    taggram, scores = comparison.taggrams[name], comparison.scores(name, tags)
    figure = Figure(figsize=(_WIDTH, _HEAD + _ROW * len(tags)), layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    ax.set_facecolor("#cccccc")
    plots.taggram(scores, start=taggram.start, seconds=taggram.seconds, tags=tags, ax=ax)
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)

"""Tags, genres and descriptors: synonyms, vocabularies, counts and co-occurrence.

Conventions
-----------
A tag table is a bool DataFrame, clips x tags, indexed by clip id. *Genres* are the tags a genre classifier
predicts, *descriptors* all tags that are no genre. The vocabulary of `rotheneder2023` (table 5.1, section 5.1.1) is
data, in ``musictools/published``. It is read literally: `female vocal` stays a tag of its own beside `female vocals`,
as the thesis' 108 descriptors require.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from musictools import published

__all__ = [
    "CATEGORIES",
    "Clips",
    "Vocabulary",
    "category",
    "co_occurrence",
    "counts",
    "excluded_table",
    "genre_of",
    "merge",
    "single_genre",
    "synonym_table",
    "top",
    "vocabulary",
]

# In the order of table 3.1.
GENRES = ("rock", "indian", "pop", "new age", "country", "metal", "electronic", "classic")

# Kinds of descriptors, in the order in which tables show them; what stands nowhere here is "mood and style".
CATEGORIES = {
    "instruments": (
        "acoustic guitar",
        "banjo",
        "bass",
        "bells",
        "bongos",
        "cello",
        "chimes",
        "clarinet",
        "classical guitar",
        "drums",
        "electric guitar",
        "fiddle",
        "flute",
        "guitar",
        "harp",
        "harpsichord",
        "horn",
        "keyboard",
        "lute",
        "oboe",
        "orchestra",
        "organ",
        "percussion",
        "piano",
        "piano solo",
        "sax",
        "sitar",
        "string",
        "synthesizer",
        "trumpet",
        "viola",
        "violin",
        "wind",
        "woodwind",
    ),
    "voice": (
        "chant",
        "choir",
        "chorus",
        "duet",
        "female vocal",
        "female vocals",
        "girl",
        "male vocals",
        "monks",
        "no vocals",
        "singer",
        "soprano",
        "talking",
        "vocals",
    ),
    "tempo": ("fast", "slow", "upbeat"),
    "loudness": ("hard", "heavy", "loud", "quiet", "soft", "calm", "light"),
    "texture": (
        "acoustic",
        "airy",
        "ambient",
        "beat",
        "clapping",
        "deep",
        "drone",
        "echo",
        "low",
        "no beat",
        "no drums",
        "no flute",
        "no guitar",
        "no piano",
        "no strings",
        "no violin",
        "noise",
        "plucking",
        "repetitive",
        "solo",
        "space",
    ),
}


@dataclass(frozen=True)
class Vocabulary:
    """Synonyms of tags, and which tags are genres or excluded.

    Parameters
    ----------
    synonyms : dict of str to tuple of str
        Merged tag -> the raw tags it stands for (itself included).
    genres : tuple of str
        Merged tags that are genres.
    excluded : tuple of str
        Merged tags that are neither genre nor descriptor.
    precedence : tuple of (str, str)
        (winner, loser): a clip with both genres keeps the winner only.

    See Also
    --------
    vocabulary : The vocabulary of a source.

    Examples
    --------
    >>> words = Vocabulary({"rock": ("rock", "rock music")}, genres=("rock",), excluded=("noise",))
    >>> tags = pd.DataFrame({"rock music": [True, False], "loud": [True, True], "noise": [False, True]})
    >>> words.genre_table(tags)["rock"].tolist(), list(words.descriptor_table(tags))
    ([True, False], ['loud'])
    """

    synonyms: dict
    genres: tuple
    excluded: tuple
    precedence: tuple = ()

    def genre_table(self, tags: pd.DataFrame) -> pd.DataFrame:
        """Genres of a raw tag table.

        Parameters
        ----------
        tags : pd.DataFrame [clips x raw tags, bool]

        Returns
        -------
        genres : pd.DataFrame [clips x genres, bool]
            Every genre of the vocabulary, also those without a clip.
        """
        merged = merge(tags, self.synonyms).reindex(columns=list(self.genres), fill_value=False)
        for winner, loser in self.precedence:
            merged.loc[merged[winner], loser] = False
        return merged

    def descriptor_table(self, tags: pd.DataFrame) -> pd.DataFrame:
        """Descriptors of a raw tag table, most frequent first.

        Parameters
        ----------
        tags : pd.DataFrame [clips x raw tags, bool]

        Returns
        -------
        descriptors : pd.DataFrame [clips x descriptors, bool]
        """
        merged = merge(tags, self.synonyms)
        kept = merged.drop(columns=[t for t in (*self.genres, *self.excluded) if t in merged])
        return kept[counts(kept).index]


@dataclass(frozen=True)
class Clips:
    """Clips that carry exactly one genre.

    Parameters
    ----------
    genres : pd.Series [clip id -> genre]
    descriptors : pd.DataFrame [clips x descriptors, bool]
        The same clips in the same order.
    """

    genres: pd.Series
    descriptors: pd.DataFrame


@cache
def vocabulary(name: str = "rotheneder2023") -> Vocabulary:
    """A vocabulary by the key of its source.

    Metal takes precedence over rock: nearly every metal clip is tagged *rock* as well. Only with this rule does
    MagnaTagATune give the thesis' 12,310 single-genre clips.

    Parameters
    ----------
    name : str
        ``"rotheneder2023"`` (table 5.1).

    Returns
    -------
    vocabulary : Vocabulary

    Raises
    ------
    ValueError
        If the name is not known.

    Examples
    --------
    >>> vocabulary().genres
    ('rock', 'indian', 'pop', 'new age', 'country', 'metal', 'electronic', 'classic')
    >>> tags = pd.DataFrame({"classical": [True, False], "violin": [True, False], "violins": [False, True]})
    >>> list(vocabulary().descriptor_table(tags))
    ['violin']
    """
    if name != "rotheneder2023":
        raise ValueError(f"No vocabulary is called {name!r}. Known: 'rotheneder2023'.")
    pairs = published.table("rotheneder2023_table_5_1_equivalent_tags")
    excluded = published.table("rotheneder2023_section_5_1_1_excluded_tags")["tag"]
    return Vocabulary(
        synonyms={tag: tuple(group["synonym"]) for tag, group in pairs.groupby("tag", sort=False)},
        genres=GENRES,
        excluded=tuple(t for t in excluded if t not in GENRES),
        precedence=(("metal", "rock"),),
    )


def merge(tags: pd.DataFrame, synonyms: dict) -> pd.DataFrame:
    """Merge tags that mean the same: a clip has the merged tag when it has any of its synonyms.

    Parameters
    ----------
    tags : pd.DataFrame [clips x tags, bool]
    synonyms : dict of str to sequence of str
        Merged tag -> raw tags. Raw tags that `tags` lacks are passed over.

    Returns
    -------
    merged : pd.DataFrame [clips x merged tags, bool]
        Columns in order of first appearance.

    Raises
    ------
    ValueError
        If `tags` is not bool, or a raw tag belongs to two merged tags.

    Examples
    --------
    >>> tags = pd.DataFrame({"drum": [True, False, False], "drums": [False, True, False]})
    >>> merge(tags, {"drums": ("drum", "drums")})["drums"].tolist()
    [True, True, False]
    """
    _check(tags)
    target = {}
    for tag, raw in synonyms.items():
        for synonym in raw:
            if target.setdefault(synonym, tag) != tag:
                raise ValueError(f"The tag {synonym!r} is a synonym of both {target[synonym]!r} and {tag!r}.")
    names = [target.get(tag, tag) for tag in tags.columns]
    columns = list(dict.fromkeys(names))
    merged = np.zeros((len(tags), len(columns)), dtype=bool)
    values = tags.to_numpy()
    for column, name in enumerate(names):
        merged[:, columns.index(name)] |= values[:, column]
    return pd.DataFrame(merged, index=tags.index, columns=columns)


def counts(tags: pd.DataFrame) -> pd.Series:
    """Clips of every tag, most frequent first; ties in alphabetical order.

    Parameters
    ----------
    tags : pd.DataFrame [clips x tags, bool]

    Returns
    -------
    counts : pd.Series [tag -> number of clips, int]

    Examples
    --------
    >>> counts(pd.DataFrame({"slow": [True, False], "loud": [True, True]})).to_dict()
    {'loud': 2, 'slow': 1}
    """
    _check(tags)
    return tags.sum().astype(int).sort_index().sort_values(ascending=False, kind="stable").rename("clips")


def synonym_table(tags: pd.DataFrame, vocabulary: Vocabulary) -> pd.DataFrame:
    """Number of clips of every group of equivalent tags, before and after merging.

    Parameters
    ----------
    tags : pd.DataFrame [clips x raw tags, bool]
    vocabulary : Vocabulary

    Returns
    -------
    table : pd.DataFrame
        A row a raw tag of a group: tag (merged), synonym (raw), clips with the raw tag, merged_clips with any of the
        group. Raw tags that `tags` lacks have 0 clips.

    Examples
    --------
    >>> tags = pd.DataFrame({"drum": [True, False, False], "drums": [True, True, False]})
    >>> table = synonym_table(tags, vocabulary()).set_index("synonym")
    >>> table.loc[["drum", "drums"], "clips"].tolist(), int(table.at["drums", "merged_clips"])
    ([1, 2], 2)
    """
    rows = []
    for tag, synonyms in vocabulary.synonyms.items():
        known = [s for s in synonyms if s in tags]
        merged = int(tags[known].any(axis=1).sum())
        rows += [(tag, s, int(tags[s].sum()) if s in known else 0, merged) for s in synonyms]
    return pd.DataFrame(rows, columns=["tag", "synonym", "clips", "merged_clips"])


def excluded_table(tags: pd.DataFrame, vocabulary: Vocabulary) -> pd.DataFrame:
    """Tags that are no descriptors, with the reason and their number of clips.

    Parameters
    ----------
    tags : pd.DataFrame [clips x raw tags, bool]
    vocabulary : Vocabulary

    Returns
    -------
    table : pd.DataFrame
        A row a genre or excluded tag: tag (merged), reason, clips with any of its synonyms.

    Examples
    --------
    >>> tags = pd.DataFrame({"rock": [True, False], "hard rock": [True, True], "english": [False, True]})
    >>> table = excluded_table(tags, vocabulary()).set_index("tag")
    >>> table.loc[["rock", "english"]].to_numpy().tolist()
    [['genre of the thesis', 2], ['language', 1]]
    """
    listed = published.table("rotheneder2023_section_5_1_1_excluded_tags").set_index("tag")["reason"]
    rows = []
    for tag in (*vocabulary.genres, *vocabulary.excluded):
        known = [s for s in vocabulary.synonyms.get(tag, (tag,)) if s in tags]
        reason = listed.get(tag, "genre" if tag in vocabulary.genres else "excluded")
        rows.append((tag, reason, int(tags[known].any(axis=1).sum())))
    return pd.DataFrame(rows, columns=["tag", "reason", "clips"])


def top(tags: pd.DataFrame, n: int) -> pd.DataFrame:
    """The `n` most frequent tags.

    Parameters
    ----------
    tags : pd.DataFrame [clips x tags, bool]
    n : int > 0

    Returns
    -------
    tags : pd.DataFrame [clips x n tags, bool]
        Most frequent first.

    Raises
    ------
    ValueError
        If there are fewer than `n` tags.

    Examples
    --------
    >>> list(top(pd.DataFrame({"slow": [True, False], "loud": [True, True]}), 1))
    ['loud']
    """
    if not isinstance(n, int | np.integer) or not 0 < n <= tags.shape[1]:
        raise ValueError(f"n must be an int and lie between 1 and the number of tags, {tags.shape[1]}. Got {n}.")
    return tags[counts(tags).index[:n]]


def category(tag: str) -> str:
    """Kind of a descriptor.

    Parameters
    ----------
    tag : str
        Before or after merging: a tag has the kind of the descriptor that it is merged into.

    Returns
    -------
    category : str
        A key of `CATEGORIES`, or ``"mood and style"``.

    Examples
    --------
    >>> category("violin"), category("woman"), category("happy")
    ('instruments', 'voice', 'mood and style')
    """
    names = {tag, _merged().get(tag, tag)}
    return next((name for name, members in CATEGORIES.items() if names & set(members)), "mood and style")


@cache
def _merged():
    """Tag -> the descriptor that it is merged into."""
    return {raw: tag for tag, members in vocabulary().synonyms.items() for raw in members}


def genre_of(tag: str) -> str | None:
    """Genre that a tag of any data set names.

    Parameters
    ----------
    tag : str
        With or without MTG-Jamendo's prefix, such as ``"genre---techno"``.

    Returns
    -------
    genre : str or None
        One of `GENRES` where the vocabulary of `rotheneder2023` merges the tag into it; the tag itself where that
        vocabulary excludes it as a style, or where the prefix calls it a genre; None: the tag is no genre.

    Examples
    --------
    >>> [genre_of(tag) for tag in ("techno", "opera", "Hip-Hop", "genre---newage", "guitar", "not rock")]
    ['electronic', 'classic', 'hip hop', 'new age', None, None]
    """
    words = vocabulary()
    plain = tag.removeprefix("genre---").lower().replace("-", " ")
    plain = {"newage": "new age", "hiphop": "hip hop"}.get(plain, plain)
    for genre in words.genres:
        if plain in words.synonyms.get(genre, (genre,)):
            return genre
    style = plain in words.excluded and "not" not in plain.split() and plain != "english"
    return plain if style or tag.startswith("genre---") else None


def co_occurrence(tags: pd.DataFrame) -> pd.DataFrame:
    """Share of the clips with tag i that also have tag j: C(i, j) = #(i and j) / #i.

    Source: `choi2018`, 3.2.1 (normalised co-occurrence).

    Parameters
    ----------
    tags : pd.DataFrame [clips x tags, bool]

    Returns
    -------
    C : pd.DataFrame [tags x tags], in [0, 1]
        Row i, column j. The diagonal is 1; the row of a tag without clips is NaN.

    Examples
    --------
    >>> C = co_occurrence(pd.DataFrame({"rock": [True, True], "loud": [True, False]}))
    >>> C.loc["rock", "loud"], C.loc["loud", "rock"]
    (np.float64(0.5), np.float64(1.0))
    """
    _check(tags)
    x = tags.to_numpy(dtype=np.float64)
    both = x.T @ x
    alone = np.diag(both).copy()
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(alone[:, None] > 0, both / alone[:, None], np.nan)
    return pd.DataFrame(share, index=tags.columns, columns=tags.columns)


def single_genre(data: Any, *, min_descriptors: int = 0) -> Clips:
    """The clips with exactly one genre and at least `min_descriptors` descriptors.

    Parameters
    ----------
    data : Dataset
        Anything with `genres` and `descriptors`, bool DataFrames with the same index.
    min_descriptors : int >= 0

    Returns
    -------
    clips : Clips

    Raises
    ------
    ValueError
        If `min_descriptors` is negative.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> genres = pd.DataFrame({"pop": [True, True, False], "rock": [True, False, False]})
    >>> data = SimpleNamespace(genres=genres, descriptors=pd.DataFrame({"loud": [True, True, False]}))
    >>> single_genre(data).genres.to_dict()
    {1: 'pop'}
    """
    if min_descriptors < 0:
        raise ValueError(f"min_descriptors must be at least 0. Got {min_descriptors}.")
    keep = data.genres.sum(axis=1) == 1
    if min_descriptors:
        keep &= data.descriptors.sum(axis=1) >= min_descriptors
    genres = data.genres[keep]
    names = genres.columns.to_numpy()[genres.to_numpy().argmax(axis=1)] if len(genres) else []
    return Clips(
        genres=pd.Series(names, index=genres.index, name="genre", dtype=object), descriptors=data.descriptors[keep]
    )


def _check(tags):
    wrong = [str(c) for c, t in tags.dtypes.items() if t != np.dtype(bool)]
    if wrong:
        raise ValueError(f"A tag table holds True and False only. Not bool: {', '.join(wrong[:5])}.")
    if tags.columns.has_duplicates:
        raise ValueError(f"Tags are named twice: {', '.join(tags.columns[tags.columns.duplicated()][:5])}.")

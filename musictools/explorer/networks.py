"""Which networks the explorer can use: released ones that are installed, and those that a profile has built."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from musictools import familiarity, released
from musictools import tags as vocabularies
from musictools.models.card import ModelCard
from musictools.runs.paths import from_root

if TYPE_CHECKING:
    from musictools.explain.application.system import ExplanationSystem
    from musictools.inference import Tagger

__all__ = ["ADVICE", "NONE", "OWN", "find", "genres_of", "known", "rule_of", "system"]

OWN = "its own genres"  # the genres among the tagger's tags
NONE = "no genre"
_CHOSEN = ("tagger", "genre_model", "mapping")
ADVICE = (
    "No network is here yet, so no song can be explained. Run `make demo`, or `musictools models get won2020-mtat-fcn` "
    "for a network that knows real music, and open this page again."
)


def find(folder: str | Path = "outputs/demo") -> dict[str, dict[str, Path]]:
    """Look for networks.

    Parameters
    ----------
    folder : str or Path
        Of a profile's results.

    Returns
    -------
    files : dict of str to dict of str to Path
        "taggers", "genres" and "mappings" -> name -> ``.keras`` file. Released taggers come first.
    """
    files = {"taggers": {name: released.find(name) for name in released.installed()}, "genres": {}, "mappings": {}}
    kinds = {"tags": "taggers", "genre": "genres", "mapping": "mappings"}
    own = {}
    for path in sorted((from_root(folder) / "models").glob("*.keras")):
        try:
            card = ModelCard.read(path)
        except ValueError:
            continue  # not a model of ours, or one without its card
        if card.task == "mapping" or card.front_end is not None:
            own.setdefault(kinds[card.task], {})[path.stem] = path
    for kind, found in own.items():  # the profile's chosen ones before the others
        files[kind] |= dict(sorted(found.items(), key=lambda item: (item[0] not in _CHOSEN, item[0])))
    return files


def genres_of(tagger: Path, genres: dict[str, Path]) -> list[str]:
    """Name the genre models that can be used beside a tagger, the best first.

    Parameters
    ----------
    tagger : Path
    genres : dict of str to Path

    Returns
    -------
    names : list of str
        `OWN` if some of its tags are genres, the names of `genres`, and `NONE`.
    """
    own = any(map(vocabularies.genre_of, ModelCard.read(tagger).outputs))
    return [OWN] * own + [*genres, NONE]


def known(name: str | None, names: Sequence[str], what: str) -> str:
    """Check the name of a network.

    Parameters
    ----------
    name : str or None
        None: the first one.
    names : sequence of str
    what : str
        What is called so, for the message.

    Returns
    -------
    name : str

    Raises
    ------
    ValueError
        If there is none of this name.
    """
    if name is not None and name not in names:
        raise ValueError(f"No {what} is called {name!r}. Known: {', '.join(names)}.")
    return names[0] if name is None else name


def rule_of(tagger: Tagger) -> str:
    """Choose the rule of a tagger's thresholds: the first of f1 and share that its card has, else half.

    Parameters
    ----------
    tagger : Tagger

    Returns
    -------
    rule : str
    """
    return next((rule for rule in ("f1", "share") if rule in tagger.card.thresholds), "half")


def system(tagger: Path, genre: Path | str, mapping: Path | None = None) -> ExplanationSystem:
    """Load networks.

    Parameters
    ----------
    tagger : Path
    genre : Path or str
        A file, `OWN` or `NONE`.
    mapping : Path or None
        None: the one that lies beside a released tagger, if there is one.

    Returns
    -------
    system : ExplanationSystem

    Raises
    ------
    ValueError
        If a file is damaged or of another kind.
    """
    from musictools.explain.application.system import ExplanationSystem
    from musictools.inference import GenreClassifier, TaggerGenres
    from musictools.mapping.membership import Mapping

    network = released.load(tagger)
    if genre == OWN:
        data = network.card.data
        genre_model = TaggerGenres(
            network, least=released.shares.shares(data) if data in released.shares.DATA else None
        )
    else:
        genre_model = None if genre == NONE else GenreClassifier.load(genre)
    if network.card.provenance.get("release") in released.names():
        mapping = tagger.with_suffix(".mapping.keras")
    mapper = None
    if mapping is not None and mapping.is_file():
        mapper = Mapping.load(mapping).following(network, rule=rule_of(network))
    return ExplanationSystem(genre_model, network, mapper, reference=familiarity.find(network, tagger))

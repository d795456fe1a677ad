"""Released networks in the data folder: each is a ``.keras`` file and a card beside it."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING

from musictools import runs
from musictools.files import file_digest, save_model
from musictools.released import checkpoints, registry, shares, won2020

if TYPE_CHECKING:
    from musictools.inference import Tagger

__all__ = ["add", "find", "installed", "load", "remove", "tagger_of"]


def find(name: str) -> Path:
    """Return the file of an installed network.

    Parameters
    ----------
    name : str
        One of `names()`.

    Returns
    -------
    path : Path
        A ``.keras`` file in the data folder; its card lies beside it.

    Raises
    ------
    ValueError
        If the name is unknown or the network is not installed.
    """
    registry.describe(name)
    path = _path(name)
    if not (path.is_file() and path.with_suffix(".json").is_file()):
        raise ValueError(
            f"{name} is not installed. musictools models get {name} downloads it from its authors; "
            f"musictools models add {name} FILE takes a file that is here."
        )
    return path


def installed() -> tuple[str, ...]:
    """Names of the released networks that are here.

    Returns
    -------
    names : tuple of str

    Examples
    --------
    >>> set(installed()) <= set(registry.names())
    True
    """
    return tuple(n for n in registry.names() if _path(n).is_file() and _path(n).with_suffix(".json").is_file())


def load(name: str | Path) -> Tagger:
    """Load an installed network, or any other tagger.

    Parameters
    ----------
    name : str or Path
        One of `installed()`, or the path of a ``.keras`` file with its card.

    Returns
    -------
    tagger : Tagger
        Of choi2018's network a `musictools.released.choi2018.Choi2018`.

    Raises
    ------
    ValueError
        If the network is not installed, or the file is no tagger.

    Examples
    --------
    >>> tagger = load("won2020-mtat-fcn")  # doctest: +SKIP
    >>> tagger.taggram(y, sr=sr).joined().nlargest(3)  # doctest: +SKIP
    """
    from musictools.inference import Tagger
    from musictools.models.card import ModelCard
    from musictools.released.choi2018 import Choi2018

    path = find(str(name)) if str(name) in registry.names() else Path(name)
    kind = Choi2018 if ModelCard.read(path).provenance.get("source") == "choi2018" else Tagger
    return kind.load(path)


def add(name: str, path: str | Path) -> Path:
    """Install a network from the file that its authors published.

    Parameters
    ----------
    name : str
        One of `names()`.
    path : str or Path
        The authors' file. It is read without PyTorch and never executed.

    Returns
    -------
    path : Path
        The ``.keras`` file in the data folder. One that is there already is replaced.

    Raises
    ------
    ValueError
        If the name is unknown, or the file is damaged, holds code or another network, or is not the published one.

    Examples
    --------
    >>> add("won2020-mtat-fcn", "best_model.pth")  # doctest: +SKIP
    """
    release, path = registry.describe(name), Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file.")
    checksum = file_digest(path)
    if checksum == release.sha256 or release.network != "choi2018":
        tagger = tagger_of(release, path)  # if it is another file, our own reader of PyTorch's says what is wrong
    if checksum != release.sha256:  # HDF5's library may hang in a damaged file, so it gets the published one only
        raise ValueError(
            f"{path}: not the file that the authors of {name} published. Its SHA-256 is {checksum} instead of "
            f"{release.sha256}."
        )
    place = _path(name)
    save_model(place, tagger.model)
    tagger.card.write(place)
    return place


def remove(name: str) -> None:
    """Remove an installed network.

    Parameters
    ----------
    name : str
        One of `installed()`.

    Raises
    ------
    ValueError
        If the name is unknown or the network is not installed.
    """
    path = find(name)
    for file in path.parent.glob(f"{glob.escape(name)}.*"):  # also what was made for it: a mapping, a reference
        file.unlink()


def _path(name):
    return runs.data_home() / "models" / f"{name}.keras"


def tagger_of(release: registry.Release, path: str | Path) -> Tagger:
    """Read the authors' file of a network without installing it.

    Parameters
    ----------
    release : Release
    path : str or Path

    Returns
    -------
    tagger : Tagger

    Raises
    ------
    ValueError
        If the file is damaged, holds code or another network.
    """
    from musictools.inference import Tagger
    from musictools.models.card import ModelCard
    from musictools.released import choi2018

    about = {"data": release.data, "source": release.source, "licence": release.licence, "citation": release.citation}
    about["thresholds"] = {"share": shares.thresholds(release.data)}
    origin = {"release": release.name, "url": release.url, "sha256": release.sha256}
    if release.network == "choi2018":
        tagger = choi2018.load(path, tags=release.tags)
        provenance = {**tagger.card.provenance, **origin}
        return choi2018.Choi2018(tagger.model, tagger.card.model_copy(update={**about, "provenance": provenance}))
    state = checkpoints.read(path)
    try:
        model = won2020.convert(state, release)
    except ValueError as error:
        raise ValueError(f"{path}: not the network of {release.name}: {error}.") from None
    card = ModelCard(
        task="tags",
        model=model.name,
        outputs=release.tags,
        front_end=release.front_end,
        length=release.input.length,
        step=release.input.step,
        provenance=origin,
        **about,
    )
    return Tagger(model, card)

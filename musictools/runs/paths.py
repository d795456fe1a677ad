"""Folders of results and data."""

import os
from pathlib import Path

__all__ = ["data_folders", "data_home", "from_root", "root", "shared_data"]


def root() -> Path:
    """Return the folder to which relative output folders are relative.

    Returns
    -------
    root : Path
        The checkout (the folder above the package, when it holds ``pyproject.toml`` and this package's notebooks or
        sources); the current folder when the package is installed elsewhere.

    Examples
    --------
    >>> root() == Path.cwd() or (root() / "pyproject.toml").is_file()
    True
    """
    above = Path(__file__).resolve().parents[2]
    in_checkout = (above / "pyproject.toml").is_file() and above.name != "site-packages"
    return above if in_checkout else Path.cwd()


def data_home() -> Path:
    """Return the folder for data sets and stores: ``MUSICTOOLS_DATA``, else ``data/`` of the checkout.

    Returns
    -------
    folder : Path
        Not created here. Outside a checkout: ``~/.cache/musictools``.

    See Also
    --------
    shared_data : Real data that several checkouts use.
    data_folders : The data sets in both.

    Examples
    --------
    >>> data_home().is_absolute()
    True
    """
    named = os.environ.get("MUSICTOOLS_DATA", "").strip()
    if named:
        return Path(named).expanduser().resolve()
    if (root() / "pyproject.toml").is_file():
        return root() / "data"
    return Path.home() / ".cache" / "musictools"


def shared_data() -> Path | None:
    """Return the folder with real data for measuring, or None.

    Returns
    -------
    folder : Path or None
        ``MUSICTOOLS_SHARED_DATA``, else ``../shared/data`` beside the checkout; None where it does not exist.
    """
    named = os.environ.get("MUSICTOOLS_SHARED_DATA", "").strip()
    folder = Path(named).expanduser() if named else root().parent / "shared" / "data"
    return folder.resolve() if folder.is_dir() else None


def data_folders() -> dict[str, Path]:
    """Return the data sets' folders in :func:`data_home` and :func:`shared_data`.

    Returns
    -------
    folders : dict of str to Path
        By name; where both places have a folder of one name, the one in :func:`data_home`. Folders of ``*.zarr``
        stores are left out.
    """
    places = [place for place in (shared_data(), data_home()) if place and place.is_dir()]
    folders = [path for place in places for path in sorted(place.iterdir()) if path.is_dir()]
    return {path.name: path for path in folders if not any(path.glob("*.zarr"))}


def from_root(path: str | Path) -> Path:
    """Return an absolute path.

    Parameters
    ----------
    path : str or Path
        A relative one is relative to :func:`root`.

    Returns
    -------
    path : Path

    Examples
    --------
    >>> from_root("outputs/demo").relative_to(root()).as_posix()
    'outputs/demo'
    """
    path = Path(path).expanduser()
    return path if path.is_absolute() else root() / path

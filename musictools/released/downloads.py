"""Downloads of released networks from their authors, only when somebody asks for one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from musictools import runs
from musictools.files import locked
from musictools.released import installation, registry

__all__ = ["get"]

_CHUNK = 2**16  # bytes
_TIMEOUT = 30  # s without an answer


def get(name: str, *, url: str | None = None, progress: bool = True) -> Path:
    """Download a network from its authors and install it. A download that broke off goes on where it stopped.

    Parameters
    ----------
    name : str
        One of `names()`.
    url : str or None
        Another place of the same file, whose checksum has to be the same; None: the authors' repository.
    progress : bool
        Show a progress bar.

    Returns
    -------
    path : Path
        The ``.keras`` file in the data folder. Nothing is downloaded where it is there already.

    Raises
    ------
    ValueError
        If the name is unknown, the file cannot be had, or its checksum is wrong.

    Examples
    --------
    >>> get("won2020-mtat-fcn")  # doctest: +SKIP
    """
    release = registry.describe(name)
    if name in installation.installed():
        return installation.find(name)
    import pooch

    pooch.get_logger().setLevel("WARNING")
    url, folder = url or release.url, runs.data_home() / "models" / "downloads"
    file = folder / f"{name}{Path(release.url).suffix}"
    with locked(file):
        pooch.retrieve(
            url, f"sha256:{release.sha256}", fname=file.name, path=folder, downloader=_resuming(release, file, progress)
        )
        path = installation.add(name, file)
        file.unlink()
    return path


def _resuming(release, file, progress) -> Callable:
    """A downloader for pooch, which checks the result and then gives it its name."""
    import requests

    partial = file.with_name(f"{file.name}.part")

    def download(url, output_file, _):
        try:
            _fetch(url, partial, release.size, progress)
        except requests.RequestException as error:
            message = f"{url} cannot be downloaded: {_words(error)}."
            if partial.is_file() and (here := partial.stat().st_size):
                message += f" {here:,} of {release.size:,} bytes are here; the same command goes on from there."
            raise ValueError(message) from None
        os.replace(partial, output_file)

    return download


def _fetch(url, partial, size, progress):
    """Append to `partial` what is missing."""
    import requests
    from tqdm.auto import tqdm

    start = partial.stat().st_size if partial.is_file() else 0
    if start >= size:
        partial.unlink(missing_ok=True)
        start = 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        response.raise_for_status()
        if response.status_code != requests.codes.partial_content:
            start = 0  # the server sends all of it
        with (
            partial.open("ab" if start else "wb") as file,
            tqdm(total=size, initial=start, unit="B", unit_scale=True, disable=not progress) as bar,
        ):
            for chunk in response.iter_content(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
                if file.tell() > size:
                    break  # the checksum will be wrong; a server must not fill the disk


def _words(error):
    import requests

    if (response := getattr(error, "response", None)) is not None:
        return f"the server answers {response.status_code} {response.reason}"
    if isinstance(error, requests.Timeout):
        return f"no answer for {_TIMEOUT} s"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    return "there is no connection" if isinstance(error, requests.ConnectionError) else str(error)

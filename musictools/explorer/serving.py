"""``make explorer``: open the song explorer as a page of its own, served by Voilà on this machine only."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from pathlib import Path

from musictools import runs

__all__ = ["SONG", "command", "environment", "main"]

SONG = "MUSICTOOLS_SONG"  # environment variable that tells the notebook which song to open
_USAGE = (
    "usage: python -m musictools.explorer.serving [SONG] [options of Voilà]\n"
    "Opens the song explorer in the browser. Options are Voilà's, such as --no-browser or --port=8867.\n"
    "The page is served on this machine only, and asks for the token in the printed address. With --Voila.ip=0.0.0.0\n"
    "other machines reach it too; the connection is not encrypted then."
)
_WITHOUT_TOKEN = r"--(\w+\.)?token=['\"]*|--Voila\.auto_token=(?!true|1).*"
_FOLDER = Path(__file__).with_name("jupyter")  # the page's template, and settings of the server


def command(notebook: str | Path | None = None, *more: str) -> list[str]:
    """Command that serves the notebook at 127.0.0.1, for those who have the token, and opens the browser.

    Parameters
    ----------
    notebook : str, Path or None
        None: ``song_explorer`` of the checkout.
    *more : str
        Further options of Voilà.

    Returns
    -------
    command : list of str

    Examples
    --------
    >>> "--Voila.ip=127.0.0.1" in command()
    True
    """
    return [
        sys.executable,
        "-m",
        "musictools.explorer.voila_app",
        str(notebook or runs.root() / "notebooks" / "song_explorer.ipynb"),
        f"--config={_FOLDER / 'config.json'}",  # an upload of 50 MB is one message: it allows for long ones
        "--template=musictools",
        "--Voila.ip=127.0.0.1",
        "--Voila.auto_token=True",  # other users and other pages of this machine must not reach the kernels
        *more,
    ]


def environment(song: str | Path | None = None) -> dict[str, str]:
    """Environment of that command: the page's template, which asks no other server for fonts, and the song.

    Parameters
    ----------
    song : str, Path or None

    Returns
    -------
    environment : dict of str to str

    Raises
    ------
    ValueError
        If there is no such file.
    """
    places = os.pathsep.join(filter(None, [str(_FOLDER), os.environ.get("JUPYTER_PATH")]))
    values = os.environ | {"JUPYTER_PATH": places}
    values.pop(SONG, None)
    if song:
        path = Path(song).expanduser().resolve()
        if not path.is_file():
            raise ValueError(f"{song}: no such file.")
        values[SONG] = str(path)
    return values


def main() -> None:
    """Serve the explorer; the only argument is a song, options are Voilà's."""
    options = [argument for argument in sys.argv[1:] if argument.startswith("-")]
    songs = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    if len(songs) > 1 or {"-h", "--help"} & set(options):
        sys.exit(_USAGE)
    if off := [option for option in options if re.fullmatch(_WITHOUT_TOKEN, option, re.IGNORECASE)]:
        sys.exit(f"error: {off[0]}: the explorer is not served without a token.")
    if importlib.util.find_spec("voila") is None:
        sys.exit("Voilà is not installed. Run `make explorer`, which installs it, or open the notebook in JupyterLab.")
    try:
        values = environment(*songs)
    except ValueError as error:
        sys.exit(f"error: {error}")
    arguments = command(None, *options)
    os.execve(arguments[0], arguments, values)


if __name__ == "__main__":
    main()

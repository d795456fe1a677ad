"""The song explorer: an app in JupyterLab and Voilà that answers "why does the model say that of this song?".

`controller` holds the logic and knows no widget, `view` shows it, `player` plays and draws the song in the browser, and
`serving` opens the notebook ``song_explorer`` as a page.
"""

from musictools.explorer.controller import Explorer

__all__ = ["Explorer", "view"]


def __getattr__(name: str):
    if name == "view":  # loads ipywidgets
        from importlib import import_module

        return import_module("musictools.explorer.view")
    raise AttributeError(f"musictools.explorer has no {name!r}")

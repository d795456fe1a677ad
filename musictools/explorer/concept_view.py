"""The page's view of concepts: one anywidget with five linked panels; its script lies beside this file."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import ipywidgets as widgets
import traitlets

from musictools.explorer import concepts, sentences
from musictools.explorer.work import ExplorerError

if TYPE_CHECKING:
    from musictools.explorer.controller import Explorer

__all__ = ["ConceptView", "Panels"]


class Panels(anywidget.AnyWidget):
    """Five panels of concepts. Hovering is answered in the browser, which asks for everything else by messages.

    Attributes
    ----------
    points, groups, hidden
        As in `concepts.ConceptPanels`.
    chosen : list of str
    details : list of dict
        For each chosen concept: name, facts, patches, pictures (song, data), songs (song, title), and of panel 5 song,
        title, span, choices, ticks, within, stitched (PNG); size of the spectrograms and why nothing can be heard.
    features : dict
        Song, as text -> its features.
    """

    _esm = Path(__file__).with_name("concepts.js")
    _css = Path(__file__).with_name("concepts.css")
    points = traitlets.List().tag(sync=True)
    groups = traitlets.List().tag(sync=True)
    hidden = traitlets.Int(0).tag(sync=True)
    chosen = traitlets.List().tag(sync=True)
    details = traitlets.List().tag(sync=True)
    features = traitlets.Dict().tag(sync=True)

    def __init__(self):
        super().__init__()


class ConceptView:
    """Widgets that show a profile's concepts.

    Parameters
    ----------
    explorer : Explorer

    Attributes
    ----------
    page : ipywidgets.VBox
    panels : ConceptPanels
    shown : Panels
    """

    def __init__(self, explorer: Explorer):
        self.panels = concepts.ConceptPanels(explorer, changed=self.update)
        self.status, self.shown, self._details = widgets.HTML(), Panels(), None
        self.shown.on_msg(lambda _, message, __: self.receive(message))
        self.page = widgets.VBox([self.status, self.shown])

    def receive(self, message: dict[str, Any]) -> None:
        """Do what the browser asks for.

        Parameters
        ----------
        message : dict
            kind ("choose", "drop", "song" or "sound") and what belongs to it.
        """
        kind, slot = message.get("kind"), message.get("slot", 0)
        if self.panels.concepts is None:
            return
        if kind == "choose":
            self.panels.choose(message["name"], slot=slot)
        elif kind == "drop":
            self.panels.drop()
        elif kind == "song":
            self.panels.choose_song(message["song"], slot=slot)
        elif kind == "sound":
            self._send_sound(message["what"], message["number"])

    def _send_sound(self, what, number):
        answer = {"kind": "sound", "what": what, "number": number}
        try:
            content = self.panels.sound(what, number)
        except ExplorerError as error:
            self.shown.send(answer | {"error": str(error)})
        else:
            self.shown.send(answer, buffers=[content])

    def update(self) -> None:
        """Show the present state; what is unchanged is not sent again."""
        panels, shown = self.panels, self.shown
        panels.look()
        advice = f'<p class="mt-advice">{escape(panels.advice)}</p>' if panels.advice else ""
        self.status.value = advice or (sentences.status(panels.explorer) if panels.explorer.error else "")
        shown.layout.display = "none" if panels.advice else ""
        if panels.advice:
            return
        if not shown.points:
            with shown.hold_sync():
                shown.groups, shown.hidden, shown.points = panels.groups, panels.hidden, panels.points
        wanted = panels.chosen, panels.songs
        if wanted != self._details:
            self._details = wanted
            with shown.hold_sync():
                shown.chosen = list(panels.chosen)
                shown.details = [self._detail(*one) for one in zip(*wanted, strict=True)]
        features = {str(song): values for song, values in panels.features.items()}
        if features != shown.features:
            shown.features = features

    def _detail(self, name, song):
        panels, patches = self.panels, self.panels.patches(name)
        songs = dict.fromkeys(patch["song"] for patch in patches)
        genre = panels.table.at[name, "class"]

        def titled(some):
            return [{"song": int(one), "title": panels.title(one)} for one in some]

        return {
            "name": name, "facts": panels.facts(name), "patches": patches,
            "pictures": [{"song": one, "data": concepts.picture(panels.input(one))} for one in songs],
            "songs": titled(panels.songs_of(name)), "song": song, "title": panels.title(song),
            "span": list(panels.span(song)), "choices": titled(panels.songs_of_genre(genre)), "ticks": panels.ticks,
            "within": panels.within(name, song), "size": list(panels.input(song).shape), "silence": panels.silence,
            "stitched": concepts.picture(panels.input(song), panels.stitched(name, song)),
        }  # fmt: skip

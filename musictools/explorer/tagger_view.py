"""The page's second view: several taggers on one song, and on a profile's data set."""

from __future__ import annotations

import threading
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

import ipywidgets as widgets
import numpy as np

from musictools.explorer import player, results, sentences, tables, taggers
from musictools.explorer.networks import OWN
from musictools.explorer.work import ExplorerError

if TYPE_CHECKING:
    from musictools.explorer.controller import Explorer
    from musictools.explorer.tables import Table

__all__ = ["SortedTable", "TaggerView"]

_WRAP = {"flex_flow": "row wrap", "align_items": "center"}
_PICTURE = 110  # height of the spectrogram in pixels


class SortedTable(widgets.VBox):
    """A table with boxes to sort it and to filter it by category."""

    def __init__(self):
        narrow = {"width": "19rem", "max_width": "100%"}
        self.by = widgets.Dropdown(description="Sort by", layout=narrow)
        self.order = widgets.Dropdown(
            options=[("highest first", False), ("lowest first", True)], description="Order", layout=narrow
        )
        self.category = widgets.Dropdown(description="Category", layout=narrow)
        self.text, self._table = widgets.HTML(), None
        self._quiet = None  # thread that sets values here, which are no choices of the user
        for box in (self.by, self.order, self.category):
            box.observe(lambda _: self._quiet == threading.get_ident() or self._draw(), "value")
        super().__init__([widgets.HBox([self.by, self.order, self.category], layout=_WRAP), self.text])

    def show(self, table: Table) -> None:
        """Show another table; what it is sorted by and the category are kept where they fit.

        Parameters
        ----------
        table : Table
        """
        kinds = [] if table.categories is None else list(dict.fromkeys(table.categories))
        self._quiet = threading.get_ident()
        try:
            self._table = table
            _offer(
                self.by,
                [
                    ("order of the table", ""),
                    (f"name of the {table.rows}", table.rows),
                    *zip(table.values, table.values, strict=True),
                ],
            )
            _offer(self.category, [("all", ""), *zip(kinds, kinds, strict=True)])
            self.category.layout.display = "" if kinds else "none"
        finally:
            self._quiet = None
        self._draw()

    def _draw(self):
        self.order.disabled = not self.by.value
        shown = tables.arranged(self._table, by=self.by.value, ascending=self.order.value, category=self.category.value)
        self.text.value = tables.html(shown)


class TaggerView:
    """Widgets that compare taggers.

    Parameters
    ----------
    explorer : Explorer
    main : Player
        The player of the first view, whose sound and spectrogram are shown here, too.
    changed : callable
        Called when other taggers are chosen.

    Attributes
    ----------
    page : ipywidgets.VBox
    taggers : Taggers
    player : Player
        One taggram for each tagger on a common time axis.
    """

    def __init__(self, explorer: Explorer, main: player.Player, *, changed: Callable[[], None]):
        self.explorer, self.main, self.taggers = explorer, main, taggers.Taggers(explorer)
        self._changed, self._shown, self._asked = changed, None, None
        self._quiet = None  # as in `SortedTable`
        self.chips = {
            name: widgets.ToggleButton(description=name, layout={"width": "auto"}) for name in explorer.taggers
        }
        for name, chip in self.chips.items():
            chip.observe(lambda _, name=name: self._toggle(name), "value")
        self.words, self.agreement = widgets.HTML(), widgets.HTML()
        self.player = player.Player()
        self.player.height = _PICTURE
        self.scores, self.data, self.failed = SortedTable(), SortedTable(), widgets.HTML()
        known = results.available(explorer.folder)
        self.result = widgets.Dropdown(
            options=[(title, key) for key, title in known.items()],
            description="Table",
            layout={"width": "30rem", "max_width": "100%"},
        )
        self.result.observe(lambda _: self._read(), "value")
        lacking = results.missing(explorer.folder)
        absent = widgets.HTML(f'<p class="mt-note">{escape(lacking)}</p>' if lacking else "")
        self.song = widgets.VBox(
            [self.player, self.agreement, widgets.HTML("<h3>Scores of the song</h3>"), self.scores]
        )
        chips = widgets.HBox([widgets.HTML("Taggers:&nbsp;" * bool(self.chips)), *self.chips.values()], layout=_WRAP)
        heading = widgets.HTML("<h3>On the data set</h3>")
        self.page = widgets.VBox([chips, self.words, self.song, heading, absent])
        if known:
            self.page.children += (self.result, self.failed, self.data)
            self._read()
        self.page.add_class("mt-taggers")

    def update(self) -> None:
        """Show the explorer's song; a song that is new here is put to the taggers."""
        explorer, names = self.explorer, self.taggers.names
        if explorer.song is not self._asked:
            self._asked = explorer.song
            self.taggers.ask()
        self._quiet = threading.get_ident()
        try:
            for name, chip in self.chips.items():
                chip.value = name in names
        finally:
            self._quiet = None
        comparison = self.taggers.comparison
        self.words.value = self._sentence(comparison)
        self.song.layout.display = "none" if comparison is None else ""
        sound = self.main.song if explorer.explanation is not None else b""
        if comparison is not None and self._shown != (id(comparison), id(sound)):
            self._shown = id(comparison), id(sound)
            self._show(comparison, sound)

    def _toggle(self, name):
        if self._quiet != threading.get_ident():
            chosen = [other for other in self.taggers.names if other != name]
            if name not in self.taggers.names:
                chosen = [*chosen[-taggers.MOST_TAGGERS + 1 :], name]
            self.taggers.choose(chosen)
            self._changed()

    def _sentence(self, comparison):
        explorer = self.explorer
        if not self.chips:
            return sentences.advice(explorer)
        if explorer.song is None:
            return '<p class="mt-advice">Choose a song to compare taggers on it.</p>'
        if not self.taggers.names:
            return "<p>Choose at least one tagger.</p>"
        if comparison is None:
            return "<p>These taggers have not been asked about this song.</p>" if not explorer.busy else ""
        words = (
            f'<p class="mt-note">At most {taggers.MOST_TAGGERS} taggers are compared at a time. '
            "In a grey row the tagger does not know the tag.</p>"
        )
        return words + (sentences.COUNTED if explorer.genre == OWN else "")

    def _show(self, comparison, sound):
        own = self.player
        own.layout.display = "" if sound else "none"
        if sound:
            with own.hold_sync():
                for name in ("duration", "ticks", "spectrogram", "song"):
                    setattr(own, name, getattr(self.main, name))
                own.ticks = own.ticks[::2] if len(own.ticks) > 3 else own.ticks  # the picture is low
                own.taggram = taggers.rows(comparison)
                own.alt = (
                    f"Position in the song, over its spectrogram and the taggrams of {', '.join(comparison.taggrams)}"
                )
        self.agreement.value = _agreement(comparison)
        self.scores.show(taggers.score_table(comparison))

    def _read(self):
        try:
            table = results.read(self.explorer.folder, self.result.value)
        except ExplorerError as error:
            self.failed.value = f'<p class="mt-error" role="alert">{escape(str(error))}</p>'
            self.data.layout.display = "none"
        else:
            self.failed.value, self.data.layout.display = "", ""
            self.data.show(table)


def _agreement(comparison):
    """The rank correlation of every pair in words."""
    names, table = list(comparison.taggrams), comparison.agreement()
    pairs = [(a, b, table.at[a, b]) for k, a in enumerate(names) for b in names[k + 1 :]]
    if not pairs:
        return ""
    words = "; ".join(
        f"{escape(a)} and {escape(b)} {f'{value:.2f}' if np.isfinite(value) else 'have too few common tags'}"
        for a, b, value in pairs
    )
    return f"<p>Rank correlation of the scores of common tags: {words}.</p>"


def _offer(box, options):
    """Other options; the value is kept if it is still one."""
    before = box.value
    if list(box.options) != options:
        box.options = options
    values = [value for _, value in options]
    box.value = before if before in values else values[0]

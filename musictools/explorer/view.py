"""The explorer as widgets: four views of which one is shown: why this genre, taggers, two songs, concepts.

`show` builds the page from a `controller.Explorer` and keeps it up to date. Titles, tags and messages are escaped.
`figures` draws the same views for a notebook that nobody operates.
"""

from __future__ import annotations

import threading
from pathlib import Path

import ipywidgets as widgets

from musictools.explorer import feature_maps, player, sentences, showing
from musictools.explorer.changes import LOWEST
from musictools.explorer.concept_view import ConceptView
from musictools.explorer.controller import MOST, Explorer
from musictools.explorer.genre_map import COLOUR, GenreMap
from musictools.explorer.pair_view import PairView
from musictools.explorer.tabs import Tabs
from musictools.explorer.tagger_view import TaggerView
from musictools.explorer.upload import Upload

__all__ = ["View", "show"]

_VIEWS = (("Why this genre?", "why"), ("Compare taggers", "taggers"), ("Two songs", "songs"), ("Concepts", "concepts"))

_METHODS = ("lrp_composite", "deep_taylor", "lrp_epsilon", "input_x_gradient", "grad_cam")
_STYLE = f"<style>{Path(__file__).with_name('view.css').read_text(encoding='utf-8')}</style>"


def show(explorer: Explorer) -> View:
    """Show an explorer as a page of widgets.

    Parameters
    ----------
    explorer : Explorer

    Returns
    -------
    view : View
        Its `page` is what a notebook displays.

    Examples
    --------
    >>> view = show(Explorer(files={"taggers": {}, "genres": {}, "mappings": {}}))
    >>> "make demo" in view.answer.value
    True
    """
    return View(explorer)


class View:
    """Widgets that show an explorer and pass on what is chosen.

    Parameters
    ----------
    explorer : Explorer

    Attributes
    ----------
    page : ipywidgets.VBox
    answer : ipywidgets.HTML
        Genre, and whether the networks know such music.
    player : Player
    views : Tabs
        Which view is shown. All but the first are made when they are first shown.
    """

    def __init__(self, explorer: Explorer):
        self.explorer, self._lock, self._shown = explorer, threading.RLock(), {}
        self._quiet = None  # thread that sets values here, which are no choices of the user
        self._flacs = {}  # of sounds that are shown, so that they are encoded once
        self._build_choices()
        self.status, self.answer, self.reasons, self.effect, self.scores = (widgets.HTML() for _ in range(5))
        self.bar = widgets.FloatProgress(min=0, max=1, layout={"width": "12rem"})
        self.chips, self.sliders = widgets.HBox(layout={"flex_flow": "row wrap"}), widgets.VBox()
        self.chips.add_class("mt-chips")
        self.more = widgets.Dropdown(options=[("more descriptors …", "")], layout={"width": "12rem"})
        self.player = player.Player()
        self.genre_map, self.genre_words = GenreMap(explorer), widgets.HTML()
        self.show_genre = widgets.ToggleButton(
            description="Genre", layout={"width": "auto"}, tooltip="Where the genre model finds the genre of the song"
        )
        self.show_genre.add_class("mt-genre-chip")
        self.show_genre.observe(lambda _: self._by_user and (self.genre_map.ask_again() or self.update()), "value")
        self.maps, self._maps = widgets.HTML(), feature_maps.CarryingMaps(explorer)
        self.show_maps = widgets.ToggleButton(
            description="Feature maps", tooltip="Feature maps that carry the chosen descriptors (notebook 06)"
        )
        self.show_maps.add_class("mt-show")
        self.show_maps.observe(lambda _: self._maps.ask_again() or self.update(), "value")
        self.save = widgets.Button(description="Save as a page", tooltip="An offline page with pictures and sounds")
        self.saved = widgets.HTML()
        self.save.on_click(lambda _: explorer.save())
        self.more.observe(lambda change: change["new"] and self._toggle(change["new"]), "value")
        self.step = widgets.HTML()
        work = widgets.HBox([self.cancel, self.bar, self.step])
        self.result = widgets.VBox(
            [
                self.answer,
                self.chips,
                self.show_maps,
                self.maps,
                self.player,
                self.genre_words,
                self.reasons,
                self.sliders,
                self.effect,
                self.scores,
            ]
            + [widgets.HBox([self.save, self.saved], layout={"flex_flow": "row wrap"})]
        )
        self.views, self._others = Tabs(_VIEWS, label="Views"), {}
        self.views.observe(lambda _: self.update(), "value")
        above = widgets.HBox([self.views, work], layout={"flex_flow": "row wrap", "align_items": "center"})
        self.page = widgets.VBox([widgets.HTML(_STYLE), self.choices, above, self.status, self.result])
        self.page.add_class("mt-explorer")
        self._work = work
        explorer.listeners.append(self.update)
        self.update()

    def _build_choices(self):
        explorer, wide = self.explorer, {"width": "20rem", "max_width": "100%"}
        long = {"description_width": "5rem"}
        clips = [("choose a song …", ""), *explorer.clips.items()]
        self.clip = widgets.Dropdown(options=clips, description="Song", layout={**wide, "width": "30rem"}, style=long)
        self.upload = Upload(
            received=lambda *file: explorer.open_upload(*file), failed=explorer.refuse, ready=explorer.warm_up
        )
        self.tagger = widgets.Dropdown(options=explorer.taggers, description="Tagger", layout=wide, style=long)
        self.genre = widgets.Dropdown(options=explorer.genres, description="Genre", layout=wide, style=long)
        methods = list(dict.fromkeys((explorer.method, *_METHODS)))
        self.method = widgets.Dropdown(options=methods, description="Method", layout=wide, style=long)
        self.cancel = widgets.Button(description="Cancel", tooltip="Stop before the next step")
        self.again = widgets.Button(description="Explain", tooltip="Explain the song with these networks")
        self.cancel.on_click(lambda _: explorer.cancel())
        self.again.on_click(lambda _: explorer.explain())
        self.clip.observe(self._chose_clip, "value")
        for name, box in (("tagger", self.tagger), ("genre", self.genre), ("method", self.method)):
            box.observe(lambda change, name=name: self._chose_network(name, change["new"]), "value")
        first = [self.clip] * bool(explorer.clips) + [self.upload]
        rows = [first, [self.tagger, self.genre, self.method, self.again]]
        row = {"flex_flow": "row wrap", "align_items": "center"}
        self.choices = widgets.VBox([widgets.HBox(part, layout=row) for part in rows])

    # --- What the user does -------------------------------------------------------------------------------------------

    @property
    def _by_user(self):
        return self._quiet != threading.get_ident()

    def _chose_clip(self, change):
        if change["new"] != "":
            self.explorer.open_clip(change["new"])

    def _chose_network(self, name, value):
        if value is not None and self._by_user:
            self.explorer.choose_networks(**{name: value})

    def _toggle(self, tag):
        if self._by_user:
            chosen = [other for other in self.explorer.chosen if other != tag]
            self.explorer.choose([*chosen, tag] if tag not in self.explorer.chosen else chosen)

    def _turned(self, tag, value):
        if self._by_user:
            self.explorer.turn_down(self.explorer.gains | {tag: value})

    # --- What is shown ------------------------------------------------------------------------------------------------

    def update(self) -> None:
        """Show the explorer's present state; what is unchanged is left alone."""
        with self._lock:
            explorer, busy = self.explorer, self.explorer.busy
            explanation = explorer.explanation
            of_songs = self.views.value != "concepts"
            self.status.value = sentences.status(explorer) if of_songs else ""
            self._work.layout.visibility = "visible" if busy else "hidden"  # what lies below keeps its place
            self.choices.layout.display = "" if explorer.tagger and of_songs else "none"
            self.bar.value, self.step.value = explorer.progress.share, sentences.progress(explorer)
            self.again.disabled = busy or explorer.song is None or explanation is not None
            self.again.layout.display = "none" if self.again.disabled else ""  # it is of use after Cancel
            why = self.views.value == "why"
            self.result.layout.display = "" if why and (explanation is not None or explorer.advice) else "none"
            self.choices.children[1].layout.display = "none" if self.views.value == "taggers" else ""
            for widget in self.result.children[1:]:
                widget.layout.display = "none" if explanation is None else ""
            self._quiet = threading.get_ident()
            if not busy and (explorer.song is None or explorer.song.title not in dict(self.clip.options)):
                self.clip.value = ""
            try:
                self._networks()
                self.answer.value = sentences.answer(explorer)
                if explanation is not None:
                    self._song()
                    self._descriptors()
            finally:
                self._quiet = None
            self._other_views()
            if self._new("saved", explorer.saved or ""):
                self.saved.value = sentences.saved(explorer)

    def _other_views(self):
        wanted = self.views.value
        if wanted not in {"why", *self._others}:
            self._others[wanted] = self._other(wanted)
            self.page.children += (self._others[wanted].page,)
        for name, view in self._others.items():
            view.page.layout.display = "" if name == wanted else "none"
            if name == wanted:
                view.update()

    def _other(self, name):
        if name == "taggers":
            return TaggerView(self.explorer, self.player, changed=self.update)
        if name == "concepts":
            return ConceptView(self.explorer)
        made = PairView(self.explorer)
        made.pair.second.listeners.append(self.update)
        return made

    def _new(self, name, *parts):
        """Whether parts have changed since they were shown: tuples and text by value, arrays and tables by identity."""
        before, self._shown[name] = self._shown.get(name), parts
        return before is None or any(
            a is not b and not (isinstance(a, tuple | str) and a == b) for a, b in zip(before, parts, strict=True)
        )

    def _networks(self):
        explorer = self.explorer
        if explorer.tagger and self._new("networks", explorer.tagger, explorer.genre, explorer.method):
            self.tagger.value = explorer.tagger
            self.genre.options = explorer.genres
            self.genre.value, self.method.value = explorer.genre, explorer.method

    def _song(self):
        explorer, explanation, shown = self.explorer, self.explorer.explanation, self.player
        if not self._new("song", explorer.song, explanation.S):
            return
        front_end = explanation.front_end
        with shown.hold_sync():
            shown.duration = len(explanation.y) / front_end.sr
            shown.votes = showing.votes(explanation, showing.genre_colours(explanation))
            shown.ticks, shown.sounds = player.ticks(front_end), []
            shown.layers, shown.loop, shown.position = [], [], 0.0
            self._flacs = {}
            shown.spectrogram = player.spectrogram(explanation)
            shown.song = player.flac(explanation.y, sr=front_end.sr)
        tags = list(explanation.descriptors["tag"])
        self.more.options = [("more descriptors …", ""), *((tag, tag) for tag in sorted(tags))]

    def _descriptors(self):
        explorer, explanation = self.explorer, self.explorer.explanation
        self.more.value, self.more.layout.display = "", "" if explorer.tagger else "none"
        listed = tuple(sentences.listed(explorer))
        if self._new("chips", explanation.descriptors, listed):
            self._chips = {tag: self._chip(tag) for tag in listed}
            chips = [self.show_genre] * self.genre_map.possible + [*self._chips.values(), self.more]
            self.chips.children = [widgets.HTML("Show where it is:&nbsp;"), *chips]
            self.player.taggram = showing.taggram(explanation, listed)
        for tag, chip in self._chips.items():
            self._colour(chip, tag)
        ready = tuple(tag for tag in explorer.chosen if tag in explanation.heatmaps)
        audible = tuple(tag for tag in ready if tag in explanation.evidence)
        reason = self._genre()
        if self._new("layers", explanation.S, explorer.chosen, ready, reason):
            self._layers(ready, reason)
        if self._new("sounds", explanation.S, audible, explorer.changed, reason):
            self._sounds(audible, reason)
        if self._new("sliders", explanation.S, audible, explorer.tagger or ""):
            self.sliders.children = [self._slider(tag) for tag in audible if explorer.tagger]
        if self.show_maps.value:
            self._maps.ask()
        self.maps.value = feature_maps.html(self._maps) if self.show_maps.value else ""
        self.reasons.value = sentences.reasons(explorer)
        self.scores.value = sentences.scores(explorer)
        self.effect.value = sentences.effect(explorer)

    def _genre(self):
        """What speaks for the genre, if it is shown and made."""
        chip, genre = self.show_genre, self.explorer.explanation.genre
        chip.description = f"genre: {genre}"
        (chip.add_class if chip.value else chip.remove_class)("mt-chosen-genre")
        shown = chip.value and self.genre_map.possible
        if shown:
            self.genre_map.ask()
        self.genre_words.value = self.genre_map.html if shown else ""
        return self.genre_map.made if shown else None

    def _layers(self, ready, reason):
        explorer, layers = self.explorer, []
        if reason is not None:
            label = f"where the genre model finds {explorer.explanation.genre}"
            data = player.layer(reason.heatmap, colour=COLOUR)
            layers.append({"tag": "genre", "label": label, "colour": COLOUR, "data": data})
        for tag in ready:
            colour = player.COLOURS[explorer.chosen.index(tag)]
            data = player.layer(explorer.explanation.heatmaps[tag], colour=colour)
            layers.append({"tag": tag, "colour": colour, "data": data})
        with self.player.hold_sync():
            self.player.layers, self.player.alt = layers, _alt(explorer, reason)

    def _sounds(self, audible, reason):
        explorer, explanation = self.explorer, self.explorer.explanation
        parts = showing.audible(explanation, audible)
        if reason is not None and reason.evidence is not None:
            parts["evidence:genre"] = f"evidence: {explanation.genre}", reason.evidence.sound
            parts["rest:genre"] = f"rest: {explanation.genre}", reason.evidence.rest
        if explorer.changed is not None:
            parts["changed"] = "song as changed", explorer.changed.y
        self.player.sounds, self._flacs = showing.sounds(parts, sr=explanation.front_end.sr, known=self._flacs)

    def _chip(self, tag):
        chip = widgets.ToggleButton(description=tag, layout={"width": "auto"})
        chip.observe(lambda _: self._toggle(tag), "value")
        return chip

    def _colour(self, chip, tag):
        """Press the chip of a chosen descriptor and give it the colour of its heatmap, see view.css."""
        chosen, explorer = self.explorer.chosen, self.explorer
        chip.value = tag in chosen
        chip.disabled = not explorer.tagger and tag not in explorer.explanation.heatmaps  # only these are stored
        for k in range(MOST):
            (chip.add_class if k < len(chosen) and chosen[k] == tag else chip.remove_class)(f"mt-chosen-{k}")

    def _slider(self, tag):
        slider = widgets.FloatSlider(
            value=self.explorer.gains.get(tag, 0.0),
            min=LOWEST,
            max=0.0,
            step=1.0,
            continuous_update=False,
            description=f"Evidence of {tag} (dB)",
            style={"description_width": "14rem"},
            layout={"width": "36rem", "max_width": "100%"},
            readout_format=".0f",
        )
        slider.observe(lambda change: self._turned(tag, change["new"]), "value")
        return slider


def _alt(explorer, reason):
    genre = [f"the genre {explorer.explanation.genre}"] if reason is not None else []
    where = " and ".join([*genre, *explorer.chosen])
    return f"Position in the song, over its spectrogram{where and f' with the relevance of {where}'}"

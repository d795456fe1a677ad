"""The explorer as widgets, and the same views as pictures for a notebook that nobody operates.

`show` builds the page from a `controller.Explorer` and keeps it up to date. `figure` draws what the page shows. Titles,
tags and messages are escaped.
"""

from __future__ import annotations

import threading
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import ipywidgets as widgets
import numpy as np

from musictools import plots
from musictools.explorer import player, sentences
from musictools.explorer.changes import LOWEST
from musictools.explorer.controller import Explorer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["View", "figure", "show"]

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
    """

    def __init__(self, explorer: Explorer):
        self.explorer, self._lock, self._shown = explorer, threading.RLock(), {}
        self._quiet = False  # while values are set here, they are no choices of the user
        self._build_choices()
        self.status, self.answer, self.reasons, self.effect, self.scores = (widgets.HTML() for _ in range(5))
        self.bar = widgets.FloatProgress(min=0, max=1, layout={"width": "100%"})
        self.chips, self.sliders = widgets.HBox(layout={"flex_flow": "row wrap"}), widgets.VBox()
        self.more = widgets.Dropdown(options=[("more descriptors …", "")], layout={"width": "12rem"})
        self.player = player.Player()
        self.save = widgets.Button(description="Save as a page", tooltip="An offline page with pictures and sounds")
        self.saved = widgets.HTML()
        self.save.on_click(lambda _: explorer.save())
        self.more.observe(lambda change: change["new"] and self._toggle(change["new"]), "value")
        work = widgets.HBox([self.bar, self.cancel], layout={"width": "100%"})
        self.result = widgets.VBox(
            [self.answer, self.chips, self.player, self.reasons, self.sliders, self.effect, self.scores]
            + [widgets.HBox([self.save, self.saved], layout={"flex_flow": "row wrap"})]
        )
        self.page = widgets.VBox([widgets.HTML(_STYLE), self.choices, work, self.status, self.result])
        self.page.add_class("mt-explorer")
        self._work = work
        explorer.listeners.append(self.update)
        self.update()

    def _build_choices(self):
        explorer, wide = self.explorer, {"width": "20rem", "max_width": "100%"}
        long = {"description_width": "5rem"}
        clips = [("choose a song …", ""), *explorer.clips.items()]
        self.clip = widgets.Dropdown(options=clips, description="Song", layout={**wide, "width": "30rem"}, style=long)
        self.upload = widgets.FileUpload(accept=".mp3,.wav,.flac,.ogg", description="Your own file")
        self.tagger = widgets.Dropdown(options=explorer.taggers, description="Tagger", layout=wide, style=long)
        self.genre = widgets.Dropdown(options=explorer.genres, description="Genre", layout=wide, style=long)
        methods = list(dict.fromkeys((explorer.method, *_METHODS)))
        self.method = widgets.Dropdown(options=methods, description="Method", layout=wide, style=long)
        self.cancel = widgets.Button(description="Cancel", tooltip="Stop before the next step")
        self.again = widgets.Button(description="Explain", tooltip="Explain the song with these networks")
        self.cancel.on_click(lambda _: explorer.cancel())
        self.again.on_click(lambda _: explorer.explain())
        self.clip.observe(self._chose_clip, "value")
        self.upload.observe(self._uploaded, "value")
        for name, box in (("tagger", self.tagger), ("genre", self.genre), ("method", self.method)):
            box.observe(lambda change, name=name: self._chose_network(name, change["new"]), "value")
        first = [self.clip] * bool(explorer.clips) + [self.upload]
        rows = [first, [self.tagger, self.genre, self.method, self.again]]
        row = {"flex_flow": "row wrap", "align_items": "center"}
        self.choices = widgets.VBox([widgets.HBox(part, layout=row) for part in rows])

    # --- What the user does -------------------------------------------------------------------------------------------

    def _chose_clip(self, change):
        if change["new"] != "":
            self.explorer.open_clip(change["new"])

    def _uploaded(self, change):
        if change["new"]:
            file = change["new"][0]
            content, name = bytes(file["content"]), file["name"]
            self.upload.value = ()  # the bytes are not kept twice
            self.explorer.open_upload(name, content)

    def _chose_network(self, name, value):
        if value is not None and not self._quiet:
            self.explorer.choose_networks(**{name: value})

    def _toggle(self, tag):
        chosen = [other for other in self.explorer.chosen if other != tag]
        if self._quiet:
            return
        self.explorer.choose([*chosen, tag] if tag not in self.explorer.chosen else chosen)

    def _turned(self, tag, value):
        if not self._quiet:
            self.explorer.turn_down(self.explorer.gains | {tag: value})

    # --- What is shown ------------------------------------------------------------------------------------------------

    def update(self) -> None:
        """Show the explorer's present state; what is unchanged is left alone."""
        with self._lock:
            explorer, busy = self.explorer, self.explorer.busy
            explanation, progress = explorer.explanation, explorer.progress
            self.status.value = sentences.status(explorer)
            self._work.layout.display = "" if busy else "none"
            self.bar.value = progress.share
            self.again.disabled = busy or explorer.song is None or explanation is not None
            self.result.layout.display = "" if explanation is not None or explorer.advice else "none"
            for widget in self.result.children[1:]:
                widget.layout.display = "none" if explanation is None else ""
            self._quiet = True
            try:
                self._networks()
                self.answer.value = sentences.answer(explorer)
                if explanation is not None:
                    self._song()
                    self._descriptors()
            finally:
                self._quiet = False
            self.saved.value = f"<p>Written to {escape(str(explorer.saved))}</p>" if explorer.saved else ""

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
        colours = _genre_colours(explanation)
        votes = explanation.votes
        with shown.hold_sync():
            shown.duration = len(explanation.y) / front_end.sr
            shown.votes = [
                {"start": float(v.start), "end": float(v.end), "genre": v.genre, "colour": colours[v.genre]}
                for v in votes.itertuples()
            ]
            shown.ticks, shown.sounds = player.ticks(front_end), []
            shown.layers, shown.loop, shown.position = [], [], 0.0
            shown.spectrogram = player.spectrogram(explanation)
            shown.song = player.flac(explanation.y, sr=front_end.sr)
        tags = list(explanation.descriptors["tag"])
        self.more.options = [("more descriptors …", ""), *((tag, tag) for tag in sorted(tags))]

    def _descriptors(self):
        explorer, explanation = self.explorer, self.explorer.explanation
        self.more.value = ""
        if self._new("chips", explanation.descriptors, explorer.chosen):
            self.chips.children = [
                widgets.HTML("Show where it is:&nbsp;"),
                *map(self._chip, sentences.listed(explorer)),
                self.more,
            ]
            self.player.taggram = _taggram(explanation, sentences.listed(explorer))
        ready = tuple(tag for tag in explorer.chosen if tag in explanation.heatmaps)
        if self._new("layers", explanation.S, explorer.chosen, ready, explorer.changed):
            self._layers(ready)
        if self._new("sliders", explanation.S, ready):
            self.sliders.children = [self._slider(tag) for tag in ready]
        self.reasons.value = sentences.reasons(explorer)
        self.scores.value = sentences.scores(explorer)
        self.effect.value = sentences.effect(explorer)

    def _layers(self, ready):
        explorer, explanation = self.explorer, self.explorer.explanation
        sr, layers, sounds = explanation.front_end.sr, [], []
        for tag in ready:
            colour = player.COLOURS[explorer.chosen.index(tag)]
            data = player.layer(explanation.heatmaps[tag], colour=colour)
            layers.append({"tag": tag, "colour": colour, "data": data})
            for key, y in (("evidence", explanation.evidence[tag].sound), ("rest", explanation.evidence[tag].rest)):
                content = player.flac(y, sr=sr)
                sounds.append(
                    {"key": f"{key}:{tag}", "label": f"{key}: {tag}", "version": hash(content), "data": content}
                )
        if explorer.changed is not None:
            content = player.flac(explorer.changed.y, sr=sr)
            sounds.append({"key": "changed", "label": "song as changed", "version": hash(content), "data": content})
        with self.player.hold_sync():
            self.player.layers, self.player.sounds = layers, sounds
            self.player.alt = _alt(explorer)

    def _chip(self, tag):
        chosen = tag in self.explorer.chosen
        chip = widgets.ToggleButton(value=chosen, description=tag, layout={"width": "auto"})
        if chosen:
            chip.add_class(f"mt-chosen-{self.explorer.chosen.index(tag)}")  # in the colour of its heatmap, see view.css
        chip.observe(lambda _: self._toggle(tag), "value")
        return chip

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


def figure(explorer: Explorer) -> Figure:
    """Draw what the page shows: votes, spectrogram with a heatmap for every chosen descriptor, taggram.

    Parameters
    ----------
    explorer : Explorer
        With an explained song.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If no song is explained.
    """
    explanation = explorer.explanation
    if explanation is None:
        raise ValueError("Explain a song first: explorer.open_clip or explorer.open_file, then explorer.wait.")
    tags, chosen = sentences.listed(explorer), [tag for tag in explorer.chosen if tag in explanation.heatmaps]
    rows = max(len(chosen), 1) + 1
    fig, axes = plots.figure(height=2.4 * (rows - 1) + 1.2 + 0.24 * len(tags), rows=rows)
    for tag, ax in zip(chosen, axes, strict=False):
        explanation.plot(tag, ax=ax)
    if not chosen:
        plots.spectrogram(explanation.S, front_end=explanation.front_end, ax=axes[0])
    sections = explanation.sections
    seconds = float(sections["end"].iloc[0] - sections["start"].iloc[0])
    plots.taggram(sections[tags].to_numpy(), start=sections["start"], seconds=seconds, tags=tags, ax=axes[-1])
    genre = f"{explanation.genre} · " if explanation.genre else ""
    fig.suptitle(f"{genre}{explorer.song.title}".replace("$", r"\$"), fontsize=12)
    return fig


def _genre_colours(explanation):
    """Colour of every genre that a section votes for, the song's own first."""
    names = list(explanation.votes["genre"].value_counts().index) if len(explanation.votes) else []
    names.sort(key=lambda name: name != explanation.genre)
    return {name: plots.PALETTE[min(k, len(plots.PALETTE) - 1)] for k, name in enumerate(names)}


def _taggram(explanation, tags):
    """Scores over time; where sections overlap, a column reaches half-way to the next, as in `plots.taggram`."""
    sections = explanation.sections
    middle = ((sections["start"] + sections["end"]) / 2).to_numpy()
    edges = np.r_[0.0, (middle[1:] + middle[:-1]) / 2, float(sections["end"].iloc[-1])]
    predicted = explanation.descriptors.set_index("tag")["predicted"]
    return {
        "tags": tags,
        "edges": edges.tolist(),
        "scores": [sections[tag].round(4).tolist() for tag in tags],
        "predicted": [bool(predicted[tag]) for tag in tags],
    }


def _alt(explorer):
    where = " and ".join(explorer.chosen)
    return f"Position in the song, over its spectrogram{where and f' with the relevance of {where}'}"

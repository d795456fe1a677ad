"""The page's third view: two songs side by side, with one scale of colours and of time."""

from __future__ import annotations

import threading
from html import escape
from typing import TYPE_CHECKING

import ipywidgets as widgets

from musictools.explorer import pair, player, sentences, showing
from musictools.explorer.upload import Upload

if TYPE_CHECKING:
    from musictools.explorer.controller import Explorer

__all__ = ["PairView"]

_PICTURE = 200  # height of the spectrograms in pixels


class PairView:
    """Widgets that show a second song beside the explorer's.

    Parameters
    ----------
    explorer : Explorer
        Of the first song.

    Attributes
    ----------
    page : ipywidgets.VBox
    pair : Pair
    players : tuple of Player
        Of the two songs.
    """

    def __init__(self, explorer: Explorer):
        self.pair, self._shown = pair.Pair(explorer), None
        second = self.pair.second
        wide = {"width": "30rem", "max_width": "100%"}
        clips = [("choose a second song …", ""), *second.clips.items()]
        self.clip = widgets.Dropdown(
            options=clips, description="Second song", layout=wide, style={"description_width": "6rem"}
        )
        self.clip.observe(lambda change: change["new"] != "" and second.open_clip(change["new"]), "value")
        self.upload = Upload(received=second.open_upload, failed=second.refuse)
        self.cancel = widgets.Button(description="Cancel", tooltip="Stop before the next step")
        self.cancel.on_click(lambda _: second.cancel())
        self.again = widgets.Button(description="Explain", tooltip="Explain the second song, too")
        self.again.on_click(lambda _: second.explain())
        self.bar, self.step = widgets.FloatProgress(min=0, max=1, layout={"width": "12rem"}), widgets.HTML()
        self.work = widgets.HBox([self.cancel, self.bar, self.step])
        self.status, self.words = widgets.HTML(), widgets.HTML()
        self.titles, self.players = (widgets.HTML(), widgets.HTML()), (player.Player(), player.Player())
        for one in self.players:
            one.height = _PICTURE
        self.link = widgets.jslink(*((one, "window") for one in self.players))  # they zoom together
        songs = [widgets.VBox(part) for part in zip(self.titles, self.players, strict=True)]
        for song in songs:
            song.add_class("mt-half")
        self.songs = widgets.HBox(songs, layout={"flex_flow": "row wrap"})
        row = {"flex_flow": "row wrap", "align_items": "center"}
        boxes = [self.clip] * bool(second.clips) + [self.upload, self.again, self.work]
        self.choices = widgets.HBox(boxes, layout=row)
        narrow = {"width": "18rem", "max_width": "100%"}
        self.tags = [widgets.Dropdown(description=name, layout=narrow) for name in ("Descriptor", "and")]
        self._quiet = None  # thread that sets values here, which are no choices of the user
        for box in self.tags:
            box.observe(lambda _: self._choose(), "value")
        self.labels = widgets.HBox(self.tags, layout=row)
        self._flacs = [{}, {}]
        self.page = widgets.VBox([self.choices, self.status, self.labels, self.words, self.songs])

    def update(self) -> None:
        """Let the second song follow the first one, and show both."""
        first, second = self.pair.first, self.pair.second
        self.choices.layout.display = "" if first.tagger else "none"
        self.pair.follow()
        self.work.layout.display, self.bar.value = "" if second.busy else "none", second.progress.share
        self.again.layout.display = "" if self._stopped else "none"
        self.step.value, self.status.value = sentences.progress(second), self._status()
        self.words.value = pair.sentence(self.pair)
        explained = [one.explanation for one in (first, second)]
        for part in (self.songs, self.labels):
            part.layout.display = "" if None not in explained else "none"
        if None not in explained:
            self._offer(explained)
            self._show(explained)
            self._sounds(explained)

    def _choose(self):
        """Show the descriptors of both boxes in both songs."""
        if self._quiet != threading.get_ident():
            self.pair.first.choose([box.value for box in self.tags if box.value])

    def _offer(self, explained):
        """Offer the descriptors of both songs, and show which are chosen."""
        known = [set(one.descriptors["tag"]) for one in explained]
        tags = sorted(known[0] & known[1])
        if not self.pair.first.tagger:  # only these are stored
            tags = [tag for tag in tags if all(tag in one.heatmaps for one in explained)]
        chosen = [tag for tag in self.pair.first.chosen if tag in tags]
        self._quiet = threading.get_ident()
        try:
            for k, box in enumerate(self.tags):
                options = [("none", ""), *zip(tags, tags, strict=True)]
                if list(box.options) != options:
                    box.options = options
                box.value = chosen[k] if k < len(chosen) else ""
        finally:
            self._quiet = None

    def _sounds(self, explained):
        """Let every player play the evidence of the descriptors and the rest."""
        for k, (shown, one) in enumerate(zip(self.players, explained, strict=True)):
            parts = showing.audible(one, [tag for tag in self.pair.tags if tag in one.evidence])
            before = {key: y for key, (y, _) in self._flacs[k].items()}
            if len(parts) != len(before) or any(before.get(key) is not y for key, (_, y) in parts.items()):
                shown.sounds, self._flacs[k] = showing.sounds(parts, sr=one.front_end.sr, known=self._flacs[k])

    @property
    def _stopped(self):
        """Whether the second song waits for being explained, because it was cancelled."""
        second = self.pair.second
        return second.song is not None and second.explanation is None and not second.busy

    def _status(self):
        first, second = self.pair.first, self.pair.second
        if not first.tagger:
            return sentences.advice(first)
        if second.error:
            return sentences.status(second)
        if self._stopped:
            return "<p>The second song is not explained.</p>"
        if first.song is None:
            return '<p class="mt-advice">Choose the first song above.</p>'
        if second.song is None and not second.busy:
            return '<p class="mt-advice">Choose a second song to see both on the same scales.</p>'
        return "" if first.chosen else "<p>Choose a descriptor to see where it is in both songs.</p>"

    def _show(self, explained):
        songs, tags = [one.S for one in explained], self.pair.tags
        before, self._shown = self._shown, (*songs, tags)
        other_songs = before is None or any(a is not b for a, b in zip(before, songs, strict=False))
        pairs = list(zip(self.players, (self.pair.first, self.pair.second), explained, strict=True))
        if other_songs:
            ends, colours = player.levels(*explained), showing.genre_colours(*explained)
            for title, which, one in zip(self.titles, ("First", "Second"), pairs, strict=True):
                self._song(*one, ends, colours)
                title.value = f"<h3>{which} song: {escape(one[1].song.title)}</h3>"
        if other_songs or before[-1] != tags:
            tops = [self.pair.strongest(tag) for tag in tags]
            for one in pairs:
                self._layers(*one, tags, tops)

    def _song(self, shown, explorer, explanation, ends, colours):
        sr = explanation.front_end.sr
        with shown.hold_sync():
            shown.duration, shown.span = len(explanation.y) / sr, self.pair.span
            shown.sounds = []
            shown.votes = showing.votes(explanation, colours)
            shown.ticks, shown.layers = player.ticks(explanation.front_end), []
            shown.spectrogram = player.spectrogram(explanation, ends=ends)
            shown.song = player.flac(explanation.y, sr=sr)

    def _layers(self, shown, explorer, explanation, tags, tops):
        layers = []
        for tag, top in zip(tags, tops, strict=True):
            colour = player.COLOURS[self.pair.first.chosen.index(tag)]
            data = player.layer(explanation.heatmaps[tag], colour=colour, top=top or None)
            layers.append({"tag": tag, "colour": colour, "data": data})
        with shown.hold_sync():
            shown.layers, shown.taggram = layers, showing.taggram(explanation, tags)
            where = " and ".join(tags)
            shown.alt = (
                f"Position in {explorer.song.title}, over its spectrogram{where and f' with the relevance of {where}'}"
            )

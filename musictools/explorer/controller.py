"""The explorer's logic, without widgets: what is chosen, what is known, and what is being computed.

Work is done in one background thread (`work.Worker`). Every change is announced to the functions in
`Explorer.listeners`, which may be called from that thread. Errors are kept as sentences in `Explorer.error`.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from musictools import html
from musictools.explorer import networks, songs
from musictools.explorer.changes import LOWEST, compared, turned_down
from musictools.explorer.songs import Song, SongError, Uploads
from musictools.explorer.work import Progress, Worker

if TYPE_CHECKING:
    from musictools.datasets import Dataset
    from musictools.explain.application.system import ExplanationSystem, SongExplanation
    from musictools.explorer.changes import Changed

__all__ = ["MOST", "Explorer"]

MOST = 2  # descriptors that are shown at once
_LOG = logging.getLogger(__name__)


class Explorer:
    """One song, the networks that are asked about it, and what they answer.

    Parameters
    ----------
    folder : str or Path
        A profile's results, whose models can be chosen; pages are saved to ``explorer`` below it.
    data : Dataset or None
        Songs to choose from.
    tagger, genre : str or None
        Names of the networks to begin with; None: the first ones.
    method : str
        One of `musictools.explain.METHODS`.
    seconds : float > 0
        How much of a song is explained, from its start.
    files : dict or None
        Networks, as `networks.find` returns them; None: those of `folder`.
    load : callable
        Loads networks, as `networks.system` does.

    Attributes
    ----------
    song : Song or None
    explanation : SongExplanation or None
        Genre, votes, descriptors and, for every descriptor that was chosen so far, heatmap and evidence.
    chosen : tuple of str
        Descriptors that are shown, at most `MOST`.
    gains : dict of str to float
        Descriptor -> dB by which its evidence is turned down.
    changed : Changed or None
        Scores with these gains; None: nothing is turned down.
    error : str
        A sentence; empty if the last action succeeded.
    saved : Path or None
        The page that was written last.
    listeners : list of callable

    Examples
    --------
    >>> explorer = Explorer(files={"taggers": {}, "genres": {}, "mappings": {}})
    >>> print(explorer.advice)
    No network is here yet: run `make demo`, or `musictools models get won2020-mtat-fcn`, and open this page again.
    >>> explorer.open_file("none.mp3")
    >>> explorer.error
    'none.mp3: no such file.'
    """

    def __init__(
        self,
        folder: str | Path = "outputs/demo",
        *,
        data: Dataset | None = None,
        tagger: str | None = None,
        genre: str | None = None,
        method: str = "lrp_composite",
        seconds: float = 60.0,
        files: dict[str, dict[str, Path]] | None = None,
        load: Callable[..., ExplanationSystem] = networks.system,
    ):
        self.folder, self.data, self.seconds, self.method = Path(folder), data, seconds, method
        self.files = networks.find(folder) if files is None else files
        self._load = functools.lru_cache(1)(load)
        self._turn = threading.Lock()  # of explorers that work beside each other
        self.listeners: list[Callable[[], None]] = []
        self.song: Song | None = None
        self._uploads, self._lock = Uploads(), threading.RLock()
        self._worker = Worker(changed=self._announce, failed=self._fail)
        self._system = None
        self.error, self.saved = "", None
        self._forget()
        taggers = list(self.files["taggers"])
        self.tagger = self._known(tagger, taggers, "tagger") if taggers else None
        self.genre = self._known(genre, self.genres, "genre model") if taggers else None

    # --- What can be chosen -------------------------------------------------------------------------------------------

    @property
    def taggers(self) -> list[str]:
        """Names of the taggers."""
        return list(self.files["taggers"])

    @property
    def genres(self) -> list[str]:
        """Names of the genre models that go with the chosen tagger."""
        return networks.genres_of(self.files["taggers"][self.tagger], self.files["genres"]) if self.tagger else []

    @property
    def clips(self) -> dict[str, Any]:
        """Songs of the data set: title -> clip id."""
        if self.data is None:
            return {}
        tracks, genres = self.data.tracks, self.data.genres
        titles = {}
        for clip_id, row in tracks.iterrows():
            names = (
                ", ".join(genres.columns[genres.loc[clip_id].to_numpy(dtype=bool)]) if clip_id in genres.index else ""
            )
            titles[f"{clip_id} · {row['title'] or row['path']} ({row['artist']}){names and f' · {names}'}"] = clip_id
        return titles

    @property
    def advice(self) -> str:
        """What to do where there is no network; empty where there is one."""
        if self.tagger:
            return ""
        return (
            "No network is here yet: run `make demo`, or `musictools models get won2020-mtat-fcn`, and open this page "
            "again."
        )

    @property
    def progress(self) -> Progress:
        """Where the work stands."""
        return self._worker.progress

    @property
    def busy(self) -> bool:
        """Whether something is being computed."""
        return self._worker.busy

    @property
    def system(self) -> ExplanationSystem | None:
        """The networks that the explanation is of; None: they are not loaded."""
        return self._system

    # --- Actions ------------------------------------------------------------------------------------------------------

    def open_clip(self, clip_id: int | str) -> None:
        """Open a song of the data set.

        Parameters
        ----------
        clip_id : int or str
        """
        title = next((title for title, own in self.clips.items() if own == clip_id), str(clip_id))
        self._open(("clip", clip_id), lambda: self._decode(clip_id, title))

    def open_file(self, path: str | Path, *, title: str | None = None) -> None:
        """Open a file of this machine; a missing or too large one is refused at once.

        Parameters
        ----------
        path : str or Path
        title : str or None
            None: the file's name.
        """
        path = Path(path).expanduser()
        if not path.is_file():
            self._fail(SongError(f"{title or path.name}: no such file."))
            return
        title = path.stem if title is None else title
        self._open(("file", str(path)), lambda: songs.read(path, title=title, seconds=self.seconds))

    def open_upload(self, name: str, content: bytes) -> None:
        """Open what a browser has sent.

        Parameters
        ----------
        name : str
            The file's name, which becomes the title.
        content : bytes
        """
        try:
            path = self._uploads.keep(name, bytes(content))
        except SongError as error:
            self._fail(error)
            return

        def decode():
            try:
                return songs.read(path, title=Path(name).name, seconds=self.seconds)
            finally:
                path.unlink(missing_ok=True)

        self._open(("upload", path.name), decode)

    def choose_networks(
        self, *, tagger: str | None = None, genre: str | None = None, method: str | None = None
    ) -> None:
        """Choose other networks or another method; the song is explained anew.

        Parameters
        ----------
        tagger, genre, method : str or None
            None: as before.
        """
        with self._lock:
            before = self.tagger, self.genre, self.method
            if tagger is not None:
                self.tagger = self._known(tagger, self.taggers, "tagger")
                genre = genre or (self.genre if self.genre in self.genres else self.genres[0])
            self.genre = self.genre if genre is None else self._known(genre, self.genres, "genre model")
            self.method = method or self.method
            if before == (self.tagger, self.genre, self.method):
                return
            self._worker.cancel()
            self._forget()
        self.explain()

    def explain(self) -> None:
        """Explain the song; its first predicted descriptor is chosen."""
        if self.song is None or self.tagger is None or self.explanation is not None:
            self._announce()
            return
        self.work(("explain", id(self.song), *self._networks), self._explain)
        self._announce()

    def choose(self, tags: Sequence[str]) -> None:
        """Choose the descriptors that are shown; those without a heatmap get one.

        Parameters
        ----------
        tags : sequence of str
            Only the last `MOST` count.
        """
        with self._lock:
            if self.explanation is None:
                return
            known = set(self.explanation.descriptors["tag"])
            self.chosen = tuple(tag for tag in dict.fromkeys(tags) if tag in known)[-MOST:]
            self.error = ""
            for tag in self.chosen:
                if tag not in self.explanation.heatmaps or tag not in self.explanation.badges:
                    self.work(("descriptor", id(self.song), *self._networks, tag), lambda tag=tag: self._map(tag))
            gains = {tag: gain for tag, gain in self.gains.items() if tag in self.chosen}
        self.turn_down(gains)

    def turn_down(self, gains: dict[str, float]) -> None:
        """Turn the evidence of descriptors down and score the changed song.

        Parameters
        ----------
        gains : dict of str to float
            Descriptor -> dB, from `LOWEST` to 0.
        """
        with self._lock:
            if self.explanation is None:
                return
            known = self.explanation.heatmaps
            gains = {tag: float(np.clip(gain, LOWEST, 0)) for tag, gain in gains.items() if tag in known and gain < 0}
            if gains != self.gains:
                self.gains = gains
                if not gains:
                    self.changed = None
                else:
                    key = ("changed", id(self.song), *self._networks, tuple(sorted(gains.items())))
                    self.work(key, lambda: self._change(gains))
        self._announce()

    def save(self, folder: str | Path | None = None) -> None:
        """Write the offline page of ``musictools explain`` with the descriptors that have a heatmap.

        Parameters
        ----------
        folder : str or Path or None
            None: a folder of the song's name in ``explorer`` in the profile's results.
        """
        if self.explanation is not None:
            name = html.anchors([self.song.title])[self.song.title][:60]
            place = networks.from_root(self.folder) / "explorer" / name if folder is None else Path(folder)
            self.work(("save", str(place), tuple(self.explanation.heatmaps)), lambda: self._save(place))

    def work(self, key: Hashable, job: Callable[[], Iterator[Progress]]) -> None:
        """Do work after what waits already.

        Parameters
        ----------
        key : hashable
            Equal for jobs with the same result, which do not run twice at a time.
        job : callable
            Returns a generator that yields its `Progress` before each step. Its ValueErrors are shown as sentences.
        """
        self._worker.add(key, lambda: _in_turn(job(), self._turn))

    def beside(self) -> Explorer:
        """Make an explorer of another song with the same networks; of the two, one works at a time.

        Returns
        -------
        explorer : Explorer
        """
        choice = {"tagger": self.tagger, "genre": self.genre, "method": self.method, "seconds": self.seconds}
        other = Explorer(self.folder, data=self.data, files=self.files, load=self._load, **choice)
        other._turn = self._turn
        return other

    def cancel(self) -> None:
        """Stop the work before its next step."""
        self._worker.cancel()
        self._announce()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all work is done.

        Parameters
        ----------
        timeout : float or None
            In s.

        Returns
        -------
        done : bool
        """
        return self._worker.wait(timeout)

    def close(self) -> None:
        """Stop the work and remove the uploads."""
        self.listeners.clear()
        self._worker.cancel()
        self._uploads.close()

    # --- Work ---------------------------------------------------------------------------------------------------------

    @property
    def _networks(self):
        return self.tagger, self.genre, self.method

    def _open(self, key, decode):
        self._worker.cancel()
        with self._lock:
            self.song, self.error = None, ""
            self._forget()

        def job():
            yield Progress("reading the song", 0.0)
            song = decode()
            yield Progress("reading the song", 0.1)  # not taken over if another song was opened meanwhile
            with self._lock:
                self.song = song
            if self.tagger:
                yield from self._explain()

        self.work(key, job)
        self._announce()

    def _decode(self, clip_id, title):
        try:
            y, sr = self.data.audio(clip_id)
        except (OSError, ValueError) as error:
            raise SongError(f"{title}: cannot be read ({error})") from None
        return songs.song(y, sr=sr, title=title, seconds=self.seconds)

    def _explain(self):
        """Genre and descriptors first, then the heatmap of the descriptor with the highest score."""
        wanted, song = self._networks, self.song
        yield Progress("loading the networks", 0.15)
        system = self._loaded_system()
        yield Progress("asking the networks", 0.3)
        rule = networks.rule_of(system.descriptor_model)
        made = system.explain(song.y, sr=song.sr, tags=[], rule=rule, method=self.method, badges=False)
        yield Progress("asking the networks", 0.5)
        with self._lock:
            if wanted != self._networks or song is not self.song:
                return
            self.explanation = made
            predicted = list(made.descriptors.loc[made.descriptors["predicted"], "tag"])
            self.chosen = tuple(predicted[:1])
        for tag in self.chosen:
            yield from self._map(tag, begin=0.5)

    def _map(self, tag, *, begin=0.0):
        """Heatmap and evidence of one descriptor, then its badge."""
        from musictools.explain.application.system import ExplanationSystem

        explanation, model, song = self.explanation, self._system.descriptor_model, self.song
        if explanation is None:
            return
        if tag not in explanation.heatmaps:
            yield Progress(f"finding {tag} in the song", begin)
            alone = ExplanationSystem(None, model)
            options = {"tags": [tag], "rule": explanation.rule, "method": explanation.method, "badges": False}
            made = alone.explain(explanation.y, sr=model.front_end.sr, **options)
            yield Progress(f"finding {tag} in the song", begin + 0.7 * (1 - begin))
            self._add(
                song,
                heatmaps=made.heatmaps,
                evidence=made.evidence,
                loop=pd.concat([explanation.loop, made.loop], ignore_index=True)
                if len(explanation.loop)
                else made.loop,
            )
        if tag not in explanation.badges:
            yield Progress(f"testing the heatmap of {tag}", begin + 0.7 * (1 - begin))
            badge = self._badge(tag, explanation)
            yield Progress(f"testing the heatmap of {tag}", 0.99)
            self._add(song, badges={tag: badge})

    def _badge(self, tag, explanation):
        """Test the map of the section with the descriptor's highest score."""
        from musictools.explain.metrics import badge

        model = self._system.descriptor_model
        best = int(explanation.sections[tag].argmax())
        x = model.inputs(explanation.y, S=explanation.S)[best : best + 1]
        threshold = float(explanation.descriptors.set_index("tag").at[tag, "threshold"])
        options = {"method": explanation.method, "reference": float(np.clip(threshold, 1e-6, 1 - 1e-6))}
        return str(badge.badges(model.model, x, model.tags.index(tag), **options)[0])

    def _add(self, song, *, loop=None, **parts):
        """Take results into the explanation, unless another song was opened meanwhile."""
        with self._lock:
            if song is self.song and self.explanation is not None:
                new = {name: getattr(self.explanation, name) | part for name, part in parts.items()}
                self.explanation = dataclasses.replace(
                    self.explanation, **new, loop=self.explanation.loop if loop is None else loop
                )
        self._announce()

    def _change(self, gains):
        explanation, song = self.explanation, self.song
        yield Progress("scoring the changed song", 0.1)
        if self._before is None:
            self._before = self._asked(explanation.y, explanation)
        yield Progress("scoring the changed song", 0.5)
        y = turned_down(explanation, gains)
        changed = compared(self._before, self._asked(y, explanation), y)
        with self._lock:
            if song is self.song and gains == self.gains:
                self.changed = changed

    def _asked(self, y, explanation):
        sr = explanation.front_end.sr
        return self._system.explain(y, sr=sr, tags=[], rule=explanation.rule, method=explanation.method, badges=False)

    def _save(self, folder):
        from musictools.explain.application import page

        yield Progress("writing the page", 0.2)
        more = {"length": self.song.length, "tagger": self.tagger, "genre_model": self.genre}
        self.saved = page.write(folder, self.explanation, title=self.song.title, more=more)

    def _loaded_system(self):
        genre = self.files["genres"].get(self.genre, self.genre)
        mapping = next(iter(self.files["mappings"].values()), None)
        self._system = self._load(self.files["taggers"][self.tagger], genre, mapping)
        return self._system

    def _forget(self):
        self.explanation: SongExplanation | None = None
        self.changed: Changed | None = None
        self._before = self.saved = None
        self.chosen, self.gains = (), {}

    def _known(self, name, names, what):
        if name is not None and name not in names:
            raise ValueError(f"No {what} is called {name!r}. Known: {', '.join(names)}.")
        return names[0] if name is None else name

    def _fail(self, error):
        if isinstance(error, ValueError):
            self.error = str(error)
        else:
            _LOG.error("the explorer failed", exc_info=error)
            self.error = f"Something went wrong ({type(error).__name__}). The song could not be explained."
        self._announce()

    def _announce(self):
        for listener in list(self.listeners):
            listener()


def _in_turn(steps, turn):
    """A job whose steps wait for those of other explorers."""
    while True:
        with turn:
            progress = next(steps, None)
        if progress is None:
            return
        yield progress

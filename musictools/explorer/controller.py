"""The explorer's logic, without widgets: what is chosen, what is known, and what is being computed.

Work is done in one background thread (`work.Worker`). Every change is announced to the functions in
`Explorer.listeners`, which may be called from that thread. Errors are kept as sentences in `Explorer.error`.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from musictools import html
from musictools.explorer import answers, networks, songs
from musictools.explorer.changes import LOWEST, compared, turned_down
from musictools.explorer.songs import Song, SongError
from musictools.explorer.work import ExplorerError, Progress, Worker, in_turn, logged, said, sentence

if TYPE_CHECKING:
    from musictools.datasets import Dataset
    from musictools.explain.application.system import ExplanationSystem, SongExplanation
    from musictools.explorer.changes import Changed

__all__ = ["MOST", "Explorer"]

MOST = 2  # descriptors that are shown at once


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
    ahead : int >= 0
        How many descriptors get their heatmap while nothing else is to be done, those with the highest scores first.
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
    >>> explorer.advice
    'No network is here yet, so no song can be explained. Run `make demo`, ...
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
        ahead: int = 0,
        files: dict[str, dict[str, Path]] | None = None,
        load: Callable[..., ExplanationSystem] = networks.system,
    ):
        self.folder, self.data, self.seconds, self.method, self.ahead = Path(folder), data, seconds, method, ahead
        self.files = networks.find(folder) if files is None else files
        self._load = functools.lru_cache(1)(load)
        self._turn = threading.Lock()  # of explorers that work beside each other
        self.listeners: list[Callable[[], None]] = []
        self.song: Song | None = None
        self._lock = threading.RLock()
        self._worker = Worker(changed=self._announce, failed=self._fail)
        self._system = None
        self.error, self.saved = "", None
        self._forget()
        taggers = list(self.files["taggers"])
        self.tagger = networks.known(tagger, taggers, "tagger") if taggers else None
        self.genre = networks.known(genre, self.genres, "genre model") if taggers else None

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
        return {} if self.data is None else songs.titles(self.data)

    @property
    def advice(self) -> str:
        """What to do where there is no network; empty where there is one."""
        return "" if self.tagger else networks.ADVICE

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
        self._open(("clip", clip_id), lambda: songs.clip(self.data, clip_id, title=title, seconds=self.seconds))

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
            songs.check(name, len(content))
        except SongError as error:
            self._fail(error)
        else:
            self._open(("upload", id(content)), lambda: songs.read_upload(name, content, seconds=self.seconds))

    def refuse(self, text: str) -> None:
        """Say why a file was not taken.

        Parameters
        ----------
        text : str
            A sentence.
        """
        self._fail(SongError(text))

    def open_stored(self, folder: str | Path = "outputs/gallery/song") -> None:
        """Open an explanation that was made before, which needs no networks; without one nothing happens.

        Parameters
        ----------
        folder : str or Path
            As `stored.write` made it.
        """
        from musictools.explorer import stored

        place = networks.from_root(folder)
        if not (place / stored.NAME).is_file():
            return
        try:
            song, explanation = stored.read(place)
        except ExplorerError as error:
            self._fail(error)
            return
        with self._lock:
            self._forget()
            self.error, self.song, self.explanation = "", song, explanation
            self.chosen = tuple(explanation.heatmaps)[:1]
        self._announce()

    def warm_up(self) -> None:
        """Load the networks while nothing else is to be done, so that the first song is explained sooner."""
        if self.tagger:
            self._when_idle(("load", self.tagger, self.genre), self._loaded_system)

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
                self.tagger = networks.known(tagger, self.taggers, "tagger")
                genre = genre or (self.genre if self.genre in self.genres else self.genres[0])
            self.genre = self.genre if genre is None else networks.known(genre, self.genres, "genre model")
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
            self.error = "" if self.tagger else answers.missing(self.explanation, self.chosen)
            if self.error:
                self.chosen = tuple(tag for tag in self.chosen if tag in self.explanation.heatmaps)
            for tag in self.chosen if self.tagger else ():
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
            known = self.explanation.evidence if self.tagger else {}
            gains = {tag: float(np.clip(gain, LOWEST, 0)) for tag, gain in gains.items() if tag in known and gain < 0}
            if gains != self.gains:
                self.gains, self.changed = gains, self.changed if gains else None
                if gains:
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

    def work(self, key: Hashable, job: Callable[[], Iterator[Progress]], *, idle: bool = False) -> None:
        """Do work after what waits already.

        Parameters
        ----------
        key : hashable
            Equal for jobs with the same result, which do not run twice at a time.
        job : callable
            Returns a generator that yields its `Progress` before each step. `ExplorerError` is shown as a sentence.
        idle : bool
            Whether it is done only while nothing else waits, and not shown.
        """
        self._worker.add(key, lambda: in_turn(job(), self._turn), idle=idle)

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
        """Stop the work."""
        self.listeners.clear()
        self._worker.cancel()

    # --- Work ---------------------------------------------------------------------------------------------------------

    @property
    def _networks(self):
        return self.tagger, self.genre, self.method

    def _open(self, key, decode):
        self._worker.cancel()
        self.error = ""

        def job():
            yield Progress("reading the song", 0.0)
            song = decode()  # where this fails, the song before it stays
            yield Progress("reading the song", 0.1)  # not taken over if another song was opened meanwhile
            with self._lock:
                self._forget()
                self.song = song
            if self.tagger:
                yield from self._explain()

        self.work(key, job)
        self._announce()

    def _explain(self):
        """Genre and descriptors first, then the heatmap of the descriptor with the highest score."""
        wanted, song = self._networks, self.song
        yield Progress("loading the networks", 0.15)
        system = self._loaded_system()
        yield Progress("asking the networks", 0.3)
        rule = networks.rule_of(system.descriptor_model)
        with sentence(f"{song.title} cannot be explained by {self.tagger}. Try another tagger or another song."):
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
        for tag in list(dict.fromkeys([*predicted, *made.descriptors["tag"]]))[: self.ahead]:
            self._when_idle(("ahead", id(song), *wanted, tag), functools.partial(self._map_ahead, tag))

    def _map(self, tag, *, begin=0.0):
        """Heatmap of one descriptor, then its evidence, then its badge; each is shown as soon as it is there."""
        explanation, song, system = self.explanation, self.song, self._system
        if explanation is None:
            return
        with sentence(f"The method {self.method} cannot find {tag} with {self.tagger}. Try another method."):
            heatmap = explanation.heatmaps.get(tag, self._ahead.get(tag))
            if heatmap is None:
                yield Progress(f"finding {tag} in the song", begin)
                heatmap = answers.heatmap(system, explanation, tag)
            self._add(song, heatmaps={tag: heatmap})
        with sentence(f"The evidence of {tag} cannot be made audible with {self.tagger}."):
            if tag not in explanation.evidence:
                yield Progress(f"making {tag} audible", begin + 0.4 * (1 - begin))
                evidence, row = answers.evidence(system, explanation, tag, heatmap)
                self._add(song, evidence={tag: evidence}, loop=row)
        with sentence(f"The heatmap of {tag} could not be tested."):
            if tag not in explanation.badges:
                yield Progress(f"testing the heatmap of {tag}", begin + 0.7 * (1 - begin))
                badge = answers.badge(system, explanation, tag)
                self._add(song, badges={tag: badge})
        yield Progress(f"testing the heatmap of {tag}", 1.0)

    def _map_ahead(self, tag):
        """Heatmap of a descriptor that may be chosen later."""
        explanation, maps = self.explanation, self._ahead
        if explanation is not None and tag not in explanation.heatmaps:
            maps[tag] = answers.heatmap(self._system, explanation, tag)

    def _when_idle(self, key, act):
        def job():
            yield Progress()
            with logged():
                act()

        self.work(key, job, idle=True)

    def _add(self, song, *, loop=None, **parts):
        """Take results into the explanation, unless another song was opened meanwhile."""
        with self._lock:
            if song is self.song and self.explanation is not None:
                self.explanation = answers.extended(self.explanation, loop=loop, **parts)
        self._announce()

    def _change(self, gains):
        explanation, song = self.explanation, self.song
        if explanation is None:
            return
        with sentence("The changed song could not be scored."):
            yield Progress("scoring the changed song", 0.1)
            if self._before is None:
                self._before = answers.scored(self._system, explanation, explanation.y)
            yield Progress("scoring the changed song", 0.5)
            y = turned_down(explanation, gains)
            changed = compared(self._before, answers.scored(self._system, explanation, y), y)
        with self._lock:
            if song is self.song and gains == self.gains:
                self.changed = changed

    def _save(self, folder):
        yield Progress("writing the page", 0.2)
        more = {"length": self.song.length, "tagger": self.tagger, "genre_model": self.genre}
        with sentence(f"The page could not be written to {folder}."):
            self.saved = answers.page(folder, self.explanation, title=self.song.title, more=more)

    def _loaded_system(self):
        genre = self.files["genres"].get(self.genre, self.genre)
        mapping = next(iter(self.files["mappings"].values()), None)
        with sentence(
            f"The networks {self.tagger} and {self.genre} cannot be read. Choose others, or make them again."
        ):
            self._system = self._load(self.files["taggers"][self.tagger], genre, mapping)
        return self._system

    def _forget(self):
        self.explanation: SongExplanation | None = None
        self.changed: Changed | None = None
        self._before = self.saved = None
        self._ahead: dict[str, np.ndarray] = {}
        self.chosen, self.gains = (), {}

    def _fail(self, error):
        if not isinstance(error, ExplorerError):
            error = said("Something went wrong. The song could not be explained.", error)
        self.error = str(error)
        self._announce()

    def _announce(self):
        for listener in list(self.listeners):
            listener()

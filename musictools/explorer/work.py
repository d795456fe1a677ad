"""Long work in one background thread: it shows progress, can be cancelled between steps, and nothing runs twice.

Errors that the page shows are `ExplorerError`; their message is a sentence for its reader.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass

__all__ = ["ExplorerError", "Progress", "Worker", "in_turn", "logged", "said", "sentence"]

_LOG = logging.getLogger(__name__)


class ExplorerError(ValueError):
    """What could not be done, in a sentence for the reader of the page."""


@dataclass(frozen=True)
class Progress:
    """Where the work stands.

    Attributes
    ----------
    step : str
        What is being done; empty when nothing is.
    share : float in [0, 1]
    """

    step: str = ""
    share: float = 0.0


class Worker:
    """Runs jobs one after the other in a thread that ends when nothing is left to do.

    A job is a generator that yields its `Progress` before each step. A job with the key of one that is running or
    waits is not added again. Idle jobs run when no other job waits; they show no progress and do not count as busy.

    Parameters
    ----------
    changed : callable
        Called, from the thread, after every step.
    failed : callable
        Called with the exception of a job that failed.

    Examples
    --------
    >>> done = []
    >>> def job():
    ...     yield Progress("first", 0.0)
    ...     done.append(1)
    >>> worker = Worker(changed=lambda: None, failed=print)
    >>> worker.add("job", job), worker.wait(), done
    (True, True, [1])
    """

    def __init__(self, *, changed: Callable[[], None], failed: Callable[[Exception], None]):
        self._changed, self._failed = changed, failed
        self._lock = threading.Condition()
        self._waiting: dict[Hashable, Callable[[], Iterator[Progress]]] = {}
        self._idle: dict[Hashable, Callable[[], Iterator[Progress]]] = {}
        self._running: Hashable = None
        self._quiet = False  # whether the running job is an idle one
        self._cancelled, self._thread = False, None
        self.progress = Progress()

    @property
    def busy(self) -> bool:
        """Whether a job is running or waits, apart from idle ones."""
        with self._lock:
            return bool(self._waiting) or (self._running is not None and not self._quiet)

    def add(self, key: Hashable, job: Callable[[], Iterator[Progress]], *, idle: bool = False) -> bool:
        """Add a job.

        Parameters
        ----------
        key : hashable
            Equal for jobs with the same result; not None.
        job : callable
            Returns the generator.
        idle : bool
            Whether the job is worth doing only while nothing else is to be done. Other jobs wait until it has ended,
            so it should be short.

        Returns
        -------
        added : bool
            False if a job with this key is running or waits.
        """
        with self._lock:
            if key in self._waiting or key in self._idle or (key == self._running and not self._cancelled):
                return False
            (self._idle if idle else self._waiting)[key] = job
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="musictools-explorer", daemon=True)
                self._thread.start()
            return True

    def cancel(self) -> None:
        """Stop the running job before its next step, and drop those that wait."""
        with self._lock:
            self._waiting.clear()
            self._idle.clear()
            self._cancelled = self._running is not None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is left to do.

        Parameters
        ----------
        timeout : float or None
            In s.

        Returns
        -------
        done : bool
            False if the time was over first.
        """
        with self._lock:
            return self._lock.wait_for(lambda: self._thread is None, timeout)

    def _work(self):
        while True:
            with self._lock:
                was_quiet = self._quiet
                self._quiet, jobs = not self._waiting, self._waiting or self._idle
                self._cancelled, self._running = False, next(iter(jobs), None)
                if self._quiet:
                    self.progress = Progress()
                if self._running is None:
                    self._thread = None
                    self._lock.notify_all()
                    break
                job = jobs.pop(self._running)
            if self._quiet and not was_quiet:
                self._changed()  # nothing is left to wait for
            self._run(job)
        self._changed()

    def _run(self, job):
        try:
            for progress in job():
                with self._lock:
                    if self._cancelled:
                        return
                    if not self._quiet:
                        self.progress = progress
                self._changed()
        except Exception as error:  # noqa: BLE001 - whatever happens, the page goes on
            self._failed(error)


def in_turn(steps: Iterator[Progress], turn: threading.Lock) -> Iterator[Progress]:
    """Let the steps of a job wait for those of other workers.

    Parameters
    ----------
    steps : iterator of Progress
    turn : threading.Lock
        Held during every step.

    Yields
    ------
    progress : Progress
    """
    while True:
        with turn:
            progress = next(steps, None)
        if progress is None:
            return
        yield progress


def said(text: str, error: Exception) -> ExplorerError:
    """Say what went wrong, and log what only developers must know of it.

    Parameters
    ----------
    text : str
        A sentence for the reader of the page.
    error : Exception

    Returns
    -------
    error : ExplorerError
    """
    _LOG.error("the explorer failed", exc_info=error)
    if isinstance(error, MemoryError):
        text = "There is not enough memory for this. Close other programs, or explain a shorter part of the song."
    return ExplorerError(text)


@contextlib.contextmanager
def sentence(text: str) -> Iterator[None]:
    """Say in one sentence whatever fails inside.

    Parameters
    ----------
    text : str
        A sentence for the reader of the page.

    Raises
    ------
    ExplorerError
        If something fails. One that is raised inside is passed on.

    Examples
    --------
    >>> with sentence("The song could not be scored."):
    ...     raise ExplorerError("The song is silent.")
    Traceback (most recent call last):
        ...
    musictools.explorer.work.ExplorerError: The song is silent.
    """
    try:
        yield
    except ExplorerError:
        raise
    except Exception as error:
        raise said(text, error) from error


@contextlib.contextmanager
def logged() -> Iterator[None]:
    """Log what fails inside: it was not asked for, so the page need not know of it."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the same work is tried again when it is asked for
        _LOG.info("idle work failed", exc_info=error)

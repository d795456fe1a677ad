"""Long work in one background thread: it shows progress, can be cancelled between steps, and nothing runs twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass

__all__ = ["Progress", "Worker"]


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
    waits is not added again.

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
        self._running: Hashable = None
        self._cancelled, self._thread = False, None
        self.progress = Progress()

    @property
    def busy(self) -> bool:
        """Whether a job is running or waits."""
        with self._lock:
            return self._thread is not None

    def add(self, key: Hashable, job: Callable[[], Iterator[Progress]]) -> bool:
        """Add a job.

        Parameters
        ----------
        key : hashable
            Equal for jobs with the same result; not None.
        job : callable
            Returns the generator.

        Returns
        -------
        added : bool
            False if a job with this key is running or waits.
        """
        with self._lock:
            if key in self._waiting or (key == self._running and not self._cancelled):
                return False
            self._waiting[key] = job
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="musictools-explorer", daemon=True)
                self._thread.start()
            return True

    def cancel(self) -> None:
        """Stop the running job before its next step, and drop those that wait."""
        with self._lock:
            self._waiting.clear()
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
                self._cancelled, self._running = False, next(iter(self._waiting), None)
                if self._running is None:
                    self._thread, self.progress = None, Progress()
                    self._lock.notify_all()
                    break
                job = self._waiting.pop(self._running)
            self._run(job)
        self._changed()

    def _run(self, job):
        try:
            for progress in job():
                with self._lock:
                    if self._cancelled:
                        return
                    self.progress = progress
                self._changed()
        except Exception as error:  # noqa: BLE001 - whatever happens, the page goes on
            self._failed(error)

"""Calls on the workers of a Dask cluster, for `parallel.map`.

Before any work is sent, every worker is asked whether it can do it, and so is a worker that joins later, before its
first call. It must have the caller's versions (Python, the packages that results depend on, the sources of this package
and Keras's backend), and it must see the caller's folders under the same paths: the data folder and what the caller
names as shared. A folder counts as seen if the worker can read a file that the caller has just written there; a folder
that nobody may write counts if it exists; a file counts if a checksum over samples of its bytes agrees.

A worker does one call at a time, however many threads it has: TensorFlow's seeds, determinism and threads are settings
of a process, not of a thread. More processes are what makes a machine faster. Calls within a call are done one after
the other in the same process, so that the cluster is neither overloaded nor waits for itself.

Functions, values and results travel as bytes that belong to their call. When a worker dies, Dask repeats its calls, and
results that had not been fetched, on the others.
"""

import contextlib
import functools
import os
import platform
import queue
import reprlib
import secrets
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from musictools import files

from . import manifests, memory, parallel, paths

PATIENCE = "10s"  # for a scheduler to answer, and for the first worker
LONELY = 120.0  # seconds without any worker after which a running map gives up

_ONE_CALL = threading.Lock()


def results(
    function: Callable, values: Sequence, scheduler: str, shared: Sequence[str | Path] = ()
) -> Iterator[tuple[int, Any]]:
    """Yield the number of every value with its result, as results arrive."""
    import cloudpickle

    with _connected(scheduler) as client, _terms(shared) as terms:
        _check_workers(client, scheduler, terms)
        body, waiting, pending, done = cloudpickle.dumps(function), list(enumerate(values))[::-1], {}, queue.Queue()
        while waiting or pending:
            while waiting and len(pending) < 2 * max(1, _workers(client, scheduler)):  # one is done, one is at hand
                number, value = waiting.pop()
                call = (_call_here, terms, body, cloudpickle.dumps(value), number)
                pending[future := _submit(client, scheduler, call)] = number
                future.add_done_callback(done.put)
            future = _next(done, client, scheduler)
            number = pending.pop(future)
            yield number, cloudpickle.loads(_result(future, scheduler, number, values[number]))


@contextlib.contextmanager
def _connected(scheduler):
    from distributed import Client

    try:
        client = Client(scheduler, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise ConnectionError(
            f"No Dask scheduler answers at {scheduler!r} ({error}). Start one with `dask scheduler`, or leave "
            "scheduler empty to use the cores of this machine."
        ) from error
    with client:
        yield client


@contextlib.contextmanager
def _terms(shared):
    """What a worker must have: versions, and what lies in the folders that it must see. Equal terms are equal."""
    home = paths.data_home()
    with contextlib.suppress(OSError):
        home.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        places = [stack.enter_context(_token(Path(place).absolute())) for place in dict.fromkeys([home, *shared])]
        marks = tuple((str(place), _mark(place)) for place in places)
        yield tuple(_versions().items()), marks, str(home)


@contextlib.contextmanager
def _token(place):
    """Give a new file in a folder, so that a worker that reads it sees the same folder; a file as it is."""
    if not place.is_dir():
        yield place
        return
    host = zlib.crc32(platform.node().encode())  # a temporary file as `files.remove_stale` expects them
    token = place / f".tmp-{os.getpid()}-{host:08x}-cluster-{secrets.token_hex(4)}"
    try:
        token.write_text(secrets.token_hex())
    except OSError:  # read-only
        token = place
    try:
        yield token
    finally:
        if token != place:
            token.unlink(missing_ok=True)


def _mark(place):
    return "folder" if Path(place).is_dir() else files.fingerprint(place)


def _versions():
    python = ".".join(platform.python_version_tuple()[:2])
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    sources = manifests.package_digest()[:12]
    return manifests.versions() | {"python": python, "Keras backend": backend, "musictools sources": sources}


_own_versions = functools.cache(_versions)  # of a worker: what it has loaded stays as it is when files change


def _check_workers(client, scheduler, terms):
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError as error:
        raise ConnectionError(
            f"The Dask scheduler at {scheduler!r} has no workers. Start some with `dask worker {scheduler}`."
        ) from error
    answers = client.run(_refusal, terms, on_error="return")
    refusals = {
        worker: f"musictools cannot be loaded ({answer})" if isinstance(answer, Exception) else answer
        for worker, answer in answers.items()
        if answer
    }
    if refusals:
        raise RuntimeError(
            f"{len(refusals)} of {len(answers)} workers at {scheduler!r} cannot do this work, so nothing was sent. "
            + " ".join(f"{worker}: {why}." for worker, why in list(refusals.items())[:3])
            + " All workers need the same installation and the same folders under the same paths."
        )


@functools.lru_cache(maxsize=8)
def _refusal(terms):
    """Why this process cannot work for a caller with these terms; empty if it can."""
    versions, marks, _ = terms
    own = _own_versions()
    wrong = [f"{name} is {own.get(name)} here and {value} there" for name, value in versions if own.get(name) != value]
    wrong += [f"{Path(place).parent} is not the caller's" for place, mark in marks if _mark(place) != mark]
    return ", ".join(wrong)


def _call_here(terms, function, value, number):
    """Do one call in the process of a worker."""
    import cloudpickle
    from distributed import get_worker

    if why := _refusal(terms):
        raise RuntimeError(f"The worker {get_worker().address} cannot do this work: {why}.")
    with _ONE_CALL, parallel.nested():
        os.environ["MUSICTOOLS_DATA"] = terms[-1]
        limit = get_worker().memory_manager.memory_limit
        if limit and memory.VARIABLE not in os.environ:
            memory.give(limit // 4)  # models, and what libraries need, come on top of it
        return cloudpickle.dumps(parallel.call(_loaded(function), cloudpickle.loads(value), number))


@functools.lru_cache(maxsize=1)
def _loaded(function):
    """The function of a map, kept from call to call: what it prepares at its first call, it prepares once."""
    import cloudpickle

    return cloudpickle.loads(function)


def _workers(client, scheduler):
    """Number of workers at this moment."""
    try:
        return len(client.nthreads())
    except (OSError, TimeoutError) as error:
        raise _gone(scheduler) from error


def _submit(client, scheduler, call):
    from distributed.client import ClosedClientError

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sending large graph")
            return client.submit(*call, pure=False)
    except ClosedClientError as error:
        raise _gone(scheduler) from error


def _gone(scheduler):
    return ConnectionError(
        f"The Dask scheduler at {scheduler!r} has gone. Results that were written are kept: start it and its workers, "
        "and call this again."
    )


def _next(done, client, scheduler):
    """Wait for a call that has ended."""
    lonely = 0.0
    while True:
        try:
            return done.get(timeout=1.0)
        except queue.Empty:
            lonely = 0.0 if client.status != "running" or _workers(client, scheduler) else lonely + 1.0
        if lonely >= LONELY:
            raise ConnectionError(
                f"The Dask scheduler at {scheduler!r} has had no worker for {LONELY:.0f} s. Results that were written "
                "are kept: start workers and call this again."
            )


def _result(future, scheduler, number, value):
    from distributed.scheduler import KilledWorker

    if future.status in ("cancelled", "lost"):
        raise _gone(scheduler)
    try:
        return future.result()
    except KilledWorker as error:
        raise RuntimeError(
            f"item {number} ({reprlib.repr(value)}): {error.allowed_failures + 1} workers died while they worked on "
            f"it, the last was {error.last_worker.address}. Perhaps it needs more memory than a worker has."
        ) from None

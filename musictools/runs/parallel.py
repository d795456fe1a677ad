"""One parallel map for every heavy loop: local processes by default, a Dask cluster when one is named.

A notebook names its cluster once, where it starts its run: until the run is finished, that scheduler is the default of
every `map` in this process, so that each heavy step of the notebook uses it.
"""

import functools
import os
import reprlib
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .memory import give, memory_budget

__all__ = ["at_once", "end_with", "map", "progress"]

NOTEBOOK_BYTES = 4 * 2**30  # memory that one notebook of the demo may need, with its workers

_default = {"scheduler": "", "shared": ()}  # of the run that this process has started
_here = threading.local()


def map(
    function: Callable,
    values: Iterable,
    *,
    workers: int | None = None,
    scheduler: str = "",
    description: str = "",
    stream: bool = False,
    shared: Sequence[str | Path] = (),
) -> list | Iterator:
    """Apply a function to every value, in parallel.

    Parameters
    ----------
    function : callable
        Takes one value. Functions of a notebook and lambdas work too.
    values : iterable
    workers : int > 0 or None
        Local processes; None: one per core; 1: a plain loop in this process.
    scheduler : str
        Address of a Dask scheduler, such as ``"tcp://10.0.0.5:8786"``. Empty: the one that `musictools.runs.start`
        was given in this process, if any, else local processes.
    description : str
        Shown beside the progress bar (there is none under papermill and where nobody watches).
    stream : bool
        Return a generator that yields results as they come, still in order, for results too large to hold.
    shared : sequence of str or Path
        Files and folders besides the data folder that all workers of a cluster must see, see `runs.cluster`.

    Returns
    -------
    results : list or generator
        In the order of `values`.

    Raises
    ------
    ValueError
        If `workers` is no positive int.
    ConnectionError
        If the scheduler does not answer, has no workers, or goes away. Finished work that was written is kept.
    RuntimeError
        If a worker of the cluster has other versions or does not see the folders, or if several workers died.
    Exception
        What `function` raised first, with the value named in its message (or in a note).

    Examples
    --------
    >>> map(len, ["rock", "pop"], workers=1)
    [4, 3]
    """
    if workers is not None and (not isinstance(workers, int) or isinstance(workers, bool) or workers < 1):
        raise ValueError(f"workers must be a positive int or None. Got {workers!r}.")
    values = list(values)
    scheduler = scheduler or _default["scheduler"]
    if getattr(_here, "nested", False):  # a call on a cluster has one core
        workers, scheduler = 1, ""
    if scheduler:
        pairs = _on_cluster(function, values, scheduler, [*_default["shared"], *shared])
    else:
        pairs = _locally(function, values, workers)
    pairs = progress(pairs, total=len(values), description=description)
    if stream:
        return _in_order(pairs)
    results = dict(pairs)
    return [results[number] for number in range(len(values))]


def progress(iterable: Iterable, *, total: int | None = None, description: str = "") -> Iterator[Any]:
    """Show a progress bar while iterating, unless nobody watches.

    Parameters
    ----------
    iterable : iterable
    total : int or None
        Number of its elements; None: ``len(iterable)``, where it has a length.
    description : str
        Words before the bar.

    Yields
    ------
    element : object
        The elements of `iterable`.

    Examples
    --------
    >>> list(progress(["a", "b"], description="clips"))
    ['a', 'b']
    """
    from tqdm.auto import tqdm

    disable = True if _unattended() else None
    yield from tqdm(iterable, total=total, desc=description or None, disable=disable, leave=False)


def at_once() -> int:
    """Return how many notebooks this machine can run at the same time.

    Returns
    -------
    number : int > 0
        One per core, as far as the free memory allows (4 GiB per notebook); 1 with a GPU, which notebooks cannot share.

    Examples
    --------
    >>> at_once() > 0
    True
    """
    if has_gpu():
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    free = available_memory()
    return max(1, cores if free is None else min(cores, free // NOTEBOOK_BYTES))


def available_memory() -> int | None:
    """Return the bytes of memory that processes may still take; None where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            sizes = {name: rest.split()[0] for name, _, rest in (line.partition(":") for line in file)}
        return int(sizes["MemAvailable"]) * 1024
    except (OSError, KeyError, IndexError, ValueError):
        return None


def has_gpu() -> bool:
    """Tell whether there is an NVIDIA GPU that programs may use; TensorFlow is not asked."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible not in ("", "-1") and any(Path("/dev").glob("nvidia[0-9]*"))


def kernel_shell() -> Any:
    """Return the shell of the Jupyter kernel that this code runs in, or None."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell if getattr(shell, "kernel", None) is not None else None


def _unattended():
    """Tell whether this is a kernel that papermill or nbconvert drives: nobody can type into it."""
    shell = kernel_shell()
    return shell is not None and not getattr(shell.kernel, "_allow_stdin", True)


def use(scheduler: str, *, shared: Sequence[str | Path] = ()) -> None:
    """Set the default scheduler of this process and what all workers of any scheduler must see; empty: none."""
    _default.update(scheduler=scheduler, shared=tuple(shared))


@contextmanager
def nested() -> Iterator[None]:
    """Let every `map` in the block be a plain loop in this thread."""
    _here.nested = True
    try:
        yield
    finally:
        _here.nested = False


def _on_cluster(function, values, scheduler, shared):
    from . import cluster

    yield from cluster.results(function, values, scheduler, shared)


def _in_order(pairs):
    """Yield results in the order of their numbers, each as soon as all before it are there."""
    early, due = {}, 0
    for number, result in pairs:
        early[number] = result
        while due in early:
            yield early.pop(due)
            due += 1


def _locally(function, values, workers):
    """Yield the number of every value with its result, in order."""
    import joblib

    workers = min(workers or joblib.cpu_count(), len(values))
    if workers <= 1:
        for number, value in enumerate(values):
            yield number, call(function, value, number)
        return
    share = memory_budget(sharers=2 * workers)  # the other half is for this process
    calls = (joblib.delayed(_call_beside)(function, v, number, os.getpid(), share) for number, v in enumerate(values))
    with warnings.catch_warnings():
        # loky replaces workers whose memory grew and repeats nothing; its warning would land in notebooks
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs", category=UserWarning)
        yield from enumerate(joblib.Parallel(n_jobs=workers, return_as="generator")(calls))


def _call_beside(function, value, number, parent, memory):
    """Do one call in a worker process that does not outlive `parent`, should that be killed."""
    give(memory)
    end_with(parent)
    return call(function, value, number)


@functools.cache
def end_with(parent: int) -> None:
    """End this process as soon as another process is no longer its parent.

    Parameters
    ----------
    parent : int
        Process id of the parent, as the parent itself gave it.
    """

    def watch():
        while os.getppid() == parent:
            time.sleep(0.1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def call(function: Callable, value: Any, number: int) -> Any:
    """Apply `function`; an error says which value it was."""
    try:
        return function(value)
    except Exception as error:
        where = f"item {number} ({reprlib.repr(value)})"
        if len(error.args) == 1 and isinstance(error.args[0], str) and not isinstance(error, KeyError):
            error.args = (f"{where}: {error.args[0]}",)
        else:
            error.add_note(f"while working on {where}")
        raise

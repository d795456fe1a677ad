"""One parallel map for every heavy loop: local processes by default, a Dask cluster when one is named."""

import functools
import os
import reprlib
import sys
import threading
import time
import warnings
from contextlib import contextmanager

PATIENCE = "10s"  # for a scheduler to answer


def map(function, items, *, workers=None, scheduler="", description="", stream=False):
    """Apply `function` to every item, in parallel.

    Parameters
    ----------
    function : callable
        Takes one item. Functions of a notebook and lambdas work too.
    items : iterable
        The items.
    workers : int > 0 or None
        Local processes; None: one a core; 1: a plain loop in this process.
    scheduler : str
        Address of a Dask scheduler, such as ``"tcp://10.0.0.5:8786"``; empty: local processes.
    description : str
        Shown at the progress bar (quiet under papermill and where nobody watches).
    stream : bool
        Return a generator that yields results as they come, still in order, for results too large to hold.

    Returns
    -------
    results : list or generator
        In the order of `items`.

    Raises
    ------
    ValueError
        If `workers` is no positive int.
    Exception
        What `function` raised first, with the item named in its message (or in a note).
    """
    if workers is not None and (not isinstance(workers, int) or isinstance(workers, bool) or workers < 1):
        raise ValueError(f"workers must be a positive int or None. Got {workers!r}.")
    items = list(items)
    results = progress(_results(function, items, workers, scheduler), total=len(items), description=description)
    return results if stream else list(results)


def progress(iterable, *, total=None, description=""):
    """Show a progress bar while iterating, unless nobody watches.

    Parameters
    ----------
    iterable : iterable
        What to go through.
    total : int or None
        Number of steps, if `iterable` does not tell.
    description : str
        Words before the bar.

    Yields
    ------
    item : object
        The items of `iterable`.
    """
    from tqdm.auto import tqdm

    disable = True if _unattended() else None
    yield from tqdm(iterable, total=total, desc=description or None, disable=disable, leave=False)


def kernel_shell():
    """Return the shell of the Jupyter kernel that this code runs in, or None."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell if getattr(shell, "kernel", None) is not None else None


def _unattended():
    """Tell whether this is a kernel that papermill or nbconvert drives: nobody can type into it."""
    shell = kernel_shell()
    return shell is not None and not getattr(shell.kernel, "_allow_stdin", True)


def _results(function, items, workers, scheduler):
    import joblib

    workers = min(workers or joblib.cpu_count(), len(items))
    calls = (joblib.delayed(_call)(function, item, number) for number, item in enumerate(items))
    if scheduler:
        with _cluster(scheduler):
            yield from joblib.Parallel(n_jobs=-1, return_as="generator")(calls)
    elif workers <= 1:
        for call, arguments, _ in calls:
            yield call(*arguments)
    else:
        calls = (joblib.delayed(_call_beside)(*arguments, os.getpid()) for _, arguments, _ in calls)
        with warnings.catch_warnings():
            # loky replaces workers whose memory grew and repeats nothing; its warning would land in notebooks
            warnings.filterwarnings("ignore", message="A worker stopped while some jobs", category=UserWarning)
            yield from joblib.Parallel(n_jobs=workers, return_as="generator")(calls)


@contextmanager
def _cluster(scheduler):
    """Send joblib's work to the Dask cluster at `scheduler`."""
    import joblib
    from distributed import Client

    try:
        client = Client(scheduler, timeout=PATIENCE)
    except (OSError, ValueError, TimeoutError) as error:
        raise ConnectionError(
            f"No Dask scheduler answers at {scheduler!r} ({error}). Start one with `dask scheduler`, or leave "
            "scheduler empty to use the cores of this machine."
        ) from error
    with client, joblib.parallel_config(backend="dask"):
        yield


def _call_beside(function, item, number, parent):
    """Do one call in a worker process that does not outlive `parent`, should that be killed."""
    _end_with(parent)
    return _call(function, item, number)


@functools.cache
def _end_with(parent):
    def watch():
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _call(function, item, number):
    try:
        return function(item)
    except Exception as error:
        where = f"item {number} ({reprlib.repr(item)})"
        if len(error.args) == 1 and isinstance(error.args[0], str) and not isinstance(error, KeyError):
            error.args = (f"{where}: {error.args[0]}",)
        else:
            error.add_note(f"while working on {where}")
        raise

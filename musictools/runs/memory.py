"""How much memory a run may fill with data that it could read again."""

from __future__ import annotations

import os

__all__ = ["machine_memory", "memory_budget"]

VARIABLE = "MUSICTOOLS_MEMORY"
ADVICE = (
    "To need less memory, run one notebook at a time (--jobs 1), set its parameter workers to 1, or set "
    f"{VARIABLE} to a smaller number of GiB."
)


def memory_budget(*, sharers: int = 1) -> int:
    """Bytes that this process and the workers it starts may fill with data read from disk.

    ``MUSICTOOLS_MEMORY`` gives the budget in GiB; where it is not set, the budget is half of the machine's memory.
    A process keeps rows of spectrogram stores in one half of its budget. `musictools.runs.map` divides the other half
    among its workers, for which it sets ``MUSICTOOLS_MEMORY``, so that a whole tree of processes stays within the
    budget of the first one. Models, and what libraries need, come on top of it.

    Parameters
    ----------
    sharers : int > 0
        Number of processes that divide this budget.

    Returns
    -------
    n_bytes : int
        Budget of each of them.

    Raises
    ------
    ValueError
        If ``MUSICTOOLS_MEMORY`` is no positive number.

    See Also
    --------
    musictools.spectrograms.Segments : Keeps rows within the budget.

    Examples
    --------
    >>> memory_budget(sharers=4) <= memory_budget() / 4
    True
    """
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return machine_memory() // 2 // sharers
    try:
        gib = float(text)
    except ValueError:
        gib = 0.0
    if not 0 < gib < float("inf"):
        raise ValueError(f"{VARIABLE} must be a positive number of GiB. Got {text!r}.")
    return int(gib * 2**30) // sharers


def give(n_bytes: int) -> None:
    """Set the budget of this process."""
    os.environ[VARIABLE] = f"{n_bytes / 2**30:.6f}"


def system_kills() -> int:
    """Return how many processes the system has killed for lack of memory since it started; 0 where it does not say."""
    try:
        with open("/proc/vmstat", encoding="ascii") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("oom_kill "))
    except (OSError, ValueError):
        return 0


def machine_memory() -> int:
    """Bytes of memory that this machine, or the container that the process runs in, has.

    Returns
    -------
    n_bytes : int
        8 GiB where the system does not say.

    Examples
    --------
    >>> machine_memory() > 2**30
    True
    """
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # the system does not say
        return 8 * 2**30
    try:
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as file:  # the limit of a container
            return min(total, int(file.read()))
    except (OSError, ValueError):  # there is none, or it is "max"
        return total

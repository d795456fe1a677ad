"""Which files of two runs of one profile are equal, byte by byte, but for wall-clock times."""

import re

import pandas as pd

TIMES = re.compile(r"seconds|minutes|_s$|per_second|speed|^times$|cost")  # of columns that hold wall-clock times
FIGURES = {"choi2018_figure_4_4.png"}  # one axis is a wall-clock time: seconds of training
KINDS = ("tables", "figures", "audio", "models", "cards")


def compare(one, other, kinds=KINDS):
    """Compare two output folders of a profile.

    Returns
    -------
    counts : dict of str to dict
        For each kind of file: files, equal.
    times : list of str
        Tables that are equal but for columns of wall-clock times, and figures of such a column.
    problems : list of str
        One sentence for each file that differs or is in one folder only.
    """
    counts, times, problems = {}, [], []
    for kind in kinds:
        here, there = ({path.relative_to(folder) for path in (folder / kind).rglob("*") if path.is_file()}
                       for folder in (one, other))  # fmt: skip
        problems += [f"{name} is in one of the runs only" for name in sorted(here ^ there)]
        equal = [name for name in here & there if (one / name).read_bytes() == (other / name).read_bytes()]
        for name in sorted(here & there - set(equal)):
            timed = name.suffix == ".csv" and without_times(one / name) == without_times(other / name)
            if timed or name.name in FIGURES:
                times.append(name.stem)
            else:
                problems.append(f"{name} differs")
        counts[kind] = {"files": len(here | there), "equal": len(equal)}
    return counts, times, problems


def without_times(path):
    """The text of a table without the columns that hold wall-clock times; of one of times only its first column."""
    values = pd.read_csv(path, dtype=str, keep_default_na=False)
    kept = [name for name in values.columns if not TIMES.search(name)]
    return values[kept[:1] if TIMES.search(path.stem) else kept].to_csv(index=False)

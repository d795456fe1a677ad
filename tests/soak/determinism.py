"""Rebuild a profile twice from nothing and compare tables, figures, sounds, models and cards byte by byte.

    python tests/soak/determinism.py [--profile smoke] [--quick] [--runs DIR DIR] [--out DIR]

Each run has a data folder of its own. ``--runs`` compares the output folders of two runs that are there already, such
as those of two clones after ``make demo``. Columns that hold wall-clock times, tables that hold nothing else and the
figure that shows one are left out and named. ``--quick``: notebooks 01 and 02 only. Exit status 1 if a run fails or a
file differs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support.equal_runs import compare

ROOT = Path(__file__).resolve().parents[2]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--profile", default="smoke")
    parser.add_argument("--quick", action="store_true", help="notebooks 01 and 02")
    parser.add_argument("--runs", type=Path, nargs=2, metavar="DIR", help="output folders of two runs; nothing is run")
    parser.add_argument("--out", type=Path, help="folder for both runs and the table; default: a temporary one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="determinism-") as temporary:
        out = (arguments.out or Path(temporary)).resolve()
        out.mkdir(parents=True, exist_ok=True)
        runs = arguments.runs or [rebuild(out / name, arguments) for name in ("first", "second")]
        report, status = summary(*compare(*runs))
        (out / "determinism.md").write_text(report, encoding="utf-8")
    print(report)
    sys.exit(status)


def rebuild(folder, arguments):
    """Rebuild the profile into an empty folder; return where its results are."""
    command = [sys.executable, "-m", "musictools", "rebuild", "--profile", arguments.profile, "--output-root", folder]
    command += ["--only", "01", "02"] if arguments.quick else []
    environment = os.environ | {"MUSICTOOLS_DATA": str(folder / "data")}
    if status := subprocess.run(list(map(str, command)), cwd=ROOT, env=environment).returncode:
        sys.exit(f"The rebuild into {folder} ended with status {status}.")
    return folder / arguments.profile


def summary(counts, times, problems):
    """The table in Markdown, and the exit status."""
    lines = ["| files | number | equal byte by byte |", "|---|---|---|"]
    lines += [f"| {kind} | {count['files']} | {count['equal']} |" for kind, count in counts.items()]
    lines += ["", f"Equal but for wall-clock times: {', '.join(times) or 'none'}.", ""]
    return "\n".join(lines + (problems or ["Nothing else differs."])) + "\n", int(bool(problems))


if __name__ == "__main__":
    main()

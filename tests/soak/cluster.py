"""Rebuild the smoke profile on a Dask cluster, kill its workers again and again, and compare every table.

    python tests/soak/cluster.py [--quick] [--seed 0] [--kills 10] [--against DIR] [--out DIR]

Three runs, each with a data folder of its own: all notebooks on this machine (or ``--against`` the output folder of
such a run), all notebooks on a cluster of two worker processes, and notebooks 01 to 03 on that cluster while workers
are killed with SIGKILL at random moments; their nannies start them again. If these notebooks are finished before all
kills are done, they run again from the beginning. Every table must be there and have the bytes of the local run.
Columns that hold wall-clock times, and tables that hold nothing else, are left out and named. ``--quick``: notebooks
01 and 02, and two kills. Exit status 1 if a run fails or a table differs.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support.clusters import ROOT, Cluster
from support.equal_runs import without_times

KILLED = ["01", "02", "03"]
PAUSES = (4.0, 10.0)  # seconds between two kills


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="notebooks 01 and 02, two kills")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and the choice of workers")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--against", type=Path, help="output folder of a local run of the smoke profile")
    parser.add_argument("--out", type=Path, help="folder for all runs and the table; default: a temporary one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cluster-") as temporary:
        sys.exit(soak(arguments, arguments.out or Path(temporary)))


def soak(arguments, out):
    """Make the runs below `out`, print and write the table, return the exit status."""
    out = out.resolve()
    only, kills = (["01", "02"], 2) if arguments.quick else ([], arguments.kills)
    print(f"seed {arguments.seed}, {kills} kills, results in {out}", flush=True)
    rows, problems = [], []
    with Cluster(out / "workers", failures=20) as machines:
        machines.add(2)
        if arguments.against:
            local = arguments.against.resolve()
        else:
            local, row = rebuild(out, "local", only)
            rows.append(row)
        far, row = rebuild(out, "cluster", only, machines)
        rows.append(row | compared(local, far, problems))
        rng, killed = random.Random(arguments.seed), 0
        while killed < kills and not any(row["status"] for row in rows):
            with Killer(machines, rng, kills - killed) as killer:
                far, row = rebuild(out, f"killed after {killed}", only or KILLED, machines)
            killed += killer.done
            rows.append(row | {"kills": killer.done} | compared(local, far, problems))
    problems += [f"{row['run']}: the rebuild ended with status {row['status']}" for row in rows if row["status"]]
    if killed < kills:
        problems.append(f"{killed} kills of {kills} were done")
    report = table(rows) + "\n\n" + "\n".join(problems or ["No table differs."]) + "\n"
    (out / "cluster.md").write_text(report)
    print(report)
    return bool(problems)


def rebuild(out, name, only, machines=None):
    """Rebuild notebooks of the smoke profile; return their folder and a row of the table."""
    folder = out / name.replace(" ", "_")
    command = [sys.executable, "-m", "musictools", "rebuild", "--profile", "smoke", "--output-root", folder]
    command += ["--only", *only] if only else []
    command += ["-p", f"scheduler={machines.address}"] if machines else []
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"MUSICTOOLS_DATA": str(folder / "data"), "PYTHONPATH": path}
    before, began = calls(machines), time.monotonic()
    with (out / f"{folder.name}.log").open("w") as log:
        status = subprocess.run(list(map(str, command)), env=environment, cwd=out, stdout=log, stderr=log).returncode
    row = {"run": name, "notebooks": " ".join(only) or "all", "seconds": round(time.monotonic() - began)}
    row |= {"status": status, "calls": calls(machines) - before}
    print(row, flush=True)
    return folder / "smoke", row


def calls(machines):
    """Number of calls that the cluster's workers have finished."""
    if machines is None:
        return 0
    from dask.distributed import Client

    def finished(dask_scheduler):
        return sum(prefix.state_counts["memory"] for prefix in dask_scheduler.task_prefixes.values())

    with Client(machines.address, timeout="60s", set_as_default=False) as client:
        return client.run_on_scheduler(finished)


def compared(local, far, problems):
    """Compare the tables of a run with those of the local one, byte by byte, but for wall-clock times."""
    done = {"tables": 0, "equal": 0, "equal but for times": []}
    for path in sorted((far / "tables").glob("*.csv")):
        done["tables"] += 1
        other = local / "tables" / path.name
        if other.is_file() and path.read_bytes() == other.read_bytes():
            done["equal"] += 1
        elif other.is_file() and without_times(path) == without_times(other):
            done["equal but for times"].append(path.stem)
        else:
            problems.append(
                f"{far.parent.name}: {path.name} {'differs' if other.is_file() else 'is not in the local run'}"
            )
    if far.parent.name == "cluster":
        missing = {path.name for path in (local / "tables").glob("*.csv")} - {p.name for p in far.glob("tables/*.csv")}
        problems += [f"cluster: {name} is missing" for name in sorted(missing)]
    return done


class Killer:
    """Kill workers at random moments while the block runs."""

    def __init__(self, machines, rng, most):
        self.machines, self.rng, self.most, self.done = machines, rng, most, 0
        self.ends = threading.Event()
        self.thread = threading.Thread(target=self.kill)

    def kill(self):
        while self.done < self.most and not self.ends.wait(self.rng.uniform(*PAUSES)):
            workers = sorted(self.machines.pids().items())
            if workers and not self.ends.is_set():
                address, pid = self.rng.choice(workers)
                os.kill(pid, signal.SIGKILL)
                self.done += 1
                print(f"kill {self.done}: process {pid}, worker {address}", flush=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ends.set()
        self.thread.join()


def table(rows):
    """Rows as Markdown."""
    names = ["run", "notebooks", "seconds", "status", "calls", "kills", "tables", "equal", "equal but for times"]
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        cells = [row.get(name, "") for name in names]
        lines.append("| " + " | ".join(", ".join(c) if isinstance(c, list) else str(c) for c in cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

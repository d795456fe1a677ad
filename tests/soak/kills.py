"""Kill small stages of the work again and again, and see what a second run makes of what is left.

    python tests/soak/kills.py [--points 200] [--every] [--seed 0] [--only store fit ...] [--quick] [--out DIR]

Every point is a stage in an empty folder, killed with SIGKILL: ``--points`` of them at random moments, divided among
the stages (a run that ends before its moment is no point), and with ``--every`` also before each file that Python opens
for writing, renames or removes there. Then the stage runs again, to its end. A point is a violation if a unit of work
that was complete is repeated (lost), if something differs from an undisturbed run or counts as complete and is not
(wrong), or if a temporary file is left. Exit status 1 if there is a violation.

Libraries are imported once: every run is a fork of this process, which never computes anything itself.
"""

import argparse
import json
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
for limit in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(limit, "1")
os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "MPLBACKEND": "Agg", "PYTHONWARNINGS": "ignore", "PYTHONHASHSEED": "0"}

SHARES = {  # of the random points, by stage
    "store": 5,
    "store, 2 workers": 2,
    "results": 4,
    "report": 4,
    "fit": 2,
    "probing": 3,
    "concepts": 2,
    "explanation": 2,
    "rebuild": 1,
}
QUICK = 22  # points
SLOWEST = 120.0  # seconds that a run may take


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--points", type=int, default=200, help="random moments, of all stages together")
    parser.add_argument("--every", action="store_true", help="also before every write, of stages without TensorFlow")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=SHARES, metavar="STAGE", help=", ".join(SHARES))
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} points")
    parser.add_argument("--out", type=Path, help="folder for the table and the violations")
    arguments = parser.parse_args()
    chosen = arguments.only or list(SHARES)
    points = QUICK if arguments.quick else arguments.points
    import_all(chosen)
    rng, rows, violations = random.Random(arguments.seed), [], []
    with tempfile.TemporaryDirectory(prefix="kills-") as base:
        for name in chosen:
            share = max(1, round(points * SHARES[name] / sum(SHARES[other] for other in chosen))) if points else 0
            row, wrong = tried(
                name, Path(base) / name.replace(", ", "-").replace(" ", "-"), share, arguments.every, rng
            )
            rows.append(row)
            violations += wrong
            print(json.dumps(row), flush=True)
    table = as_table(rows)
    print(f"\nseed {arguments.seed}\n\n{table}\n")
    for violation in violations:
        print(json.dumps(violation))
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "kills.md").write_text(table + "\n")
        (arguments.out / "kills.json").write_text(json.dumps(violations, indent=1))
    return 1 if violations else 0


def import_all(chosen):
    """Import what the stages import, so that forks need not; nothing is computed."""
    import matplotlib.pyplot  # noqa: F401
    import nbconvert  # noqa: F401
    import nbformat.v4  # noqa: F401
    import pandas  # noqa: F401
    import soundfile  # noqa: F401
    import zarr  # noqa: F401
    from support import stages

    from musictools import html, runs, spectrograms  # noqa: F401

    if any(stages.STAGES[name].uses_tensorflow for name in chosen):
        import keras  # noqa: F401
        import tensorflow  # noqa: F401

        from musictools import concepts, training  # noqa: F401
        from musictools.experiments import jobs  # noqa: F401
        from musictools.explain.application import page, system  # noqa: F401
        from musictools.probing import maps, probes  # noqa: F401


def tried(name, base, points, every, rng):
    """Kill one stage; return a row of the table, and the violations."""
    from support.stages import STAGES

    stage = STAGES[name](base / "inputs")
    (base / "inputs").mkdir(parents=True)
    began = time.monotonic()
    reference = forked(undisturbed, stage, base / "reference")
    if "error" in reference:
        raise SystemExit(f"{name}: the undisturbed run failed.\n{reference['error']}")
    plan = [("at", None)] * points
    if every and not stage.uses_tensorflow and name not in ("rebuild", "store, 2 workers"):
        plan += [("before write", number) for number in range(1, reference["writes"] + 1)]
    lasted, late, verdicts = reference["seconds"], 0, []  # s that a run takes; runs that ended before they were killed
    for number, (kind, place) in enumerate(plan):
        folder = base / f"{number}"
        while True:
            place = rng.uniform(0, lasted) if kind == "at" else place
            ended = kill(stage, folder, kind, place)
            if ended is None or kind != "at":
                break
            lasted, late = ended, late + 1
            shutil.rmtree(folder)
        verdict = forked(judged, stage, folder, base / "reference.json")
        verdicts.append({"stage": name, "point": f"{kind} {place}", **verdict})
        shutil.rmtree(folder)
    seconds = time.monotonic() - began
    count = {key: sum(bool(one.get(key)) for one in verdicts) for key in ("lost", "wrong", "left", "error")}
    row = {
        "stage": name,
        "random": points,
        "before a write": len(plan) - points,
        "ended before": late,
        "units kept": sum(one.get("kept", 0) for one in verdicts),
        "units lost": sum(len(one.get("lost", ())) for one in verdicts),
        "wrong": count["wrong"] + count["error"],
        "temporaries left": count["left"],
        "s a point": round(seconds / max(1, len(plan)), 2),
    }
    return row, [one for one in verdicts if any(one.get(key) for key in ("lost", "wrong", "left", "error"))]


def as_table(rows):
    total = {key: sum(row[key] for row in rows) if isinstance(rows[0][key], int) else "" for key in rows[0]}
    rows = [*rows, total | {"stage": "all", "s a point": ""}]
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def forked(function, *arguments):
    """Result of a function in a fork of this process: a dict, with the key error if it failed."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        with os.fdopen(writing, "w") as pipe:
            try:
                quiet()
                pipe.write(json.dumps(function(*arguments)))
            except BaseException:  # noqa: BLE001 - whatever it is, the parent reports it
                pipe.write(json.dumps({"error": traceback.format_exc()}))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = pipe.read() if select.select([pipe], [], [], SLOWEST)[0] else ""
    if not answer:
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return json.loads(answer) if answer else {"error": "no answer"}


def quiet():
    """Send what libraries print to nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def undisturbed(stage, folder):
    """Run a stage twice, once to count its writes; keep what it leaves."""
    stage.prepare()
    folder.mkdir()
    stage.set_up(folder)
    began = time.monotonic()
    stage.run(folder)
    seconds = time.monotonic() - began
    left = {name: content.hex() for name, content in stage.outputs(folder).items()}
    folder.with_suffix(".json").write_text(json.dumps(left))
    again = folder.with_name("counted")
    again.mkdir()
    stage.set_up(again)
    count = watched(again)
    stage.run(again)
    return {"seconds": seconds, "writes": count[0]}


def watched(folder, *, last=None):
    """Count what changes files in a folder from now on; kill this process before number `last`."""
    count, inside = [0], str(folder)

    def hook(event, arguments):
        if event == "open":
            changes = arguments[2] and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        else:
            changes = event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate")
        if not changes:
            return
        relative = event in ("os.remove", "os.rmdir") and arguments[1] != -1  # shutil.rmtree, within an open folder
        if relative or str(arguments[0]).startswith(inside):
            count[0] += 1
            if count[0] == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return count


def kill(stage, folder, kind, place):
    """Run a stage in a fork that is killed; return the seconds that it took if it ended before."""
    reading, writing = os.pipe()
    folder.mkdir()
    pid = os.fork()
    if not pid:
        try:
            quiet()
            stage.set_up(folder)
            if kind == "before write":
                watched(folder, last=place)
            os.write(writing, b"ready")
            stage.run(folder)
        finally:
            os._exit(0)
    os.close(writing)
    os.read(reading, 5)
    os.close(reading)
    began, status = time.monotonic(), None
    while kind == "at" and time.monotonic() < began + place:
        over, status = os.waitpid(pid, os.WNOHANG)
        if over:
            return time.monotonic() - began
        time.sleep(0.002)
    if kind == "at":
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    time.sleep(stage.patience)
    return None if os.WIFSIGNALED(status) else time.monotonic() - began


def judged(stage, folder, reference):
    """Run a stage again and compare."""
    from support import stages

    before = stages.quietly(stage.complete, folder)
    begun, log = [], folder.with_suffix(".log")
    log.unlink(missing_ok=True)
    stage.note_units(begun.append)
    stages.quietly(stage.run, folder)
    if log.exists():  # notebooks write it
        begun = log.read_text().split()
        log.unlink()
    known = {name: bytes.fromhex(content) for name, content in json.loads(reference.read_text()).items()}
    there = stage.outputs(folder)
    wrong = sorted(name for name in {*known, *there} if known.get(name) != there.get(name))
    return {"kept": len(before), "lost": sorted(before & set(begun)), "wrong": wrong, "left": stages.leftovers(folder)}


if __name__ == "__main__":
    sys.exit(main())

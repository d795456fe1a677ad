"""Thousands of damaged and malicious files for every reader that a user's file reaches.

    python tests/soak/fuzz.py [--quick] [--seed 0] [--only wav flac ...] [--out DIR]

A process with limited address space reads one file after the other; another one watches it. Each file must be read, or
be refused with a ValueError that names the file, in one line. Anything else is a violation: another exception, a crash,
more than 5 s, or more than `MIB` of memory beyond what the process had. Exit status 1 if there is a violation. Input
`number` of a kind depends on the seed, the kind and the number only: ``--only KIND --number N`` repeats a single one.

Time is that of the processor, so that other work on the machine does not count; a file that takes 60 s by the clock is
a hang as well.
"""

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
import zlib
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

SECONDS, CLOCK, MIB = 5.0, 60.0, 1024
LIMIT = 3 * 2**30  # bytes of address space beyond what is used when the first file is read
TIMES = {"wav": 400, "flac": 400, "ogg": 350, "mp3": 450, "au": 200, "aiff": 200, "explain": 40, "tag": 120}
OTHERS = 200
FINE = ("read", "sentence")
LONGEST = 1000  # characters of a sentence


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", help="kinds of files")
    parser.add_argument("--number", type=int, help="only this file of each kind; errors show where they arose")
    parser.add_argument("--out", type=Path, help="folder for the table and the violations")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        return work(arguments)
    answers = []
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder, contextlib.suppress(KeyboardInterrupt):
        asked(arguments, Path(folder), answers)  # after Ctrl-C, the table is that of the files so far
    table, violations = report(answers)
    print(f"\nseed {arguments.seed}, {len(answers):,} files, {len(violations)} violations\n\n{table}")
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "fuzz.md").write_text(table + "\n")
        (arguments.out / "fuzz.json").write_text(json.dumps(answers, indent=0))
    return 1 if violations else 0


# --- the process that reads -------------------------------------------------------------------------------------------


def work(arguments):
    """Read the files whose kind and number come in as lines, and answer each with a line of JSON."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what others print goes elsewhere
    from support import hostile

    folder = Path(os.environ["FUZZ_FOLDER"], str(os.getpid()))
    known = hostile.kinds(folder / "whole", arguments.only)
    for kind in known.values():  # whole files are read: only then does a refusal of a changed one mean anything
        for k in range(len(kind.originals)):
            kind.read(_whole(kind, k, folder / "case"))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + LIMIT, used + LIMIT))
    print(json.dumps({"kinds": list(known)}), file=answers)
    for line in sys.stdin:
        kind, number = json.loads(line)
        rng = np.random.default_rng([arguments.seed, zlib.crc32(kind.encode()), number])
        path = known[kind].make(folder / "case", rng)
        print(json.dumps(answered(known[kind].read, path, show=arguments.number is not None)), file=answers)
    return 0


def _whole(kind, k, folder):
    """The k-th original, unchanged."""
    from dataclasses import replace

    return replace(kind, originals=[kind.originals[k]], change=lambda content, rng: content).make(
        folder,
        np.random.default_rng(1),  # draws no wrong ending
    )


def answered(read, path, *, show):
    """Class of the answer, its text, seconds of the processor and MiB beyond what the process had."""
    before = _memory("VmRSS")
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    began, text = time.process_time(), ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(path)
        answer = "read"
    except ValueError as error:
        text = str(error)
        answer = _judged(type(error), text, path)
        if show:
            raise
    except BaseException as error:  # noqa: BLE001 - whatever comes out is what is asked for
        answer, text = "exception", f"{type(error).__name__}: {str(error)[:300]}"
        if show:
            raise
    seconds, peak = time.process_time() - began, (_memory("VmHWM") - before) / 1024
    if seconds > SECONDS:
        answer, text = "too slow", f"{answer}, {text[:300]}"
    elif peak > MIB:
        answer, text = "too much memory", f"{answer}, {text[:300]}"
    return {"answer": answer, "text": text[:500], "seconds": round(seconds, 3), "mib": round(peak, 1)}


def _judged(kind, text, path):
    if issubclass(kind, UnicodeError | json.JSONDecodeError):
        return "exception"
    if not any(part in text for part in (path.name, path.parent.name, "/case")):  # the file or its data set's folder
        return "no file named"
    return "sentence" if len(text) <= LONGEST and text.count("\n") == 0 else "long sentence"


def _memory(name):
    """KiB of one line of this process's status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(name)))


# --- the process that watches -----------------------------------------------------------------------------------------


def asked(arguments, folder, answers):
    """Add the answers to all files; a worker that dies or hangs is replaced."""
    worker = Worker(arguments, folder)
    kinds = arguments.only or worker.kinds
    if unknown := set(kinds) - set(worker.kinds):
        raise SystemExit(f"unknown kinds: {', '.join(sorted(unknown))}. Known: {', '.join(worker.kinds)}")
    for kind in kinds:
        n = TIMES.get(kind, OTHERS)
        numbers = range(n // 10 if arguments.quick else n) if arguments.number is None else [arguments.number]
        began = time.monotonic()
        for number in numbers:
            answer = worker.ask(kind, number)
            answers.append({"kind": kind, "number": number} | answer)
            if answer["answer"] not in FINE:
                print(f"- {kind} {number}: {answer['answer']}: {answer['text']}", flush=True)
            if answer["answer"] in ("hang", "crash"):
                worker = Worker(arguments, folder)
        print(f"{kind}: {len(numbers)} files, {time.monotonic() - began:.0f} s", flush=True)
    worker.end()


class Worker:
    """The process that reads."""

    def __init__(self, arguments, folder):
        command = [sys.executable, __file__, "--work", "--seed", str(arguments.seed)]
        command += ["--only", *arguments.only] if arguments.only else []
        command += [] if arguments.number is None else ["--number", str(arguments.number)]
        environment = os.environ | {"FUZZ_FOLDER": str(folder), "MUSICTOOLS_DATA": str(folder / "data")}
        err = None if arguments.number is not None else subprocess.DEVNULL
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err, text=True, env=environment
        )
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the process that reads could not be started; see --number 0")
        self.kinds = json.loads(line)["kinds"]

    def ask(self, kind, number):
        import select

        began = time.monotonic()
        print(json.dumps([kind, number]), file=self.process.stdin, flush=True)
        ready, _, _ = select.select([self.process.stdout], [], [], CLOCK)
        line = self.process.stdout.readline() if ready else ""
        if line:
            return json.loads(line)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5 if ready else 0)
        self.process.kill()
        status = self.process.wait()
        answer, text = ("crash", f"exit status {status}") if ready else ("hang", f"nothing for {CLOCK:.0f} s")
        return {"answer": answer, "text": text, "seconds": round(time.monotonic() - began, 3), "mib": 0.0}

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def report(answers):
    """Table in Markdown, and the violations."""
    rows = [
        "| kind | files | read | refused | violations | slowest / s | most memory / MiB |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    kinds = dict.fromkeys(one["kind"] for one in answers)
    for kind in [*kinds, "all"]:
        own = [one for one in answers if kind in ("all", one["kind"])]
        counts = [sum(one["answer"] == answer for one in own) for answer in FINE]
        worst = max(one["seconds"] for one in own), max(one["mib"] for one in own)
        numbers = [f"{n:,}" for n in (len(own), *counts, len(own) - sum(counts))]
        rows.append(f"| {kind} | {' | '.join(numbers)} | {worst[0]:.2f} | {worst[1]:.0f} |")
    return "\n".join(rows), [one for one in answers if one["answer"] not in FINE]


if __name__ == "__main__":
    sys.exit(main())

"""The fuzzer finds what it is to find, and the package passes its quick form."""

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "soak" / "fuzz.py"
LIGHT = ["wav", "au", "csv answers", "csv labels", "tsv jamendo", "yaml parameters", "json card", "npz arrays", "pth"]


@pytest.fixture(scope="module")
def fuzz():
    spec = importlib.util.spec_from_file_location("fuzz", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wrong(path):
    raise IndexError("list index out of range")


def refused(path):
    raise ValueError(f"{path}: is no song.")


def nameless(path):
    raise ValueError("Something is wrong.")


def wordy(path):
    raise ValueError(f"{path}: " + "a word too many, " * 100)


def two_lines(path):
    raise ValueError(f"{path}: first\nsecond")


def codec(path):
    b"\xff".decode()


def slow(path):
    until = time.process_time() + 0.7
    while time.process_time() < until:
        pass


def large(path):
    np.ones(2**23)


@pytest.mark.parametrize(
    ("read", "answer"),
    [
        (lambda path: None, "read"), (refused, "sentence"), (wrong, "exception"), (codec, "exception"),
        (nameless, "no file named"), (wordy, "long sentence"), (two_lines, "long sentence"), (slow, "too slow"),
        (large, "too much memory"), (lambda path: sys.exit(1), "exception"),
    ],
)  # fmt: skip
def test_answers_are_told_apart(fuzz, read, answer, monkeypatch):
    monkeypatch.setattr(fuzz, "SECONDS", 0.6)
    monkeypatch.setattr(fuzz, "MIB", 32)
    assert fuzz.answered(read, Path("case/song.wav"), show=False)["answer"] == answer


def test_the_table_counts_every_answer_once(fuzz):
    answers = [
        {"kind": kind, "number": n, "answer": answer, "text": "", "seconds": 0.5 * n, "mib": 1.0}
        for kind, made in (("wav", ["read", "sentence", "hang"]), ("pth", ["sentence"]))
        for n, answer in enumerate(made)
    ]
    table, violations = fuzz.report(answers)
    assert "| wav | 3 | 1 | 1 | 1 | 1.00 | 1 |" in table
    assert "| all | 4 | 1 | 2 | 1 | 1.00 | 1 |" in table
    assert [one["answer"] for one in violations] == ["hang"]


def run(*options):
    done = subprocess.run(
        [sys.executable, SCRIPT, "--quick", *options], capture_output=True, text=True, env=os.environ, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.full
def test_files_that_need_no_network_are_read_or_refused_in_words():
    assert ", 0 violations" in run("--seed", "1", "--only", *LIGHT)


@pytest.mark.full
def test_files_of_every_kind_are_read_or_refused_in_words():
    assert ", 0 violations" in run("--seed", "2")

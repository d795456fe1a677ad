"""Stages that were killed: what is left is completed by the next run; `make soak` does the same two hundred times."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.full

STAGES = ["store", "results", "report", "fit", "probing", "concepts"]
SCRIPT = Path(__file__).resolve().parents[1] / "soak" / "kills.py"


def points(*arguments):
    command = [sys.executable, SCRIPT, "--seed", "1", *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    row = next(line for line in done.stdout.splitlines() if line.startswith("| all |"))
    return [int(cell) for cell in row.split("|")[2:9]]


def test_twenty_random_kills():
    random, *_, kept, lost, wrong, left = points("--points", 20, "--only", *STAGES)
    assert random >= 20
    assert kept > 20
    assert (lost, wrong, left) == (0, 0, 0)


def test_a_kill_that_is_not_survived_is_noticed(tmp_path):
    """The script itself: a store that marks its rows before it writes them."""
    broken = """
import sys, runpy
import numpy as np
from musictools.spectrograms import layout
write = layout.write_row
def early(folder, S, row, values):
    import time, zarr
    entries = zarr.open_array(folder / "rows", mode="r+")
    entries[row] = values.shape[1], 0
    time.sleep(0.02)
    write(folder, S, row, values)
layout.write_row = early
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
    command = [sys.executable, "-c", broken, str(SCRIPT), "--points", "3", "--only", "store", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "is damaged" in (tmp_path / "kills.json").read_text()

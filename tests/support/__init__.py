"""Support code of the tests: paths, networks, references, signals."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"

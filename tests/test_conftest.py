"""What the tests' own settings promise: no network, required data, the marker ``full``."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SAMPLE = """
import pytest

def test_fixture_skips(shared_data):
    pass

@pytest.mark.real_data
def test_skips_by_itself():
    pytest.skip("no songs in the folder")

def test_skips_for_another_reason():
    pytest.skip("no such interpreter")

@pytest.mark.real_data
@pytest.mark.xfail(reason="known")
def test_known_fault():
    assert False

@pytest.mark.full
def test_long():
    pass
"""


def outcomes(folder, *options, **environment):
    """Run the sample with this folder's conftest; return pytest's last line, which counts outcomes, and its text."""
    (folder / "test_sample.py").write_text(SAMPLE)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    full\n    real_data\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-p", "no:cacheprovider", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ
        | {"PYTHONPATH": str(TESTS), "MUSICTOOLS_SHARED_DATA": str(folder / "none"), "MUSICTOOLS_REQUIRE_DATA": ""}
        | environment,
    )
    return done.stdout.splitlines()[-1], done.stdout


def test_missing_data_skips(tmp_path):
    last, _ = outcomes(tmp_path)
    assert last.startswith("3 skipped, 1 deselected, 1 xfailed")


def test_missing_data_fails_where_data_is_required(tmp_path):
    last, text = outcomes(tmp_path, MUSICTOOLS_REQUIRE_DATA="1")
    assert last.startswith("1 failed, 1 skipped, 1 deselected, 1 xfailed, 1 error"), "one other skip stays a skip"
    assert "MUSICTOOLS_REQUIRE_DATA=1, but this was skipped: Skipped: no songs in the folder" in text


def test_full_runs_what_is_marked_full(tmp_path):
    last, _ = outcomes(tmp_path, "--full")
    assert last.startswith("1 passed, 3 skipped, 1 xfailed")


def test_no_test_reaches_the_network():
    with pytest.raises(PermissionError, match="Tests use no network"):
        socket.create_connection(("example.org", 80), timeout=1)
    code = "import socket; socket.getaddrinfo('example.org', 80)"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "Tests use no network" in child.stderr, "child processes are offline too"

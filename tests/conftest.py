"""What all tests share: no network, no user's data folder, figures without a screen, one thread a process."""

import os
from pathlib import Path

import pytest

OFFLINE = Path(__file__).parent / "offline"
exec(compile((OFFLINE / "sitecustomize.py").read_text(), "sitecustomize.py", "exec"), {})  # for this process

# … and for child processes: kernels, workers, commands.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(OFFLINE), os.environ.get("PYTHONPATH")]))
os.environ["MPLBACKEND"] = "Agg"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
for limit in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(limit, "1")  # two workers share two cores; more threads only wait for each other

# With --dist loadfile and --no-loadscope-reorder, workers take whole files in this order: the longest first, so that
# none of them is left alone at the end.
LONGEST_FIRST = (
    "test_notebooks",
    "test_overfit",
    "test_notebooks_by_hand",
    "test_interruption",
    "test_tagging",
    "test_docstrings",
    "test_contributing",
)


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="also run the tests marked full")


def pytest_collection_modifyitems(config, items):
    """Leave out what is marked full, unless --full is given; put the longest files first."""
    rank = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))
    if config.getoption("--full"):
        return
    left = [item for item in items if item.get_closest_marker("full")]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if not item.get_closest_marker("full")]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """With ``MUSICTOOLS_REQUIRE_DATA=1``, count a test that skips although it is to read real data as failed."""
    report = yield
    required = os.environ.get("MUSICTOOLS_REQUIRE_DATA") == "1"
    reads_data = "shared_data" in item.fixturenames or item.get_closest_marker("real_data")
    if required and reads_data and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"MUSICTOOLS_REQUIRE_DATA=1, but this was skipped: {report.longrepr[-1]}"
    return report


@pytest.fixture(scope="session", autouse=True)
def data_home(tmp_path_factory):
    """Use an empty data folder, never the user's own."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSICTOOLS_DATA", str(folder))
        yield folder


@pytest.fixture(scope="session")
def shared_data():
    """Real data for measuring; the test skips where there is none."""
    from musictools import runs

    folder = runs.shared_data()
    if folder is None:
        pytest.skip("no real data here: neither MUSICTOOLS_SHARED_DATA nor ../shared/data is a folder")
    return folder

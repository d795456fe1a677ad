"""What all tests share: no network, no user's data folder, figures without a screen."""

import os
from pathlib import Path

import pytest

OFFLINE = Path(__file__).parent / "offline"
exec(compile((OFFLINE / "sitecustomize.py").read_text(), "sitecustomize.py", "exec"), {})  # for this process

# … and for child processes: kernels, workers, commands.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(OFFLINE), os.environ.get("PYTHONPATH")]))
os.environ["MPLBACKEND"] = "Agg"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="also run the tests marked full")


def pytest_collection_modifyitems(config, items):
    """Leave out what is marked full, unless --full is given."""
    if config.getoption("--full"):
        return
    left = [item for item in items if item.get_closest_marker("full")]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if not item.get_closest_marker("full")]


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

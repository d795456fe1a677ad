"""Every notebook of the suite, run as a user runs it: smoke profile, from another folder, without a network."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SMOKE = sorted(p.stem for p in (ROOT / "params" / "smoke").glob("*.yaml") if p.name != "common.yaml")
UNEQUAL = {"genre_training_seconds.csv", "tagger_training_seconds.csv", "tagger_costs.csv"}  # wall-clock times


def command(output, *more):
    return [sys.executable, "-m", "musictools", "rebuild", "--profile", "smoke", "--output-root", str(output), *more]


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """Outputs of an undisturbed smoke rebuild, begun in a folder that has nothing to do with the checkout."""
    output = tmp_path_factory.mktemp("undisturbed")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    done = subprocess.run(command(output), cwd=elsewhere, capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not list(elsewhere.iterdir()), "a notebook wrote into the working folder"
    return output / "smoke"


def test_every_notebook_belongs_to_the_smoke_profile():
    assert {p.stem for p in (ROOT / "notebooks").glob("*.ipynb")} == set(SMOKE)


@pytest.mark.parametrize("name", SMOKE)
def test_notebook_finishes(smoke, name):
    part = json.loads((smoke / "manifests" / f"{name}.json").read_text())
    assert part["finished"]
    assert part["said"]
    assert all((smoke / output).stat().st_size > 0 for output in part["outputs"])
    cells = json.loads((smoke / "notebooks" / f"{name}.ipynb").read_text())["cells"]
    printed = [o for c in cells if c["cell_type"] == "code" for o in c["outputs"]]
    assert not [o for o in printed if o.get("name") == "stderr"], "warnings on a page that people read"
    assert str(ROOT) not in json.dumps([o for o in printed if o["output_type"] != "error"])


def test_report_lays_published_beside_rebuilt(smoke):
    text = (smoke / "report" / "index.html").read_text()
    assert "rotheneder2023_3_4_genre_performance" in text
    assert "0.773" in text, "the published accuracy"
    assert "href='../files/auralised_features.html'" in text
    assert "<script" not in text
    assert "http://" not in text.replace("http://www.w3.org", "")


def test_unchanged_notebooks_are_skipped(smoke, tmp_path):
    began = time.monotonic()
    done = subprocess.run(command(smoke.parent), cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0
    assert done.stdout.count("unchanged") >= len(SMOKE), done.stdout
    assert time.monotonic() - began < 60, "a skip must not train anything"


def wait_for(process, condition, seconds=300):
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        if condition():
            return
        time.sleep(0.005)
    pytest.fail("the rebuild ended, or took too long, before it reached the place where it should be killed")


def test_killed_rebuild_ends_with_the_tables_of_an_undisturbed_one(smoke, tmp_path, data_home):
    first = ["01_preprocess", "02_train_genre_model"]
    output = tmp_path / "outputs"
    again = command(output, "--only", *(name[:2] for name in first))
    home = tmp_path / "data"
    home.mkdir()
    for corpus in data_home.glob("composed-*"):
        shutil.copytree(corpus, home / corpus.name)
    environment = os.environ | {"MUSICTOOLS_DATA": str(home)}
    places = {
        "store": lambda: any(home.glob("spectrograms/*.zarr/zarr.json")),
        "notebook": lambda: (output / "smoke" / "tables" / "genre_counts.csv").exists(),
        "fit": lambda: any(output.glob("smoke/*/02_*/*/fit/history.json")),
        "grid": lambda: any(output.glob("smoke/*/02_*/*/result.joblib")),
    }
    for reached in places.values():
        process = subprocess.Popen(again, env=environment, stdout=subprocess.DEVNULL, cwd=tmp_path,
                                   stderr=subprocess.DEVNULL, start_new_session=True)
        wait_for(process, reached)
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(1.5)  # kernels and workers notice that their parent is gone
    done = subprocess.run(again, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=800,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    made = [o for name in first for o in json.loads((smoke / "manifests" / f"{name}.json").read_text())["outputs"]]
    tables = [name for name in made if name.startswith("tables/") and name[7:] not in UNEQUAL]
    assert len(tables) > 10
    for name in tables:
        assert (output / "smoke" / name).read_bytes() == (smoke / name).read_bytes(), name
    assert not (output / "smoke" / "work" / "02_train_genre_model").exists()


def test_plain_papermill_runs_a_notebook(tmp_path):
    params = ROOT / "params" / "smoke"
    done = subprocess.run(
        [sys.executable, "-m", "papermill", "--no-progress-bar", "-k", "python3",
         str(ROOT / "notebooks" / "00_index.ipynb"), str(tmp_path / "out.ipynb"), "-f", str(params / "00_index.yaml"),
         "-p", "output_dir", str(tmp_path / "plain")],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "plain" / "tables" / "index.csv").is_file()

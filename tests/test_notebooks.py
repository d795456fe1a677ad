"""The numbered notebooks, run as a user runs them: smoke profile, from another folder, without a network."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PROMISED = yaml.safe_load((ROOT / "tests" / "promised_tables.yaml").read_text())
QUICK = ("00_index", "01_preprocess", "02_train_genre_model")  # in `make test`; every notebook in `make test-full`
NOTEBOOKS = [pytest.param(name, marks=() if name in QUICK else pytest.mark.full) for name in PROMISED]
UNEQUAL = {"genre_training_seconds.csv", "tagger_training_seconds.csv", "tagger_costs.csv"}  # wall-clock times
RARE = {"piano", "violin", "male vocals", "female vocals"}  # too few of the 48 clips that are not held out
MAY_BE_EMPTY = {  # columns that the smoke profile cannot fill, by table
    "sanity_badges": {"conservation"},  # its only method is the gradient, which has no conservation report
    "image_likeness": {"others"},  # one feature per layer leaves no other one to compare with
    "readings": {"likeness"},
    # Three test clips: each fold of the jackknife has tags that all of them, or none, have.
    "probing_best_maps_artists_apart": {"balanced_accuracy_low", "balanced_accuracy_high"},
    # A network that learnt from 24 clips tells no concept from random patches: none is tested, none is flagged.
    "concepts": {"p", "q", "reason"},
    "concepts_truth": {"q"},
    "concepts_planted": {"p", "q", "reason"},
    "concepts_placements": {"accuracy"},
    # One training of each variant: there is no test over trainings, and no standard deviation.
    "preprocessing_shares": {"p_trainings"},
    "preprocessing_effects": {"p_trainings"},
    "ren_poster_accuracies": {"test_sd"},
    # Stems of two clips have no interval over clips; a map that passes its badge has not failed.
    "poster_localisation": {
        f"{name}_{end}" for name in ("value", "over_chance", "over_energy") for end in ("low", "high")
    },
    "poster_methods": {"over_energy_low", "over_energy_high", "failed"},
    **{f"rotheneder2023_table_a_{k}_cross_validation_layer_{k}": RARE for k in (1, 2, 3)},
}


def command(output, *more):
    return [sys.executable, "-m", "musictools", "rebuild", "--profile", "smoke", "--output-root", str(output), *more]


def run(arguments, folder, *, timeout=800, **environment):
    """Run a command that has to succeed in `folder`; return what it printed."""
    done = subprocess.run(
        arguments,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def chosen(request):
    """Notebooks that this run of the tests rebuilds."""
    return list(PROMISED) if request.config.getoption("--full") else list(QUICK)


@pytest.fixture(scope="session")
def smoke(tmp_path_factory, chosen):
    """Outputs of an undisturbed smoke rebuild, begun in a folder that has nothing to do with the checkout."""
    output = tmp_path_factory.mktemp("undisturbed")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    run(command(output, "--only", *chosen), elsewhere)
    assert not list(elsewhere.iterdir()), "a notebook wrote into the working folder"
    return output / "smoke"


def manifest(smoke, name):
    return json.loads((smoke / "manifests" / f"{name}.json").read_text())


def faults_of_output(path):
    """Say what is wrong with a file that a notebook wrote: a table without content, a picture in one colour."""
    if path.stat().st_size == 0:
        return [f"{path.name} is empty"]
    if path.suffix == ".csv":
        table = pd.read_csv(path)
        columns = table.columns[table.isna().all()].difference(list(MAY_BE_EMPTY.get(path.stem, ())))
        return [f"{path.name} has no rows"] * table.empty + [f"{path.name}: {c} has no values" for c in columns]
    if path.suffix == ".png":
        with Image.open(path) as image:
            return [f"{path.name} shows nothing"] * bool(np.ptp(np.asarray(image.convert("L"))) == 0)
    return []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_finishes_with_sound_results(smoke, name):
    part = manifest(smoke, name)
    assert part["finished"]
    assert part["said"]
    assert not [fault for output in part["outputs"] for fault in faults_of_output(smoke / output)]
    cells = json.loads((smoke / "notebooks" / f"{name}.ipynb").read_text())["cells"]
    printed = [o for c in cells if c["cell_type"] == "code" for o in c["outputs"]]
    assert not [o for o in printed if o.get("name") == "stderr"], "warnings on a page that people read"
    assert str(ROOT) not in json.dumps([o for o in printed if o["output_type"] != "error"])


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_writes_the_tables_that_it_promises(smoke, name):
    written = {Path(o).stem for o in manifest(smoke, name)["outputs"] if o.startswith("tables/")}
    assert written == set(PROMISED[name])


@pytest.mark.parametrize(
    ("text", "fault"),
    [("a,b\n1,\n2,\n", "t.csv: b has no values"), ("a,b\n", "t.csv has no rows"), ("", "t.csv is empty")],
)
def test_a_table_without_content_is_noticed(tmp_path, text, fault):
    (tmp_path / "t.csv").write_text(text)
    assert fault in faults_of_output(tmp_path / "t.csv")


def test_a_blank_picture_is_noticed(tmp_path):
    Image.new("RGB", (8, 8), "white").save(tmp_path / "blank.png")
    assert faults_of_output(tmp_path / "blank.png") == ["blank.png shows nothing"]


def test_report_lays_published_beside_rebuilt(smoke):
    text = (smoke / "report" / "index.html").read_text()
    assert "rotheneder2023_table_3_4_genre_performance" in text
    assert "0.773" in text, "the published accuracy"
    assert "<script" not in text
    assert "http://" not in text.replace("http://www.w3.org", "")


@pytest.mark.full
def test_report_links_the_page_of_sounds(smoke):
    assert "../files/auralised_features.html" in (smoke / "report" / "index.html").read_text()


def test_unchanged_notebooks_are_skipped(smoke, chosen, tmp_path):
    models = {path: path.stat().st_mtime_ns for path in smoke.rglob("*") if path.suffix in {".keras", ".csv"}}
    printed = run(command(smoke.parent, "--only", *chosen), tmp_path, timeout=300)
    assert printed.count("skipped: unchanged") == len(chosen), printed
    assert {path: path.stat().st_mtime_ns for path in models} == models, "a skip must not write anything"


def wait_for(process, condition, seconds=300):
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        if condition():
            return
        time.sleep(0.005)
    pytest.fail("the rebuild ended, or took too long, before it reached the place where it should be killed")


@pytest.mark.full
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
        "fit": lambda: any(output.glob("smoke/*/02_*/*/progress/phase-*/history.json")),
        "grid": lambda: any(output.glob("smoke/*/02_*/*/result.joblib")),
    }
    for reached in places.values():
        process = subprocess.Popen(
            again,
            env=environment,
            stdout=subprocess.DEVNULL,
            cwd=tmp_path,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_for(process, reached)
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(1.5)  # kernels and workers notice that their parent is gone
    run(again, tmp_path, MUSICTOOLS_DATA=str(home))
    made = [o for name in first for o in manifest(smoke, name)["outputs"]]
    tables = [name for name in made if name.startswith("tables/") and name[7:] not in UNEQUAL]
    assert len(tables) > 10
    for name in tables:
        assert (output / "smoke" / name).read_bytes() == (smoke / name).read_bytes(), name
    assert not (output / "smoke" / "work" / "02_train_genre_model").exists()


def test_plain_papermill_runs_a_notebook(tmp_path):
    params = ROOT / "params" / "smoke"
    run(
        [
            sys.executable,
            "-m",
            "papermill",
            "--no-progress-bar",
            "-k",
            "python3",
            str(ROOT / "notebooks" / "00_index.ipynb"),
            str(tmp_path / "out.ipynb"),
            "-f",
            str(params / "00_index.yaml"),
            "-p",
            "output_dir",
            str(tmp_path / "plain"),
        ],
        tmp_path,
        timeout=300,
    )
    assert (tmp_path / "plain" / "tables" / "index.csv").is_file()

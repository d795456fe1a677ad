"""Notebooks as a person runs them in Jupyter: from the folder ``notebooks/``, some cells a second time."""

from pathlib import Path

import nbclient
import nbformat
import pandas as pd
import pytest
import yaml

from musictools import runs

ROOT = Path(__file__).resolve().parents[1]
PROMISED = yaml.safe_load((ROOT / "tests" / "promised_tables.yaml").read_text())
NOTEBOOKS = [
    "00_index",
    *(pytest.param(name, marks=pytest.mark.full) for name in ("01_preprocess", "02_train_genre_model")),
]
WALL_CLOCK = {"genre_training_seconds"}


def run_cells(name, output, *, times):
    """Run a notebook with the smoke parameters; all cells `times` times, one after the other as they stand."""
    source = ROOT / "notebooks" / f"{name}.ipynb"
    values = runs.resolve(source, ROOT / "params" / "smoke" / "common.yaml", ROOT / "params" / "smoke" / f"{name}.yaml")
    values["output_dir"] = str(output)
    notebook = nbformat.read(source, as_version=4)
    cells = []
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        code = [cell.source]
        if "parameters" in cell.metadata.get("tags", []):
            code = ["\n".join(f"{key} = {value!r}" for key, value in values.items())]
        cells += [nbformat.v4.new_code_cell(text) for text in code * times]
    notebook.cells = cells
    place = {"metadata": {"path": str(ROOT / "notebooks")}}
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=place).execute()
    return {name: pd.read_csv(output / "tables" / f"{name}.csv") for name in PROMISED[name]}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Two folders for results: of cells run once, and of cells run twice."""
    return tmp_path_factory.mktemp("once"), tmp_path_factory.mktemp("twice")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_cell_may_run_twice_and_the_notebook_in_its_own_folder(name, outputs):
    before = {path.name for path in (ROOT / "notebooks").iterdir()}
    once, twice = (run_cells(name, output, times=times) for times, output in enumerate(outputs, start=1))
    for table in set(PROMISED[name]) - WALL_CLOCK:
        pd.testing.assert_frame_equal(once[table], twice[table])
    written = [sorted(str(path.relative_to(output)) for path in output.rglob("*.*")) for output in outputs]
    assert written[0] == written[1]
    assert {path.name for path in (ROOT / "notebooks").iterdir()} == before, "nothing is written beside the notebooks"

"""The index of notebooks: what notebook 00 says without being run is what the other notebooks' first cells say."""

import json

import nbformat
import pytest

from musictools.runs import manifests, notebook_index, root


def notebook(path, title):
    rows = "\n".join(f"| **{name}** | x |" for name in ("Source", "Reads", "Produces", "Minutes"))
    cell = nbformat.v4.new_markdown_cell(f"# {title}\n\n| | |\n|---|---|\n{rows}")
    overview = nbformat.v4.new_markdown_cell("old", metadata={"tags": ["overview"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell, overview]), path)


@pytest.fixture
def folder(tmp_path):
    notebook(tmp_path / "00_index.ipynb", "00 · Which one?")
    notebook(tmp_path / "01_first.ipynb", "01 · What | how?")
    return tmp_path


def test_notebook_00_lists_every_notebook_with_its_question():
    cells = json.loads((root() / "notebooks" / "00_index.ipynb").read_text(encoding="utf-8"))["cells"]
    [overview] = ["".join(cell["source"]) for cell in cells if "overview" in cell["metadata"].get("tags", [])]
    rows = [line.split(" | ")[:2] for line in overview.splitlines()]
    current = [line.split(" | ")[:2] for line in notebook_index.overview("none").splitlines()]
    assert [[cell.strip("| ") for cell in row] for row in rows] == [
        [cell.strip("| ") for cell in row] for row in current
    ]


def test_findings_are_the_first_sentences_of_finished_notebooks(folder):
    assert notebook_index.overview(folder, notebooks_dir=folder).splitlines() == [
        "| notebook | question |",
        "| --- | --- |",
        "| [00](00_index.ipynb) | Which one? |",
        "| [01](01_first.ipynb) | What \\| how? |",
    ]
    record = {"notebook": "01_first", "finished": True, "said": ["It is\n5.", "more"]}
    manifests.write_record(folder, "01_first", record)
    notebook_index.refresh(folder, notebook=folder / "00_index.ipynb")
    cells = nbformat.read(folder / "00_index.ipynb", as_version=4).cells
    assert cells[1].source.splitlines()[2:] == [
        "| [00](00_index.ipynb) | Which one? |  |",
        "| [01](01_first.ipynb) | What \\| how? | It is 5. |",
    ]
    assert cells[0].source.startswith("# 00 · Which one?")


def test_questions(folder):
    assert notebook_index.question(folder / "01_first.ipynb") == "What | how?"
    assert notebook_index.question(folder / "none.ipynb") == ""

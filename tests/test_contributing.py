"""README and CONTRIBUTING tell the truth: their examples run, their commands and links exist.

The worked examples of CONTRIBUTING.md are carried out in a copy of the checkout.

A fenced block whose first line names a file is written to that file, or put at its end where the line says so. A
notebook is given cell by cell, as editors show it (``# %%``). A block that names no file is run.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat
import numpy as np
import pytest

from musictools import cli
from musictools.runs import execution, settings

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^```(python|yaml|markdown)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TARGET = re.compile(r"(?:#|<!--) (?P<path>[\w./-]+\.\w+)(?P<end>, at the end)?(?: -->)?\n")
COMMAND = re.compile(r"(?:^ {4}|`)(musictools|make) ([^`#\n]*)", re.MULTILINE)
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "outputs", "data", "__pycache__", ".pytest_cache", ".ruff_cache")


@dataclass
class Block:
    section: str
    code: str
    path: str | None = None
    at_end: bool = False


def blocks(page):
    """Fenced blocks of a Markdown page: the heading above, the code, the file it goes to."""
    text = (ROOT / page).read_text()
    for match in BLOCK.finditer(text):
        section = re.findall(r"^## (.*)$", text[: match.start()], re.MULTILINE)[-1]
        target = TARGET.match(match[2])
        if target:
            yield Block(section, match[2][target.end() :], target["path"], bool(target["end"]))
        elif match[1] == "python":
            yield Block(section, match[2])


def notebook(cells):
    """A notebook of the cells of a script, separated by ``# %%`` lines."""
    made = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    )
    for number, (kind, source) in enumerate(re.findall(r"^# %%(.*)\n((?:(?!# %%).*\n)*)", cells, re.MULTILINE)):
        if "markdown" in kind:
            made.cells.append(nbformat.v4.new_markdown_cell(re.sub(r"^# ?", "", source.strip(), flags=re.MULTILINE)))
        else:
            tags = {"tags": ["parameters"]} if "parameters" in kind else {}
            made.cells.append(nbformat.v4.new_code_cell(source.strip(), metadata=tags))
        made.cells[-1]["id"] = f"cell-{number}"
    return nbformat.writes(made)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the checkout in which every example of CONTRIBUTING.md has been followed."""
    folder = tmp_path_factory.mktemp("contributing") / "checkout"
    shutil.copytree(ROOT, folder, ignore=LEFT_OUT)
    for block in blocks("CONTRIBUTING.md"):
        if block.path:
            path = folder / block.path
            assert path.exists() == block.at_end, f"{block.path} exists" if path.exists() else f"no {block.path}"
            path.parent.mkdir(parents=True, exist_ok=True)
            text = notebook(block.code) if path.suffix == ".ipynb" else block.code
            path.write_text((path.read_text() if block.at_end else "") + text)
    return folder


def run(arguments, folder, **environment):
    """Run Python in a folder, with the package that lies there."""
    path = os.pathsep.join([str(folder), os.environ["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": path} | environment,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


SECTIONS = sorted({block.section for block in blocks("CONTRIBUTING.md") if block.path})


def test_there_is_an_example_for_each_kind_of_addition():
    assert SECTIONS == ["Add a data set", "Add a method of explanation", "Add a notebook", "Add a tagger"]


@pytest.mark.parametrize("section", SECTIONS)
def test_example_works(section, copy):
    code = "\n".join(b.code for b in blocks("CONTRIBUTING.md") if b.section == section and not b.path)
    assert "assert" in code
    run(["-c", code], copy)


@pytest.mark.full
def test_nothing_else_breaks(copy):
    """The repository's own rules hold with the additions: layers, sizes, notebooks, parameters, documented names."""
    added = " or ".join(
        Path(b.path).stem for b in blocks("CONTRIBUTING.md") if b.path and b.path.endswith(".py") and not b.at_end
    )
    run(
        [
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            "tests/test_repository.py",
            "tests/test_docstrings.py",
            "-k",
            f"test_repository or {added}",
        ],
        copy,
    )


@pytest.mark.full
def test_no_other_test_breaks(copy):
    run(
        [
            "-m",
            "pytest",
            "-q",
            "-x",
            "-p",
            "no:cacheprovider",
            "tests/models",
            "tests/datasets/test_datasets.py",
            "tests/explain/attribution/test_relevance_companions.py",
            "tests/test_cli.py",
            "--deselect",
            "tests/models/test_overfit.py",
        ],
        copy,
    )


def test_examples_of_the_readme_run(tmp_path, monkeypatch):
    """One after the other, as a reader would type them."""
    examples = [block for block in blocks("README.md") if not block.path]
    assert len({block.section for block in examples}) == 5
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in examples:
        exec(compile(block.code, f"README.md, {block.section}", "exec"), names)
    assert names["S"].shape == (128, 1821)
    np.testing.assert_allclose(sum(names["stems"].values())[:1000], names["y"][:1000], atol=0.05)


PAGES = ("README.md", "CONTRIBUTING.md")


def commands(program):
    """What follows the name of a program in the pages' code, as lists of words."""
    return [
        words.split() for page in PAGES for name, words in COMMAND.findall((ROOT / page).read_text()) if name == program
    ]


@pytest.mark.parametrize("words", commands("musictools"), ids=" ".join)
def test_commands_of_the_pages_are_accepted(words):
    arguments = cli._parser().parse_args(words)
    if words[0] == "rebuild":  # its parameters are checked as well
        execution.plan(
            arguments.profile,
            only=arguments.only,
            parameters=dict(map(settings.from_command_line, arguments.parameters)),
            notebooks_dir=ROOT / "notebooks",
            params_dir=ROOT / "params",
            folder=ROOT / "outputs" / arguments.profile,
        )


def test_targets_of_the_pages_are_in_the_makefile():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {words[0] for words in commands("make")} <= targets


@pytest.mark.parametrize("page", PAGES)
def test_links_and_paths_of_the_pages_exist(page):
    text = BLOCK.sub("", (ROOT / page).read_text())
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    paths = re.findall(r"\b(?:notebooks|params|tests|musictools)/[\w./]*\w", text)
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
    assert [link for link in links if link.startswith("#") and link[1:] not in anchors] == []
    assert [path for path in [*links, *paths] if not path.startswith("#") and not (ROOT / path).exists()] == []

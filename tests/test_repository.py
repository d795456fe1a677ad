"""What the repository promises about itself: notebooks, parameter files, dependencies, sizes."""

import ast
import graphlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from musictools import runs
from musictools.runs import notebook_index

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PARAMETERS = sorted(p for p in (ROOT / "params").glob("*/*.yaml") if p.name != "common.yaml")


def promised_tables():
    """Tables that each notebook has to write, by notebook."""
    return yaml.safe_load((ROOT / "tests" / "promised_tables.yaml").read_text())


def code_cells(path):
    return [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]


def test_notebooks_are_numbered_and_readme_lists_them():
    numbers = [path.stem.split("_")[0] for path in NOTEBOOKS if path.stem != "song_explorer"]
    assert numbers[:8] == [f"{number:02d}" for number in range(8)]
    assert len(set(numbers)) == len(numbers)
    rows = re.findall(r"\(notebooks/(\w+)\.ipynb\) \| (.*?) \|", (ROOT / "README.md").read_text())
    assert sorted(rows) == [(path.stem, notebook_index.describe(path)["question"]) for path in NOTEBOOKS]


def test_every_notebook_has_smoke_parameters_and_promised_tables():
    names = {path.stem for path in NOTEBOOKS}
    assert {path.stem for path in PARAMETERS if path.parent.name == "smoke"} == names
    assert {path.stem for path in PARAMETERS} == names, "parameters of a notebook that does not exist"
    assert set(promised_tables()) == names


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
class TestNotebook:
    def test_is_stripped(self, path):
        notebook = json.loads(path.read_text())
        assert not any(c["outputs"] or c["execution_count"] is not None for c in code_cells(path))
        assert notebook["metadata"]["kernelspec"]["name"] == "python3"
        assert set(notebook["metadata"]) <= {"kernelspec", "language_info"}

    def test_is_a_story_and_no_program(self, path):
        sizes, functions = [], 0
        for cell in code_cells(path):
            source = "".join(cell["source"])
            assert not re.search(r"^\s*[!%]", source, re.MULTILINE), "shell and magic do not travel"
            tree = ast.parse(source)
            functions += sum(isinstance(n, ast.FunctionDef) for n in ast.walk(tree))
            assert not any(isinstance(n, ast.ClassDef) for n in ast.walk(tree))
            sizes.append(sum(bool(line.strip()) for line in source.splitlines()))
        assert max(sizes) <= 25
        assert sum(sizes) <= 250
        assert functions <= 2

    def test_opens_and_closes_as_all_do(self, path):
        head = notebook_index.describe(path)
        assert head["question"].endswith("?")
        last = "".join(code_cells(path)[-1]["source"])
        assert "run.say(" in last
        assert last.rstrip().endswith("run.finish()")

    def test_has_literal_commented_parameters(self, path):
        assert runs.parameters(path)
        cell = next(c for c in code_cells(path) if "parameters" in c["metadata"].get("tags", []))
        for line in "".join(cell["source"]).splitlines():
            assert re.fullmatch(r"\w+ = .+  # .+", line), line


@pytest.mark.parametrize("path", PARAMETERS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_parameter_files_fit_their_notebooks(path):
    common = path.parent / "common.yaml"
    values = runs.resolve(ROOT / "notebooks" / f"{path.stem}.ipynb", common, path)
    assert values["output_dir"] == f"outputs/{path.parent.name}"


def pinned():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    packages = [line for line in lines if line and line[0].isalnum()]
    return {re.split(r"[=\[ ;]", line)[0].lower().replace("_", "-"): line for line in packages}


def test_lock_pins_every_direct_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    lock = pinned()
    for requirement in wanted:
        name = re.match(r"[A-Za-z0-9_-]+", requirement)[0].lower().replace("_", "-")
        assert name in lock, f"{name} is not in requirements.lock: run make lock"
        assert "==" in lock[name]


def test_lock_names_no_index():
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    assert "index-url" not in text


def test_conda_environment_installs_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    assert "-r requirements.lock" in pip
    python = next(d for d in environment["dependencies"] if isinstance(d, str) and d.startswith("python="))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    low, high = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", project["requires-python"]).groups()
    assert int(low) <= int(python.split("=")[1].split(".")[1]) < int(high)


def tracked():
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("this is no git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name]


def test_no_big_files_are_tracked():
    gallery = ROOT / "outputs" / "gallery"  # has a limit of its own
    big = [p.name for p in tracked() if p.parent != gallery and p.is_file() and p.stat().st_size > 2**20]
    assert big == []


def test_plots_neither_save_nor_show():
    source = "".join(p.read_text() for p in (ROOT / "musictools" / "plots").glob("*.py"))
    for word in ("savefig(", ".show(", "rcParams", "jet"):
        assert word not in source


def code_lines(tree, lines, node):
    """Numbers of the lines of `node` that hold code: no docstring, comment or blank line."""
    documented = set()
    for inner in ast.walk(tree):
        if isinstance(inner, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(inner) is not None:
            documented |= set(range(inner.body[0].lineno, inner.body[0].end_lineno + 1))
    first, last = (1, len(lines)) if node is tree else (node.body[0].lineno, node.end_lineno)
    return [
        k
        for k in range(first, last + 1)
        if k not in documented and lines[k - 1].strip() and not lines[k - 1].lstrip().startswith("#")
    ]


@pytest.mark.parametrize("path", sorted((ROOT / "musictools").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_and_functions_stay_small(path):
    """At most 400 lines of code in a module; in a function 40 statements on 60 lines, as a formatter lays them out."""
    tree, lines = ast.parse(path.read_text()), path.read_text().splitlines()
    assert len(code_lines(tree, lines, tree)) <= 400
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            statements = sum(isinstance(inner, ast.stmt) for inner in ast.walk(node)) - 1
            assert statements <= 41, f"{node.name} has {statements} statements"  # 40 and its docstring
            assert len(code_lines(tree, lines, node)) <= 60, f"{node.name} has too many lines"


LIBRARY = {  # module or package of the library -> what it may import of the others; nothing imports upwards
    "files": set(),
    "published": set(),
    "plots": {"spectrograms"},
    "html": {"files"},
    "tags": {"published"},
    "annotation": {"files"},
    "audio": {"files"},
    "runs": {"files", "html", "published"},
    "spectrograms": {"audio", "files", "runs"},
    "datasets": {"audio", "files", "runs", "spectrograms", "tags"},
    "models": {"files", "spectrograms"},
    "training": {"datasets", "files", "models", "spectrograms"},
    "evaluation": {"datasets", "models", "spectrograms"},
    "inference": {"audio", "evaluation", "files", "models", "spectrograms", "tags"},
    "familiarity": {"files", "inference", "spectrograms"},
    "comparison": {"audio", "files", "html", "inference", "plots"},
    "released": {"files", "inference", "models", "runs", "spectrograms"},
    "mapping": {"evaluation", "files", "inference", "models", "runs", "training"},
    "explain": {
        "audio",
        "evaluation",
        "familiarity",
        "files",
        "html",
        "inference",
        "models",
        "plots",
        "runs",
        "spectrograms",
    },
    "concepts": {"audio", "datasets", "evaluation", "explain", "files", "models", "runs", "spectrograms"},
    "probing": {"datasets", "evaluation", "explain", "files", "inference", "models", "runs", "spectrograms"},
    "transfer": {"evaluation", "probing", "runs"},
    "auralisation": {"audio", "evaluation", "explain", "files", "html", "models", "runs", "spectrograms"},
}
ABOVE = {
    "experiments": set(LIBRARY),
    "explorer": set(LIBRARY),
    "doctor": {"runs"},
    "cli": {*LIBRARY, "doctor", "experiments"},
    "__main__": {"cli"},
}
LAYERS = LIBRARY | ABOVE


def imported(source, inside):
    """(module, names, what they are called here) of all imports of the package; `inside`: the file's path in parts."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "musictools":
                    yield alias.name, [], [alias.asname or alias.name]
        elif isinstance(node, ast.ImportFrom):
            base = inside[: len(inside) - node.level] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            if module.split(".")[0] == "musictools":
                yield module, [a.name for a in node.names], [a.asname or a.name for a in node.names]


def imported_layers(source, inside=()):
    """Modules and packages right below ``musictools`` that source code imports."""
    for module, names, _ in imported(source, inside):
        yield from module.split(".")[1:2] or [n for n in names if not n.startswith("__")]


def private_names(source, inside=()):
    """Private names of other modules that source code imports or reads, whatever it calls these modules."""
    modules, is_private = set(), re.compile(r"_(?!_)").match
    for _, names, called in imported(source, inside):
        yield from filter(is_private, names)
        modules |= set(called)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and ast.unparse(node.value) in modules:
            yield f"{ast.unparse(node.value)}.{node.attr}"


def modules_of(layer):
    place = ROOT / "musictools" / layer
    return sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]


def test_every_module_has_its_layer():
    here = {
        p.stem if p.suffix == ".py" else p.name
        for p in (ROOT / "musictools").iterdir()
        if p.suffix == ".py" or any(p.rglob("*.py"))
    }
    assert here - {"__init__"} == set(LAYERS)


def test_layers_have_an_order():
    assert tuple(graphlib.TopologicalSorter(LAYERS).static_order())
    assert not {name for names in LIBRARY.values() for name in names} & set(ABOVE)


@pytest.mark.parametrize("layer", LAYERS)
def test_nothing_imports_upwards(layer):
    for path in modules_of(layer):
        others = set(imported_layers(path.read_text(), path.relative_to(ROOT).with_suffix("").parts))
        assert others <= LAYERS[layer] | {layer}, path.name


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_import_library_and_experiments_only(path):
    code = "\n".join("".join(cell["source"]) for cell in code_cells(path))
    assert set(imported_layers(code)) <= set(LIBRARY) | {"experiments", "explorer"}
    assert not list(private_names(code))


def test_nobody_uses_private_names_of_others():
    for path in (ROOT / "musictools").rglob("*.py"):
        private = list(private_names(path.read_text(), path.relative_to(ROOT).with_suffix("").parts))
        assert not private, f"{path.name} uses {', '.join(private)}"


@pytest.mark.parametrize(
    "statement",
    [
        "from musictools import experiments",
        "from musictools.experiments import genres",
        "import musictools.experiments",
        "from .. import experiments",
        "from ..experiments.genres import table",
        "def f():\n    from ..experiments import genres",
    ],
)
def test_an_import_upwards_is_recognised(statement):
    assert list(imported_layers(statement, ("musictools", "tags", "module"))) == ["experiments"]


@pytest.mark.parametrize(
    "statement",
    [
        "from .base import _check",
        "from . import base\nbase._check(1)",
        "from . import base as tables\ntables._check(1)",
        "import musictools.datasets.base\nmusictools.datasets.base._check(1)",
        "import musictools.datasets.base as tables\ntables._check(1)",
    ],
)
def test_a_private_name_of_another_module_is_recognised(statement):
    assert list(private_names(statement, ("musictools", "datasets", "gtzan")))


def test_import_is_light():
    code = (
        "import sys, musictools, musictools.runs, musictools.tags, musictools.datasets, musictools.spectrograms\n"
        "bad = {'tensorflow', 'keras', 'matplotlib', 'librosa'} & set(sys.modules)\n"
        "sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

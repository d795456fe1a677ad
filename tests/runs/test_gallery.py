"""The gallery: its code is that of notebooks/, its pictures are small, and no path of a machine is in it."""

import ast
import base64
import io
import json

import nbformat
import numpy as np
import pytest
from PIL import Image

from musictools import runs
from musictools.runs import gallery, manifests

NAME = "01_preprocess.ipynb"
COMMITTED = sorted((runs.root() / "outputs" / "gallery").glob("*.ipynb"))
committed = pytest.mark.skipif(
    not COMMITTED, reason="No gallery is committed; make one with: make gallery PROFILE=full"
)


def executed_parameters(path):
    """Parameters that an executed notebook ran with: its defaults, and over them what papermill injected."""
    values = {}
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    for tag in ("parameters", "injected-parameters"):
        for cell in cells:
            if tag in cell["metadata"].get("tags", ()):
                for statement in ast.parse("".join(cell["source"])).body:
                    values[statement.targets[0].id] = ast.literal_eval(statement.value)
    return values


def current_parameters(original):
    """Parameters that the profile `full` gives a notebook today."""
    files = [runs.root() / "params" / "full" / name for name in ("common.yaml", f"{original.stem}.yaml")]
    return runs.resolve(original, *files)


@committed
def test_the_committed_gallery_is_that_of_the_notebooks():
    originals = sorted((runs.root() / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    assert [path.name for path in COMMITTED] == [path.name for path in originals]
    for path, original in zip(COMMITTED, originals, strict=True):
        assert gallery.code_cells(path) == gallery.code_cells(original), path.name
        assert executed_parameters(path) == current_parameters(original), path.name


@committed
def test_the_committed_gallery_is_small_and_says_where_it_comes_from():
    assert sum(path.stat().st_size for path in COMMITTED) <= gallery.LIMIT
    for path in COMMITTED:
        text = path.read_text(encoding="utf-8")
        assert str(runs.root()) not in text
        assert "".join(json.loads(text)["cells"][0]["source"]).startswith("*Executed with profile `full`")


def png(width, height):
    """A picture of noise, as base64."""
    buffer = io.BytesIO()
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    Image.fromarray(values).save(buffer, format="png")
    return base64.b64encode(buffer.getvalue()).decode()


def display(**data):
    return nbformat.v4.new_output("display_data", {kind.replace("_", "/"): value for kind, value in data.items()})


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with one notebook and its finished run."""
    monkeypatch.setattr(gallery, "root", lambda: tmp_path)
    title = nbformat.v4.new_markdown_cell("# 01 · What is in the data?\n\nText.")
    code = nbformat.v4.new_code_cell("n = 1  # clips", metadata={"tags": ["parameters"]})
    last = nbformat.v4.new_code_cell("print(n)")
    original = nbformat.v4.new_notebook(cells=[title, code, last])
    injected = nbformat.v4.new_code_cell("n = 2", metadata={"tags": ["injected-parameters"]})
    ran = code.copy()
    html = f'<img src="data:image/png;base64,{png(30, 20)}"><audio controls src="data:audio/wav;base64,AAAA"></audio>'
    ran["outputs"] = [
        nbformat.v4.new_output("stream", name="stdout", text=f"{tmp_path}/outputs/full/a.csv /home/me/b.csv 3/4\n"),
        nbformat.v4.new_output("stream", name="stderr", text="a warning of this machine"),
        display(image_png=png(2000, 500), text_plain="<Figure>"),
        display(text_html='<audio controls src="data:audio/wav;base64,AAAA"></audio>'),
        display(text_html=html),
    ]
    papermill = {"papermill": {"end_time": "2026-11-26T17:16:33+00:00", "input_path": str(tmp_path)}}
    executed = nbformat.v4.new_notebook(cells=[title, injected, ran, last], metadata=papermill)
    for folder, notebook in (("notebooks", original), ("outputs/full/notebooks", executed)):
        (tmp_path / folder).mkdir(parents=True)
        nbformat.write(notebook, tmp_path / folder / NAME)
    record = {
        "notebook": NAME[:-6],
        "finished": True,
        "commit": 40 * "a" + "+changes",
        "device": "CPU (2 cores, x86_64)",
        "said": ["48 clips.", "8 genres."],
    }
    (tmp_path / "outputs/full/manifests").mkdir()
    manifests.write_json(manifests.record_path(tmp_path / "outputs/full", NAME[:-6]), record)
    return tmp_path


def test_a_run_becomes_a_gallery(checkout):
    stale = checkout / "outputs/gallery/09_old.ipynb"
    stale.parent.mkdir()
    stale.write_text("{}")
    paths = gallery.gallery("outputs/full")
    folder = checkout / "outputs" / "gallery"
    assert sorted(paths) == sorted(folder.iterdir()) == [folder / NAME, folder / "README.md"]
    notebook = nbformat.read(folder / NAME, as_version=4)
    nbformat.validate(notebook)
    origin = notebook.cells[0].source
    for said in (
        "profile `full`",
        "aaaaaaaaaaaa+changes",
        "CPU (2 cores, x86_64)",
        "2026-11-26",
        "at most 1000 pixels wide",
    ):
        assert said in origin
    assert gallery.code_cells(folder / NAME) == gallery.code_cells(checkout / "notebooks" / NAME) == ["print(n)"]
    assert executed_parameters(folder / NAME) == {"n": 2}
    assert notebook.cells[2].source == "n = 2"
    text = (folder / NAME).read_text()
    for private in (str(checkout), "/home/me", "audio/wav", "<audio", "a warning", "papermill"):
        assert private not in text
    printed, figure, sound, page = notebook.cells[-2].outputs
    assert printed.text == "outputs/full/a.csv … 3/4\n"
    assert Image.open(io.BytesIO(base64.b64decode(figure.data["image/png"]))).size == (1000, 250)
    assert sound.data["text/markdown"].startswith("*Sounds are left out")
    assert "<img src=" in page.data["text/html"]
    assert "Sounds are left out" in page.data["text/html"]
    assert "| [01 · What is in the data?](01_preprocess.ipynb) | 48 clips. |" in (folder / "README.md").read_text()


def test_figures_shrink_until_the_gallery_is_small_enough(checkout):
    gallery.gallery("outputs/full", widths=(2000, 100), limit=100_000)
    text = (checkout / "outputs/gallery" / NAME).read_text()
    assert "at most 100 pixels wide" in text
    assert len(text) < 100_000


def test_what_makes_no_gallery(checkout):
    for options, message in (
        ({"limit": 1000}, "must not exceed 0.0 MB"),
        ({"run": "outputs/demo"}, "not been executed"),
    ):
        with pytest.raises(ValueError, match=message):
            gallery.gallery(**{"run": "outputs/full", **options})
    original = checkout / "notebooks" / NAME
    text = original.read_text()
    for old, new in (("print(n)", "print(2 * n)"), ("n = 1  # clips", "m = 1  # clips")):
        original.write_text(text.replace(old, new))
        with pytest.raises(ValueError, match="01_preprocess.ipynb has been changed since it was executed"):
            gallery.gallery("outputs/full")
    assert not (checkout / "outputs" / "gallery").exists()

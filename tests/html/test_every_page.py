"""Every page that the package writes shows what users and notebooks say as text: one test for all of them."""

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbformat import v4
from support.explanations import explanation
from support.pages import NASTY, NASTY_NAMES, Page, check

from musictools import comparison, html
from musictools.auralisation import page as sounds
from musictools.explain.application import page
from musictools.inference import Taggram
from musictools.runs import manifests, report


def explanation_page(folder, text):
    """A song, its descriptors, genres and badges, called so."""
    explained = explanation([text, "other"], genres=(text, "rock"), badge=text)
    explained.plot = lambda tag, *, ax, **options: ax.imshow(np.eye(4))
    return page.write(folder, explained, title=text, audio_format="wav", more={"file": text})


def auralisation_page(folder, text):
    """A clip, a layer, a feature and a number, called so."""
    entry = {"layer": text, "feature": text, "clip": text, "file": text, "S": np.zeros((4, 5)), "numbers": {text: text}}
    return sounds.write(folder / "page.html", [entry], title=text, note=text)


def report_page(folder, text):
    """A profile, a notebook, a table with its cells and a sentence, called so."""
    name = text if text in NASTY_NAMES else "01_first"
    folder = folder / name
    (folder / "tables").mkdir(parents=True)
    (folder / "tables" / f"{name}.csv").write_text("a\n1\n")
    record = {"notebook": name, "finished": True, "seconds": 1.0, "parameters": {}, "upstream": {}, "said": [text]}
    manifests.write_record(folder, name, record | {"data": {text: {}}, "outputs": {f"tables/{name}.csv": ""}})
    return report.write(folder, outcome={name: ("failed", text), text: ("failed", text)})


def notebook_page(folder, text):
    """A notebook that prints, shows and explains it."""
    shown = [v4.new_output("stream", text=text), v4.new_output("display_data", {"text/html": text})]
    cells = [v4.new_markdown_cell(text), v4.new_code_cell(f"print({text!r})", outputs=shown)]
    folder.mkdir(exist_ok=True)
    nbformat.write(v4.new_notebook(cells=cells), folder / "01_first.ipynb")
    (folder / "page.html").write_text(html.notebook(folder / "01_first.ipynb"), encoding="utf-8")
    return folder / "page.html"


def comparison_page(folder, text):
    """A song, a tagger and a tag, called so."""
    taggrams = {text: Taggram(np.full((2, 2), 0.7), np.arange(2.0), 2.0, [text, "drums"])}
    taggrams["other"] = Taggram(np.full((2, 2), 0.2), np.arange(2.0), 2.0, ["drums", "flute"])
    decided = {
        name: pd.DataFrame({"tag": one.tags, "score": 0.7, "threshold": 0.5, "predicted": True}, index=one.tags)
        for name, one in taggrams.items()
    }
    table = pd.DataFrame({name: one["score"] for name, one in decided.items()}).loc[["drums", text, "flute"]]
    compared = comparison.Comparison(taggrams, decided, table, ["drums"], {text: text, "other": ""})
    return comparison.write(folder, compared, np.zeros(800), sr=8000, title=text)


PAGES = {
    "explanation.html.jinja": (explanation_page, 1),
    "auralisation.html.jinja": (auralisation_page, 0),
    "comparison.html.jinja": (comparison_page, 0),
    "report.html.jinja": (report_page, 0),
    "notebook": (notebook_page, 0),
}


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize("kind", PAGES)
def test_what_users_call_things_is_shown_and_does_nothing(tmp_path, kind, text):
    write, scripts = PAGES[kind]
    content = write(tmp_path / "out", text).read_text(encoding="utf-8")
    if kind != "notebook":
        check(content, shows=[text], scripts=scripts)
        return
    read = Page(content)  # the frame of nbconvert is not ours: other faults than these do not matter
    assert [fault for fault in read.faults if fault.startswith("<") and not fault.endswith("not closed")] == []
    assert read.scripts() == scripts
    assert " ".join(text.split()) in read.text


def test_no_page_is_forgotten():
    from musictools.html import pages

    environment = pages._environment()
    sources = {name: environment.loader.get_source(environment, name)[0] for name in environment.list_templates()}
    assert {name for name, text in sources.items() if '{% extends "base.html.jinja" %}' in text} == set(PAGES) - {
        "notebook"
    }

"""Saved results as tables: sorted, filtered, escaped, and sentences where they are missing or damaged."""

import re
import xml.dom.minidom

import numpy as np
import pandas as pd
import pytest

from musictools.explorer import results, tables
from musictools.explorer.tables import Table
from musictools.explorer.work import ExplorerError

ODD = "<img src=x onerror=alert(1)> & 'co'"


@pytest.fixture
def profile(tmp_path):
    """A profile with tables of notebooks 03 and 15."""
    folder = tmp_path / "demo"
    (folder / "tables").mkdir(parents=True)

    def write(name, table):
        table.to_csv(folder / "tables" / f"{name}.csv", index=False)

    models = ["fcn4", "se_cnn", "tag frequency"]
    scores = pd.DataFrame({"model": models, "roc_auc": [0.75, 0.875, 0.5], "roc_auc_undefined": 0})
    write("tagger_roc_auc", scores.assign(roc_auc_low=[0.7, 0.8, 0.5], roc_auc_high=[0.8, 0.9, 0.5], seen=0.75))
    write(
        "tagger_clip_level",
        pd.concat([scores.assign(clips=clips, n_clips=10, average_tags=2.5) for clips in ("all", "seen")]),
    )
    write("tagger_tags_roc_auc", pd.DataFrame({"model": models, "fast": [0.5, 0.6, 0.5], "drums": [0.75, np.nan, 0.5]}))
    rows = [
        (m, d, v, v - 0.25, v + 0.25)
        for m, v in zip(models, (0.5, 0.0, -0.25), strict=True)
        for d in ("none", "slower")
    ]
    table = pd.DataFrame(rows, columns=["model", "deformation", "drop", "drop_low", "drop_high"])
    write("robustness_scores", table.assign(roc_auc=0.75))
    return folder


def test_results_that_are_there_are_named(profile, tmp_path):
    titles = results.available(profile)
    assert list(titles) == ["roc_auc", "measures", "tags", "drop", "deformed"]
    assert titles["tags"] == "ROC-AUC by tag (notebook 03)"
    assert results.missing(profile) == ""
    assert results.available(tmp_path / "none") == {}
    (profile / "tables" / "robustness_scores.csv").unlink()
    assert results.missing(profile) == (
        "The profile demo has no results of notebook 15 yet. Make them: musictools rebuild --profile demo --only 15"
    )


def test_measures_have_labels_and_intervals(profile):
    table = results.read(profile, "roc_auc")
    assert list(table.values) == ["ROC-AUC", "ROC-AUC, known artists"]
    assert table.values.at["se_cnn", "ROC-AUC"] == 0.875
    assert "0.875 <small>0.800 to 0.900</small>" in tables.html(table)
    assert list(results.read(profile, "measures").values.index) == ["fcn4", "se_cnn", "tag frequency"]


def test_tags_are_rows_with_their_category(profile):
    table = results.read(profile, "tags")
    assert list(table.values.index) == ["drums", "fast"], "instruments come before tempo"
    assert dict(table.categories) == {"drums": "instruments", "fast": "tempo"}
    assert table.values.at["drums", "fcn4"] == 0.75
    assert list(tables.arranged(table, category="tempo").values.index) == ["fast"]
    assert "No row is of this category" in tables.html(tables.arranged(table, category="voice"))


def test_deformations_are_rows_and_losses_red(profile):
    table = results.read(profile, "drop")
    assert list(table.values.index) == ["slower"], "the clips as they are lose nothing"
    assert table.scale == (-0.5, 0.5)
    assert table.low.at["slower", "fcn4"] == 0.25
    html = tables.html(table)
    assert "0.500 <small>0.250 to 0.750</small>" in html
    colours = [tuple(map(int, c)) for c in re.findall(r"rgb\((\d+),(\d+),(\d+)\)", html)]
    assert colours[0] == (178, 24, 43)
    assert colours[1] == (247, 247, 247)
    assert colours[2][2] > colours[2][0], "a gain is blue"
    assert list(results.read(profile, "deformed").values.index) == ["none", "slower"]


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "model,roc_auc\nfcn4,many\n", "\x00\xff"])
def test_a_damaged_table_is_a_sentence(profile, content):
    (profile / "tables" / "tagger_roc_auc.csv").write_text(content, encoding="utf-8")
    with pytest.raises(
        ExplorerError, match=r"The table tagger_roc_auc cannot be read .*--profile demo --only 03 --force"
    ):
        results.read(profile, "roc_auc")


def test_rows_are_sorted_and_unknown_ones_last():
    values = pd.DataFrame({"x": [0.25, np.nan, 0.75, 0.25]}, ["b", "A", "c", "d"])
    table = Table(values, "tag")
    assert list(tables.arranged(table, by="x").values.index) == ["c", "b", "d", "A"]
    assert list(tables.arranged(table, by="x", ascending=True).values.index) == ["b", "d", "c", "A"]
    assert list(tables.arranged(table, by="tag", ascending=True).values.index) == ["A", "b", "c", "d"]
    assert list(tables.arranged(table, by="gone").values.index) == ["b", "A", "c", "d"]


def test_names_are_escaped_and_numbers_readable():
    values = pd.DataFrame({ODD: [1.0, 0.5], "count": [1234.0, 7.0], "ms": [2500.5, 12.25]}, [ODD, "b"])
    table = Table(
        values, ODD, marks=pd.DataFrame({ODD: [True]}, [ODD]), categories=pd.Series({ODD: ODD, "b": "x"}), note=ODD
    )
    html = tables.html(table)
    assert "<img" not in html
    xml.dom.minidom.parseString(f"<div>{html}</div>")
    assert "● 1.000" in html
    assert "● 0.500" not in html
    for text in (">1,234<", ">7<", ">2,500<", ">12.2<"):
        assert text in html
    assert "short_<wbr/>chunk" in tables.html(Table(pd.DataFrame({"short_chunk": [1.0]}), "row"))
    dark = tables.html(Table(pd.DataFrame({"a": [1.0, 0.0]}), "row", scale=(0.0, 1.0)))
    assert "rgb(8,48,107);color:#fff" in dark
    assert "rgb(247,251,255);color:#000" in dark

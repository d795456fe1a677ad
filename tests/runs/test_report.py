"""The report: published beside rebuilt, and every text in it shown literally."""

from urllib.parse import unquote

import nbformat
import numpy as np
import pandas as pd
import pytest
from support.pages import NASTY, NASTY_NAMES, Page, check

from musictools.runs import manifests, report

PUBLISHED = "rotheneder2023_table_3_4_genre_performance"


def record(folder, name, *, outputs=(), **more):
    """Write the manifest of a finished notebook."""
    manifests.write_record(
        folder,
        name,
        {
            "notebook": name,
            "finished": True,
            "seconds": 1.0,
            "parameters": {},
            "data": {},
            "upstream": {},
            "said": [],
            "outputs": dict.fromkeys(outputs, ""),
        }
        | more,
    )


@pytest.fixture
def folder(tmp_path):
    """Outputs of a profile with one notebook, one table and one figure."""
    made = tmp_path / "demo"
    for kind in ("tables", "figures", "notebooks"):
        (made / kind).mkdir(parents=True)
    (made / "tables" / f"{PUBLISHED}.csv").write_text("model,data,accuracy\nckn19,balanced,0.3\n")
    (made / "figures" / "a.png").touch()
    nbformat.write(nbformat.v4.new_notebook(), made / "notebooks" / "01_first.ipynb")
    record(
        made,
        "01_first",
        outputs=[f"tables/{PUBLISHED}.csv", "figures/a.png", "files/page.html"],
        said=["The **accuracy** is 0.3."],
        data={"composed": {}},
    )
    return made


def test_the_report_lays_published_beside_rebuilt(folder, tmp_path):
    published = tmp_path / "published"
    published.mkdir()
    (published / f"{PUBLISHED}.csv").write_text(
        "model,data,accuracy\nckn19,balanced,0.773\nckn19,semi_balanced,0.798\n"
    )
    (published / "rotheneder2023_table_9_9_later.csv").write_text("a\n1\n")
    index = report.write(folder, published_dir=published, outcome={"01_first": ("done", ""), "02_x": ("failed", "why")})
    page = index.read_text()
    read = check(
        page,
        shows=[
            "its experiments use MagnaTagATune",
            "rotheneder2023 table 3.4: genre performance",
            "Published, not rebuilt here: rotheneder2023 table 9.9: later.",
            "accuracy is 0.3",
            "data: composed · 1 s · files: 3",
            "failed: why",
        ],
    )
    row = page.split("<td>ckn19</td>")[1].split("</tr>")[0]
    assert [cell.split("<")[0] for cell in row.split(">") if cell[:1] in set("+-0123456789")] == [
        "0.773",
        "0.3",
        "-0.473",
    ]
    assert "<strong>accuracy</strong>" in page
    links = [link for link in read.all("a", "href") if not link.startswith("#")] + read.all("img", "src")
    assert len(links) >= 4
    for link in links:
        assert (index.parent / link).exists(), link
    assert {f"#{name}" for name in read.all(None, "id")} >= {a for a in read.all("a", "href") if a.startswith("#")}


def test_every_text_is_shown_literally(tmp_path):
    """What notebooks, files and tables are called and hold, and what went wrong: nothing of it becomes a tag."""
    folder = tmp_path / NASTY_NAMES[0]
    tables = folder / "tables"
    tables.mkdir(parents=True)
    for name in NASTY_NAMES:
        pd.DataFrame({text: NASTY for text in NASTY}).to_csv(tables / f"{name}.csv", index=False)
        for kind in ("figures/{}.png", "audio/{}.mp3", "files/{}.html"):
            path = folder / kind.format(name)
            path.parent.mkdir(exist_ok=True)
            path.touch()
        record(
            folder,
            name,
            said=NASTY,
            device=name,
            data=dict.fromkeys(NASTY, {}),
            outputs=[f"tables/{name}.csv", f"figures/{name}.png", f"audio/{name}.mp3", f"files/{name}.html"],
        )
        (folder / "notebooks").mkdir(exist_ok=True)
        nbformat.write(nbformat.v4.new_notebook(), folder / "notebooks" / f"{name}.ipynb")
    index = report.write(folder, published_dir=tables, outcome={name: ("failed", name) for name in NASTY})
    text = index.read_text()
    read = check(text, shows=[*NASTY, *(f"{name}.csv" for name in NASTY_NAMES), f"musictools: {folder.name}"])
    for tag, name, suffix in (("img", "alt", "png"), ("audio", "aria-label", "mp3")):
        assert sorted(set(read.all(tag, name))) == sorted(f"{file}.{suffix}" for file in NASTY_NAMES)
    for link in read.all("img", "src") + read.all("audio", "src"):
        assert (index.parent / unquote(link)).is_file()


def test_a_folder_of_songs_cannot_run_anything(folder):
    """A genre is the name of a sub-folder, which notebooks print and say."""
    genre = "<img src=x onerror=alert(1)>"
    record(folder, "01_first", said=[f"The rarest genre is {genre}.", f"[{genre}](javascript:alert(1))"])
    check(report.write(folder).read_text(), shows=[f"The rarest genre is {genre}."])


def test_pages_of_notebooks_are_sanitised(folder):
    shown = {"text/html": "<b onclick='alert(1)'>x</b><script>alert(1)</script>"}
    cell = nbformat.v4.new_code_cell("1", outputs=[nbformat.v4.new_output("display_data", shown)])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), folder / "notebooks" / "01_first.ipynb")
    report.write(folder)
    read = Page((folder / "report" / "notebooks" / "01_first.html").read_text())
    assert "<script>alert(1)</script>" in read.shown
    assert read.faults == []
    assert read.scripts() == 0
    assert not [link for link in read.all("link", "href") + read.all(None, "src") if link.startswith("http")]


def test_cells_of_tables(folder):
    table = pd.DataFrame(
        {
            "a": [1.0, 1234567.0, 0.123456, np.nan, np.inf, 1e-9],
            "b": [1, 2, 3, 4, 5, 6],
            "c": [True, False, None, "x", "y", "z"],
        }
    )
    assert [[text for _, text in row] for row in report._grid(table)["rows"]] == [
        ["1", "1", "True"],
        ["1,234,567", "2", "False"],
        ["0.1235", "3", ""],
        ["", "4", "x"],
        ["inf", "5", "y"],
        ["1e-09", "6", "z"],
    ]
    assert [kind for kind, _ in report._grid(table)["rows"][0]] == ["n", "n", ""]
    long = report._grid(pd.DataFrame({"a": range(300)}))
    assert (len(long["rows"]), long["length"]) == (200, 300)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("rotheneder2023_table_5_19_affiliation", "rotheneder2023 table 5.19: affiliation"),
        ("rotheneder2023_table_a_3_cross_validation_layer_3", "rotheneder2023 table A.3: cross validation layer 3"),
        ("choi2018_table_7_a_effective_kernel_sizes", "choi2018 table 7-A: effective kernel sizes"),
        ("rotheneder2023_section_3_5_accuracy_callbacks", "rotheneder2023 section 3.5: accuracy callbacks"),
        ("tagger_slides_table_1_mtat", "tagger_slides table 1: mtat"),
        ("a_table", "a table"),
    ],
)
def test_tables_are_called_as_their_sources_call_them(name, title):
    assert report._title(name) == title


def test_tables_are_compared_row_by_row():
    published = pd.DataFrame({"model": ["a", "b", "b"], "accuracy": [0.773, 0.8, 0.9], "year": [2019, 2020, 2021]})
    rebuilt = pd.DataFrame({"model": ["b", "a", "c"], "accuracy": [0.7, 0.75, 0.1], "spread": [0.1, 0.2, 0.3]})
    both = report.compare(published, rebuilt).set_index([("model", "")])
    assert both["accuracy", "published"].tolist()[:3] == [0.773, 0.8, 0.9]
    assert both["accuracy", "rebuilt"].fillna(-1).tolist() == [0.75, 0.7, -1, 0.1]
    assert both["accuracy", "difference"].round(3).fillna(-1).tolist() == [-0.023, -0.1, -1, -1]
    assert both["spread", "rebuilt"].tolist()[0] == 0.2


def test_repeated_rows_are_compared_in_their_order():
    published = pd.DataFrame({"layer": ["conv", "pool", "conv"], "parameters": [640, 0, 1280]})
    rebuilt = pd.DataFrame({"layer": ["conv", "pool", "conv"], "parameters": [640, 0, 1281]})
    both = report.compare(published, rebuilt)
    assert both["parameters", "difference"].tolist() == [0, 0, 1]


def test_remarks_do_not_keep_rows_apart_and_no_column_is_lost():
    published = pd.DataFrame(
        {"model": ["a", "b"], "remark": ["best", ""], "recall": [0.1, 0.2], "accuracy": [0.5, 0.6]}
    )
    rebuilt = pd.DataFrame({"model": ["a", "b"], "remark": ["worst", "so"], "accuracy": [0.5, 0.5], "seeds": [3, 3]})
    both = report.compare(published, rebuilt)
    assert list(both.columns) == [
        ("model", ""),
        ("remark", "published"),
        ("remark", "rebuilt"),
        ("recall", "published"),
        ("accuracy", "published"),
        ("accuracy", "rebuilt"),
        ("accuracy", "difference"),
        ("seeds", "rebuilt"),
    ]
    assert both["remark", "rebuilt"].tolist() == ["worst", "so"]


def test_tables_without_a_common_row_are_not_compared():
    published = pd.DataFrame({"model": ["a"], "accuracy": [1.0]})
    assert report.compare(published, pd.DataFrame({"model": ["z"], "accuracy": [1.0]})) is None
    assert report.compare(published, pd.DataFrame({"other": [1]})) is None

"""The report: published beside rebuilt, and every text in it shown literally."""

from urllib.parse import unquote

import nbformat
import numpy as np
import pandas as pd
import pytest
from support.pages import NASTY, NASTY_NAMES, Page, check

from musictools import published as package
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
            "rotheneder2023 table 9.9: later Published: Rotheneder 2023, master's thesis; its experiments use "
            "MagnaTagATune. Rebuilt: not in this run.",
            "accuracy is 0.3",
            "data: composed · 1 s · files: 3",
            "failed: why",
        ],
    )
    row = page.split('<h2 id="tables">')[1].split("<td>ckn19</td>")[1].split("</tr>")[0]
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


def test_identifiers_are_never_subtracted():
    """Feature-map numbers, ranks and layers name something; rows are matched by those that both tables have."""
    published = pd.DataFrame({"tag": ["guitar"] * 2, "rank": [1, 2], "feature_map": [2, 18], "f1": [0.334, 0.312]})
    rebuilt = pd.DataFrame({"tag": ["guitar"] * 2, "rank": [2, 1], "feature_map": [7, 30], "f1": [0.5, 0.6]})
    both = report.compare(published, rebuilt)
    assert list(both.columns) == [
        ("tag", ""),
        ("rank", ""),
        ("feature_map", "published"),
        ("feature_map", "rebuilt"),
        ("f1", "published"),
        ("f1", "rebuilt"),
        ("f1", "difference"),
    ]
    assert both["rank", ""].tolist() == [1, 2]
    assert both["feature_map", "rebuilt"].tolist() == [30, 7]
    assert both["f1", "difference"].round(3).tolist() == [0.266, 0.188]
    only = report.compare(published[["rank", "f1"]], rebuilt[["rank", "f1"]])
    assert list(only.columns)[0] == ("rank", "")


@pytest.mark.parametrize("name", package.names())
def test_no_published_table_has_a_difference_of_identifiers(name):
    """Each published table beside itself: a column of identifiers or of words has no difference."""
    table = package.table(name)
    both = report.compare(table, table)
    subtracted = {} if both is None else {column for column, side in both.columns if side == "difference"}
    assert not set(subtracted) & package.IDENTIFIERS
    assert both is None or not both.xs("difference", axis=1, level=1).fillna(0).to_numpy().any()


def test_identifiers_have_no_thousands_separators(folder):
    table = pd.DataFrame({"feature_map": [1200.0], "year": [2019], "clips": [12310]})
    assert [text for _, text in report._grid(table)["rows"][0]] == ["1200", "2019", "12,310"]
    zero = pd.DataFrame([[0.0, 0.5]], columns=pd.MultiIndex.from_product([["clips"], ["rebuilt", "difference"]]))
    assert [text for _, text in report._grid(zero)["rows"][0]] == ["0", "+0.5"]


def test_tables_stand_in_the_order_of_their_sources(folder):
    names = [
        "tagger_slides_table_1_mtat",
        "rotheneder2023_table_5_10_fcn4_performance",
        "table_2",
        "table_10",
        "rotheneder2023_table_5_2_layers_se_cnn",
        "rotheneder2023_figure_5_1_descriptors",
    ]
    for name in names:
        (folder / "tables" / f"{name}.csv").write_text("a\n1\n")
    record(folder, "01_first", outputs=[f"tables/{name}.csv" for name in names])
    read = Page(report.write(folder).read_text())
    ids = [name for name in read.all("h3", "id") if name in names]
    assert ids == [
        "rotheneder2023_figure_5_1_descriptors",
        "rotheneder2023_table_5_2_layers_se_cnn",
        "rotheneder2023_table_5_10_fcn4_performance",
        "tagger_slides_table_1_mtat",
        "table_2",
        "table_10",
    ]


def test_the_coverage_table_says_what_there_is_of_every_table_and_figure(folder):
    figure = "figures/rotheneder2023_figure_3_2_validation_loss.png"
    (folder / figure).touch()
    record(folder, "01_first", outputs=[f"tables/{PUBLISHED}.csv", figure], data={"composed": {}})
    page = report.write(folder).read_text()
    parts = page.split('<h2 id="coverage">')[1].split('<h2 id="figures">')[0].split("<tr><td>")[1:]
    rows = {}
    for part in parts:
        label = Page(part.split("</td>")[0]).text
        read = Page(part.split("</tr>")[0].split("</td>", 1)[1])
        rows.setdefault(label, (read.text, Page(part).all("a", "href")))  # the thesis comes first
    assert len(parts) == len(package.coverage())
    text, links = rows["table 3.4"]
    assert "rebuilt 01_first · data: composed" in text
    assert links[0] == f"#{PUBLISHED}"
    text, links = rows["figure 3.2"]
    assert "rebuilt 01_first" in text
    assert links[0] == f"../{figure}"
    text, links = rows["table 5.19"]
    assert "not in this run 04_map_descriptors_to_genres" in text
    assert links == ["#rotheneder2023_table_5_19_affiliation"]  # the published numbers are there all the same
    assert "not in this run 09_compare_network_structures" in rows["table 4-A"][0]
    assert "not rebuilt needs the audio of the Million Song Dataset" in rows["table II"][0]


def test_two_clicks_lead_to_every_table(folder):
    read = Page(report.write(folder).read_text())
    links = {unquote(link) for link in read.all("a", "href")}
    assert {f"#{name}" for name in package.names()} <= links
    assert set(package.names()) <= set(read.all("h3", "id"))


def test_oddities_are_told_where_the_table_stands(folder):
    page = report.write(folder).read_text()
    for name in package.names():
        section = Page(page.split(f'<h3 id="{name}">')[1].split("</section>")[0].join(["<p>", "</p>"])).text
        assert all(" ".join(note.split()) in section for note in package.notes(name))
    section = page.split('id="rotheneder2023_table_3_1_mel_spectrograms"')[1].split("</section>")[0]
    assert "fits the annotations" in section


def test_the_first_page_answers_questions(folder):
    first = nbformat.v4.new_markdown_cell("# 01 · What is in the data?\n\nText.")
    failure = nbformat.v4.new_markdown_cell("An exception was encountered.")  # papermill inserts it
    for cells in ([first], [failure, first]):
        nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "notebooks" / "01_first.ipynb")
        read = check(report.write(folder).read_text(), shows=["Answers What is in the data? 01_first · data: composed"])
    assert [link for link in read.all("a", "href") if link == "notebooks/01_first.html"]
    assert read.all("img", "loading") == ["lazy"]
    (folder / "notebooks" / "01_first.ipynb").unlink()
    check(report.write(folder).read_text(), shows=["Answers 01_first 01_first · data: composed"])


def test_tables_without_a_common_row_are_not_compared():
    published = pd.DataFrame({"model": ["a"], "accuracy": [1.0]})
    assert report.compare(published, pd.DataFrame({"model": ["z"], "accuracy": [1.0]})) is None
    assert report.compare(published, pd.DataFrame({"other": [1]})) is None
